//! What this shell and this repository are like.

use std::path::{Path, PathBuf};

use super::Finding;
use crate::command::take_back::hook_failure;
use crate::command::this_program;
use crate::error::Failure;
use crate::git::Git;
use crate::hooks::{self, EVENTS, Installed};
use crate::protocol::WorktreeStatus;
use crate::repository::Worktree;

/// The event that matters most, and the others after which the code or HEAD may be another.
const FIRST: &str = "post-commit";
const OTHERS: [&str; 4] = [
    "post-checkout",
    "post-merge",
    "post-rewrite",
    "post-applypatch",
];
/// What a line or block that calls the hook holds, however the program is called.
const CALL: &str = "hook post-commit";

/// Readers of env files do not all override what a shell exported: an id that it holds may be that of older code.
pub(in crate::command) fn exported_id(active: Option<&str>) -> Option<Finding> {
    let exported = std::env::var("MLFLOW_ACTIVE_MODEL_ID").unwrap_or_default();
    if exported.is_empty() || Some(exported.as_str()) == active {
        return None;
    }
    Some(Finding::new(
        "exported_id",
        "this shell exports MLFLOW_ACTIVE_MODEL_ID, which apps started here would use instead",
        "unset MLFLOW_ACTIVE_MODEL_ID",
    ))
}

/// Without a commit there is no git-hash and nothing to compare with.
pub(in crate::command) fn no_commit(worktree: &Worktree) -> Option<Finding> {
    let head = Git::at(&worktree.root).run(&["rev-parse", "--verify", "-q", "HEAD"]);
    head.is_err().then(|| {
        Finding::new(
            "no_commit",
            "this repository has no commit yet: its versions have no git-hash",
            "git commit --allow-empty -m 'first commit'",
        )
    })
}

/// Hooks that are missing, or that another manager owns and that do not call tracemark.
pub(in crate::command) fn hooks(worktree: &Worktree) -> Result<Option<Finding>, Failure> {
    let plan = hooks::plan(worktree, &this_program()?).map_err(hook_failure)?;
    Ok(match plan.outcome {
        _ if !plan.settings.is_empty() => Some(Finding::new(
            "hooks",
            "the hook in git's configuration is missing or of another tracemark: commits are seen a moment later",
            "tracemark up",
        )),
        Installed::Elsewhere { dir } if !is_called_in(&dir) => Some(Finding::new(
            "hooks_elsewhere",
            &format!(
                "git runs the hooks in {}, which another program owns: commits are seen a moment later",
                dir.display()
            ),
            &format!(
                "add, each with its own name, to {}, and to the post-commit hook there: {}",
                OTHERS.join(", "),
                hooks::line(FIRST)
            ),
        )),
        Installed::All | Installed::Except(_) if !plan.writes.is_empty() => Some(Finding::new(
            "hooks",
            &format!(
                "{} of {} hooks are missing or of another tracemark: commits are seen a moment later",
                plan.writes.len(),
                EVENTS.len()
            ),
            "tracemark up",
        )),
        _ => None,
    })
}

/// Husky runs `.husky/post-commit` from `.husky/_`.
fn is_called_in(dir: &Path) -> bool {
    let around = dir.parent().unwrap_or(dir);
    [dir, around].iter().any(|dir| {
        let hook = std::fs::read(dir.join("post-commit")).unwrap_or_default();
        String::from_utf8_lossy(&hook).contains(CALL)
    })
}

/// An env file that cannot be written, or that says something else than the daemon.
pub(in crate::command) fn env_file(
    worktree: &Worktree,
    state: Option<&WorktreeStatus>,
) -> Option<Finding> {
    let file = worktree.env_file();
    let found = |problem: String, cure: String| Some(Finding::new("env_file", &problem, &cure));
    if let Some(place) = not_writable(&file) {
        let place = place.display();
        return found(
            format!("{place} cannot be written: apps read no id there"),
            format!("check the owner and mode of {place}"),
        );
    }
    let text = std::fs::read_to_string(&file).unwrap_or_default();
    let id = text
        .lines()
        .find_map(|line| line.strip_prefix("MLFLOW_ACTIVE_MODEL_ID="))
        .unwrap_or_default();
    let told = state?.model_id.as_deref().unwrap_or_default();
    (id != told).then(|| {
        let problem = format!("{} holds {id:?}, the daemon says {told:?}", file.display());
        Finding::new(
            "env_file",
            &problem,
            "tracemark active, then tracemark doctor",
        )
    })
}

fn not_writable(file: &Path) -> Option<PathBuf> {
    let writable = |path: &Path| rustix::fs::access(path, rustix::fs::Access::WRITE_OK).is_ok();
    let dir = file.parent()?;
    if !writable(dir) {
        return Some(dir.to_owned());
    }
    let is_odd = file.exists() && (!file.is_file() || !writable(file));
    is_odd.then(|| file.to_owned())
}

/// What the daemon itself says is wrong with a worktree.
pub(in crate::command) fn state(state: &WorktreeStatus) -> Vec<Finding> {
    let cure = state.hint.as_deref().unwrap_or("tracemark status");
    let broken = state.reason.as_ref().filter(|_| state.state == "broken");
    let problems = [broken, state.refusal.as_ref(), state.duplicate.as_ref()];
    problems
        .into_iter()
        .flatten()
        .map(|problem| Finding::new("state", problem, cure))
        .collect()
}
