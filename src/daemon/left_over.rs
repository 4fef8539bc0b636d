//! What an earlier daemon left in worktrees, and what this one leaves in those that it gives up: scratch directories go, env
//! files name no model.
//!
//! Asks git nothing, so that it works for a repository that git refuses. Touches nothing but what a daemon wrote.

use std::collections::BTreeSet;

use crate::env_file;
use crate::fs_util::PathError;
use crate::identity::scratch;
use crate::paths::Paths;
use crate::registry::Registry;
use crate::repository::{self, Worktree};
use crate::written::{Entry, Written};

/// Removes what a killed daemon left in the middle of a pass.
pub(super) fn sweep(worktree: &Worktree) {
    let Ok(entries) = std::fs::read_dir(worktree.scratch_dir()) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let is_scratch = name
            .as_encoded_bytes()
            .starts_with(scratch::PREFIX.as_bytes());
        if is_scratch && let Err(error) = std::fs::remove_dir_all(entry.path()) {
            tracing::warn!(%error, path = %entry.path().display(), "a scratch directory stays behind");
        }
    }
}

/// Leaves no env file with an id where a daemon of this instance may have written one, also of repositories whose record
/// cannot be used.
pub(super) fn empty_all_env(registry: &Registry, paths: &Paths) {
    let entries = Written::of(paths).entries(registry).into_iter();
    let is_ours = |entry: &Entry| {
        let carried = Entry::carried(&entry.common_dir);
        carried.is_none_or(|carried| carried.other_instance(paths).is_none())
    };
    let ours = entries.filter(|entry| entry.is_at(&entry.common_dir));
    for entry in ours.filter(is_ours) {
        for dir in repository::private_dirs(&entry.common_dir) {
            tell(env_file::empty(&dir));
        }
        let roots = repository::roots_on_disk(&entry.common_dir);
        for root in entry.roots.iter().chain(&roots).collect::<BTreeSet<_>>() {
            tell(env_file::empty_copy(root));
        }
    }
}

/// Leaves env files that name no model: nobody watches over them for now.
pub(super) fn empty_env(worktree: &Worktree) {
    tell(env_file::empty(&worktree.private_dir()));
    tell(env_file::empty_copy(&worktree.root));
}

fn tell(emptied: Result<(), PathError>) {
    if let Err(error) = emptied {
        tracing::error!(%error, "an env file is not emptied");
    }
}
