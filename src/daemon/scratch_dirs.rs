//! Where scratch files of linked worktrees go, from the tracking of one until it is given up.
//!
//! Knows no git: a repository that is gone is not made again. Worktrees that are not linked need none.

use std::path::Path;

use crate::repository::Worktree;

/// Makes the scratch directory of a linked worktree, in a repository that is there.
pub(super) fn make(worktree: &Worktree) {
    let dir = worktree.scratch_dir();
    if worktree.private_dir() == dir {
        return;
    }
    let around: Vec<&Path> = dir.ancestors().take(3).collect();
    for dir in around.into_iter().rev() {
        if let Err(error) = std::fs::create_dir(dir) {
            tracing::debug!(%error, dir = %dir.display(), "is there, or passes do without");
        }
    }
}

/// Removes the scratch directory of a linked worktree that was given up.
pub(super) fn remove(worktree: &Worktree) {
    let dir = worktree.scratch_dir();
    if worktree.private_dir() != dir
        && let Err(error) = std::fs::remove_dir_all(&dir)
    {
        tracing::debug!(%error, dir = %dir.display(), "stays behind");
    }
}
