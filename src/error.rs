//! What a command says when it fails: one line of cause, one line of what to type, and an exit code by meaning.
//!
//! Pure: `main` prints it and ends the process.

use std::io::ErrorKind;

use crate::config::ConfigError;
use crate::daemon::StartError;
use crate::fs_util::PathError;
use crate::git::GitError;
use crate::hooks::HookError;
use crate::ledger::LedgerError;
use crate::mlflow::{AccessError, StoreError, StoreUriError, VariableError};
use crate::registry::RegistryError;
use crate::repository::OpenError;
use crate::session::SessionError;
use crate::snapshot::SnapshotError;
use crate::text::{printable, shell_quoted};

/// What a failure means, and so the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// 1: a negative answer.
    Negative,
    /// 2: wrong usage.
    Usage,
    /// 3: a wrong setting, or a file of ours that cannot be used.
    Configuration,
    /// 4: not a repository, or one that is not tracked.
    NotTracked,
    /// 5: no daemon can be had.
    NoDaemon,
    /// 6: the store cannot be reached, or its answer was refused.
    Store,
    /// 125, 126, 127: `exec` itself failed, as env(1) and timeout(1) count.
    Exec(u8),
    /// 70: a bug.
    Bug,
}

impl FailureKind {
    /// Returns the exit code.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Negative => 1,
            Self::Usage => 2,
            Self::Configuration => 3,
            Self::NotTracked => 4,
            Self::NoDaemon => 5,
            Self::Store => 6,
            Self::Exec(code) => code,
            Self::Bug => 70,
        }
    }
}

/// A command's failure, ready to be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What it means.
    pub kind: FailureKind,
    /// What failed and why, one line.
    pub message: String,
    /// What to type next, one line.
    pub hint: Option<String>,
}

impl Failure {
    /// Returns a failure; control characters in `message` are escaped.
    pub fn new(kind: FailureKind, message: &str) -> Self {
        Self {
            kind,
            message: printable(message),
            hint: None,
        }
    }

    /// Says cause and cure in one line, for scripts that take standard error for one message.
    #[must_use]
    pub fn in_one_line(mut self) -> Self {
        if let Some(hint) = self.hint.take() {
            self.message = format!("{}; try: {hint}", self.message);
        }
        self
    }

    /// Adds what to type next.
    #[must_use]
    pub fn hint(mut self, hint: &str) -> Self {
        self.hint = Some(printable(hint));
        self
    }
}

/// Joins an error and its sources with colons, each said once.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

impl From<SnapshotError> for Failure {
    fn from(error: SnapshotError) -> Self {
        let message = error.to_string();
        match error {
            SnapshotError::Git(error) => Self::from(error).hint("tracemark doctor"),
            SnapshotError::Path(error) => error.into(),
            SnapshotError::Full { .. } => {
                Self::new(FailureKind::Negative, &message).hint("tracemark gc")
            }
            SnapshotError::Changed(_) | SnapshotError::Unread(_) | SnapshotError::Unknown => {
                Self::new(FailureKind::Negative, &message).hint("tracemark log")
            }
            SnapshotError::Damaged(_) => {
                Self::new(FailureKind::Negative, &message).hint("tracemark doctor")
            }
            SnapshotError::Interrupted => Self::new(
                FailureKind::Negative,
                "interrupted; what was written so far is removed",
            )
            .hint("the same command again"),
        }
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        let failure = Self::new(FailureKind::NotTracked, &chain(&error));
        match error {
            OpenError::NotARepository(_) => {
                failure.hint("git init, or cd to the repository of your app")
            }
            OpenError::NoWorkTree(_) => failure.hint("cd to a work tree of this repository"),
            OpenError::Refused(_) => {
                failure.hint("the same as the owner of the repository, or where its .git is yours: git config --global --add safe.directory \"$PWD\"")
            }
            OpenError::Git(error) => error.into(),
        }
    }
}

impl From<GitError> for Failure {
    fn from(error: GitError) -> Self {
        let failure = Self::new(FailureKind::Negative, &chain(&error));
        match error {
            GitError::Missing => failure.hint("install git and put it on the PATH"),
            _ => failure.hint("git status"),
        }
    }
}

impl From<PathError> for Failure {
    fn from(error: PathError) -> Self {
        let path = error.path.display();
        let hint = match error.source.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
                format!("make room where {path} lies (df {path})")
            }
            _ => format!("check the owner and mode of {path}"),
        };
        Self::new(FailureKind::Configuration, &chain(&error)).hint(&hint)
    }
}

impl From<HookError> for Failure {
    fn from(error: HookError) -> Self {
        match error {
            HookError::Path(error) => error.into(),
            HookError::Git(error) => error.into(),
        }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::new(FailureKind::Configuration, &chain(&error)).hint("correct it there")
    }
}

impl From<RegistryError> for Failure {
    fn from(error: RegistryError) -> Self {
        let failure = Self::new(FailureKind::Configuration, &chain(&error));
        match error {
            RegistryError::Path(error) => error.into(),
            RegistryError::Invalid { file, .. } => {
                failure.hint(&format!("rm {}, then tracemark up", file.display()))
            }
            RegistryError::NotUtf8(_) => {
                failure.hint("move the repository to a path that is UTF-8")
            }
        }
    }
}

impl From<LedgerError> for Failure {
    fn from(error: LedgerError) -> Self {
        match error {
            LedgerError::Path(error) => error.into(),
            LedgerError::Opening { ref path, .. } => {
                let dir = path.parent().unwrap_or(path).to_string_lossy();
                let cure = format!("df -h {0}; ls -ld {0}", shell_quoted(&dir));
                Self::new(FailureKind::Configuration, &chain(&error)).hint(&cure)
            }
            LedgerError::Sqlite(_) => {
                Self::new(FailureKind::Configuration, &chain(&error)).hint("tracemark status")
            }
        }
    }
}

impl From<StoreUriError> for Failure {
    fn from(error: StoreUriError) -> Self {
        Self::new(FailureKind::Configuration, &chain(&error)).hint(&error.hint())
    }
}

impl From<AccessError> for Failure {
    fn from(error: AccessError) -> Self {
        Self::new(FailureKind::Configuration, &chain(&error)).hint(&error.hint())
    }
}

impl From<VariableError> for Failure {
    fn from(error: VariableError) -> Self {
        let hint = format!("set {} to {}, or unset it", error.variable, error.wanted);
        Self::new(FailureKind::Configuration, &error.to_string()).hint(&hint)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::new(FailureKind::Store, &chain(&error)).hint(&error.hint())
    }
}

impl From<SessionError> for Failure {
    fn from(error: SessionError) -> Self {
        match error {
            SessionError::Uri(error) => error.into(),
            SessionError::Access(error) => error.into(),
            SessionError::Variable(error) => error.into(),
            SessionError::Config(error) => error.into(),
        }
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        let failure = Self::new(FailureKind::NoDaemon, &chain(&error));
        match error {
            StartError::AlreadyRunning => failure.hint("tracemark status"),
            StartError::StateLost(_) => failure.hint("tracemark up"),
            StartError::SocketPathTooLong {
                is_separate: true, ..
            } => failure.hint("set TRACEMARK_STATE_DIR to a shorter path"),
            StartError::SocketPathTooLong { .. } => {
                failure.hint("set XDG_RUNTIME_DIR to a shorter directory of yours, mode 0700")
            }
            StartError::SocketInUse(_) => failure.hint("end that program, or remove the socket"),
            StartError::Path(error) => error.into(),
            StartError::Ledger(error) => error.into(),
            StartError::System { .. } => failure.hint("tracemark daemon"),
        }
    }
}
