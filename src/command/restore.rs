//! `tracemark restore`: the exact code of a version in a new directory.
//!
//! Never writes into a directory that exists, nor inside a worktree of the repository. Asks no daemon.

use std::path::{Component, Path};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::code::not_kept;
use super::versions::Versions;
use super::{Context, answer, warn};
use crate::cli::RestoreArgs;
use crate::error::{Failure, FailureKind};
use crate::repository::Worktree;
use crate::snapshot::{Record, RestoreError, Restored, Snapshots};
use crate::text::{printable, shell_quoted};

pub(super) fn run(context: &Context, arguments: &RestoreArgs) -> Result<(), Failure> {
    let dir = std::path::absolute(&arguments.dir).map_err(|error| {
        Failure::new(
            FailureKind::Usage,
            &format!("{}: {error}", arguments.dir.display()),
        )
        .hint("name a new directory")
    })?;
    refuse_detour(&dir)?;
    let versions = Versions::here(context)?;
    refuse_inside(&versions.worktree, &dir)?;
    let version = versions.find(context, &arguments.id)?;
    let root = &versions.worktree.root;
    let stop = stop_on_signals();
    let (record, restored) = match (&version.record, &version.committed) {
        (Some(record), _) => {
            let snapshots = &versions.snapshots;
            let restored = snapshots.restore(record, root, &dir, arguments.plain, &stop);
            (record.clone(), restored)
        }
        (None, Some(committed)) => {
            let record = committed.record(root)?;
            let restored =
                Snapshots::restore_committed(&record, root, &dir, arguments.plain, &stop);
            (record, restored)
        }
        (None, None) => return Err(not_kept(&arguments.id)),
    };
    let restored = restored.map_err(|error| failure(error, &dir))?;
    answer(&text(&record, &restored, arguments))?;
    let absent = restored.left_out.iter().filter(|file| file.is_absent());
    let absent = absent.count();
    let show = format!("tracemark show {}", shell_quoted(&arguments.id));
    if absent > 0 {
        warn(
            &format!("{absent} files were not kept and are not there"),
            &show,
        );
    }
    let converted = restored.left_out.len() - absent;
    if converted > 0 {
        let what = "are as git stores them: their bytes on the disk were not seen";
        warn(&format!("{converted} files {what}"), &show);
    }
    Ok(())
}

/// What was written so far is taken back before the command ends.
fn stop_on_signals() -> Arc<AtomicBool> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGHUP, SIGINT, SIGTERM] {
        if let Err(error) = signal_hook::flag::register(signal, Arc::clone(&stop)) {
            tracing::debug!(%error, "this signal ends at once");
        }
    }
    stop
}

/// Where `..` of what does not exist leads is not known before it is made.
fn refuse_detour(dir: &Path) -> Result<(), Failure> {
    let is_there = |above: &&Path| above.exists();
    let existing = dir.ancestors().find(is_there).unwrap_or(dir);
    let rest = dir.strip_prefix(existing).unwrap_or(dir);
    if !rest.components().any(|part| part == Component::ParentDir) {
        return Ok(());
    }
    let message = format!(
        "{} goes through a directory that does not exist",
        dir.display()
    );
    Err(Failure::new(FailureKind::Usage, &message).hint("name it without .."))
}

/// What lies in a worktree of the repository would be a change of its code.
fn refuse_inside(worktree: &Worktree, dir: &Path) -> Result<(), Failure> {
    let above = dir
        .ancestors()
        .skip(1)
        .find_map(|above| above.canonicalize().ok());
    let inside = above.filter(|above| {
        let worktrees = Worktree::all(&worktree.common_dir).unwrap_or_default();
        let mut roots = worktrees.iter().chain([worktree]);
        roots.any(|one| above.starts_with(&one.root)) || above.starts_with(&worktree.common_dir)
    });
    match inside {
        None => Ok(()),
        Some(_) => Err(Failure::new(
            FailureKind::Negative,
            &format!(
                "{} lies inside a worktree of this repository",
                dir.display()
            ),
        )
        .hint("name a new directory beside it, such as ../restored")),
    }
}

fn failure(error: RestoreError, dir: &Path) -> Failure {
    let message = error.to_string();
    match error {
        RestoreError::Exists(_) => Failure::new(FailureKind::Negative, &message).hint(&format!(
            "name a directory that does not exist, such as {}-2",
            shell_quoted(&dir.to_string_lossy())
        )),
        RestoreError::Registered(_) => Failure::new(FailureKind::Negative, &message)
            .hint("git worktree prune, or name another directory"),
        RestoreError::Wrong { .. } => {
            Failure::new(FailureKind::Negative, &message).hint("tracemark log")
        }
        RestoreError::Snapshot(error) => error.into(),
        RestoreError::Path(error) => error.into(),
    }
}

fn text(record: &Record, restored: &Restored, arguments: &RestoreArgs) -> String {
    let short = |head: &String| head.get(..12).unwrap_or(head).to_owned();
    let head = record.head.as_ref().map(short);
    let kind = match (&head, restored.linked) {
        (Some(head), true) => format!("a linked worktree, HEAD detached at {head}"),
        (Some(head), false) if arguments.plain => {
            format!("plain files, as they lay on top of commit {head}")
        }
        (Some(head), false) => {
            format!("plain files, as its commit {head} is gone from this repository")
        }
        (None, _) => "plain files; there was no commit yet".to_owned(),
    };
    let mut text = printable(&format!(
        "{}: {kind}, {} files compared byte for byte",
        arguments.dir.display(),
        restored.files
    ));
    text.push('\n');
    if record.worktree.is_empty() {
        text +=
            "  no snapshot holds it: the bytes are those that git stores, before any conversion\n";
    }
    for inside in &record.inside {
        let head = inside
            .head
            .as_ref()
            .map_or_else(String::new, |head| format!(" of {}", short(head)));
        text += &printable(&format!(
            "  {}: the files{head}, without a repository",
            inside.path
        ));
        text += "\n";
    }
    if restored.linked && !record.inside.is_empty() {
        text +=
            "  git status says nothing of what was changed in a submodule: it is in its files\n";
    }
    text
}
