//! The step that asks the daemon's socket, as any program can. Only asks, and does without curl where there is none.

use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::runner::QUICK_LIMIT;
use super::sandbox::{Sandbox, value};
use super::words::{indented, negative, quoted, shown};
use crate::client::{Client, recorded};
use crate::command::ask_client;
use crate::error::Failure;
use crate::protocol::Active;

/// Shows what the socket answers, and fails where the env file says another id.
pub(super) fn show(sandbox: &Sandbox) -> Result<(), Failure> {
    indented(&format!("env file: {}", sandbox.env_file().display()))?;
    let env = sandbox.env();
    let socket = recorded(&sandbox.paths).map(|daemon| PathBuf::from(daemon.socket));
    let socket = socket.ok_or_else(|| negative("the demo's daemon is gone"))?;
    let url = format!(
        "http://localhost/v1/active?worktree={}&wait=5000",
        encoded(&sandbox.repo)
    );
    shown(&format!("curl --unix-socket {} '{url}'", quoted(&socket)))?;
    let client = Client::find(Some(&socket), &sandbox.paths);
    let active = ask_client(&client, &sandbox.repo, Duration::from_secs(5))?;
    let said = curl(sandbox, &socket, &url)?;
    indented(&summary(said.as_ref().unwrap_or(&active)))?;
    if active.model_id.as_deref().unwrap_or_default() != value(&env, "MLFLOW_ACTIVE_MODEL_ID") {
        return Err(negative("the socket and the env file say different ids"));
    }
    Ok(())
}

/// Returns what curl gets, `None` where there is no curl that can use sockets.
fn curl(sandbox: &Sandbox, socket: &Path, url: &str) -> Result<Option<Active>, Failure> {
    let mut command = sandbox.child(Path::new("curl"));
    command
        .args(["-q", "-s", "--unix-socket"])
        .arg(socket)
        .arg(url);
    let done = sandbox.runner.run(&mut command, QUICK_LIMIT);
    sandbox.runner.check()?;
    Ok(done
        .ok()
        .and_then(|done| serde_json::from_str(&done.stdout).ok()))
}

fn encoded(path: &Path) -> String {
    let bytes = path.as_os_str().as_bytes();
    let text: String = url::form_urlencoded::byte_serialize(bytes).collect();
    text.replace("%2F", "/")
}

/// What of an answer fits on a line.
fn summary(active: &Active) -> String {
    let id = active.model_id.as_ref();
    format!(
        "{{\"state\":\"{}\", \"model_id\":{}, \"dirty\":{}, \"fresh\":{}, …}}",
        active.state,
        id.map_or_else(|| "null".to_owned(), |id| format!("\"{id}\"")),
        active.dirty.unwrap_or_default(),
        active.fresh
    )
}
