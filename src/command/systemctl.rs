//! Asks systemd's user manager, through its own client and never for longer than it was told.
//!
//! Knows no unit of ours, and writes none.

use std::process::Command;
use std::time::Duration;

use super::child::run_within;
use crate::error::{Failure, FailureKind};
use crate::paths::Paths;

/// How long the manager may take to say that it is there.
const QUICK: Duration = Duration::from_secs(3);

/// Runs `systemctl --user` and returns what it printed.
pub(super) fn systemctl(
    paths: &Paths,
    arguments: &[&str],
    limit: Duration,
) -> Result<String, Failure> {
    let mut command = Command::new("systemctl");
    command.arg("--user").args(arguments);
    run(paths, command, limit).map_err(|why| {
        let message = format!("systemctl --user {} failed: {why}", arguments.join(" "));
        Failure::new(FailureKind::NoDaemon, &message)
            .hint("systemctl --user status tracemark.service")
    })
}

/// True when a user manager can be talked to; also one whose units have failed can.
pub(super) fn user_manager_answers(paths: &Paths) -> bool {
    systemctl(paths, &["show", "--property=Version"], QUICK).is_ok()
}

/// What logind says of this user's lingering, `None` where it is not asked or does not answer. A user that it does not know
/// has no login and does not linger.
pub(super) fn loginctl(paths: &Paths) -> Option<String> {
    let uid = rustix::process::geteuid().as_raw().to_string();
    let mut command = Command::new("loginctl");
    command.args(["show-user", "--property=Linger", "--value", &uid]);
    match run(paths, command, QUICK) {
        Ok(said) => Some(said.trim().to_owned()),
        Err(why) if why.contains("not logged in or lingering") => Some("no".to_owned()),
        Err(_) => None,
    }
}

/// A cron job or `su` has no `XDG_RUNTIME_DIR`, through which the manager is found.
fn run(paths: &Paths, mut command: Command, limit: Duration) -> Result<String, String> {
    if let Some(dir) = paths.runtime_dirs().next() {
        command.env("XDG_RUNTIME_DIR", dir);
    }
    command.env("LC_ALL", "C.UTF-8").env("SYSTEMD_PAGER", "");
    let done = run_within(&mut command, limit).map_err(|error| error.to_string())?;
    if done.status.success() {
        return Ok(done.stdout);
    }
    let complaint = done.stderr.lines().next().filter(|line| !line.is_empty());
    Err(complaint.map_or_else(|| done.status.to_string(), str::to_owned))
}
