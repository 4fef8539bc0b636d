//! `tracemark prompt`: a few letters for a shell's prompt. Reads one env file; asks neither git nor the daemon, waits for
//! nothing, says nothing where anything is odd.

use std::path::{Path, PathBuf};

use super::answer;
use crate::error::Failure;

/// The largest file that is read.
const MAX: u64 = 64 * 1024;
/// A part of each setting that names a program, or that includes another file.
const WORDS: [&str; 16] = [
    "[filter",
    "[diff",
    "fsmonitor",
    "sshcommand",
    "gitproxy",
    "askpass",
    "[include",
    "[credential",
    "[gpg",
    "[hook",
    "[protocol",
    "[submodule",
    "alternaterefscommand",
    "ext::",
    "uploadpack",
    "vcs",
];
/// How many letters of a name or id are enough to tell two apart.
const LETTERS: usize = 8;

pub(super) fn run() -> Result<(), Failure> {
    let text = std::env::current_dir().ok().and_then(|cwd| text(&cwd));
    match text {
        Some(text) => answer(&format!("{text}\n")),
        None => Ok(()),
    }
}

fn text(cwd: &Path) -> Option<String> {
    let env = small(&git_dir(cwd)?.join("tracemark/env"))?;
    let value = |name: &str| {
        let line = env.lines().find_map(|line| line.strip_prefix(name));
        let value = line.and_then(|line| line.strip_prefix('='));
        value.unwrap_or_default()
    };
    let id = value("MLFLOW_ACTIVE_MODEL_ID");
    if !id.is_empty() {
        let id = id.strip_prefix("m-").unwrap_or(id);
        return Some(format!("m-{}", short(id)));
    }
    // A daemon that ended left no word but that.
    let is_left = ["TRACEMARK_NAME", "TRACEMARK_CONTENT", "TRACEMARK_SOCKET"]
        .iter()
        .all(|name| value(name).is_empty());
    match value("TRACEMARK_STATE") {
        "pending" if is_left => Some("m-?".to_owned()),
        "pending" => Some("m-…".to_owned()),
        "broken" => Some("m-!".to_owned()),
        _ => Some("m-?".to_owned()),
    }
}

/// Whether the repository's own configuration holds a word that every setting which names a program holds, or includes
/// other files.
pub(super) fn may_name_programs(cwd: &Path) -> bool {
    let Some(git_dir) = git_dir(cwd) else {
        return false;
    };
    let common = small(&git_dir.join("commondir"));
    let common = common.map_or_else(|| git_dir.clone(), |named| git_dir.join(named.trim_end()));
    let files = [common.join("config"), git_dir.join("config.worktree")];
    files.iter().filter(|file| file.exists()).any(|file| {
        let text = small(file).map(|text| text.to_lowercase());
        text.is_none_or(|text| WORDS.iter().any(|word| text.contains(word)))
    })
}

/// The git directory of the worktree around a path, as gitrepository-layout(5) lays it out.
fn git_dir(cwd: &Path) -> Option<PathBuf> {
    let dot_git = cwd
        .ancestors()
        .map(|dir| dir.join(".git"))
        .find(|dot_git| dot_git.exists())?;
    if dot_git.is_dir() {
        return Some(dot_git);
    }
    let text = small(&dot_git)?;
    let named = text.strip_prefix("gitdir: ")?.trim_end();
    Some(dot_git.parent()?.join(named))
}

fn small(file: &Path) -> Option<String> {
    let is_small = file
        .metadata()
        .is_ok_and(|found| found.is_file() && found.len() <= MAX);
    is_small
        .then(|| std::fs::read_to_string(file).ok())
        .flatten()
}

fn short(text: &str) -> String {
    let plain = text.chars().filter(char::is_ascii_alphanumeric);
    plain.take(LETTERS).collect()
}
