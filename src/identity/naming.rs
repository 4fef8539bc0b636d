//! The names of LoggedModels: which there are, and which a reading has.
//!
//! Pure.

use sha2::{Digest as _, Sha256};

use super::GitHashError;
use super::{Reading, digest};
use crate::ids::{ContentId, ObjectId, is_refused_in_name};

/// How a LoggedModel is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Naming {
    /// Exactly the git-hash, as the appendix of MLflow's guide uses it.
    #[default]
    GitHash,
    /// `{app}-git-{8 hex}`, as step 2 of the guide; uncommitted changes belong to their commit's version.
    Commit,
    /// `{app}-tree-{12 hex}` of the content: the same code has the same name, committed or not.
    Tree,
}

impl Naming {
    /// Returns the word used in configuration, flags and tags.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::GitHash => "git-hash",
            Self::Commit => "commit",
            Self::Tree => "tree",
        }
    }
}

impl std::str::FromStr for Naming {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "git-hash" => Ok(Self::GitHash),
            "commit" => Ok(Self::Commit),
            "tree" => Ok(Self::Tree),
            other => Err(format!(
                "naming {other:?} is none of git-hash, commit, tree"
            )),
        }
    }
}

/// Returns the name of the LoggedModel of a state, and why it is not the one asked for where it cannot be.
pub fn model_name(naming: Naming, app: &str, reading: &Reading) -> (String, Option<String>) {
    let by_content = || tree_name(app, &reading.content);
    match (naming, &reading.git_hash, &reading.head) {
        (Naming::GitHash, Ok(text), _) => (text.clone(), None),
        (Naming::GitHash, Err(reason), _) => (by_content(), Some(reason.clone())),
        (Naming::Commit, _, Some(head)) => (commit_name(app, head), None),
        (Naming::Commit, _, None) => (by_content(), Some(GitHashError::NoCommit.to_string())),
        (Naming::Tree, _, _) => (by_content(), None),
    }
}

/// Returns `{app}-git-{8 hex}`, the name that step 2 of MLflow's guide gives.
pub fn commit_name(app: &str, head: &ObjectId) -> String {
    format!("{app}-git-{}", head.short(8))
}

/// Returns `{app}-tree-{12 hex}`: of the tree id or, where something nested is dirty, of the content id's SHA-256.
pub fn tree_name(app: &str, content: &ContentId) -> String {
    let text = content.as_str();
    let digits = if text.contains('+') {
        digest::hex(&Sha256::digest(text))
    } else {
        text.to_owned()
    };
    format!("{app}-tree-{}", digits.get(..12).unwrap_or(&digits))
}

/// Replaces what may not be in a name by `-`.
pub fn sanitize_app(app: &str) -> String {
    app.trim()
        .chars()
        .map(|c| if is_refused_in_name(c) { '-' } else { c })
        .collect()
}
