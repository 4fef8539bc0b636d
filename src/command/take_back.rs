//! Taking back what was written in one repository: blocks in hooks and `info/exclude`, our own directories, copies of
//! the env file.
//!
//! Asks git nothing about the repository, so that one that was moved, or that git refuses, is cleaned all the same.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::up::check_owner;
use super::{Context, warn};
use crate::env_file;
use crate::error::{Failure, FailureKind};
use crate::exclude;
use crate::fs_util::PathError;
use crate::hooks;
use crate::registry::Record;
use crate::repository::{self, Worktree};
use crate::snapshot::Snapshots;
use crate::written::{Entry, Written};

/// How often a directory is removed into which somebody writes, and the pause between two tries.
const TRIES_MAX: u32 = 50;
/// See [`TRIES_MAX`].
const PAUSE: Duration = Duration::from_millis(20);
/// How many directories are looked into for a repository that was moved.
const LOOKS_MAX: usize = 5_000;
/// How deep below the directory that held it a repository that was moved is looked for.
const DEPTH_MAX: usize = 2;

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
    hooks::remove(common_dir, &hook_dirs).map_err(hook_failure)?;
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

/// Removes a directory, all but what lies at `kept`; a link in its place is removed, not followed.
pub(super) fn remove_dir(dir: &Path, kept: Option<&Path>) -> Result<(), Failure> {
    let kept = kept.filter(|kept| kept.starts_with(dir) && kept.exists());
    if kept.is_none() {
        return remove(dir);
    }
    empty_dir(dir, kept)
}

/// Removes what lies in a directory, all but what lies at `kept`.
pub(super) fn empty_dir(dir: &Path, kept: Option<&Path>) -> Result<(), Failure> {
    let entries = std::fs::read_dir(dir).map_err(PathError::of("read", dir))?;
    let others = entries.flatten().map(|entry| entry.path());
    others
        .filter(|path| Some(path.as_path()) != kept)
        .try_for_each(|path| remove(&path))
}

/// Removes a file or a whole directory; one that is not there is as good as removed.
pub(super) fn remove(path: &Path) -> Result<(), Failure> {
    let is_dir = path.symlink_metadata().is_ok_and(|found| found.is_dir());
    let removed = if is_dir {
        remove_whole(path)
    } else {
        std::fs::remove_file(path)
    };
    match removed {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(PathError::of("remove", path)(error).into())
        }
        _ => Ok(()),
    }
}

/// Somebody who still writes there, the last act of a daemon or a hook, makes a removal fail.
fn remove_whole(dir: &Path) -> std::io::Result<()> {
    let mut tries = TRIES_MAX;
    loop {
        tries -= 1;
        match std::fs::remove_dir_all(dir) {
            Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty && tries > 0 => {
                std::thread::sleep(PAUSE);
            }
            done => return done,
        }
    }
}

/// Returns where the repository of an entry lies now: where it was, else around the current directory, else near where it
/// was. `None` when it is nowhere there.
pub(super) fn place_of(entry: &Entry, here: Option<&Path>) -> Option<PathBuf> {
    if entry.is_at(&entry.common_dir) {
        return Some(entry.common_dir.clone());
    }
    if let Some(here) = here.filter(|here| entry.is_at(here)) {
        return Some(here.to_owned());
    }
    let old_root = entry.common_dir.parent()?;
    let around = old_root.ancestors().skip(1).find(|dir| dir.is_dir())?;
    let mut looks = LOOKS_MAX;
    search(entry, around, DEPTH_MAX, &mut looks)
}

fn search(entry: &Entry, dir: &Path, depth: usize, looks: &mut usize) -> Option<PathBuf> {
    let subdirs: Vec<PathBuf> = std::fs::read_dir(dir)
        .ok()?
        .flatten()
        .filter(|found| found.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|found| found.path())
        .take(*looks)
        .collect();
    *looks = looks.saturating_sub(subdirs.len());
    let candidates = subdirs
        .iter()
        .flat_map(|dir| [dir.clone(), dir.join(".git")]);
    let found = candidates.into_iter().find(|dir| entry.is_at(dir));
    if found.is_some() || depth == 0 {
        return found;
    }
    subdirs
        .iter()
        .find_map(|dir| search(entry, dir, depth - 1, looks))
}

pub(super) fn hook_failure(error: hooks::HookError) -> Failure {
    match error {
        hooks::HookError::Path(error) => error.into(),
        hooks::HookError::Git(error) => error.into(),
    }
}
