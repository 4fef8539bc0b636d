//! `tracemark prompt`: a few letters for a shell's prompt. Reads one env file; asks neither git nor the daemon, waits for
//! nothing, says nothing where anything is odd.

use std::path::Path;

use super::answer;
use crate::error::Failure;
use crate::repository::git_dir_around;

/// The largest env file that is read.
const MAX: u64 = 64 * 1024;
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
    let env = small(&git_dir_around(cwd)?.join("tracemark/env"))?;
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
