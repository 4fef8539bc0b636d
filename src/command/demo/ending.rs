//! How the tour ends, on every way out: what was started ends, and what stays is said.
//!
//! Ends nothing that the demo did not start.

use std::fs::File;

use rustix::process::{Pid, Signal, kill_process};

use super::Tour;
use super::dirs::remove_dir;
use super::runner::{END_LIMIT, QUICK_LIMIT, until};
use super::words::{indented, line, quoted, shown, title};
use crate::client::recorded;
use crate::command::say;
use crate::error::Failure;
use crate::mlflow::StoreUri;
use crate::paths::Paths;

impl Tour {
    /// Takes everything back that was started, whatever happened before.
    pub(super) fn end(mut self, result: Result<(), Failure>) -> Result<(), Failure> {
        let stopped = self.sandbox.runner.is_stopped();
        self.sandbox.runner.ignore_signals();
        drop(self.stub.take());
        let result = result.and_then(|()| {
            title("The end: nothing stays tracked, and the demo's daemon ends")?;
            shown("tracemark down")
        });
        let down = self.sandbox.tracemark(&["down"], QUICK_LIMIT);
        end_daemon(&self.sandbox.paths);
        if self.clean {
            remove_dir(&self.sandbox.repo)?;
        }
        let Err(failure) = result else {
            indented(down?.stdout.trim())?;
            return line(&self.farewell());
        };
        line(&self.remains())?;
        Err(if stopped {
            failure
        } else {
            self.explained(failure)
        })
    }

    fn farewell(&self) -> String {
        let own = "   In your own repository: tracemark up, then tracemark exec -- python app.py";
        if self.clean {
            return format!("   The repository and its store are removed.\n{own}");
        }
        let repo = &self.sandbox.repo;
        let look = self.sandbox.venv.as_ref().map_or_else(String::new, |venv| {
            format!(
                "   Versions and traces in MLflow's own UI, at http://127.0.0.1:5000 until Ctrl-C:\n   $ {} ui --backend-store-uri {}\n",
                quoted(venv.join("bin/mlflow")),
                quoted(StoreUri::Sqlite(repo.join("mlflow.db")).to_tracking_uri())
            )
        });
        let repo = quoted(repo);
        format!("{look}   The repository stays until you remove it: rm -r {repo}\n{own}")
    }

    fn remains(&self) -> String {
        if self.clean {
            return "\nThe demo's daemon has ended; the repository is removed.".to_owned();
        }
        let repo = quoted(&self.sandbox.repo);
        format!(
            "\nThe demo's daemon has ended; the repository stays until you remove it: rm -r {repo}"
        )
    }

    /// Keeps what the daemon wrote, for whoever looks for the cause.
    fn explained(self, failure: Failure) -> Failure {
        let log = self.sandbox.paths.log();
        if failure.hint.is_some() || !log.exists() {
            return failure;
        }
        drop(self.sandbox.own.keep());
        failure.hint(&format!("tail {}", log.display()))
    }
}

/// The daemon ends by itself when its last repository is given up; one that came up too late for that is told.
fn end_daemon(paths: &Paths) {
    if until(END_LIMIT, || is_daemon_gone(paths)) {
        return;
    }
    let pid = recorded(paths)
        .and_then(|daemon| i32::try_from(daemon.pid).ok())
        .and_then(Pid::from_raw);
    if let Some(pid) = pid
        && let Err(error) = kill_process(pid, Signal::TERM)
    {
        tracing::debug!(%error, "the daemon has ended");
    }
    if !until(END_LIMIT, || is_daemon_gone(paths)) {
        say("The demo's daemon did not end: tracemark daemon, in ps");
    }
}

/// Its lock is the truth.
fn is_daemon_gone(paths: &Paths) -> bool {
    let lock = File::options().write(true).open(paths.lock());
    lock.map_or(true, |lock| lock.try_lock().is_ok())
}
