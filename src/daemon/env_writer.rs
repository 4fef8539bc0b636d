//! Who writes the env file of one worktree: one write at a time, the newest text next, again where it failed.
//!
//! Knows nothing of what the text says.

use std::path::Path;
use std::time::{Duration, Instant};

use super::request::Answer;
use crate::backoff::doubled;
use crate::env_file::{self, Dates};
use crate::fs_util::held_dir::HeldDir;
use crate::registry::Registry;
use crate::repository::{Worktree, first_tracked};

/// The first and the longest pause before a write that is tried again.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(32));

/// Where systems mount what a person takes out again: an open directory there would be in the way (hier(7), udisks(8)).
const REMOVABLE: [&str; 3] = ["/media", "/run/media", "/Volumes"];

/// What is to be written, and what became of what was.
#[derive(Default)]
pub(super) struct EnvWriter {
    pub(super) busy: bool,
    pub(super) next: Option<String>,
    /// Answers that wait until the file says the same.
    pub(super) answers: Vec<Answer>,
    /// The directory that was written to last, held open: a worktree that is moved away leaves no id behind. None on
    /// what can be taken out.
    pub(super) dir: Option<HeldDir>,
    /// How its versions were dated, and those of its copy.
    pub(super) dates: [Dates; 2],
    /// Why the last write failed.
    pub(super) problem: Option<String>,
    /// How many failed since one did not.
    failures: u32,
    /// When it is tried again.
    pub(super) retry_at: Option<Instant>,
}

impl EnvWriter {
    /// Takes note of what became of a write.
    pub(super) fn written(&mut self, outcome: EnvOutcome) {
        self.busy = false;
        self.dir = outcome.dir;
        self.dates = outcome.dates;
        self.problem = outcome.problem;
        if self.problem.is_none() {
            self.failures = 0;
            self.retry_at = None;
            return;
        }
        let pause = doubled(RETRY.0, RETRY.1, self.failures);
        self.retry_at = Some(Instant::now() + pause);
        self.failures = self.failures.saturating_add(1);
    }

    /// True once when a write that failed is due again.
    pub(super) fn is_due(&mut self, now: Instant) -> bool {
        self.retry_at.take_if(|at| *at <= now).is_some()
    }
}

/// What became of one write.
pub(super) struct EnvOutcome {
    dir: Option<HeldDir>,
    dates: [Dates; 2],
    problem: Option<String>,
}

/// Where an env file and its copy go.
pub(super) struct EnvPlace {
    pub(super) worktree: Worktree,
    pub(super) copy: bool,
    pub(super) dir: Option<HeldDir>,
    pub(super) dates: [Dates; 2],
    pub(super) registry: Registry,
}

impl EnvPlace {
    /// Writes both.
    pub(super) fn write(mut self, text: &str) -> EnvOutcome {
        let before = self.dir.take();
        let is_there = || self.worktree.is_there();
        if !self.registry.may_know(&self.worktree.common_dir) || !is_there() {
            return self.of_gone(before, text);
        }
        let file = self.worktree.env_file();
        let [mut dates, mut copy_dates] = self.dates;
        let written = env_file::publish_where(&file, text, &mut dates, &is_there);
        let (dir, problem) = match written {
            Ok(Some(dir)) => (Some(dir), None),
            Ok(None) => return self.of_gone(before, text),
            Err(error) => {
                tracing::warn!(%error, "the env file is not where it was");
                let elsewhere = before.as_ref().map(|dir| env_file::overwrite_in(dir, text));
                if let Some(Err(error)) = elsewhere {
                    tracing::debug!(%error, "nor elsewhere");
                }
                // What is published next must find its way there too.
                (before, Some(error.to_string()))
            }
        };
        let copied = self.copy.then(|| self.write_copy(text, &mut copy_dates));
        let copy_problem = copied.and_then(Result::err);
        EnvOutcome {
            dates: [dates, copy_dates],
            dir: dir.filter(|_| !is_removable(&file)),
            problem: problem.or(copy_problem),
        }
    }

    /// A copy that git tracks would be code, which nothing but its author changes.
    fn write_copy(&self, text: &str, dates: &mut Dates) -> Result<(), String> {
        let root = &self.worktree.root;
        let written = match first_tracked(&self.worktree, &env_file::copy_files()) {
            Some(file) => {
                let file = root.join(file);
                Err(format!("cannot write {}: git tracks it", file.display()))
            }
            None => env_file::publish_copy(root, text, dates).map_err(|error| error.to_string()),
        };
        if let Err(error) = &written {
            tracing::warn!(error, "the copy of the env file is not written");
        }
        written.map(drop)
    }

    /// Git is removing the worktree, and fails where something new appears; or another repository lies there.
    fn of_gone(&self, before: Option<HeldDir>, text: &str) -> EnvOutcome {
        let emptied = before.as_ref().map(|dir| env_file::overwrite_in(dir, text));
        tracing::debug!(?emptied, "the worktree is gone");
        EnvOutcome {
            dir: before,
            dates: self.dates,
            problem: None,
        }
    }
}

fn is_removable(path: &Path) -> bool {
    REMOVABLE.iter().any(|place| path.starts_with(place))
}
