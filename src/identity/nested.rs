//! Submodules and other repositories inside a worktree: whether one is there, and what stands for those that are dirty.
//!
//! Reads no file of theirs: `tree` does, a repository at a time.

use std::collections::BTreeMap;
use std::path::Path;

use sha2::{Digest as _, Sha256};

use super::digest::hex;
use crate::git::Git;
use crate::ids::ContentId;

/// How many repositories deep anything looks that reads code.
pub(crate) const DEPTH_LIMIT: usize = 16;

/// The tree without entries, with SHA-1 and with SHA-256 (`git hash-object -t tree /dev/null`, git 2.47).
pub(super) const EMPTY_TREES: [&str; 2] = [
    "4b825dc642cb6eb9a060e54bf8d69288fbee4904",
    "6ef19b41225c5369f1c104d45d8d85efa9b057b53b14b4b9b939dd74decc5321",
];

/// False where `.git` leads nowhere, so that git refuses or answers for a repository around it.
pub(crate) fn is_own_root(git: &Git, dir: &Path) -> bool {
    let top = git.path(&["rev-parse", "--show-toplevel"]);
    match (top.map(|top| top.canonicalize()), dir.canonicalize()) {
        (Ok(Ok(top)), Ok(dir)) => top == dir,
        _ => false,
    }
}

/// Returns whether the repository in `dir` has a commit checked out, so that `git add` takes it.
pub(super) fn has_commit(git: &Git, dir: &Path) -> bool {
    git.in_other_repository(dir)
        .run(&["rev-parse", "-q", "--verify", "HEAD"])
        .is_ok()
}

/// Returns whether the content is that of a directory without files, in either format.
pub(super) fn is_empty_tree(content: &ContentId) -> bool {
    EMPTY_TREES.contains(&content.as_str())
}

/// Hashes `path NUL content LF` for each dirty nested repository, in byte order of the paths.
pub(super) fn nested_digest(dirty: &BTreeMap<Vec<u8>, ContentId>) -> String {
    let mut hasher = Sha256::new();
    for (path, content) in dirty {
        hasher.update(path);
        hasher.update([0]);
        hasher.update(content.as_str());
        hasher.update(b"\n");
    }
    let mut digits = hex(&hasher.finalize());
    digits.truncate(12);
    digits
}
