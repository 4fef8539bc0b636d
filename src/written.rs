//! What was written outside our own directories: the list that `down` and `down --purge` work from.
//!
//! An entry is on the disk before the thing that it is about. It lies in the state directory, one file for each
//! repository, which carries another, and one for the rest of the machine; paths in a repository are relative to its git directory, so that an
//! entry still fits one that was moved. What lies in our own directories is not listed, it goes with them. Asks git
//! nothing, as git may refuse the repository.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, FileTimes, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Component, Path, PathBuf};
use std::time::SystemTime;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::fs_util::{
    FileId, PathError, claim_private_dir, create_one_private_dir, create_private_dir, lies_inside,
    missing_dirs, read_if_exists, remove_empty, remove_if_exists, replace, replace_durably,
};
use crate::identity::digest::hex;
use crate::marked_block::{self, OURS};
use crate::paths::{Paths, REPOSITORIES};
use crate::registry::{Record, Registry, carried_over, record_file_name};
use crate::repository::{Worktree, private_dirs};

/// The version of both formats.
const SCHEMA: u32 = 1;
/// The file about what lies in no repository.
const MACHINE: &str = "machine.json";
/// Where a repository carries its own entry, below its common git directory: one that is moved to another disk has no
/// device and inode to be known by.
const CARRIED: &str = "tracemark/written.json";
/// The bits of a mode that a carried entry may set.
const MODE: u32 = 0o777;
/// What a removed block may have left of a file that was there before: a line end too many, or nothing, where a file of
/// a mere first line or of no byte was taken for one of our own.
const BEGINNINGS: [&[u8]; 2] = [b"", b"#!/bin/sh\n"];

/// What was written in one repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    schema: u32,
    /// Where its common git directory was.
    pub common_dir: PathBuf,
    /// Device and inode of that directory.
    pub identity: FileId,
    /// The worktrees that `up` was run in.
    pub roots: BTreeSet<PathBuf>,
    /// Whose list it is on: the state directory.
    #[serde(default)]
    state: PathBuf,
    /// Directories that were made for our files, relative to the git directory.
    #[serde(default)]
    made: BTreeSet<PathBuf>,
    /// Files that were there before we wrote into them, relative to the git directory.
    #[serde(default)]
    found: BTreeMap<PathBuf, Found>,
    /// Directories that hooks were written into, relative to the git directory.
    #[serde(default)]
    hooks: BTreeSet<PathBuf>,
}

/// A file as it was before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Found {
    sha256: String,
    mode: u32,
    modified: SystemTime,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Machine {
    schema: u32,
    /// Directories that were made, for us to be in.
    made: BTreeSet<PathBuf>,
}

impl Entry {
    /// Returns an entry about a repository in which nothing was written yet.
    pub fn new(record: &Record) -> Self {
        Self {
            schema: SCHEMA,
            common_dir: record.common_dir.clone(),
            identity: record.identity,
            roots: BTreeSet::from([record.root.clone()]),
            state: PathBuf::new(),
            made: BTreeSet::new(),
            found: BTreeMap::new(),
            hooks: BTreeSet::new(),
        }
    }

    /// Returns the entry that the repository of `common_dir` carries, `None` where it has none that only speaks of what
    /// lies inside of it.
    pub fn carried(common_dir: &Path) -> Option<Self> {
        let mut entry: Self = read(&common_dir.join(CARRIED))?;
        let names = entry.made.iter().chain(entry.found.keys());
        let is_inside = |name: &PathBuf| {
            let mut parts = name.components();
            parts.all(|part| matches!(part, Component::Normal(_)))
        };
        let all_inside = names.chain(&entry.hooks).all(is_inside);
        for found in entry.found.values_mut() {
            found.mode &= MODE;
        }
        all_inside.then_some(entry)
    }

    /// Has the repository carry its entry, as one of the instance with these paths.
    ///
    /// # Errors
    /// [`PathError`] when it cannot be written.
    pub fn carry(&mut self, paths: &Paths) -> Result<(), PathError> {
        self.state.clone_from(&paths.state);
        write(&self.common_dir.join(CARRIED), self)
    }

