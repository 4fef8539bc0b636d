//! Gets a daemon running for a command that needs one: systemd's, or one that is detached from this shell.
//!
//! Knows nothing of what a daemon does. Kills none, and hands on no password that is for another server.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::{Context, units};
use crate::client::{Client, ClientError, recorded};
use crate::error::{Failure, FailureKind, chain};
use crate::fs_util::claim_private_dir;
use crate::git::FRUGAL;
use crate::mlflow::SECRET_VARIABLES;
use crate::written::Written;

/// How long a new daemon may take until it answers.
const START_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a question waits for one.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(5);
/// The pause between two looks at a daemon that somebody else is starting.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// How many looks at a daemon that holds the lock and cannot be reached lie between two nudges.
const NUDGE_EVERY: u32 = 10;
/// What systemd says to one process alone (`sd_notify(3)`, `sd_listen_fds(3)`); a daemon started from a service is another.
const OF_OTHERS: [&str; 6] = [
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    "LISTEN_PID",
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
];
/// What a detached daemon prints before the socket's path.
pub(super) const READY: &str = "ready ";
/// What it prints where another one runs already.
pub(super) const NOT_NEEDED: &str = "not needed";
/// What it prints before the reason and, after a tab, what to type.
pub(super) const FAILED: &str = "failed ";

/// Returns a client of the running daemon, which is started where there is none: with the environment of this shell, whose
/// credentials are for the tracking URI that it names, else for `named`, which the command line gave. Under systemd its unit is
/// started.
pub(super) fn ensure(context: &Context, named: Option<&str>) -> Result<Client, Failure> {
    ensure_within(context, named, START_TIMEOUT)
}

/// As [`ensure`], for a question that can be answered without it.
pub(super) fn ensure_soon(context: &Context) -> Result<Client, Failure> {
    ensure_within(context, None, QUESTION_TIMEOUT)
}

fn ensure_within(
    context: &Context,
    named: Option<&str>,
    patience: Duration,
) -> Result<Client, Failure> {
    let client = context.client();
    match client.status() {
        Ok(_) => return Ok(client),
        Err(error) if context.socket.is_some() || !error.is_over() => {
            return Err(refused(context, &error));
        }
        Err(_) => {}
    }
    let deadline = Instant::now() + patience;
    let mut looks = 0;
    loop {
        start(context, named, patience)?;
        let client = Client::find_own(&context.paths);
        match client.status() {
            Ok(_) => return Ok(client),
            Err(error) if Instant::now() > deadline || !error.is_over() => {
                return Err(refused(context, &error));
            }
            // The one that holds the lock may be about to end, or its socket was taken away.
            Err(_) if looks % NUDGE_EVERY == 0 => crate::daemon::nudge(&context.paths),
            Err(_) => {}
        }
        looks += 1;
        std::thread::sleep(LOOK_AGAIN);
    }
}

/// Returns the failure that an error of the running daemon is.
pub(super) fn refused(context: &Context, error: &ClientError) -> Failure {
    let hint = match error {
        ClientError::OtherProtocol { .. } => "tracemark up, which replaces the daemon".to_owned(),
        ClientError::Foreign(_) => "the same without --socket".to_owned(),
        ClientError::Unreachable { socket, .. } if error.is_silence() => {
            how_to_end(context, socket)
        }
        _ => "tracemark daemon".to_owned(),
    };
    let message = match error {
        ClientError::Unreachable { socket, .. } if error.is_silence() => format!(
            "somebody listens on {} and says nothing in time: the daemon hangs, or has too much to do",
            socket.display()
        ),
        other => chain(other),
    };
    Failure::new(FailureKind::NoDaemon, &message).hint(&hint)
}

/// A daemon that hangs ends by no word of ours; a stranger on another socket is left alone.
fn how_to_end(context: &Context, socket: &Path) -> String {
    match recorded(&context.paths) {
        Some(daemon) if Path::new(&daemon.socket) == socket => {
            format!("kill -9 {}, then the same again", daemon.pid)
        }
        Some(_) => "the same without --socket, after: unset TRACEMARK_SOCKET".to_owned(),
        None => "tracemark status".to_owned(),
    }
}

/// Starts systemd's unit, or where there is none a detached daemon, and waits until it answers or says why not. One that
/// runs already is as good.
fn start(context: &Context, named: Option<&str>, patience: Duration) -> Result<(), Failure> {
    if units::start(context) {
        return Ok(());
    }
    let system = |action: &str, error: std::io::Error| {
        Failure::new(FailureKind::NoDaemon, &format!("cannot {action}: {error}"))
            .hint("tracemark daemon")
    };
    let program = std::env::current_exe().map_err(|error| system("find this program", error))?;
    Written::begin(&context.paths)?;
    claim_private_dir(&context.paths.state)?;
    let log = crate::log_file::open(&context.paths.log())?;
    let mut command = Command::new(program);
    limit_credentials(&mut command, named);
    for name in OF_OTHERS {
        command.env_remove(name);
    }
    let mut child = command
        .args(["daemon", "--detached"])
        .env_remove("MLFLOW_ACTIVE_MODEL_ID")
        .env_remove("TRACEMARK_SOCKET")
        .envs(FRUGAL)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .map_err(|error| system("start the daemon", error))?;
    let Some(stdout) = child.stdout.take() else {
        return Ok(());
    };
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        let read = BufReader::new(stdout).read_line(&mut line);
        drop(sender.send(read.map(|_| line)));
    });
    match receiver.recv_timeout(patience) {
        Ok(Ok(line)) => outcome(context, line.trim_end_matches('\n')),
        Ok(Err(_)) | Err(_) => Err(did_not_start(context)),
    }
}

/// What a detached daemon reported.
fn outcome(context: &Context, line: &str) -> Result<(), Failure> {
    if line.starts_with(READY) || line == NOT_NEEDED {
        return Ok(());
    }
    let failed = line.strip_prefix(FAILED);
    let (reason, hint) = failed
        .and_then(|line| line.split_once('\t'))
        .ok_or_else(|| did_not_start(context))?;
    let message = format!("the daemon did not start: {reason}");
    Err(Failure::new(FailureKind::NoDaemon, &message).hint(hint))
}

/// A daemon serves every repository of this user: what it inherits of passwords and tokens must be for one server.
pub(super) fn limit_credentials(command: &mut Command, named: Option<&str>) {
    let is_named = std::env::var_os("MLFLOW_TRACKING_URI").is_some_and(|uri| !uri.is_empty());
    match named {
        _ if is_named => {}
        Some(uri) => {
            command.env("MLFLOW_TRACKING_URI", uri);
        }
        None => {
            for name in secrets_of_mlflow() {
                command.env_remove(name);
            }
        }
    }
}

/// Those of Databricks say themselves for which workspace they are.
pub(super) fn secrets_of_mlflow() -> impl Iterator<Item = &'static str> {
    let all = SECRET_VARIABLES.into_iter();
    all.filter(|name| name.starts_with("MLFLOW_"))
}

fn did_not_start(context: &Context) -> Failure {
    Failure::new(FailureKind::NoDaemon, "the daemon did not start")
        .hint(&format!("tail {}", context.paths.log().display()))
}
