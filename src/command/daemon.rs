//! `tracemark daemon`, and how other commands get one running.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::Context;
use crate::cli::DaemonArgs;
use crate::client::Client;
use crate::error::{Failure, FailureKind};
use crate::fs_util::{PathError, create_private_dir};
use crate::mlflow::SECRET_VARIABLES;

/// How long a new daemon may take until it answers.
const START_TIMEOUT: Duration = Duration::from_secs(20);
/// The pause between two looks at a daemon that somebody else is starting.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// A log larger than this is set aside as `daemon.log.old` at the next start.
const LOG_MAX: u64 = 5 * 1024 * 1024;
/// What a detached daemon prints before the socket's path.
const READY: &str = "ready ";

pub(super) fn run(context: &Context, arguments: &DaemonArgs) -> Result<(), Failure> {
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
/// credentials are for the tracking URI that it names, else for `store`.
pub(super) fn ensure(context: &Context, store: Option<&str>) -> Result<Client, Failure> {
    let client = context.client();
    match client.status() {
        Ok(_) => return Ok(client),
        Err(error) if error.is_silence() => {
            return Err(Failure::new(FailureKind::NoDaemon, &error.to_string())
                .hint("tracemark status; end the daemon if it hangs"));
        }
        Err(_) => start(context, store)?,
    }
    let deadline = Instant::now() + START_TIMEOUT;
    loop {
        let client = Client::find(None, &context.paths);
        match client.status() {
            Ok(_) => return Ok(client),
            Err(error) if Instant::now() > deadline || error.is_silence() => {
                return Err(Failure::new(FailureKind::NoDaemon, &error.to_string())
                    .hint("tracemark daemon"));
            }
            // The one that was running may have been about to end.
            Err(_) => {
                std::thread::sleep(LOOK_AGAIN);
                start(context, store)?;
            }
        }
    }
}

/// Starts a detached daemon and waits until it answers or says why not. One that runs already is as good.
fn start(context: &Context, store: Option<&str>) -> Result<(), Failure> {
    let system = |action: &str, error: std::io::Error| {
        Failure::new(FailureKind::NoDaemon, &format!("cannot {action}: {error}"))
            .hint("tracemark daemon")
    };
    let program = std::env::current_exe().map_err(|error| system("find this program", error))?;
    let log = open_log(context)?;
    let mut command = Command::new(program);
    limit_credentials(&mut command, store);
    let mut child = command
        .args(["daemon", "--detached"])
        .env_remove("MLFLOW_ACTIVE_MODEL_ID")
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

fn open_log(context: &Context) -> Result<File, Failure> {
    create_private_dir(&context.paths.state)?;
    let path = context.paths.log();
    if path
        .metadata()
        .is_ok_and(|metadata| metadata.len() > LOG_MAX)
    {
        std::fs::rename(&path, path.with_extension("log.old"))
            .map_err(PathError::of("set aside", &path))?;
    }
    Ok(File::options()
        .create(true)
        .append(true)
        .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed())
        .open(&path)
        .map_err(PathError::of("open", &path))?)
}
