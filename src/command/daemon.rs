//! `tracemark daemon`, and how other commands get one running, replaced or ended.
//!
//! Knows nothing of what a daemon does, and kills none: one is asked to end.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::{Context, say, service};
use crate::cli::DaemonArgs;
use crate::client::{Client, ClientError, recorded};
use crate::daemon::StartError;
use crate::error::{Failure, FailureKind, chain};
use crate::fs_util::{claim_private_dir, read_if_exists};
use crate::mlflow::SECRET_VARIABLES;
use crate::protocol::DaemonInfo;
use crate::text::printable;
use crate::written::Written;

/// How long a new daemon may take until it answers.
const START_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a question waits for one.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(5);
/// The pause between two looks at a daemon that somebody else is starting.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// How many looks at a daemon that holds the lock and cannot be reached lie between two nudges.
const NUDGE_EVERY: u32 = 10;
/// How long a daemon that was asked to end may take: it does within five seconds.
const END_TIMEOUT: Duration = Duration::from_secs(8);
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
const READY: &str = "ready ";
/// What it prints where another one runs already.
const NOT_NEEDED: &str = "not needed";
/// What it prints before the reason and, after a tab, what to type.
const FAILED: &str = "failed ";

pub(super) fn run(context: &Context, arguments: &DaemonArgs) -> Result<(), Failure> {
    if arguments.empty_env_files {
        return Ok(crate::daemon::empty_env_files(&context.paths)?);
    }
    if !arguments.detached && has_secrets_for_nobody() {
        return Err(start_without_secrets());
    }
    Written::begin(&context.paths)?;
    if arguments.detached {
        close_inherited_files();
    }
    if arguments.detached
        && let Err(error) = rustix::process::setsid()
    {
        tracing::debug!(%error, "already without a terminal");
    }
    let ended = crate::daemon::run(&context.paths, |socket| {
        tracing::debug!(socket, "listening");
        if arguments.detached {
            report(&format!("{READY}{socket}"));
        }
    });
    let is_needed = !matches!(ended, Err(StartError::AlreadyRunning));
    ended.map_err(|error| {
        let failure = Failure::from(error);
        if arguments.detached && is_needed {
            let hint = failure.hint.as_deref().unwrap_or_default();
            let message = printable(&failure.message);
            report(&format!("{FAILED}{message}\t{}", printable(hint)));
        } else if arguments.detached {
            report(NOT_NEEDED);
        }
        failure
    })
}

/// A pipe that the starter's caller reads from must not stay open for as long as the daemon lives.
fn close_inherited_files() {
    let Ok(entries) = std::fs::read_dir("/dev/fd") else {
        return;
    };
    let open: Vec<i32> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|number| *number > 2)
        .collect();
    for number in open {
        // The one of the listing is among them and closed already.
        if let Err(error) = nix::unistd::close(number) {
            tracing::trace!(%error, number, "not open");
        }
    }
}

/// Whoever started us waits for one line; afterwards nobody listens any more.
fn report(line: &str) {
    let mut stdout = std::io::stdout().lock();
    let reported = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
    let silenced = File::options()
        .write(true)
        .open("/dev/null")
        .and_then(|null| Ok(rustix::stdio::dup2_stdout(&null)?));
    if let Err(error) = reported.and(silenced) {
        tracing::debug!(%error, "nobody waits for the outcome");
    }
}

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
        return service::restart(context);
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

/// Has the C library give memory back that only the first look at a large repository needs (mallopt(3)).
const FRUGAL: [(&str, &str); 3] = [
    ("MALLOC_ARENA_MAX", "1"),
    ("MALLOC_MMAP_THRESHOLD_", "65536"),
    ("MALLOC_TRIM_THRESHOLD_", "65536"),
];

/// Starts systemd's unit, or where there is none a detached daemon, and waits until it answers or says why not. One that
/// runs already is as good.
fn start(context: &Context, named: Option<&str>, patience: Duration) -> Result<(), Failure> {
    if service::start(context) {
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

/// A password or token in the environment that names no server would go to every one.
fn has_secrets_for_nobody() -> bool {
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    !is_set("MLFLOW_TRACKING_URI") && secrets_of_mlflow().any(is_set)
}

/// Goes on as the same process without them; returns only where that cannot be done.
fn start_without_secrets() -> Failure {
    say(
        "tracemark: passwords and tokens of this environment are not used, as no MLFLOW_TRACKING_URI says for which server they are",
    );
    let program = match super::this_program() {
        Ok(program) => program,
        Err(failure) => return failure,
    };
    let mut command = Command::new(program);
    command.args(std::env::args_os().skip(1));
    limit_credentials(&mut command, None);
    let error = command.exec();
    Failure::new(
        FailureKind::NoDaemon,
        &format!("the daemon does not start without them: {error}"),
    )
    .hint("export MLFLOW_TRACKING_URI=URI, for the server that they are for")
}

/// A daemon serves every repository of this user: what it inherits of passwords and tokens must be for one server.
fn limit_credentials(command: &mut Command, named: Option<&str>) {
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
fn secrets_of_mlflow() -> impl Iterator<Item = &'static str> {
    let all = SECRET_VARIABLES.into_iter();
    all.filter(|name| name.starts_with("MLFLOW_"))
}

fn did_not_start(context: &Context) -> Failure {
    Failure::new(FailureKind::NoDaemon, "the daemon did not start")
        .hint(&format!("tail {}", context.paths.log().display()))
}
