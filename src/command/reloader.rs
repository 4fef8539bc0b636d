//! Commands that start new interpreters when the code changes: without the Python wheel those keep the id of the first
//! one.
//!
//! Only warns, and runs nothing to learn it.

use std::ffi::{OsStr, OsString};
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::mlflow_setup::{ENVIRONMENTS, found_on_path};
use super::warn;
use crate::protocol::Active;

/// The longest `#!` line that Linux reads (`BINPRM_BUF_SIZE`).
const SHEBANG_MAX: u64 = 256;

/// Warns where the command reloads code in new interpreters and its Python lacks the module that asks again for each.
pub(super) fn warn_without_wheel(active: &Active, command: &[OsString]) {
    let Some(word) = reloads(command) else {
        return;
    };
    let root = Path::new(&active.worktree);
    if environments(root, command).iter().any(|dir| has_wheel(dir)) {
        return;
    }
    warn(
        &format!(
            "{word} reloads code in new interpreters, which keep the id of the first one here"
        ),
        "pip install CLONE-OF-TRACEMARK in the app's virtual environment: then each asks for its own",
    );
}

/// Returns the word that says so: uvicorn, gunicorn, fastapi and hypercorn have `--reload`, flask `--debug`.
fn reloads(command: &[OsString]) -> Option<String> {
    let words: Vec<_> = command.iter().map(|word| word.to_string_lossy()).collect();
    let names: Vec<_> = words
        .iter()
        .map(|word| word.rsplit('/').next().unwrap_or_default())
        .collect();
    let runs = |program: &str| names.contains(&program);
    let reloads = |word: &str| {
        matches!(word, "--reload" | "watchfiles" | "watchmedo")
            || runs("flask") && matches!(word, "--debug" | "--debugger")
            || runs("fastapi") && word == "dev"
            || runs("manage.py") && word == "runserver"
    };
    names
        .iter()
        .find(|word| reloads(word))
        .map(|word| (*word).to_owned())
}

/// The virtual environments whose Python the command would use: its own, else those of this shell and the repository.
fn environments(root: &Path, command: &[OsString]) -> Vec<PathBuf> {
    let program = command.first().and_then(|name| found_on_path(name));
    let above = |file: &Path| Some(file.parent()?.parent()?.to_owned());
    let interpreter = program.as_deref().and_then(interpreter_of);
    let own = [
        program.as_deref().and_then(above),
        interpreter.as_deref().and_then(above),
    ];
    let shell = std::env::var_os("VIRTUAL_ENV").map(PathBuf::from);
    let near = ENVIRONMENTS.iter().map(|name| root.join(name));
    own.into_iter().flatten().chain(shell).chain(near).collect()
}

fn interpreter_of(script: &Path) -> Option<PathBuf> {
    let file = std::fs::File::open(script).ok()?;
    let mut line = Vec::new();
    let mut reader = BufReader::new(file.take(SHEBANG_MAX));
    reader.read_until(b'\n', &mut line).ok()?;
    let words = line.strip_prefix(b"#!")?.trim_ascii();
    let first = words.split(u8::is_ascii_whitespace).next()?;
    Some(PathBuf::from(OsStr::from_bytes(first)))
}

fn has_wheel(environment: &Path) -> bool {
    let pythons = std::fs::read_dir(environment.join("lib"))
        .into_iter()
        .flatten()
        .flatten();
    pythons
        .map(|python| python.path().join("site-packages/tracemark.pth"))
        .any(|file| file.exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_that_reload_are_recognised_by_their_words() {
        let word = |line: &str| {
            let command: Vec<_> = line.split(' ').map(OsString::from).collect();
            reloads(&command)
        };
        assert_eq!(
            word("uvicorn app:app --reload").as_deref(),
            Some("--reload")
        );
        assert_eq!(
            word("python -m flask --debug run").as_deref(),
            Some("--debug")
        );
        assert_eq!(
            word(".venv/bin/watchfiles x").as_deref(),
            Some("watchfiles")
        );
        assert_eq!(word("fastapi dev app.py").as_deref(), Some("dev"));
        assert_eq!(word("python app.py --debug"), None);
        assert_eq!(word("uvicorn app:app"), None);
    }
}
