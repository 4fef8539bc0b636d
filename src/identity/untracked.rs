//! The files that `git status -uall` lists as untracked, among those that an index does not know.
//!
//! Knows no index: what one does not know comes in. Opens no file but those with rules, and starts no git.

use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::FileType;

use super::ignores::Ignores;
use super::listing::Listing;

/// Something in the worktree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stray {
    /// Its path from the root.
    pub(super) path: Vec<u8>,
    /// What it is.
    pub(super) kind: Kind,
}

/// What can be untracked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A file, or a link to anything.
    File,
    /// A directory.
    Directory,
}

impl Stray {
    /// Returns what was found at `path`; `None` for a pipe, a socket or a device.
    pub(super) fn new(path: Vec<u8>, found: FileType) -> Option<Self> {
        let kind = match found {
            FileType::Directory => Kind::Directory,
            FileType::RegularFile | FileType::Symlink => Kind::File,
            _ => return None,
        };
        Some(Self { path, kind })
    }
}

/// Returns the paths of the files that are not ignored among `strays` and below them, given the top of the work tree and its git directory,
/// the directories that hold tracked files and a `.gitignore`, and the file of the user's own rules. `None` where git must be asked.
pub(super) fn list(
    (root, git_dir): (&Path, &Path),
    strays: Vec<Stray>,
    with_rules: &BTreeSet<Vec<u8>>,
    rules_of_user: &Path,
) -> Option<BTreeSet<Vec<u8>>> {
    let mut ignores = Ignores::default();
    if !strays.is_empty() {
        ignores.read_outer(rules_of_user)?;
        ignores.read_outer(&git_dir.join("info/exclude"))?;
        for directory in with_rules {
            ignores.read_inner(&rules_in(root, directory), directory)?;
        }
    }
    are_seen(&ignores, &strays)?;
    let mut listed = BTreeSet::new();
    let mut rest = strays;
    while let Some(Stray { path, kind }) = rest.pop() {
        match (ignores.covers(&path, kind == Kind::Directory), kind) {
            (true, _) => {}
            (false, Kind::File) => drop(listed.insert(path)),
            (false, Kind::Directory) => rest.extend(below(root, path, &mut ignores)?),
        }
    }
    Some(listed)
}

fn rules_in(root: &Path, directory: &[u8]) -> PathBuf {
    root.join(std::ffi::OsStr::from_bytes(directory))
        .join(".gitignore")
}

/// Nothing is seen in a directory that rules cover, though it holds tracked files: that is left to git.
fn are_seen(ignores: &Ignores, strays: &[Stray]) -> Option<()> {
    let mut directories = BTreeSet::new();
    for stray in strays {
        let slashes = stray.path.iter().enumerate().rev();
        for (at, _) in slashes.filter(|(_, byte)| **byte == b'/') {
            if !directories.insert(stray.path.get(..at)?) {
                break;
            }
        }
    }
    let covered = directories
        .iter()
        .any(|directory| ignores.covers(directory, true));
    (!covered).then_some(())
}

/// Returns what lies in an untracked directory, whose own rules are read first.
fn below(root: &Path, directory: Vec<u8>, ignores: &mut Ignores) -> Option<Vec<Stray>> {
    let mut prefix = directory;
    prefix.push(b'/');
    let mut strays = Vec::new();
    let path = root.join(std::ffi::OsStr::from_bytes(&prefix));
    Listing::open(&path).ok()?.each(|found| {
        match found.name() {
            // A repository of its own, or nearly one.
            b".git" => return None,
            b".gitignore" => ignores.read_inner(&rules_in(root, &prefix), &prefix)?,
            _ => {}
        }
        let path = [prefix.as_slice(), found.name()].concat();
        strays.push(Stray::new(path, found.kind().ok()?)?);
        Some(())
    })?;
    Some(strays)
}