    /// Returns the state directory of another instance that tracks the repository: another home of the same user.
    pub fn other_instance(&self, paths: &Paths) -> Option<&Path> {
        let is_theirs = !self.state.as_os_str().is_empty() && self.state != paths.state;
        let is_there = Registry::new(self.state.join(REPOSITORIES)).find(&self.common_dir);
        let tracks = is_theirs && is_there.is_ok_and(|record| record.is_some());
        tracks.then_some(self.state.as_path())
    }

    /// Returns the same entry for the repository in the place where its record says that it lies by now.
    #[must_use]
    pub fn moved_to(self, record: &Record) -> Self {
        let roots = self.roots.iter();
        let roots = roots.map(|root| carried_over(root, &self.common_dir, &record.common_dir));
        Self {
            roots: roots.chain([record.root.clone()]).collect(),
            common_dir: record.common_dir.clone(),
            identity: record.identity,
            ..self
        }
    }

    /// Notes a hook before it is written.
    ///
    /// # Errors
    /// As [`Entry::note`].
    pub fn note_hook(&mut self, file: &Path) -> Result<(), PathError> {
        let dir = file.parent().unwrap_or(file);
        if let Ok(name) = dir.strip_prefix(&self.common_dir) {
            self.hooks.insert(name.to_owned());
        }
        self.note(file)
    }

    /// Returns the directories that hooks were written into, in the repository as it lies at `common_dir`.
    pub fn hook_dirs(&self, common_dir: &Path) -> BTreeSet<PathBuf> {
        let dirs = self.hooks.iter().map(|dir| common_dir.join(dir));
        dirs.filter(|dir| lies_inside(common_dir, dir)).collect()
    }

    /// Notes how a file below the git directory is, before it is written for the first time.
    ///
    /// # Errors
    /// [`PathError`] when it cannot be read.
    pub fn note(&mut self, file: &Path) -> Result<(), PathError> {
        let Ok(name) = file.strip_prefix(&self.common_dir) else {
            return Ok(());
        };
        let missing = missing_dirs(file.parent().unwrap_or(file));
        let inside = missing
            .iter()
            .filter_map(|dir| dir.strip_prefix(&self.common_dir).ok());
        self.made.extend(inside.map(Path::to_owned));
        if self.found.contains_key(name) {
            return Ok(());
        }
        let Some(bytes) = read_if_exists(file)? else {
            return Ok(());
        };
        // With a block of ours a file is not as it was found.
        if marked_block::find(&bytes, OURS.begin).is_some() {
            return Ok(());
        }
        let metadata = file.metadata().map_err(PathError::of("read", file))?;
        let found = Found {
            sha256: sha256(&bytes),
            mode: metadata.mode() & 0o7777,
            modified: metadata.modified().map_err(PathError::of("read", file))?,
        };
        self.found.insert(name.to_owned(), found);
        Ok(())
    }

    /// Gives what was found its bytes, mode and time again, once our blocks are out of it, and removes the directories
    /// that were made; what somebody changed meanwhile stays as it is. The repository may lie elsewhere by now.
    ///
    /// # Errors
    /// [`PathError`] when a file cannot be written.
    pub fn settle(&mut self, common_dir: &Path) -> Result<(), PathError> {
        // An entry that a repository carries may speak of what a link in it leads to.
        let inside = |name: &Path| {
            let path = common_dir.join(name);
            lies_inside(common_dir, &path).then_some(path)
        };
        for (name, found) in std::mem::take(&mut self.found) {
            if let Some(file) = inside(&name) {
                found.settle(&file)?;
            }
        }
        for dir in std::mem::take(&mut self.made).iter().rev() {
            if let Some(dir) = inside(dir) {
                remove_empty(&dir);
            }
        }
        Ok(())
    }

    /// True when the repository that the entry is about lies at `common_dir`.
    pub fn is_at(&self, common_dir: &Path) -> bool {
        FileId::behind(common_dir).is_ok_and(|found| found == self.identity)
    }
}

