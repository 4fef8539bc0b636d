//! Git hooks: a marked block in the repository's own hooks, beside whatever is there.
//!
//! The hook only hurries the daemon, which is right without it. Nothing outside this repository's git directory is
//! written, `core.hooksPath` is never changed, foreign text is kept byte for byte.

use std::ffi::OsString;
use std::fs::Permissions;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::fs_util::{PathError, read_if_exists, remove_if_exists, replace};
use crate::git::{Git, GitError};
use crate::marked_block::{Marks, find};
use crate::repository::Worktree;

/// The hooks after which the code or HEAD may be another (githooks(5)).
pub const EVENTS: [&str; 5] = [
    "post-commit",
    "post-checkout",
    "post-merge",
    "post-rewrite",
    "post-applypatch",
];

const TEMPLATE: &str = include_str!("../hooks/post-commit");
const MARKS: Marks = Marks {
    begin: b"# >>> tracemark >>>",
    end: b"# <<< tracemark <<<\n",
};
const SHEBANG: &[u8] = b"#!/bin/sh\n";

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
    /// Some files are no shell scripts and were left alone.
    Except(Vec<PathBuf>),
    /// Another program owns the hooks of this repository; the line to add to its post-commit hook.
    Elsewhere {
        /// The directory that git runs hooks from.
        dir: PathBuf,
        /// The line to add there.
        line: String,
    },
}

/// What installing would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The hooks to write, and their text.
    pub writes: Vec<(PathBuf, Vec<u8>)>,
    /// What becomes of the hooks.
    pub outcome: Installed,
}

/// Says what [`install`] does, and writes nothing.
///
/// # Errors
/// [`HookError`] when a hook cannot be read.
pub fn plan(worktree: &Worktree, program: &Path) -> Result<Plan, HookError> {
    let dir = hooks_dir(worktree)?;
    if !dir.starts_with(&worktree.common_dir) {
        let line = format!("{} hook post-commit &", quoted(program));
        return Ok(Plan {
            writes: Vec::new(),
            outcome: Installed::Elsewhere { dir, line },
        });
    }
    let (mut writes, mut left_alone) = (Vec::new(), Vec::new());
    for event in EVENTS {
        let file = dir.join(event);
        let existing = read_if_exists(&file)?;
        match with_block(existing.as_deref(), &block(event, program)) {
            Some(text) if Some(&text) == existing.as_ref() => {}
            Some(text) => writes.push((file, text)),
            None => left_alone.push(file),
        }
    }
    let outcome = if left_alone.is_empty() {
        Installed::All
    } else {
        Installed::Except(left_alone)
    };
    Ok(Plan { writes, outcome })
}

/// Puts the block into each hook of the plan.
///
/// # Errors
/// [`HookError`] when the hooks directory cannot be written.
pub fn install(plan: Plan) -> Result<Installed, HookError> {
    for (file, text) in &plan.writes {
        let dir = file.parent().unwrap_or(file);
        std::fs::create_dir_all(dir).map_err(PathError::of("create", dir))?;
        write(file, text)?;
    }
    Ok(plan.outcome)
}

/// Removes the block from each hook; a hook that held nothing else is removed.
///
/// # Errors
/// [`HookError`] when a hook cannot be written.
pub fn remove(common_dir: &Path) -> Result<(), HookError> {
    for event in EVENTS {
        let file = common_dir.join("hooks").join(event);
        let Some(text) = read_if_exists(&file)? else {
            continue;
        };
        let rest = MARKS.without_block(&text);
        if rest == text {
            continue;
        }
        if rest == SHEBANG {
            remove_if_exists(&file)?;
        } else {
            write(&file, &rest)?;
        }
    }
    Ok(())
}

/// Keeps the mode of a hook that is there; a new one can be run.
fn write(file: &Path, text: &[u8]) -> Result<(), HookError> {
    let target = file.canonicalize().unwrap_or_else(|_| file.to_owned());
    let mode = target
        .metadata()
        .map_or(0o755, |metadata| metadata.permissions().mode() & 0o7777);
    replace(&target, text, mode)?;
    let runnable = Permissions::from_mode(mode | 0o100);
    std::fs::set_permissions(&target, runnable).map_err(PathError::of("make runnable", file))?;
    Ok(())
}

fn hooks_dir(worktree: &Worktree) -> Result<PathBuf, GitError> {
    let line = Git::at(&worktree.root).line(&[
        "rev-parse",
        "--path-format=absolute",
        "--git-path",
        "hooks",
    ])?;
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

fn quoted(program: &Path) -> String {
    format!("'{}'", program.to_string_lossy().replace('\'', "'\\''"))
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
/// it from running; `None` for what is no script of a POSIX shell.
fn with_block(existing: Option<&[u8]>, block: &[u8]) -> Option<Vec<u8>> {
    let Some(existing) = existing else {
        return Some([SHEBANG, block].concat());
    };
    let rest = MARKS.without_block(existing);
    let first_line = rest.iter().position(|byte| *byte == b'\n')? + 1;
    let (shebang, body) = rest.split_at(first_line);
    is_posix_shell(shebang).then(|| [shebang, block, body].concat())
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
        with_block(existing.map(str::as_bytes), &block)
            .map(|bytes| String::from_utf8(bytes).unwrap())
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
            assert_eq!(MARKS.without_block(text.as_bytes()), hook.as_bytes());
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
