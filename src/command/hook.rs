//! `tracemark hook`: what git's hooks call. Never fails, never waits, starts nothing.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Context;
use crate::cli::HookArgs;
use crate::client::Client;

/// How long the daemon may take to answer.
const PATIENCE: Duration = Duration::from_millis(100);

pub(super) fn run(context: &Context, arguments: &HookArgs) {
    let Ok(cwd) = std::env::current_dir() else {
        return;
    };
    if !is_ours(&cwd) {
        return;
    }
    let running = Client::of_running(context.socket.as_deref(), &context.paths);
    let Some(client) = running else {
        return;
    };
    if let Err(error) = client.touch(&cwd, PATIENCE) {
        tracing::debug!(%error, event = arguments.event, "the daemon was not told");
    }
}

/// Root in a user's repository tells root's daemon nothing, and leaves nothing there. Git runs hooks at the top of the
/// work tree, and names the git directory where that is not `.git` there (githooks(5)).
fn is_ours(cwd: &Path) -> bool {
    let named = std::env::var_os("GIT_DIR").map(|dir| cwd.join(PathBuf::from(dir)));
    let found = || {
        let mut around = cwd.ancestors().map(|dir| dir.join(".git"));
        around.find(|dot_git| dot_git.exists())
    };
    let owner = named.or_else(found).and_then(|dir| dir.metadata().ok());
    owner.is_some_and(|found| found.uid() == rustix::process::geteuid().as_raw())
}