impl Found {
    fn settle(&self, file: &Path) -> Result<(), PathError> {
        let now = read_if_exists(file)?;
        let is_as_before = |bytes: &[u8]| sha256(bytes) == self.sha256;
        let before = match &now {
            Some(bytes) if is_as_before(bytes) => Some(bytes.as_slice()),
            Some(bytes) => bytes
                .strip_suffix(b"\n")
                .filter(|bytes| is_as_before(bytes)),
            None => BEGINNINGS.into_iter().find(|bytes| is_as_before(bytes)),
        };
        let Some(before) = before else {
            return Ok(());
        };
        let target = file.canonicalize().unwrap_or_else(|_| file.to_owned());
        if now.as_deref() != Some(before) {
            replace(&target, before, self.mode)?;
        }
        std::fs::set_permissions(&target, Permissions::from_mode(self.mode))
            .map_err(PathError::of("write", &target))?;
        let times = FileTimes::new().set_modified(self.modified);
        let set = File::open(&target).and_then(|file| file.set_times(times));
        if let Err(error) = set {
            tracing::debug!(%error, file = %target.display(), "the time stays");
        }
        Ok(())
    }
}

/// The list.
#[derive(Debug, Clone)]
pub struct Written {
    dir: PathBuf,
}

impl Written {
    /// Returns the list of the instance with these paths. Nothing is read or written yet.
    pub fn of(paths: &Paths) -> Self {
        Self {
            dir: paths.state.join("written"),
        }
    }

    /// Returns the directory of the list.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Returns the entry of a repository, a new one where there is none.
    pub fn entry(&self, record: &Record) -> Entry {
        let known: Option<Entry> = read(&self.file(&record.common_dir));
        let mut entry = known
            .filter(|entry| entry.identity == record.identity)
            .unwrap_or_else(|| Entry::new(record));
        entry.roots.insert(record.root.clone());
        entry
    }

    /// Returns every repository in which something was written, also those that are gone.
    pub fn entries(&self, registry: &Registry) -> Vec<Entry> {
        let files = std::fs::read_dir(&self.dir).into_iter().flatten().flatten();
        let mut entries: Vec<Entry> = files
            .map(|file| file.path())
            .filter(|file| !file.ends_with(MACHINE))
            .filter_map(|file| read(&file))
            .collect();
        for record in registry.every() {
            if !entries
                .iter()
                .any(|entry| entry.common_dir == record.common_dir)
            {
                entries.push(Entry::new(&record));
            }
        }
        entries.sort_by(|one, other| one.common_dir.cmp(&other.common_dir));
        entries
    }

    /// Writes an entry, on the disk before it returns.
    ///
    /// # Errors
    /// [`PathError`] when it cannot be written.
    pub fn write(&self, entry: &Entry) -> Result<(), PathError> {
        self.note_dir(&self.dir)?;
        write(&self.file(&entry.common_dir), entry)
    }

    /// Writes an entry where there is none yet.
    ///
    /// # Errors
    /// As [`Written::write`].
    pub fn keep(&self, entry: &Entry) -> Result<(), PathError> {
        if self.file(&entry.common_dir).exists() {
            return Ok(());
        }
        self.write(entry)
    }

    /// Takes an entry off the list.
    ///
    /// # Errors
    /// [`PathError`] when its file cannot be removed.
    pub fn remove(&self, entry: &Entry) -> Result<(), PathError> {
        remove_if_exists(&self.file(&entry.common_dir)).map(drop)
    }

    /// Makes the state directory where there is none, and notes which directories around it were made for that.
    ///
    /// # Errors
    /// [`PathError`] when it cannot be made.
    pub fn begin(paths: &Paths) -> Result<(), PathError> {
        if paths.state.exists() {
            claim_private_dir(&paths.state)?;
        }
        Self::of(paths).note_dir(&paths.state)
    }

    /// Notes which directories are about to be made so that there is a directory `dir`.
    ///
    /// # Errors
    /// [`PathError`] when the list cannot be written.
    pub fn note_dir(&self, dir: &Path) -> Result<(), PathError> {
        let missing = missing_dirs(dir);
        if missing.is_empty() {
            return Ok(());
        }
        let mut machine = self.machine();
        machine.made.extend(missing_dirs(&self.dir));
        machine.made.extend(missing);
        write(&self.dir.join(MACHINE), &machine)
    }

    fn machine(&self) -> Machine {
        let read: Option<Machine> = read(&self.dir.join(MACHINE));
        read.unwrap_or(Machine {
            schema: SCHEMA,
            made: BTreeSet::new(),
        })
    }

