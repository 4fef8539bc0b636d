//! Parses, runs, shows a failure, exits: the only place that ends the process.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use tracemark::cli::{Cli, Command};
use tracemark::error::Failure;

fn main() -> ExitCode {
    // An ignored SIGCHLD, inherited from the caller, would hide how every git ended.
    let heard = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    if let Err(error) = signal_hook::flag::register(signal_hook::consts::SIGCHLD, heard) {
        tracing::debug!(%error, "SIGCHLD stays as it is");
    }
    let cli = Cli::parse();
    log_to_stderr(matches!(cli.command, Command::Daemon(_)));
    match tracemark::command::run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => show(&failure),
    }
}

/// `TRACEMARK_LOG` as in `RUST_LOG`; the daemon says more by itself, as nobody watches it.
fn log_to_stderr(daemon: bool) {
    let default = if daemon { "tracemark=info" } else { "off" };
    let filter = std::env::var("TRACEMARK_LOG")
        .ok()
        .filter(|value| !value.is_empty())
        .unwrap_or_else(|| default.to_owned());
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::new(filter))
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
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
