//! `tracemark down`: takes back everything that `up` did for this repository, wherever it lies by now.
//!
//! Leaves what is in the store, and the snapshots, which may be the only copy of code; `purge` alone removes those.

use std::path::{Path, PathBuf};

use super::moved::place_of;
use super::owner::check_owner;
use super::removal::remove_dir;
use super::take_back::{self, Snapshot};
use super::{Context, answer, here, purge, untrack};
use crate::cli::DownArgs;
use crate::error::{Failure, FailureKind};
use crate::ledger::Ledger;
use crate::registry::{Record, Registry};
use crate::repository::{self, Worktree};
use crate::snapshot::Snapshots;
use crate::written::{Entry, Written};

pub(super) fn run(context: &Context, arguments: &DownArgs) -> Result<(), Failure> {
    if arguments.purge {
        return purge::run(context);
    }
    let worktree = match worktree(arguments) {
        Ok(worktree) => worktree,
        Err(failure) => return without_repository(context, arguments, failure),
    };
    check_owner(&worktree)?;
    let registry = context.registry();
    match registry.find(&worktree.common_dir)? {
        Some(record) if arguments.only_this => one(context, &registry, record, &worktree),
        Some(record) => all(context, &registry, &record, &worktree),
        None => moved(context, &registry, &worktree),
    }
}

fn worktree(arguments: &DownArgs) -> Result<Worktree, Failure> {
    match &arguments.path {
        Some(dir) => Ok(Worktree::discover(dir)?),
        None => here(),
    }
}

/// A directory that is gone, or whose `.git` is.
fn without_repository(
    context: &Context,
    arguments: &DownArgs,
    failure: Failure,
) -> Result<(), Failure> {
    let cwd = std::env::current_dir().ok();
    let Some(dir) = arguments.path.clone().or(cwd) else {
        return Err(failure);
    };
    let outcome = gone(context, &dir, arguments.only_this);
    let is_unknown = outcome
        .as_ref()
        .is_err_and(|error| error.kind == FailureKind::NotTracked);
    if is_unknown && dir.exists() {
        return Err(failure);
    }
    outcome
}

/// This worktree alone, as long as others stay.
fn one(
    context: &Context,
    registry: &Registry,
    mut record: Record,
    worktree: &Worktree,
) -> Result<(), Failure> {
    let staying = record
        .worktrees()?
        .into_iter()
        .filter(|one| one != worktree);
    let staying: Vec<_> = staying.map(|one| one.root).collect();
    if staying.is_empty() {
        return all(context, registry, &record, worktree);
    }
    record.only = staying;
    registry.write(&record)?;
    untrack(context, &worktree.root);
    let kept = Snapshots::place(&worktree.common_dir);
    remove_dir(&worktree.private_dir(), Some(&kept))?;
    if worktree.scratch_dir() != worktree.private_dir() {
        remove_dir(&worktree.scratch_dir(), None)?;
    }
    crate::env_file::remove_copy(&worktree.root)?;
    forgive(context, std::slice::from_ref(&worktree.root));
    tell(&worktree.root)
}

fn all(
    context: &Context,
    registry: &Registry,
    record: &Record,
    worktree: &Worktree,
) -> Result<(), Failure> {
    let list = Written::of(&context.paths);
    let leaving = record.worktrees().unwrap_or_default();
    let roots: Vec<_> = leaving.into_iter().map(|one| one.root).collect();
    registry.remove(&record.common_dir)?;
    untrack(context, &worktree.root);
    let mut entry = list.entry(record);
    take_back::repository(&list, &mut entry, &record.common_dir, Snapshot::Kept)?;
    forgive(context, &roots);
    let others = roots.iter().filter(|root| **root != worktree.root).count();
    tell_of(&worktree.root, others)
}

/// A repository without a record at its place: one that was moved since `up`, or whose record was lost.
fn moved(context: &Context, registry: &Registry, worktree: &Worktree) -> Result<(), Failure> {
    let common_dir = &worktree.common_dir;
    let list = Written::of(&context.paths);
    let mut entries = list.entries(registry).into_iter();
    let mut entry = if let Some(entry) = entries.find(|entry| entry.is_at(common_dir)) {
        entry
    } else {
        let Some(found) = take_back::unlisted(context, worktree)? else {
            return Err(not_tracked(&worktree.root));
        };
        if let Some(old) = &found.old {
            forget(context, registry, old)?;
            list.remove(old)?;
        }
        found.entry
    };
    forget(context, registry, &entry)?;
    take_back::repository(&list, &mut entry, common_dir, Snapshot::Kept)?;
    tell(&worktree.root)
}

