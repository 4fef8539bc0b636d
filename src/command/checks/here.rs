//! What this shell and this repository are like: hooks, snapshots, restores, direnv, what the daemon says of worktrees.
//!
//! Asks git and direnv, never the store.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::{Finding, small_text};
use crate::command::child::run_within;
use crate::command::this_program;
use crate::error::Failure;
use crate::git::{Git, records};
use crate::hooks::{self, EVENTS, Installed};
use crate::protocol::WorktreeStatus;
use crate::repository::Worktree;
use crate::snapshot::{self, Snapshots};
use crate::text::shell_quoted;

/// How long direnv may take to say what it allows; it runs no `.envrc` for that.
const DIRENV_LIMIT: Duration = Duration::from_secs(5);
/// What follows from a hook that does not call it.
const LATE: &str = "commits are seen a moment later";

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

/// What a restore that was killed leaves, which git takes for a worktree that somebody works in.
pub(in crate::command) fn unfinished_restores(worktree: &Worktree) -> Vec<Finding> {
    let dirs = snapshot::unfinished(&Git::at(&worktree.root)).unwrap_or_else(|error| {
        tracing::debug!(%error, "worktrees are not looked at");
        Vec::new()
    });
    let note = |dir: PathBuf| {
        let problem = format!(
            "a restore into {} is under way, or was cut short",
            dir.display()
        );
        let remove = shell_quoted(&dir.to_string_lossy());
        let cure = format!("git worktree remove --force --force {remove}, if none runs");
        Finding::new("unfinished_restore", &problem, &cure)
    };
    dirs.into_iter().map(note).collect()
}

/// Packs of the snapshots that were damaged on the disk: what is kept next is kept whole once they are gone.
pub(in crate::command) fn snapshots(worktree: &Worktree) -> Vec<Finding> {
    let packs = match Snapshots::of(&worktree.common_dir).unreadable_packs() {
        Ok(packs) => packs,
        Err(error) => {
            tracing::debug!(%error, "the snapshots are not looked at");
            return Vec::new();
        }
    };
    let one = |pack: &PathBuf| {
        let pack = pack.display();
        let problem = format!(
            "a pack of the snapshots is damaged, and versions that need it cannot be brought back: {pack}"
        );
        let table = format!("{}.idx", pack.to_string().trim_end_matches(".pack"));
        let cure = format!(
            "rm -f {} {}",
            shell_quoted(&pack.to_string()),
            shell_quoted(&table)
        );
        Finding::new("snapshots", &problem, &cure)
    };
    packs.iter().map(one).collect()
}

/// Hooks that are missing or switched off.
pub(in crate::command) fn hooks(worktree: &Worktree) -> Result<Vec<Finding>, Failure> {
    let plan = hooks::plan(worktree, &this_program()?)?;
    let finding = match plan.outcome {
        _ if !plan.settings.is_empty() => Some(Finding::new(
            "hooks",
            &format!("the hook in git's configuration is missing or of another tracemark: {LATE}"),
            "tracemark up",
        )),
        Installed::Elsewhere { dir } if dir.starts_with(&worktree.root) => {
            (!is_called_in(&dir)).then(|| elsewhere(worktree, &dir))
        }
        Installed::All | Installed::Except(_) if !plan.writes.is_empty() => Some(Finding::new(
            "hooks",
            &format!(
                "{} of {} hooks are missing or of another tracemark: {LATE}",
                plan.writes.len(),
                EVENTS.len()
            ),
            "tracemark up",
        )),
        _ => None,
    };
    Ok(finding
        .into_iter()
        .chain(hook_switched_off(worktree))
        .collect())
}

/// Hooks of the whole machine, as a note: this repository alone cannot change them, and the daemon sees commits without.
fn of_machine(worktree: &Worktree, dir: &Path) -> Option<Finding> {
    if dir.starts_with(&worktree.root) || is_called_in(dir) {
        return None;
    }
    let mut note = elsewhere(worktree, dir);
    if !dir.is_dir() {
        note.problem = format!(
            "git runs no hooks here: {}{} is no directory: {LATE}",
            dir.display(),
            owner(worktree, dir)
        );
        "nothing, or take core.hooksPath out there, then tracemark up".clone_into(&mut note.cure);
    }
    Some(note)
}

fn elsewhere(worktree: &Worktree, dir: &Path) -> Finding {
    let problem = format!(
        "git runs the hooks in {}{}, which another program owns: {LATE}",
        dir.display(),
        owner(worktree, dir)
    );
    let [first, others @ ..] = EVENTS;
    let cure = format!(
        "add, each with its own name, to {}, and to the {first} hook in {}: {}",
        others.join(", "),
        hooks::place_of_lines(dir).display(),
        hooks::line(first)
    );
    Finding::new("hooks_elsewhere", &problem, &cure)
}

/// Hooks of one's own that were left alone, as a note: the daemon sees commits without them.
pub(in crate::command) fn hooks_left_alone(worktree: &Worktree) -> Vec<Finding> {
    let program = this_program().ok();
    let plan = program.and_then(|program| hooks::plan(worktree, &program).ok());
    let left = match plan.map(|plan| plan.outcome) {
        Some(Installed::Except(left)) => left,
        Some(Installed::Elsewhere { dir }) => {
            return of_machine(worktree, &dir).into_iter().collect();
        }
        Some(Installed::All) | None => return Vec::new(),
    };
    let is_off = |hook: &&hooks::LeftAlone| {
        rustix::fs::access(&hook.file, rustix::fs::Access::EXEC_OK).is_err()
    };
    let silent = left
        .iter()
        .filter(|hook| is_off(hook) || !calls(&hook.file, hook.event));
    let finding = |hook: &hooks::LeftAlone| {
        let problem = format!("{} is {}: {LATE}", hook.file.display(), hook.why);
        let cure = if is_off(&hook) && calls(&hook.file, hook.event) {
            format!("chmod +x {}", shell_quoted(&hook.file.to_string_lossy()))
        } else {
            format!("have it run: tracemark hook {}", hook.event)
        };
        Finding::new("hook_left_alone", &problem, &cure)
    };
    silent.map(finding).collect()
}

