//! `tracemark daemon`, and how other commands get one running.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::{Context, say, service};
use crate::cli::DaemonArgs;
use crate::client::{Client, ClientError, recorded};
use crate::error::{Failure, FailureKind, chain};
use crate::fs_util::{create_private_dir, printable};
use crate::mlflow::SECRET_VARIABLES;
use crate::protocol::DaemonInfo;

/// How long a new daemon may take until it answers.
const START_TIMEOUT: Duration = Duration::from_secs(20);
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

pub(super) fn run(context: &Context, arguments: &DaemonArgs) -> Result<(), Failure> {
    if arguments.empty_env_files {
        return Ok(crate::daemon::empty_env_files(&context.paths)?);
    }
    if arguments.detached {
        close_inherited_files();
    }
    if arguments.detached
        && let Err(error) = rustix::process::setsid()
    {
        tracing::debug!(%error, "already without a terminal");
    }
    crate::daemon::run(&context.paths, |socket| {
        tracing::debug!(socket, "listening");
        if arguments.detached {
            report_ready(socket);
        }
    })?;
    Ok(())
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
fn report_ready(socket: &str) {
    let mut stdout = std::io::stdout().lock();
    let reported = writeln!(stdout, "{READY}{socket}").and_then(|()| stdout.flush());
    let silenced = File::options()
        .write(true)
        .open("/dev/null")
        .and_then(|null| Ok(rustix::stdio::dup2_stdout(&null)?));
    if let Err(error) = reported.and(silenced) {
        tracing::debug!(%error, "nobody waits for readiness");
    }
}

/// Returns a client of the running daemon, which is started where there is none: with the environment of this shell, whose
/// credentials are for the tracking URI that it names, else for `store`. Under systemd its unit is started.
pub(super) fn ensure(context: &Context, store: Option<&str>) -> Result<Client, Failure> {
    let client = context.client();
    match client.status() {
        Ok(_) => return Ok(client),
        Err(error) if context.socket.is_some() || !error.is_over() => return Err(refused(&error)),
        Err(_) => {}
    }
    let deadline = Instant::now() + START_TIMEOUT;
    let mut looks = 0;
    loop {
        start(context, store)?;
        let client = Client::find(None, &context.paths);
        match client.status() {
            Ok(_) => return Ok(client),
            Err(error) if Instant::now() > deadline || !error.is_over() => {
                return Err(refused(&error));
            }
            // The one that holds the lock may be about to end, or its socket was taken away.
            Err(_) if looks % NUDGE_EVERY == 0 => crate::daemon::nudge(&context.paths),
            Err(_) => {}
        }
        looks += 1;
        std::thread::sleep(LOOK_AGAIN);
    }
}

fn refused(error: &ClientError) -> Failure {
    let hint = match error {
        ClientError::OtherProtocol { .. } => "tracemark up, which replaces the daemon",
        error if error.is_silence() => "tracemark status; end the daemon if it hangs",
        _ => "tracemark daemon",
    };
    Failure::new(FailureKind::NoDaemon, &chain(error)).hint(hint)
}

/// Ends a daemon of another version, or one whose program was replaced, so that the next one is this program.
pub(super) fn replace_outdated(context: &Context) -> Result<(), Failure> {
    let running = match context.client().status() {
        Ok(status) => status.daemon.filter(is_outdated),
        Err(ClientError::OtherProtocol { .. }) => recorded(&context.paths),
        Err(_) => None,
    };
    let Some(old) = running.filter(|_| context.socket.is_none()) else {
        return Ok(());
    };
    say(&format!(
        "The daemon runs tracemark {} of {}; it is replaced.",
        printable(&old.version),
        printable(&old.program)
    ));
    if old.by_systemd {
        return service::restart(context);
    }
    end(context, old.pid)
}

pub(super) fn is_outdated(daemon: &DaemonInfo) -> bool {
    daemon.replaced || daemon.version != env!("CARGO_PKG_VERSION")
}

/// Ends the daemon that a command started, if one runs.
pub(super) fn end_detached(context: &Context) -> Result<(), Failure> {
    match recorded(&context.paths).filter(|running| !running.by_systemd) {
        Some(running) => end(context, running.pid),
        None => Ok(()),
    }
}

fn end(context: &Context, pid: u32) -> Result<(), Failure> {
    let deadline = Instant::now() + END_TIMEOUT;
    let mut runs = true;
    if crate::daemon::ask_to_end(&context.paths) {
        while runs && Instant::now() < deadline {
            std::thread::sleep(LOOK_AGAIN);
            runs = recorded(&context.paths).is_some_and(|now| now.pid == pid);
        }
    } else {
        runs = context.client().status().is_ok();
    }
    if runs {
        let message = format!("the daemon {pid} does not end");
        return Err(Failure::new(FailureKind::NoDaemon, &message).hint(&format!("kill {pid}")));
    }
    Ok(())
}

/// Starts systemd's unit, or where there is none a detached daemon, and waits until it answers or says why not. One that
/// runs already is as good.
fn start(context: &Context, store: Option<&str>) -> Result<(), Failure> {
    if service::start(context) {
        return Ok(());
    }
    let system = |action: &str, error: std::io::Error| {
        Failure::new(FailureKind::NoDaemon, &format!("cannot {action}: {error}"))
            .hint("tracemark daemon")
    };
    let program = std::env::current_exe().map_err(|error| system("find this program", error))?;
    create_private_dir(&context.paths.state)?;
    let log = crate::log_file::open(&context.paths.log())?;
    let mut command = Command::new(program);
    limit_credentials(&mut command, store);
    for name in OF_OTHERS {
        command.env_remove(name);
    }
    let mut child = command
        .args(["daemon", "--detached"])
        .env_remove("MLFLOW_ACTIVE_MODEL_ID")
        .env_remove("TRACEMARK_SOCKET")
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
    match receiver.recv_timeout(START_TIMEOUT) {
        Ok(Ok(line)) if line.starts_with(READY) => Ok(()),
        Ok(_) => match child.wait() {
            Ok(status) if status.code() == Some(i32::from(FailureKind::NoDaemon.exit_code())) => {
                Ok(())
            }
            _ => Err(did_not_start(context)),
        },
        Err(_) => Err(did_not_start(context)),
    }
}

/// A daemon serves every repository of this user: what it inherits of passwords and tokens must be for one server.
fn limit_credentials(command: &mut Command, store: Option<&str>) {
    let is_named = std::env::var_os("MLFLOW_TRACKING_URI").is_some_and(|uri| !uri.is_empty());
    match store {
        _ if is_named => {}
        Some(store) => {
            command.env("MLFLOW_TRACKING_URI", store);
        }
        None => {
            for name in SECRET_VARIABLES {
                command.env_remove(name);
            }
        }
    }
}

fn did_not_start(context: &Context) -> Failure {
    Failure::new(FailureKind::NoDaemon, "the daemon did not start")
        .hint(&format!("tail {}", context.paths.log().display()))
}
