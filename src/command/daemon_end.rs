//! Has a daemon end that a command started, or that is another program than this one.
//!
//! Kills none: one is asked to end.

use std::time::{Duration, Instant};

use super::{Context, say, units};
use crate::client::{ClientError, recorded};
use crate::error::{Failure, FailureKind};
use crate::fs_util::read_if_exists;
use crate::protocol::DaemonInfo;
use crate::text::printable;

/// The pause between two looks at a daemon that was asked to end.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// How long a daemon that was asked to end may take: it does within five seconds.
const END_TIMEOUT: Duration = Duration::from_secs(8);

/// Ends a daemon of another version, or one whose program was replaced, so that the next one is this program.
pub(super) fn replace_outdated(context: &Context) -> Result<(), Failure> {
    if context.socket.is_some() {
        return Ok(());
    }
    match context.client().status() {
        Ok(status) => match status.daemon.filter(is_outdated) {
            Some(old) => replace(context, &old),
            None => Ok(()),
        },
        Err(ClientError::OtherProtocol { version, .. }) => recorded(&context.paths).map_or_else(
            || replace_unknown(context, &version),
            |old| replace(context, &old),
        ),
        Err(_) => Ok(()),
    }
}

/// What it wrote about itself is in another format, too.
fn replace_unknown(context: &Context, version: &str) -> Result<(), Failure> {
    let version = printable(version);
    say(&format!(
        "The daemon runs tracemark {version}; it is replaced."
    ));
    end(context, None)
}

fn replace(context: &Context, old: &DaemonInfo) -> Result<(), Failure> {
    say(&format!(
        "The daemon runs tracemark {} of {}; it is replaced.",
        printable(&old.version),
        printable(&old.program)
    ));
    if old.by_systemd {
        return units::restart(context);
    }
    end(context, Some(old.pid))
}

pub(super) fn is_outdated(daemon: &DaemonInfo) -> bool {
    daemon.replaced || daemon.version != env!("CARGO_PKG_VERSION")
}

/// Ends the daemon that a command started, if one runs.
pub(super) fn end_detached(context: &Context) -> Result<(), Failure> {
    match recorded(&context.paths).filter(|running| !running.by_systemd) {
        Some(running) => end(context, Some(running.pid)),
        None => Ok(()),
    }
}

/// Ends the daemon that holds the lock, and waits until its record is gone or another's.
fn end(context: &Context, pid: Option<u32>) -> Result<(), Failure> {
    let record = || {
        read_if_exists(&context.paths.daemon_record())
            .ok()
            .flatten()
    };
    let (before, deadline) = (record(), Instant::now() + END_TIMEOUT);
    let asked = crate::daemon::ask_to_end(&context.paths);
    while asked && record().is_some_and(|now| Some(now) == before) && Instant::now() < deadline {
        std::thread::sleep(LOOK_AGAIN);
    }
    let stays = before.is_some() && record() == before;
    let answers = || !matches!(context.client().status(), Err(error) if error.is_over());
    if !stays || !answers() {
        return Ok(());
    }
    let kill = match pid {
        Some(pid) => format!("kill -9 {pid}, then the same again"),
        None => format!(
            "kill -9 $(cat {}), then the same again",
            context.paths.lock().display()
        ),
    };
    Err(Failure::new(FailureKind::NoDaemon, "the daemon does not end").hint(&kill))
}
