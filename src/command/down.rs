//! `tracemark down`: takes back everything that `up` did for this repository.

use std::path::Path;

use super::{Context, answer, here};
use crate::cli::DownArgs;
use crate::error::{Failure, FailureKind};
use crate::fs_util::PathError;
use crate::ledger::Ledger;
use crate::registry::Record;
use crate::repository::Worktree;
use crate::snapshot::Snapshots;
use crate::{exclude, hooks};

pub(super) fn run(context: &Context, arguments: &DownArgs) -> Result<(), Failure> {
    let worktree = here()?;
    let registry = context.registry();
    let Some(mut record) = registry.find(&worktree.common_dir)? else {
        return Err(Failure::new(
            FailureKind::NotTracked,
            &format!("{} is not tracked", worktree.root.display()),
        )
        .hint("tracemark status"));
    };
    let (leaving, staying): (Vec<_>, Vec<_>) = record
        .worktrees()?
        .into_iter()
        .partition(|one| !arguments.only_this || *one == worktree);
    if staying.is_empty() {
        hooks::remove(&worktree.common_dir).map_err(hook_failure)?;
        if record.excluded {
            exclude::remove(&worktree.common_dir)?;
        }
        registry.remove(&worktree.common_dir)?;
    } else {
        record.only = staying.iter().map(|one| one.root.clone()).collect();
        registry.write(&record)?;
    }
    tell_daemon(context, &worktree, &record);
    for one in &leaving {
        remove_dir(&one.private_dir(), &Snapshots::place(&one.common_dir))?;
        crate::env_file::remove_copy(&one.root)?;
    }
    forgive(context, &leaving);
    answer(&format!(
        "{} is no longer tracked: hooks, env file and excludes are taken back; LoggedModels and traces stay in the store, snapshots in .git/tracemark/snapshots\n",
        worktree.root.display()
    ))
}

/// Nothing is made in the store any more for what is no longer tracked.
fn forgive(context: &Context, leaving: &[Worktree]) {
    let forgiven = Ledger::open(&context.paths.ledger()).and_then(|ledger| {
        leaving
            .iter()
            .try_for_each(|one| ledger.forgive(&one.root.to_string_lossy()))
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

/// Removes a directory, all but what lies at `kept`: the only copy of code that traces refer to.
fn remove_dir(dir: &Path, kept: &Path) -> Result<(), Failure> {
    let is_gone = |error: &std::io::Error| error.kind() == std::io::ErrorKind::NotFound;
    if !kept.starts_with(dir) || !kept.exists() {
        return match std::fs::remove_dir_all(dir) {
            Err(error) if !is_gone(&error) => Err(PathError::of("remove", dir)(error).into()),
            _ => Ok(()),
        };
    }
    let entries = std::fs::read_dir(dir).map_err(PathError::of("read", dir))?;
    for path in entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path != kept)
    {
        let removed = if path.is_dir() && !path.is_symlink() {
            std::fs::remove_dir_all(&path)
        } else {
            std::fs::remove_file(&path)
        };
        match removed {
            Err(error) if !is_gone(&error) => {
                return Err(PathError::of("remove", &path)(error).into());
            }
            _ => {}
        }
    }
    Ok(())
}

pub(super) fn hook_failure(error: hooks::HookError) -> Failure {
    match error {
        hooks::HookError::Path(error) => error.into(),
        hooks::HookError::Git(error) => error.into(),
    }
}
