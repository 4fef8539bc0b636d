//! Git hooks: a marked block in the repository's own hooks, beside whatever is there.
//!
//! The hook only hurries the daemon, which is right without it. Nothing outside this repository's git directory is
//! written, `core.hooksPath` is never changed, foreign text is kept byte for byte.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::fs_util::{PathError, read_if_exists, remove_if_exists, replace};
use crate::git::{Git, GitError};
use crate::hook_settings;
use crate::marked_block::{OURS, find};
use crate::repository::Worktree;

/// The hooks after which the code or HEAD may be another (githooks(5)); the first is the one that matters most.
pub const EVENTS: [&str; 5] = [
    "post-commit",
    "post-checkout",
    "post-merge",
    "post-rewrite",
    "post-applypatch",
];

const TEMPLATE: &str = include_str!("../hooks/post-commit");
const SWITCHED_OFF: &str = "switched off (not executable)";
const SHARED: &str = "a link, or one file under several names";
const SHEBANG: &[u8] = b"#!/bin/sh\n";
/// What a hook is called by managers that put it aside: as it is, pre-commit's `.legacy`, lefthook's `.old`.
const ASIDE: [&str; 3] = ["", ".legacy", ".old"];

/// Why hooks cannot be installed or removed.
#[derive(Debug, thiserror::Error)]
pub enum HookError {
    /// A hook file cannot be read or written.
    #[error(transparent)]
    Path(#[from] PathError),
    /// Git does not say where hooks are.
    #[error(transparent)]
    Git(#[from] GitError),
}

/// What became of the hooks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Installed {
    /// All are in place.
    All,
    /// Some hooks were left alone.
    Except(Vec<LeftAlone>),
    /// Another program owns the hooks of this repository; [`line`] is what to add to them.
    Elsewhere {
        /// The directory that git runs hooks from.
        dir: PathBuf,
    },
}

/// A hook that was left alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftAlone {
    /// The hook.
    pub file: PathBuf,
    /// When git runs it.
    pub event: &'static str,
    /// What it is, as the rest of a sentence.
    pub why: &'static str,
}

/// A hook, and its new text; none for one to be removed.
pub type Write = (PathBuf, Option<Vec<u8>>);

/// What installing would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    common_dir: PathBuf,
    /// The hooks to write, and their text; `None` for those to be removed.
    pub writes: Vec<Write>,
    /// The settings to write into the repository's own git configuration, where git runs hooks of that.
    pub settings: Vec<(String, String)>,
    /// What becomes of the hooks.
    pub outcome: Installed,
}

/// Returns the line for the hook of an event that somebody else owns and that may be shared with people who have no
/// tracemark: it never fails, never waits, says nothing.
pub fn line(event: &str) -> String {
    format!("{{ command -v tracemark && tracemark hook {event}; }} </dev/null >/dev/null 2>&1 &")
}

/// Returns the directory whose hooks the lines belong into where git runs those in `dir`: husky's own in `.husky/_` are made
/// anew by it, and run those beside that.
pub fn place_of_lines(dir: &Path) -> &Path {
    let is_huskys = dir.ends_with(".husky/_");
    dir.parent().filter(|_| is_huskys).unwrap_or(dir)
}

/// Says what [`install`] does, and writes nothing.
///
/// # Errors
/// [`HookError`] when a hook cannot be read.
pub fn plan(worktree: &Worktree, program: &Path) -> Result<Plan, HookError> {
    let dir = hooks_dir(worktree)?;
    let mut plan = Plan {
        common_dir: worktree.common_dir.clone(),
        writes: Vec::new(),
        settings: Vec::new(),
        outcome: Installed::All,
    };
    if hook_settings::are_known() && !hook_settings::file(&worktree.common_dir).is_symlink() {
        plan.settings = hook_settings::wanted(&worktree.common_dir, &EVENTS, program)?;
        let dir = Some(dir).filter(|dir| dir.starts_with(&worktree.common_dir));
        plan.writes = without_blocks(&worktree.common_dir, &dir.into_iter().collect())?;
        return Ok(plan);
    }
    if !dir.starts_with(&worktree.common_dir) {
        plan.outcome = Installed::Elsewhere { dir };
        return Ok(plan);
    }
    let mut left_alone = Vec::new();
    for event in EVENTS {
        let file = dir.join(event);
        let existing = read_if_exists(&file)?;
        let ours = with_block(existing.as_deref(), &block(event, program));
        let why = why_left_alone(&file, existing.as_deref(), event);
        let is_in_place = existing.as_ref() == Some(&ours);
        let wanted = match why.filter(|why| !(*why == SHARED && is_in_place)) {
            Some(why) => {
                left_alone.push(LeftAlone {
                    file: file.clone(),
                    event,
                    why,
                });
                // In git-lfs's own a block of an earlier version goes; what is switched off or shared stays as it is.
                let is_touched = why != SWITCHED_OFF && why != SHARED;
                let text = existing.as_deref().filter(|_| is_touched);
                let text = text.map(|text| OURS.without_block(text));
                text.or_else(|| existing.clone())
            }
            None => Some(ours),
        };
        if wanted != existing {
            plan.writes.push((file, wanted));
        }
    }
    if !left_alone.is_empty() {
        plan.outcome = Installed::Except(left_alone);
    }
    Ok(plan)
}

