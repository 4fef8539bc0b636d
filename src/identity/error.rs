//! Why a worktree could not be read, and why a state has no git-hash, tree or content id.
//!
//! Knows what git says when it refuses, and nothing of what is done about it.

use std::path::{Path, PathBuf};

use super::FILE_LIMIT;
use super::nested::DEPTH_LIMIT;
use crate::git::GitError;

/// Why a worktree could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Files changed while they were read: worth another pass.
    #[error("files changed while they were read")]
    Torn,
    /// The worktree is gone, or no longer a git repository.
    #[error("{} is gone or no longer a git worktree", .0.display())]
    Gone(PathBuf),
    /// Git cannot read this state.
    #[error(transparent)]
    Tree(TreeError),
}

/// Why there is no git-hash for a state.
#[derive(Debug, thiserror::Error)]
pub enum GitHashError {
    /// Git itself refused or failed, as it does for the helper.
    #[error(transparent)]
    Git(#[from] GitError),
    /// The helper raises `UnicodeDecodeError`: it reads git's output as UTF-8.
    #[error("git {command} printed text that is not UTF-8, which the guide's helper cannot read")]
    NotUtf8 {
        /// The subcommand whose output it was.
        command: &'static str,
    },
    /// The helper would wait or read for ever: a pipe or an endless device where it expects a file.
    #[error(
        "{name:?} is a pipe or an endless device, which the guide's helper never finishes reading"
    )]
    Endless {
        /// The name as the helper sees it.
        name: String,
    },
    /// A file is larger than is read.
    #[error("{name:?} is larger than {} GiB, which is more than is read", FILE_LIMIT >> 30)]
    TooLarge {
        /// The name as the helper sees it.
        name: String,
    },
    /// Two readings of the same state gave two hashes.
    #[error("a program that the git configuration names for diffs prints something else each time")]
    Unsteady,
    /// The index cannot be copied aside.
    #[error("cannot copy the index to a scratch directory")]
    Scratch(#[source] std::io::Error),
    /// The index cannot be read.
    #[error("cannot read the index {}", path.display())]
    Index {
        /// Its file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// There is no commit to start from.
    #[error("this repository has no commit yet")]
    NoCommit,
}

/// Why there is no tree or content id for a state.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// Git itself refused or failed: an unreadable file, a pipe in place of a file, a corrupt index.
    #[error(transparent)]
    Git(#[from] GitError),
    /// The directory has no worktree: a bare repository, or inside `.git`.
    #[error("this operation must be run in a work tree")]
    NoWorkTree,
    /// No scratch directory could be made.
    #[error("cannot make a scratch directory")]
    Scratch(#[source] std::io::Error),
    /// Git printed something that is not an object id.
    #[error("git printed something that is no object id")]
    NotAnObjectId,
    /// A sparse checkout hides every file, as `git add -A :/` finds too (git 2.47).
    #[error("nothing is checked out: the sparse checkout hides every file")]
    NothingCheckedOut,
    /// A file is larger than is read.
    #[error("{path:?} is larger than {} GiB, which is more than is read", FILE_LIMIT >> 30)]
    TooLarge {
        /// The file.
        path: String,
    },
    /// Files changed while they were read.
    #[error("files changed while they were read")]
    Torn,
    /// Nested repositories contain each other too deeply.
    #[error("nested repositories are more than {DEPTH_LIMIT} deep")]
    TooDeep,
}

impl ReadError {
    /// Returns what a failure says of the worktree.
    pub(super) fn of(root: &Path, error: TreeError) -> Self {
        match error {
            TreeError::Torn => Self::Torn,
            TreeError::Git(GitError::Failed { message, .. }) if is_of_moving_file(&message) => {
                Self::Torn
            }
            TreeError::NoWorkTree => Self::Gone(root.to_owned()),
            TreeError::Git(GitError::Failed { .. } | GitError::Io { .. })
                if !root.join(".git").exists() =>
            {
                Self::Gone(root.to_owned())
            }
            other => Self::Tree(other),
        }
    }
}

/// Returns whether git failed at a file that shrank or went while it was read: it maps larger ones (object-file.c, git 2.47).
fn is_of_moving_file(message: &str) -> bool {
    let is_short = ["short read while indexing", "read error while indexing"];
    message.contains("(SIGBUS)")
        || is_short.iter().any(|text| message.contains(text))
        || message.starts_with("open(\"") && message.ends_with("No such file or directory")
}