    /// Returns the directories that were made outside repositories, the deepest last.
    pub fn made_dirs(&self) -> BTreeSet<PathBuf> {
        self.machine().made
    }

    fn file(&self, common_dir: &Path) -> PathBuf {
        self.dir.join(record_file_name(common_dir))
    }
}

/// Returns the record of a repository that was moved to where `worktree` lies since `up` was run in it: nothing of it is
/// left in the old place, and it carries what we wrote. An inode alone proves nothing, they are used again.
pub fn moved_record(registry: &Registry, worktree: &Worktree) -> Option<Record> {
    let common_dir = &worktree.common_dir;
    if private_dirs(common_dir).is_empty() {
        return None;
    }
    let carried = Entry::carried(common_dir);
    let here = Record::new(worktree).ok()?;
    let is_it = |record: &Record| match &carried {
        Some(entry) => (&entry.common_dir, entry.identity) == (&record.common_dir, record.identity),
        None => record.identity == here.identity,
    };
    let mut records = registry.every().into_iter();
    records.find(|record| {
        record.common_dir != *common_dir && is_it(record) && !record.is_about_what_is_there()
    })
}

/// Returns the record of a repository whose git directory was made anew in its place, as from a backup: it carries what we wrote
/// for the one that lay there.
pub fn restored_record(registry: &Registry, worktree: &Worktree) -> Option<Record> {
    let carried = Entry::carried(&worktree.common_dir)?;
    let mut records = registry.every().into_iter();
    records.find(|record| {
        record.common_dir == worktree.common_dir
            && (&carried.common_dir, carried.identity) == (&record.common_dir, record.identity)
            && !record.is_about_what_is_there()
    })
}

fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// An entry that cannot be read is as good as lost: blocks are found by their marks all the same.
fn read<T: DeserializeOwned>(file: &Path) -> Option<T> {
    let bytes = read_if_exists(file).ok()??;
    match serde_json::from_slice(&bytes) {
        Ok(value) => Some(value),
        Err(error) => {
            tracing::warn!(%error, file = %file.display(), "not readable, and left out");
            None
        }
    }
}

fn write<T: Serialize>(file: &Path, value: &T) -> Result<(), PathError> {
    let text = serde_json::to_vec_pretty(value).map_err(|error| PathError {
        action: "write",
        path: file.to_owned(),
        source: std::io::Error::other(error),
    })?;
    let dir = file.parent().unwrap_or(file);
    create_private_dir(dir.parent().unwrap_or(dir))?;
    create_one_private_dir(dir)?;
    replace_durably(file, &text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(common_dir: &Path) -> Entry {
        Entry {
            schema: SCHEMA,
            common_dir: common_dir.to_owned(),
            identity: FileId::behind(common_dir).unwrap(),
            roots: BTreeSet::new(),
            state: PathBuf::new(),
            made: BTreeSet::new(),
            found: BTreeMap::new(),
            hooks: BTreeSet::new(),
        }
    }

    #[test]
    fn a_file_gets_its_bytes_mode_and_time_again_and_a_made_directory_goes() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("exclude");
        std::fs::write(&file, "*.log").unwrap();
        std::fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
        let before = file.metadata().unwrap().modified().unwrap();
        let mut entry = entry(dir.path());
        entry.note(&file).unwrap();
        entry.note(&dir.path().join("hooks/post-commit")).unwrap();
        std::fs::create_dir(dir.path().join("hooks")).unwrap();
        replace(&file, b"*.log\n", 0o644).unwrap();
        entry.settle(dir.path()).unwrap();
        assert_eq!(std::fs::read(&file).unwrap(), b"*.log");
        let metadata = file.metadata().unwrap();
        assert_eq!(metadata.mode() & 0o777, 0o600);
        assert_eq!(metadata.modified().unwrap(), before);
        assert!(!dir.path().join("hooks").exists());
    }

    #[test]
    fn a_file_that_somebody_changed_meanwhile_stays_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("exclude");
        std::fs::write(&file, "*.log\n").unwrap();
        let mut entry = entry(dir.path());
        entry.note(&file).unwrap();
        std::fs::write(&file, "*.log\n*.tmp\n").unwrap();
        entry.settle(dir.path()).unwrap();
        assert_eq!(std::fs::read(&file).unwrap(), b"*.log\n*.tmp\n");
    }
}
