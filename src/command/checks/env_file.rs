//! Is the env file where it should be, and does it say what the daemon says?
//!
//! Writes none: one that differs is looked at again, for a second at most, as the daemon may be writing it.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Finding, small_text};
use crate::env_file::is_mount_point;
use crate::protocol::WorktreeStatus;
use crate::repository::Worktree;
use crate::text::shell_quoted;

const CHECK: &str = "env_file";
/// How often an env file that differs is looked at again, and the pause between.
const LOOKS: u32 = 10;
const BETWEEN_LOOKS: Duration = Duration::from_millis(100);

/// An env file that cannot be written, or not as a whole.
pub(in crate::command) fn places(worktree: &Worktree) -> Vec<Finding> {
    let file = worktree.env_file();
    let problem = wrong_owner(&worktree.private_dir()).or_else(|| not_writable(&file));
    problem.into_iter().chain(mounted(&file)).collect()
}

/// An env file that says something else than the daemon.
pub(in crate::command) fn text(
    worktree: &Worktree,
    state: Option<&WorktreeStatus>,
    look_again: impl Fn() -> Option<WorktreeStatus>,
) -> Option<Finding> {
    let file = worktree.env_file();
    let is_writable =
        wrong_owner(&worktree.private_dir()).is_none() && not_writable(&file).is_none();
    is_writable
        .then(|| not_written(state).or_else(|| stays_other_id(&file, state, look_again)))
        .flatten()
}

fn wrong_owner(dir: &Path) -> Option<Finding> {
    let (owner, us) = (
        dir.metadata().ok()?.uid(),
        rustix::process::geteuid().as_raw(),
    );
    (owner != us).then(|| {
        let problem = format!(
            "{} belongs to another user (uid {owner}): nothing is written there",
            dir.display()
        );
        let dir = shell_quoted(&dir.to_string_lossy());
        Finding::new(CHECK, &problem, &format!("sudo chown -R {us} {dir}"))
    })
}

fn not_writable(file: &Path) -> Option<Finding> {
    let place = place_not_writable(file)?;
    let problem = format!(
        "{} cannot be written: apps read no id there",
        place.display()
    );
    let cure = format!("check the owner and mode of {}", place.display());
    Some(Finding::new(CHECK, &problem, &cure))
}

fn place_not_writable(file: &Path) -> Option<PathBuf> {
    let writable = |path: &Path| rustix::fs::access(path, rustix::fs::Access::WRITE_OK).is_ok();
    let dir = file.parent()?;
    if !writable(dir) {
        return Some(dir.to_owned());
    }
    let is_odd = file.exists() && (!file.is_file() || !writable(file));
    is_odd.then(|| file.to_owned())
}

/// What the daemon says, which may be about the copy.
fn not_written(state: Option<&WorktreeStatus>) -> Option<Finding> {
    let problem = state?.env_problem.as_ref()?;
    let cure = "remove what is in its place, or env_copy = false for the copy";
    Some(Finding::new(CHECK, problem, cure))
}

/// The file is written a moment after the state changed: only a difference that stays is one.
fn stays_other_id(
    file: &Path,
    state: Option<&WorktreeStatus>,
    look_again: impl Fn() -> Option<WorktreeStatus>,
) -> Option<Finding> {
    let mut finding = other_id(file, state)?;
    for _ in 0..LOOKS {
        if state.is_none() {
            break;
        }
        std::thread::sleep(BETWEEN_LOOKS);
        finding = other_id(file, look_again().as_ref())?;
    }
    Some(finding)
}

fn other_id(file: &Path, state: Option<&WorktreeStatus>) -> Option<Finding> {
    let text = small_text(file).unwrap_or_default();
    let id = text
        .lines()
        .find_map(|line| line.strip_prefix("MLFLOW_ACTIVE_MODEL_ID="))
        .unwrap_or_default();
    let problem = match state {
        Some(state) => {
            let told = state.model_id.as_deref().unwrap_or_default();
            (id != told)
                .then(|| format!("{} holds {id:?}, the daemon says {told:?}", file.display()))
        }
        None => (!id.is_empty()).then(|| {
            format!(
                "{} holds {id:?}, and no daemon watches whether that is the code on disk",
                file.display()
            )
        }),
    };
    problem.map(|problem| Finding::new(CHECK, &problem, "tracemark active, then tracemark doctor"))
}

/// A file that is bound into a container is written in place: a reader may meet half of it.
fn mounted(file: &Path) -> Option<Finding> {
    is_mount_point(file).then(|| {
        let dir = file.parent().unwrap_or(file).display();
        let problem = format!("{} is a mount point: it is written in place, not replaced, so that a reader may meet a part of it", file.display());
        Finding::new("env_file_mount", &problem, &format!("mount the directory {dir}, not the file"))
    })
}
