//! Asks systemd's user manager, through its own client and never for longer than it was told.

use std::io::Read as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::error::{Failure, FailureKind};
use crate::paths::Paths;

/// How long the manager may take to say that it is there.
const QUICK: Duration = Duration::from_secs(3);
/// The pause between two looks at the client.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

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
    let mut child = command
        .env("LC_ALL", "C.UTF-8")
        .env("SYSTEMD_PAGER", "")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| error.to_string())?;
    let deadline = Instant::now() + limit;
    // What is asked for here is far below what a pipe holds, so nobody needs to read meanwhile.
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if Instant::now() < deadline => std::thread::sleep(LOOK_AGAIN),
            Ok(None) => {
                drop(child.kill());
                drop(child.wait());
                return Err(format!("no answer within {} s", limit.as_secs()));
            }
            Err(error) => return Err(error.to_string()),
        }
    };
    let (mut said, mut complained) = (String::new(), String::new());
    if let Some(mut stdout) = child.stdout.take() {
        drop(stdout.read_to_string(&mut said));
    }
    if let Some(mut stderr) = child.stderr.take() {
        drop(stderr.read_to_string(&mut complained));
    }
    if status.success() {
        Ok(said)
    } else {
        let line = complained.lines().next().unwrap_or_default();
        Err(if line.is_empty() {
            status.to_string()
        } else {
            line.to_owned()
        })
    }
}
