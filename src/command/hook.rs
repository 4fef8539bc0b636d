//! `tracemark hook`: what git's hooks call. Never fails, never waits, starts nothing.

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
    let running = Client::of_running(context.socket.as_deref(), &context.paths);
    let Some(client) = running else {
        return;
    };
    if let Err(error) = client.touch(&cwd, PATIENCE) {
        tracing::debug!(%error, event = arguments.event, "the daemon was not told");
    }
}
