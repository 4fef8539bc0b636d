//! Why a pass gives no reading. Knows nothing of what is done about it.

use crate::git::GitError;
use crate::identity::file_content::ContentError;
use crate::identity::{GitHashError, TreeError};

/// Why a reading has no git-hash where none was wanted.
pub(in crate::identity) const NOT_WANTED: &str = "the git-hash was not asked for";

/// Why a pass gave no reading.
pub(in crate::identity) enum Stop {
    /// Files changed meanwhile.
    Torn,
    /// This state is better read from scratch.
    NotPlain,
}

impl From<GitError> for Stop {
    fn from(_: GitError) -> Self {
        Self::NotPlain
    }
}

impl From<GitHashError> for Stop {
    fn from(_: GitHashError) -> Self {
        Self::NotPlain
    }
}

impl From<TreeError> for Stop {
    fn from(error: TreeError) -> Self {
        match error {
            TreeError::Torn => Self::Torn,
            _ => Self::NotPlain,
        }
    }
}

impl From<std::io::Error> for Stop {
    fn from(_: std::io::Error) -> Self {
        Self::NotPlain
    }
}

impl From<ContentError> for Stop {
    fn from(error: ContentError) -> Self {
        match error {
            ContentError::Torn => Self::Torn,
            ContentError::NotAFile | ContentError::TooLarge | ContentError::Io(_) => Self::NotPlain,
        }
    }
}
