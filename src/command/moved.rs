//! Where a repository lies that was moved since its entry was written.
//!
//! Looks at directories and their names, opens no file, and asks no git.

use std::path::{Path, PathBuf};

use crate::written::Entry;

/// How many directories are looked into for a repository that was moved.
const LOOKS_MAX: usize = 5_000;
/// How deep below the directory that held it a repository that was moved is looked for.
const DEPTH_MAX: usize = 2;

/// Returns where the repository of an entry lies now: where it was, else around the current directory, else near where it
/// was. `None` when it is nowhere there.
pub(super) fn place_of(entry: &Entry, here: Option<&Path>) -> Option<PathBuf> {
    if entry.is_at(&entry.common_dir) {
        return Some(entry.common_dir.clone());
    }
    if let Some(here) = here.filter(|here| entry.is_at(here)) {
        return Some(here.to_owned());
    }
    let old_root = entry.common_dir.parent()?;
    let around = old_root.ancestors().skip(1).find(|dir| dir.is_dir())?;
    let mut looks = LOOKS_MAX;
    search(entry, around, DEPTH_MAX, &mut looks)
}

fn search(entry: &Entry, dir: &Path, depth: usize, looks: &mut usize) -> Option<PathBuf> {
    let subdirs: Vec<PathBuf> = std::fs::read_dir(dir)
        .ok()?
        .flatten()
        .filter(|found| found.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|found| found.path())
        .take(*looks)
        .collect();
    *looks = looks.saturating_sub(subdirs.len());
    let candidates = subdirs
        .iter()
        .flat_map(|dir| [dir.clone(), dir.join(".git")]);
    let found = candidates.into_iter().find(|dir| entry.is_at(dir));
    if found.is_some() || depth == 0 {
        return found;
    }
    subdirs
        .iter()
        .find_map(|dir| search(entry, dir, depth - 1, looks))
}
