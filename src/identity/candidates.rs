//! From what was touched to what must be looked at: the files themselves, and what was or is below touched directories.
//!
//! Looks with lstat(2) alone: reads no file and asks git nothing. Where it is not sure, everything is to be looked at.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use super::file_content::is_absence;
use super::index_file::IndexFile;
use super::real_dirs::RealDirs;
use super::stamp::Stamp;
use super::status_text::{PathBytes, Status};

/// More files than this are looked at like everything.
const CANDIDATES_MAX: usize = 4096;
/// Files that rule how others are read or listed: nothing that was read before counts when one moves.
const RULES: [&str; 3] = [".gitattributes", ".gitignore", ".gitmodules"];

/// Returns whether a file of that path decides how others are read or listed.
pub fn rules_others(path: &Path) -> bool {
    let name = path.file_name();
    name.is_some_and(|name| RULES.iter().any(|rule| name == *rule))
}

/// Returns every directory above a file, the nearest first; the root is empty.
pub(super) fn parents(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let slashes = path
        .iter()
        .enumerate()
        .rev()
        .filter(|(_, byte)| **byte == b'/');
    slashes
        .map(|(at, _)| at)
        .chain([0])
        .filter_map(|end| path.get(..end))
}

/// What must be looked at again.
#[derive(Debug, Default)]
pub(super) struct Candidates {
    /// Paths with an entry in the index.
    tracked: BTreeSet<PathBytes>,
    /// All others.
    pub(super) untracked: BTreeSet<PathBytes>,
    /// Those of both kinds where a file, a link or something stranger is.
    pub(super) present: BTreeSet<PathBytes>,
    /// Directories below which anything may be new.
    pub(super) dirs: BTreeSet<PathBytes>,
    /// How those lay that were there.
    stamps: BTreeMap<PathBytes, Stamp>,
}

impl Candidates {
    /// Finds out; `None` where everything must be looked at.
    pub(super) fn of(
        root: &Path,
        touched: &BTreeSet<PathBuf>,
        index: &IndexFile,
        status: &Status,
        dirs: &mut RealDirs<'_>,
    ) -> Option<Self> {
        let mut candidates = Self::default();
        for path in touched {
            let Ok(inside) = path.strip_prefix(root) else {
                // Outside the worktree everything that counts is part of the ground.
                continue;
            };
            match place_of(inside) {
                Place::OwnGitDir => {}
                Place::RulesOthers => return None,
                Place::File => candidates.add(root, inside, index, status)?,
            }
        }
        for path in candidates.tracked.iter().chain(&candidates.untracked) {
            if let Some(stamp) = dirs.stamp(path) {
                candidates.present.insert(path.clone());
                candidates.stamps.insert(path.clone(), stamp);
            }
        }
        (!dirs.are_unsure()).then_some(candidates)
    }

    fn add(
        &mut self,
        root: &Path,
        inside: &Path,
        index: &IndexFile,
        status: &Status,
    ) -> Option<()> {
        let path = inside.as_os_str().as_bytes();
        match root.join(inside).symlink_metadata() {
            Ok(metadata) if metadata.is_dir() => {
                self.dirs.insert(path.to_vec());
            }
            Ok(_) => {}
            Err(error) if is_absence(&error) => {}
            Err(_) => return None,
        }
        let has_repository = |dir: &[u8]| {
            root.join(OsStr::from_bytes(dir))
                .join(".git")
                .symlink_metadata()
                .is_ok()
        };
        if parents(path).any(|dir| !dir.is_empty() && has_repository(dir)) {
            return None;
        }
        self.add_one(path, index);
        let is_known = |path: &[u8]| index.find(path).is_some() || status.untracked.contains(path);
        for above in parents(path).filter(|above| is_known(above)) {
            self.add_one(above, index);
        }
        let below = index.below(path).take(CANDIDATES_MAX + 1);
        self.tracked
            .extend(below.map(|entry| entry.path().to_vec()));
        let prefix = [path, b"/"].concat();
        let below = status
            .untracked
            .range(prefix.clone()..)
            .take_while(|path| path.starts_with(&prefix));
        self.untracked.extend(below.cloned());
        (self.tracked.len() + self.untracked.len() <= CANDIDATES_MAX).then_some(())
    }

    fn add_one(&mut self, path: &[u8], index: &IndexFile) {
        if index.find(path).is_some() {
            self.tracked.insert(path.to_vec());
        } else {
            self.untracked.insert(path.to_vec());
        }
    }

    /// Returns every path.
    pub(super) fn all(&self) -> impl Iterator<Item = &PathBytes> {
        self.tracked.iter().chain(&self.untracked)
    }

    /// Returns what lies now where nothing did, or something else, but for files that were listed since: it may have come before what
    /// was read.
    pub(super) fn come_since(&self, root: &Path, status: &Status) -> Vec<&PathBytes> {
        let has_come = |path: &PathBytes| {
            let now = root.join(OsStr::from_bytes(path)).symlink_metadata();
            now.is_ok_and(|now| self.stamps.get(path) != Some(&Stamp::from(&now)))
        };
        let is_told =
            |path: &PathBytes| self.dirs.contains(path) || status.untracked.contains(path);
        let others = self.untracked.iter();
        others
            .filter(|path| !is_told(path) && has_come(path))
            .collect()
    }

    /// Returns what was listed of the directories.
    pub(super) fn below_listed_dirs(&self, status: &Status) -> BTreeSet<PathBytes> {
        let untracked = status.untracked.iter();
        let below = untracked.filter(|path| self.is_below_listed_dir(path));
        below.cloned().collect()
    }

    /// Returns whether git is asked about a directory above `path`.
    pub(super) fn is_below_listed_dir(&self, path: &[u8]) -> bool {
        self.dirs.iter().any(|dir| {
            path.strip_prefix(dir.as_slice())
                .is_some_and(|rest| rest.starts_with(b"/"))
        })
    }
}

enum Place {
    OwnGitDir,
    RulesOthers,
    File,
}

fn place_of(inside: &Path) -> Place {
    let mut parts = inside.components();
    match parts.next() {
        None => return Place::RulesOthers,
        Some(Component::Normal(name)) if name == ".git" => return Place::OwnGitDir,
        Some(_) => {}
    }
    let in_other_repository = parts.any(|part| part.as_os_str() == ".git");
    if in_other_repository || rules_others(inside) {
        Place::RulesOthers
    } else {
        Place::File
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_after_it_was_looked_for_is_told_and_what_was_there_before_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        let [absent, there] = ["absent.py", "there.log"].map(|name| root.join(name));
        std::fs::write(&there, "ignored").unwrap();
        let (index, mut status) = (IndexFile::default(), Status::default());
        let touched = BTreeSet::from([absent.clone(), there.clone()]);
        let mut dirs = RealDirs::new(root);
        let candidates = Candidates::of(root, &touched, &index, &status, &mut dirs).unwrap();
        let come = |status: &Status| -> Vec<Vec<u8>> {
            let come = candidates.come_since(root, status);
            come.into_iter().cloned().collect()
        };
        assert!(come(&status).is_empty());
        std::fs::write(absent, "new").unwrap();
        assert_eq!(come(&status), [b"absent.py".to_vec()]);
        status.untracked.insert(b"absent.py".to_vec());
        assert!(come(&status).is_empty(), "it was listed");
        std::fs::remove_file(&there).unwrap();
        std::fs::write(&there, "it went and came again").unwrap();
        assert_eq!(come(&status), [b"there.log".to_vec()]);
    }
}
