//! `tracemark daemon`: a daemon in this process, which says once whether it answers.
//!
//! Knows nothing of what a daemon does. Uses no password that is for a server which nobody names.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use super::daemon_start::{FAILED, NOT_NEEDED, READY, limit_credentials, secrets_of_mlflow};
use super::{Context, say};
use crate::cli::DaemonArgs;
use crate::daemon::StartError;
use crate::error::{Failure, FailureKind};
use crate::text::printable;
use crate::written::Written;

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
