//! Children: run one at a time, each as a process group that ends with the demo, and the signals that end both.
//!
//! Knows nothing of what they do, of repositories or of daemons.

use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::words::{last_line, negative};
use crate::error::Failure;
use crate::fs_util::PathError;
use crate::git::GitError;

/// MLflow makes its database in `up`, and is imported by each run of the app.
pub(super) const PYTHON_LIMIT: Duration = Duration::from_mins(5);
pub(super) const QUICK_LIMIT: Duration = Duration::from_mins(1);
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// How long a program that was told to end may take.
pub(super) const END_LIMIT: Duration = Duration::from_secs(5);

/// Runs children until a signal comes.
pub(super) struct Runner {
    stopped: Arc<AtomicBool>,
}

/// A child that ended.
pub(super) struct Done {
    pub(super) success: bool,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

impl Runner {
    pub(super) fn new() -> Result<Self, Failure> {
        let stopped = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            signal_hook::flag::register(signal, Arc::clone(&stopped))
                .map_err(|error| negative(&format!("cannot listen for signals: {error}")))?;
        }
        Ok(Self { stopped })
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    pub(super) fn check(&self) -> Result<(), Failure> {
        if self.is_stopped() {
            return Err(negative("interrupted").hint("tracemark demo, to begin again"));
        }
        Ok(())
    }

    /// Heeds no signal any more: what takes everything back runs to its end.
    pub(super) fn ignore_signals(&mut self) {
        self.stopped = Arc::default();
    }

    pub(super) fn run(&self, command: &mut Command, limit: Duration) -> Result<Done, Failure> {
        let stdout = scratch()?;
        let stderr = scratch()?;
        command
            .stdin(Stdio::null())
            .stdout(clone_of(&stdout)?)
            .stderr(clone_of(&stderr)?);
        let success = self.finish(command, limit, |_| Ok(()))?;
        Ok(Done {
            success,
            stdout: text_of(stdout)?,
            stderr: text_of(stderr)?,
        })
    }

    /// Waits for the child, calling `tick` meanwhile, and returns whether it succeeded.
    pub(super) fn finish(
        &self,
        command: &mut Command,
        limit: Duration,
        mut tick: impl FnMut(Duration) -> Result<(), Failure>,
    ) -> Result<bool, Failure> {
        let name = command.get_program().to_string_lossy().into_owned();
        let begun = Instant::now();
        let mut child = command
            .process_group(0)
            .spawn()
            .map_err(|error| not_started(&name, &error))?;
        loop {
            let status = child
                .try_wait()
                .map_err(|error| negative(&format!("cannot wait for {name}: {error}")))?;
            if let Some(status) = status {
                return Ok(status.success());
            }
            let late = begun.elapsed() > limit;
            let checked = self.check().and_then(|()| tick(begun.elapsed()));
            if late || checked.is_err() {
                end_group(&mut child);
                checked?;
                return Err(negative(&format!(
                    "{name} was still running after {} s",
                    limit.as_secs()
                )));
            }
            std::thread::sleep(LOOK_AGAIN);
        }
    }
}

impl Done {
    /// Returns the child's own words as a failure, never a traceback.
    pub(super) fn failure(&self, what: &str) -> Failure {
        let words = last_line(&self.stderr).unwrap_or("it said nothing");
        let ours = self
            .stderr
            .lines()
            .rev()
            .find_map(|line| line.strip_prefix("tracemark: "));
        let failure = negative(&format!("{what} failed: {}", ours.unwrap_or(words)));
        match words.strip_prefix("try: ") {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }

    pub(super) fn checked(self, what: &str) -> Result<Self, Failure> {
        if self.success {
            Ok(self)
        } else {
            Err(self.failure(what))
        }
    }
}

/// Asks the child and its own children to end, then makes them.
pub(super) fn end_group(child: &mut Child) {
    for signal in [Signal::TERM, Signal::KILL] {
        if let Err(error) = kill_process_group(Pid::from_child(child), signal) {
            tracing::debug!(%error, "the process group has ended");
        }
        if until(END_LIMIT, || {
            matches!(child.try_wait(), Ok(Some(_)) | Err(_))
        }) {
            return;
        }
    }
}

pub(super) fn until(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + limit;
    loop {
        if condition() {
            return true;
        }
        if Instant::now() > deadline {
            return false;
        }
        std::thread::sleep(LOOK_AGAIN);
    }
}

pub(super) fn clone_of(file: &File) -> Result<File, Failure> {
    file.try_clone()
        .map_err(|error| negative(&format!("cannot share an output file: {error}")))
}

fn not_started(name: &str, error: &std::io::Error) -> Failure {
    if name == "git" && error.kind() == std::io::ErrorKind::NotFound {
        return GitError::Missing.into();
    }
    negative(&format!("cannot run {name}: {error}"))
}

fn scratch() -> Result<File, Failure> {
    let dir = std::env::temp_dir();
    Ok(tempfile::tempfile().map_err(PathError::of("write in", &dir))?)
}

fn text_of(mut file: File) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    file.rewind()
        .and_then(|()| file.read_to_end(&mut bytes))
        .map_err(|error| negative(&format!("cannot read a program's output: {error}")))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
