//! Parses, starts the log, runs, shows a failure, exits with its code.
//!
//! Knows nothing of what commands do. Nothing else ends the process but signals and the help that clap prints.

use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;

use tracemark::cli::{Cli, Command, WrongUsage};
use tracemark::error::{Failure, FailureKind};
use tracemark::log_file::LogFile;
use tracemark::log_line::Escaped;
use tracemark::paths::Paths;
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

fn main() -> ExitCode {
    // An ignored SIGCHLD, inherited from the caller, would hide how every git ended.
    let heard = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let heeded = signal_hook::flag::register(signal_hook::consts::SIGCHLD, heard);
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    let cli = match Cli::read(&words) {
        Ok(cli) => cli,
        Err(wrong) => return show(&failure(&wrong)),
    };
    start_log(&cli.command);
    if let Err(error) = heeded {
        tracing::debug!(%error, "SIGCHLD stays as it is");
    }
    match tracemark::command::run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => show(&failure),
    }
}

/// `TRACEMARK_LOG` as in `RUST_LOG`; the daemon says more by itself, as nobody watches it. The standard error of a detached
/// one is its log file, which is kept small; the journal has times of its own.
fn start_log(command: &Command) {
    let (is_daemon, is_detached) = match command {
        Command::Daemon(arguments) => (true, arguments.detached),
        _ => (false, false),
    };
    let asked = std::env::var("TRACEMARK_LOG").ok();
    let default = is_daemon.then(|| "tracemark=info".to_owned());
    let Some(filter) = asked.filter(|value| !value.is_empty()).or(default) else {
        return;
    };
    let Ok(filter) = filter.parse::<Targets>() else {
        let message = format!("TRACEMARK_LOG is {filter:?}, which is no filter of the log");
        let failure = Failure::new(FailureKind::Configuration, &message);
        show(&failure.hint("TRACEMARK_LOG=tracemark=debug"));
        return;
    };
    let stderr = || Escaped(std::io::stderr());
    let log = tracing_subscriber::fmt::layer().with_ansi(false);
    let layer = match Paths::discover() {
        Ok(paths) if is_detached => {
            let file = LogFile::new(paths.log());
            log.with_writer(move || Escaped(file.clone())).boxed()
        }
        _ if is_daemon && std::env::var_os("JOURNAL_STREAM").is_some() => {
            log.without_time().with_writer(stderr).boxed()
        }
        _ => log.with_writer(stderr).boxed(),
    };
    tracing_subscriber::registry()
        .with(layer.with_filter(filter))
        .init();
}

fn failure(wrong: &WrongUsage) -> Failure {
    let kind = if wrong.is_exec {
        FailureKind::Exec(125)
    } else {
        FailureKind::Usage
    };
    Failure::new(kind, &wrong.cause).hint(&wrong.cure)
}

fn show(failure: &Failure) -> ExitCode {
    let hint = failure
        .hint
        .as_ref()
        .map_or_else(String::new, |hint| format!("  try: {hint}\n"));
    let text = format!("tracemark: {}\n{hint}", failure.message);
    let mut stderr = std::io::stderr().lock();
    match stderr.write_all(text.as_bytes()) {
        Ok(()) | Err(_) => ExitCode::from(failure.kind.exit_code()),
    }
}
