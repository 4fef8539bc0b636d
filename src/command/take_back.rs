//! Taking back what was written in one repository: blocks in hooks and `info/exclude`, our own directories, copies of
//! the env file.
//!
//! Asks git nothing about the repository, so that one that was moved, or that git refuses, is cleaned all the same.

use std::collections::BTreeSet;
use std::path::Path;

use super::owner::check_owner;
use super::removal::remove_dir;
use super::{Context, warn};
use crate::env_file;
use crate::error::{Failure, FailureKind};
use crate::exclude;
use crate::hooks;
use crate::registry::Record;
use crate::repository::{self, Worktree};
use crate::snapshot::Snapshots;
use crate::written::{Entry, Written};

/// What stays of our own directory in a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Snapshot {
    /// The snapshots: the only copy of code that traces refer to.
    Kept,
    /// Nothing.
    Removed,
}

/// Takes everything back in the repository whose common git directory lies at `common_dir` now, and notes in the list
/// what is left.
pub(super) fn repository(
    list: &Written,
    entry: &mut Entry,
    common_dir: &Path,
    snapshots: Snapshot,
) -> Result<(), Failure> {
    let hook_dirs = entry.hook_dirs(common_dir);
    hooks::remove(common_dir, &hook_dirs)?;
    exclude::remove(common_dir)?;
    let half = hooks::with_half_a_block(common_dir, &hook_dirs).into_iter();
    let exclude = exclude::is_half(common_dir).then(|| exclude::file(common_dir));
    for file in half.chain(exclude) {
        warn(
            &format!(
                "{} holds a block of tracemark's whose end is gone, and stays as it is",
                file.display()
            ),
            "take out by hand what follows the line # >>> tracemark >>>",
        );
    }
    let kept = (snapshots == Snapshot::Kept).then(|| Snapshots::place(common_dir));
    for dir in repository::private_dirs(common_dir) {
        remove_dir(&dir, kept.as_deref())?;
    }
    let roots = repository::roots_on_disk(common_dir);
    for root in entry.roots.iter().chain(&roots).collect::<BTreeSet<_>>() {
        env_file::remove_copy(root)?;
    }
    entry.settle(common_dir)?;
    if kept.is_some_and(|kept| kept.exists()) {
        list.write(entry)?;
    } else {
        list.remove(entry)?;
    }
    Ok(())
}

/// A repository that the list does not know in its place.
pub(super) struct Unlisted {
    /// What was written in it.
    pub(super) entry: Entry,
    /// What the list may say of the place where it was, and where nothing is left.
    pub(super) old: Option<Entry>,
}

/// Returns what a repository itself says: one that was moved to another disk, or copied, or whose entry was lost. `None`
/// where it bears nothing of ours. One that is tracked from another home is left to that.
pub(super) fn unlisted(
    context: &Context,
    worktree: &Worktree,
) -> Result<Option<Unlisted>, Failure> {
    if repository::private_dirs(&worktree.common_dir).is_empty() {
        return Ok(None);
    }
    check_owner(worktree)?;
    let record = Record::new(worktree)?;
    let carried = Entry::carried(&worktree.common_dir);
    if let Some(state) = carried
        .as_ref()
        .and_then(|entry| entry.other_instance(&context.paths))
    {
        let root = worktree.root.display();
        let message = format!(
            "{root} is tracked from another home: what is kept of it lies in {}",
            state.display()
        );
        return Err(Failure::new(FailureKind::NotTracked, &message).hint("the same with that HOME"));
    }
    Ok(Some(match carried {
        Some(carried) => Unlisted {
            old: Some(carried.clone()).filter(|entry| !entry.is_at(&entry.common_dir)),
            entry: carried.moved_to(&record),
        },
        None => Unlisted {
            entry: Entry::new(&record),
            old: None,
        },
    }))
}