fn not_tracked(dir: &Path) -> Failure {
    let message = format!("{} is not tracked", dir.display());
    Failure::new(FailureKind::NotTracked, &message).hint("tracemark status")
}

/// A worktree that is no longer on the disk: what is kept of its repository elsewhere goes, and what was written in the
/// repository where that is still there.
fn gone(context: &Context, dir: &Path, only_this: bool) -> Result<(), Failure> {
    let registry = context.registry();
    let list = Written::of(&context.paths);
    let names = names_of(dir);
    let is_it = |entry: &Entry| {
        // Git refuses it, and it is there all the same.
        if dir.exists() && entry.is_at(&entry.common_dir) && entry.common_dir.starts_with(dir) {
            return false;
        }
        let listed = repository::roots_on_disk(&entry.common_dir);
        if repository::repository_named_in(dir).as_ref() == Some(&entry.common_dir) {
            return true;
        }
        names.iter().any(|dir| {
            let is_main = entry.common_dir == *dir || entry.common_dir == dir.join(".git");
            is_main || entry.roots.contains(dir) || listed.contains(dir)
        })
    };
    let Some(mut entry) = list.entries(&registry).into_iter().find(is_it) else {
        return Err(not_tracked(dir));
    };
    let place = place_of(&entry, None);
    if let Some(place) = place.as_ref().filter(|_| only_this)
        && others_stay(context, &registry, place, &names)?
    {
        return tell(dir);
    }
    forget(context, &registry, &entry)?;
    match place {
        Some(place) => take_back::repository(&list, &mut entry, &place, Snapshot::Kept)?,
        None => list.remove(&entry)?,
    }
    tell(dir)
}

/// How git may have called a directory that is gone: without links in what is left of its path.
fn names_of(dir: &Path) -> Vec<PathBuf> {
    let dir = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
    let real = dir.ancestors().skip(1).find_map(|around| {
        let inside = dir.strip_prefix(around).ok()?;
        Some(around.canonicalize().ok()?.join(inside))
    });
    [dir.clone()].into_iter().chain(real).collect()
}

/// Gives up worktrees that are gone, as long as the record covers others that are there.
fn others_stay(
    context: &Context,
    registry: &Registry,
    common_dir: &Path,
    gone: &[PathBuf],
) -> Result<bool, Failure> {
    let Some(mut record) = registry.find(common_dir)? else {
        return Ok(false);
    };
    if record.worktrees()?.is_empty() {
        return Ok(false);
    }
    record.only.retain(|root| !gone.contains(root));
    registry.write(&record)?;
    for root in gone {
        untrack(context, root);
    }
    forgive(context, gone);
    Ok(true)
}

fn forget(context: &Context, registry: &Registry, entry: &Entry) -> Result<(), Failure> {
    registry.remove(&entry.common_dir)?;
    for root in &entry.roots {
        untrack(context, root);
    }
    let roots: Vec<_> = entry.roots.iter().cloned().collect();
    forgive(context, &roots);
    Ok(())
}

fn tell(root: &Path) -> Result<(), Failure> {
    tell_of(root, 0)
}

fn tell_of(root: &Path, others: usize) -> Result<(), Failure> {
    let root = crate::text::printable(&root.to_string_lossy());
    let who = match others {
        0 => format!("{root} is"),
        1 => format!("{root} and the other worktree of its repository are"),
        many => format!("{root} and the {many} other worktrees of its repository are"),
    };
    answer(&format!(
        "{who} no longer tracked: hooks, env file and excludes are taken back; LoggedModels and traces stay in the store, snapshots in .git/tracemark/snapshots\n"
    ))
}

/// Nothing is made in the store any more for what is no longer tracked.
fn forgive(context: &Context, roots: &[std::path::PathBuf]) {
    let file = context.paths.ledger();
    if !file.exists() {
        return;
    }
    let forgiven = Ledger::open(&file).and_then(|ledger| {
        roots
            .iter()
            .try_for_each(|root| ledger.forgive(&root.to_string_lossy()))
    });
    if let Err(error) = forgiven {
        tracing::warn!(%error, "the ledger cannot be written");
    }
}
