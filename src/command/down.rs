//! `tracemark down`: takes back everything that `up` did for this repository, wherever it lies by now.

use std::path::Path;

use super::take_back::{self, Snapshot, remove_dir};
use super::{Context, answer, here, purge};
use crate::cli::DownArgs;
use crate::error::{Failure, FailureKind};
use crate::ledger::Ledger;
use crate::registry::{Record, Registry};
use crate::repository::Worktree;
use crate::snapshot::Snapshots;
use crate::written::{self, Entry, Written};

pub(super) fn run(context: &Context, arguments: &DownArgs) -> Result<(), Failure> {
    if arguments.purge {
        return purge::run(context);
    }
    if let Some(dir) = &arguments.path
        && !dir.exists()
    {
        return gone(context, dir);
    }
    let worktree = match &arguments.path {
        Some(dir) => Worktree::discover(dir)?,
        None => here()?,
    };
    let registry = context.registry();
    match registry.find(&worktree.common_dir)? {
        Some(record) if arguments.only_this => one(context, &registry, record, &worktree),
        Some(record) => all(context, &registry, &record, &worktree),
        None => moved(context, &registry, &worktree),
    }
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
    tell_daemon(context, worktree, &record);
    let kept = Snapshots::place(&worktree.common_dir);
    remove_dir(&worktree.private_dir(), Some(&kept))?;
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
    tell_daemon(context, worktree, record);
    let mut entry = list.entry(record);
    take_back::repository(&list, &mut entry, &record.common_dir, Snapshot::Kept)?;
    forgive(context, &roots);
    tell(&worktree.root)
}

/// A repository without a record at its place: one that was moved since `up`, or whose record was lost.
fn moved(context: &Context, registry: &Registry, worktree: &Worktree) -> Result<(), Failure> {
    let common_dir = &worktree.common_dir;
    let list = Written::of(&context.paths);
    let entries = list.entries(registry);
    let known = entries.into_iter().find(|entry| entry.is_at(common_dir));
    let is_ours = written::private_dirs(common_dir)
        .iter()
        .any(|dir| dir.join("env").exists());
    let mut entry = match known {
        Some(entry) => entry,
        None if is_ours => Entry::new(&Record::new(worktree)?),
        None => {
            return Err(Failure::new(
                FailureKind::NotTracked,
                &format!("{} is not tracked", worktree.root.display()),
            )
            .hint("tracemark status"));
        }
    };
    forget(context, registry, &entry)?;
    take_back::repository(&list, &mut entry, common_dir, Snapshot::Kept)?;
    tell(&worktree.root)
}

/// A repository that is no longer on the disk: what is kept of it elsewhere goes.
fn gone(context: &Context, dir: &Path) -> Result<(), Failure> {
    let registry = context.registry();
    let list = Written::of(&context.paths);
    let dir = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
    let is_it = |entry: &Entry| {
        entry.roots.contains(&dir)
            || entry.common_dir == dir
            || entry.common_dir == dir.join(".git")
    };
    let Some(entry) = list.entries(&registry).into_iter().find(is_it) else {
        let message = format!("{} is not tracked", dir.display());
        return Err(Failure::new(FailureKind::NotTracked, &message).hint("tracemark status"));
    };
    forget(context, &registry, &entry)?;
    list.remove(&entry)?;
    tell(&dir)
}

fn forget(context: &Context, registry: &Registry, entry: &Entry) -> Result<(), Failure> {
    registry.remove(&entry.common_dir)?;
    for root in &entry.roots {
        if let Err(error) = context.client().untrack(root) {
            tracing::debug!(%error, root = %root.display(), "the daemon was not told");
        }
    }
    let roots: Vec<_> = entry.roots.iter().cloned().collect();
    forgive(context, &roots);
    Ok(())
}

fn tell(root: &Path) -> Result<(), Failure> {
    answer(&format!(
        "{} is no longer tracked: hooks, env file and excludes are taken back; LoggedModels and traces stay in the store, snapshots in .git/tracemark/snapshots\n",
        crate::fs_util::printable(&root.to_string_lossy())
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

/// A daemon that does not run has nothing to forget.
fn tell_daemon(context: &Context, worktree: &Worktree, record: &Record) {
    if let Err(error) = context.client().untrack(&worktree.root) {
        tracing::debug!(%error, repository = %record.common_dir.display(), "the daemon was not told");
    }
}