fn why_left_alone(file: &Path, existing: Option<&[u8]>, event: &str) -> Option<&'static str> {
    let is_there = file.symlink_metadata().is_ok();
    if is_there && (file.is_symlink() || has_other_names(file)) {
        return Some(SHARED);
    }
    let existing = existing?;
    if rustix::fs::access(file, rustix::fs::Access::EXEC_OK).is_err() {
        return Some(SWITCHED_OFF);
    }
    let text = OURS.without_block(existing);
    if is_git_lfs(&text, event) {
        return Some("git-lfs's own, which takes no other line in it");
    }
    let first_line = text.split_inclusive(|byte| *byte == b'\n').next();
    let first_line = first_line.filter(|line| line.ends_with(b"\n"));
    (!is_posix_shell(first_line.unwrap_or_default())).then_some("no shell script")
}

/// What is replaced is another file afterwards than that of the other names.
fn has_other_names(file: &Path) -> bool {
    file.metadata().is_ok_and(|metadata| metadata.nlink() > 1)
}

/// `git lfs uninstall` and `install` stop at a hook of another text than their own (git-lfs 3.3, lfs/hook.go).
fn is_git_lfs(text: &[u8], event: &str) -> bool {
    let text = String::from_utf8_lossy(text);
    let lines: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
    matches!(lines[..], [_, check, call]
        if check.starts_with("command -v git-lfs ") && call == format!("git lfs {event} \"$@\""))
}

/// Carries out a plan.
///
/// # Errors
/// [`HookError`] when the hooks directory cannot be written.
pub fn install(plan: Plan) -> Result<Installed, HookError> {
    for (file, text) in &plan.writes {
        put(file, text.as_deref())?;
    }
    if !plan.settings.is_empty() {
        hook_settings::set(&plan.common_dir, &plan.settings)?;
    }
    Ok(plan.outcome)
}

/// Removes the block from each hook in the repository's own directory and in `dirs`, also where a hook manager has put the
/// hook aside; a hook that held nothing else is removed.
///
/// # Errors
/// [`HookError`] when a hook cannot be written.
pub fn remove(common_dir: &Path, dirs: &BTreeSet<PathBuf>) -> Result<(), HookError> {
    for (file, text) in without_blocks(common_dir, dirs)? {
        put(&file, text.as_deref())?;
    }
    Ok(hook_settings::remove(common_dir)?)
}

/// Returns the hooks that hold a block, with their text without it.
fn without_blocks(common_dir: &Path, dirs: &BTreeSet<PathBuf>) -> Result<Vec<Write>, HookError> {
    let own = common_dir.join("hooks");
    let dirs: BTreeSet<&PathBuf> = dirs.iter().chain([&own]).collect();
    let names = EVENTS
        .iter()
        .flat_map(|event| ASIDE.map(|aside| format!("{event}{aside}")));
    let names: Vec<String> = names.collect();
    let files = dirs
        .iter()
        .flat_map(|dir| names.iter().map(|name| dir.join(name)))
        .filter(|file| is_inside(common_dir, file));
    let mut found = Vec::new();
    for file in files {
        let text = read_if_exists(&file)?.unwrap_or_default();
        let rest = OURS.without_block(&text);
        if rest != text {
            found.push((file, Some(rest).filter(|rest| rest != SHEBANG)));
        }
    }
    Ok(found)
}

/// False for what a link leads to out of the git directory, where nothing of ours is, and for what is not there.
fn is_inside(common_dir: &Path, file: &Path) -> bool {
    let real = |path: &Path| path.canonicalize().ok();
    let inside = real(file).zip(real(common_dir));
    inside.is_some_and(|(file, dir)| file.starts_with(dir))
}

/// Returns the hooks with a block whose end somebody took: what of it is ours cannot be told.
pub fn with_half_a_block(common_dir: &Path, dirs: &BTreeSet<PathBuf>) -> Vec<PathBuf> {
    let own = common_dir.join("hooks");
    let dirs = dirs
        .iter()
        .chain([&own])
        .collect::<BTreeSet<_>>()
        .into_iter();
    let files = dirs.flat_map(|dir| EVENTS.map(|event| dir.join(event)));
    files
        .filter(|file| {
            let text = read_if_exists(file).ok().flatten();
            text.is_some_and(|text| OURS.is_cut_off(&OURS.without_block(&text)))
        })
        .collect()
}

fn put(file: &Path, text: Option<&[u8]>) -> Result<(), HookError> {
    let Some(text) = text else {
        remove_if_exists(file)?;
        return Ok(());
    };
    let dir = file.parent().unwrap_or(file);
    std::fs::create_dir_all(dir).map_err(PathError::of("create", dir))?;
    write(file, text)
}

