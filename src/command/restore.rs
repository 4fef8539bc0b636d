//! `tracemark restore`: the exact code of a version in a new directory.

use std::path::Path;

use super::versions::{Version, Versions};
use super::{Context, answer, warn};
use crate::cli::RestoreArgs;
use crate::error::{Failure, FailureKind};
use crate::fs_util::{printable, shell_quoted};
use crate::repository::Worktree;
use crate::snapshot::{Record, RestoreError, Restored};

pub(super) fn run(context: &Context, arguments: &RestoreArgs) -> Result<(), Failure> {
    let dir = std::path::absolute(&arguments.dir).map_err(|error| {
        Failure::new(
            FailureKind::Usage,
            &format!("{}: {error}", arguments.dir.display()),
        )
        .hint("name a new directory")
    })?;
    let versions = Versions::here(context)?;
    refuse_inside(&versions.worktree, &dir)?;
    let version = versions.find(context, &arguments.id)?;
    let Some(record) = &version.record else {
        return Err(not_kept(&arguments.id, &version, &dir));
    };
    let restored = versions
        .snapshots
        .restore(record, &versions.worktree.root, &dir, arguments.plain)
        .map_err(|error| failure(error, &dir))?;
    answer(&text(record, &restored, &arguments.dir))?;
    if !restored.left_out.is_empty() {
        let count = restored.left_out.len();
        warn(
            &format!("{count} files were not kept and are not there"),
            &format!("tracemark show {}", shell_quoted(&arguments.id)),
        );
    }
    Ok(())
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

fn not_kept(id: &str, version: &Version, dir: &Path) -> Failure {
    if let Some(commit) = &version.commit {
        return Failure::new(
            FailureKind::Negative,
            &format!(
                "no version stands for commit {}",
                commit.get(..12).unwrap_or(commit)
            ),
        )
        .hint(&format!(
            "git worktree add --detach {} {commit}",
            shell_quoted(&dir.to_string_lossy())
        ));
    }
    Failure::new(
        FailureKind::Negative,
        &format!("the code of {id:?} is not kept on this machine"),
    )
    .hint(&format!("tracemark show {}", shell_quoted(id)))
}

fn failure(error: RestoreError, dir: &Path) -> Failure {
    let message = error.to_string();
    match error {
        RestoreError::Exists(_) => Failure::new(FailureKind::Negative, &message).hint(&format!(
            "name a directory that does not exist, such as {}-2",
            shell_quoted(&dir.to_string_lossy())
        )),
        RestoreError::Wrong { .. } => {
            Failure::new(FailureKind::Negative, &message).hint("tracemark log")
        }
        RestoreError::Snapshot(error) => error.into(),
        RestoreError::Path(error) => error.into(),
    }
}

fn text(record: &Record, restored: &Restored, dir: &Path) -> String {
    let short = |head: &String| head.get(..12).unwrap_or(head).to_owned();
    let head = record.head.as_ref().map(short);
    let kind = match (&head, restored.linked) {
        (Some(head), true) => format!("a linked worktree, HEAD detached at {head}"),
        (Some(head), false) => format!("plain files; its commit was {head}"),
        (None, _) => "plain files; there was no commit yet".to_owned(),
    };
    let mut text = format!(
        "{}: {}, {} files compared byte for byte\n",
        dir.display(),
        kind,
        restored.files
    );
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
    text
}
