//! HEAD's commit and tree.
//!
//! Knows no branch, and remembers nothing.

use super::object::Format;
use crate::git::Git;
use crate::ids::ObjectId;

/// Both as git names them, and in which format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) commit: String,
    pub(super) tree: String,
    pub(super) format: Format,
}

impl Head {
    /// Returns it as git named the two; `None` where that is no object id.
    pub(super) fn of(commit: &str, tree: &str) -> Option<Self> {
        Some(Self {
            format: Format::of(commit)?,
            commit: commit.to_owned(),
            tree: tree.to_owned(),
        })
    }
}

/// Returns HEAD's commit and tree, `None` before the first commit.
pub(super) fn commit_and_tree(git: &Git) -> Option<(ObjectId, ObjectId)> {
    let output = git
        .run(&["rev-parse", "HEAD^{commit}", "HEAD^{tree}"])
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let mut ids = text.lines().map(str::parse);
    Some((ids.next()?.ok()?, ids.next()?.ok()?))
}
