//! Worktrees that come and go beside one that is tracked: `git worktree add` and `remove`, whoever runs them.
//!
//! Keeps no list of them: each look reads `.git/worktrees` anew, and changes nothing there.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::load::{Catalog, Loaded};
use crate::repository::{Worktree, linked, root_of};
use crate::touched::Touched;

/// How long git may take to make a worktree before it is looked at as it is.
const MAKING_MAX: Duration = Duration::from_secs(10);
/// The pause between two looks.
const PAUSE: Duration = Duration::from_millis(20);
/// What git writes into the lock of a worktree that it is making (builtin/worktree.c).
const MAKING: &str = "initializing";

/// Whether a worktree may have come or gone beside this one.
pub(super) fn may_differ(worktree: &Worktree, touched: &Touched) -> bool {
    let Touched::Paths(paths) = touched else {
        return true;
    };
    let mut inside = paths
        .iter()
        .filter_map(|path| path.strip_prefix(&worktree.common_dir).ok());
    inside.any(|inside| inside.starts_with("worktrees") && inside.components().count() <= 2)
}

/// Whether git has given up a linked worktree, or moved it.
pub(super) fn is_gone(worktree: &Worktree) -> bool {
    !worktree.is_main() && real_root_of(&worktree.git_dir).as_ref() != Some(&worktree.root)
}

/// Returns the worktrees of a repository that are tracked and not among those `known` by their roots, once git has made
/// them.
pub(super) fn new_ones(catalog: &Catalog, common_dir: &Path, known: &[PathBuf]) -> Vec<Loaded> {
    let Ok(Some(record)) = catalog.registry.find(common_dir) else {
        return Vec::new();
    };
    let deadline = Instant::now() + MAKING_MAX;
    while Instant::now() < deadline && linked(common_dir).any(|dir| is_made_now(&dir)) {
        std::thread::sleep(PAUSE);
    }
    linked(common_dir)
        .filter_map(|git_dir| real_root_of(&git_dir))
        .filter(|root| !known.contains(root) && root.join(".git").exists())
        .filter_map(|root| Worktree::discover(&root).ok())
        // Where directories were moved by hand, the two do not name each other.
        .filter(|worktree| record.covers(worktree) && !is_gone(worktree))
        .map(|worktree| catalog.load(worktree, &record))
        .collect()
}

/// One whose maker was killed is as old as its directory.
fn is_made_now(git_dir: &Path) -> bool {
    let modified = git_dir.metadata().and_then(|found| found.modified());
    let age = modified.ok().and_then(|time| time.elapsed().ok());
    if age.is_none_or(|age| age > MAKING_MAX) {
        return false;
    }
    let lock = std::fs::read_to_string(git_dir.join("locked"));
    !git_dir.join("gitdir").exists() || lock.is_ok_and(|why| why.starts_with(MAKING))
}

/// As git finds it: without links on the way.
fn real_root_of(git_dir: &Path) -> Option<PathBuf> {
    let root = root_of(git_dir)?;
    Some(root.canonicalize().unwrap_or(root))
}