/// Keeps the mode of a hook that is there; a new one can be run.
fn write(file: &Path, text: &[u8]) -> Result<(), HookError> {
    let target = file.canonicalize().unwrap_or_else(|_| file.to_owned());
    let mode = target
        .metadata()
        .map_or(0o755, |metadata| metadata.permissions().mode() & 0o7777);
    Ok(replace(&target, text, mode)?)
}

/// A path that git itself cannot make sense of is one where it runs none.
fn hooks_dir(worktree: &Worktree) -> Result<PathBuf, GitError> {
    let git = Git::at(&worktree.root);
    let asked = git.line(&["rev-parse", "--path-format=absolute", "--git-path", "hooks"]);
    let set = || git.line(&["config", "--get", "core.hooksPath"]).ok();
    let line = match asked {
        Ok(line) => line,
        Err(error) => set().ok_or(error)?,
    };
    let dir = PathBuf::from(OsString::from_vec(line));
    Ok(dir.canonicalize().unwrap_or(dir))
}

fn block(event: &str, program: &Path) -> Vec<u8> {
    let body = TEMPLATE
        .strip_prefix("#!/bin/sh\n")
        .unwrap_or(TEMPLATE)
        .replace("@EVENT@", event);
    let program = program.as_os_str().as_bytes();
    let quoted = replaced(program, b"'", b"'\\''");
    replaced(body.as_bytes(), b"@TRACEMARK@", &quoted)
}

fn replaced(text: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut result = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = find(rest, from) {
        let (before, after) = rest.split_at(at);
        result.extend_from_slice(before);
        result.extend_from_slice(to);
        rest = after.get(from.len()..).unwrap_or_default();
    }
    result.extend_from_slice(rest);
    result
}

/// Returns the hook with the block right after its first line, so that a trailing `exec` or `exit` of the hook cannot keep
/// it from running.
fn with_block(existing: Option<&[u8]>, block: &[u8]) -> Vec<u8> {
    let Some(existing) = existing else {
        return [SHEBANG, block].concat();
    };
    let rest = OURS.without_block(existing);
    let first_line = rest.iter().position(|byte| *byte == b'\n');
    let (shebang, body) = rest.split_at(first_line.map_or(rest.len(), |at| at + 1));
    [shebang, block, body].concat()
}

fn is_posix_shell(shebang: &[u8]) -> bool {
    let text = String::from_utf8_lossy(shebang);
    let Some(command) = text.strip_prefix("#!") else {
        return false;
    };
    let mut words = command.split_whitespace();
    let mut program = words.next().unwrap_or_default();
    if program.ends_with("/env") {
        program = words
            .find(|word| !word.starts_with('-'))
            .unwrap_or_default();
    }
    let name = program.rsplit('/').next().unwrap_or_default();
    matches!(name, "sh" | "bash" | "dash" | "zsh" | "ksh" | "ash")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn installed(existing: Option<&str>) -> Option<String> {
        let block = block("post-commit", Path::new("/opt/it's/tracemark"));
        let existing = existing.map(str::as_bytes);
        if existing.is_some_and(|text| !is_posix_shell(text)) {
            return None;
        }
        Some(String::from_utf8(with_block(existing, &block)).unwrap())
    }

    #[test]
    fn what_git_lfs_wrote_is_told_from_a_hook_that_also_calls_it() {
        let own = "#!/bin/sh\ncommand -v git-lfs >/dev/null 2>&1 || { exit 2; }\ngit lfs post-commit \"$@\"\n";
        assert!(is_git_lfs(own.as_bytes(), "post-commit"));
        assert!(!is_git_lfs(own.as_bytes(), "post-merge"));
        assert!(!is_git_lfs(
            format!("{own}echo mine\n").as_bytes(),
            "post-commit"
        ));
    }

    #[test]
    fn a_hook_that_ends_in_exec_still_runs_the_block() {
        let text = installed(Some("#!/usr/bin/env bash\nexec pre-commit run\n")).unwrap();
        assert!(
            text.find("hook post-commit") < text.find("exec pre-commit"),
            "{text}"
        );
    }

    #[test]
    fn removing_the_block_restores_the_hook_byte_for_byte() {
        for hook in [
            "#!/bin/sh\necho hi",
            "#!/bin/bash -e\n\n\nexit 1\n",
            "#!/bin/sh\n",
        ] {
            let text = installed(Some(hook)).unwrap();
            assert_eq!(OURS.without_block(text.as_bytes()), hook.as_bytes());
            assert_eq!(
                installed(Some(&text)).as_ref(),
                Some(&text),
                "twice is once"
            );
        }
    }

    #[test]
    fn what_is_no_shell_script_is_left_alone() {
        assert_eq!(installed(Some("#!/usr/bin/python3\nprint()\n")), None);
        assert_eq!(installed(Some("\u{7f}ELF\n")), None);
    }

    #[test]
    fn a_quote_in_the_programs_path_stays_a_quote() {
        assert!(
            installed(None)
                .unwrap()
                .contains(r"'/opt/it'\''s/tracemark' hook")
        );
    }
}