/// A hook of the configuration (git-hook(1), since git 2.54) that calls tracemark and is disabled.
fn hook_switched_off(worktree: &Worktree) -> Option<Finding> {
    let git = Git::at(&worktree.root);
    let listed = git.run(&["config", "-z", "--get-regexp", r"^hook\..*\.command$"]);
    let listed = listed.ok()?.stdout;
    let ours = records(&listed).find_map(|record| {
        let record = String::from_utf8_lossy(record).into_owned();
        let (key, command) = record.split_once('\n')?;
        let name = key.strip_prefix("hook.")?.strip_suffix(".command")?;
        command.contains("tracemark").then(|| name.to_owned())
    })?;
    let key = format!("hook.{ours}.enabled");
    let enabled = git.line(&["config", "--type=bool", "--get", &key]).ok()?;
    (enabled == b"false").then(|| {
        let problem = format!("{key} is false: {LATE}");
        Finding::new(
            "hook_disabled",
            &problem,
            &format!("git config --unset {key}"),
        )
    })
}

/// Who made git run other hooks, as far as it shows.
fn owner(worktree: &Worktree, dir: &Path) -> String {
    let path = dir.to_string_lossy();
    let known = [
        ("husky", ".husky"),
        ("lefthook", "lefthook"),
        ("pre-commit", "pre-commit"),
    ];
    let tool = known.iter().find(|(_, mark)| path.contains(mark));
    let set = Git::at(&worktree.root).line(&["config", "--show-origin", "--get", "core.hooksPath"]);
    let set = set
        .ok()
        .map(|line| String::from_utf8_lossy(&line).into_owned());
    let origin = set.as_deref().and_then(|line| line.split_once('\t'));
    match (tool, origin) {
        (Some((tool, _)), Some((origin, _))) => format!(" ({tool}; core.hooksPath in {origin})"),
        (Some((tool, _)), None) => format!(" ({tool})"),
        (None, Some((origin, _))) => format!(" (core.hooksPath in {origin})"),
        (None, None) => String::new(),
    }
}

fn is_called_in(dir: &Path) -> bool {
    let [first, ..] = EVENTS;
    calls(&hooks::place_of_lines(dir).join(first), first)
}

/// Whether a hook holds a line or block that calls ours, however the program is called.
fn calls(hook: &Path, event: &str) -> bool {
    let hook = std::fs::read(hook).unwrap_or_default();
    String::from_utf8_lossy(&hook).contains(&format!("hook {event}"))
}

/// An `.envrc` that reads the env file and that direnv was not told to run (direnv(1), `direnv allow`).
pub(in crate::command) fn direnv(worktree: &Worktree) -> Option<Finding> {
    let text = small_text(&worktree.root.join(".envrc"))?;
    if !text.contains("tracemark") {
        return None;
    }
    let mut direnv = Command::new("direnv");
    direnv.arg("status").current_dir(&worktree.root);
    let said = match run_within(&mut direnv, DIRENV_LIMIT) {
        Ok(done) => done.stdout,
        Err(error) if error.kind() == ErrorKind::TimedOut => {
            let problem = format!("direnv status gave {error}");
            return Some(Finding::new("direnv", &problem, "direnv status"));
        }
        Err(_) => return None,
    };
    // A word up to 2.32, a number since 2.33, 0 for allowed.
    let mut lines = said
        .lines()
        .filter_map(|line| line.strip_prefix("Found RC allowed "));
    let allowed = lines.next()?;
    (!matches!(allowed, "true" | "0")).then(|| {
        let problem = ".envrc reads the env file, and direnv was not told to run it";
        Finding::new("direnv", problem, "direnv allow")
    })
}

/// What the daemon itself says is wrong with a worktree.
pub(in crate::command) fn state(state: &WorktreeStatus) -> Vec<Finding> {
    let cure = state.hint.as_deref().unwrap_or("tracemark status");
    let reason = state.reason.as_ref().filter(|_| is_trouble(state));
    let problems = [reason, state.refusal.as_ref(), state.duplicate.as_ref()];
    problems
        .into_iter()
        .flatten()
        .map(|problem| Finding::new("state", problem, cure))
        .collect()
}

/// What is pending for a moment, or waits to be asked for, is none; what the store says is told of the store.
fn is_trouble(state: &WorktreeStatus) -> bool {
    let by_store = state.last_error.is_some() && state.last_error == state.reason;
    state.state == "broken" || state.state == "pending" && !state.passing && !by_store
}

/// Other worktrees that are broken.
pub(in crate::command) fn others(
    worktrees: &[WorktreeStatus],
    here: Option<&Worktree>,
) -> Vec<Finding> {
    let is_here = |one: &&WorktreeStatus| here.is_none_or(|here| here.root != Path::new(&one.path));
    let broken = worktrees
        .iter()
        .filter(is_here)
        .filter(|one| one.state == "broken");
    broken
        .map(|one| {
            let reason = one.reason.as_deref().unwrap_or("it cannot be read");
            let cure = one.hint.as_deref().unwrap_or("tracemark status");
            Finding::new("state", &format!("{}: {reason}", one.path), cure)
        })
        .collect()
}
