//! Whether a repository's own configuration may name a program, told by words in its files, so that no git is needed where
//! none is in it.
//!
//! Decides nothing: what is named, and whether that is trusted, `trust` finds out.

use std::path::Path;

use crate::fs_util::read_if_exists;
use crate::git::named_by;
use crate::identity::index_names::IndexNames;
use crate::repository::git_dir_around;

/// A larger file is not looked through.
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

/// Returns whether the configuration of the repository around `cwd` holds a word that every setting which names a program holds, or
/// includes other files; true also where it cannot be read.
pub fn may_name_programs(cwd: &Path) -> bool {
    let Some(git_dir) = git_dir_around(cwd) else {
        return false;
    };
    let link = git_dir.join("commondir");
    let common = match named_by(&link, b"", &git_dir) {
        Some(common) => common,
        None if link.exists() => return true,
        None => git_dir.clone(),
    };
    // The configuration of a repository inside counts too, and where one is needs no word in this one. An index that cannot be read
    // here is left: git would write trees to list a sparse one.
    if IndexNames::read(&git_dir).is_some_and(|names| !names.gitlinks().is_empty()) {
        return true;
    }
    let files = [common.join("config"), git_dir.join("config.worktree")];
    files
        .iter()
        .filter(|file| file.exists())
        .any(|file| text(file).is_none_or(|text| WORDS.iter().any(|word| text.contains(word))))
}

/// In small letters.
fn text(file: &Path) -> Option<String> {
    if file.metadata().ok()?.len() > MAX {
        return None;
    }
    let bytes = read_if_exists(file).ok()??;
    Some(String::from_utf8(bytes).ok()?.to_lowercase())
}
