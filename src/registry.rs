//! The repositories that this user tracks: one record each, outside the repositories, made by `up`.
//!
//! Commands write them, the daemon never does, and it tracks nothing that has none.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::config::Layer;
use crate::fs_util::{self, FileId, PathError};
use crate::git::GitError;
use crate::identity::digest::hex;
use crate::repository::Worktree;

/// The version of the record's format.
const SCHEMA: u32 = 1;

/// Why the records cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// A record cannot be read or written.
    #[error(transparent)]
    Path(#[from] PathError),
    /// A record is not what this version writes.
    #[error("{} is not a record of this version: {message}", file.display())]
    Invalid {
        /// The record.
        file: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// A path that a record cannot hold.
    #[error("{} is not UTF-8, which this version cannot track", .0.display())]
    NotUtf8(PathBuf),
}

/// What `up` decided for one repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The version of this format.
    pub schema: u32,
    /// The git directory that all worktrees share.
    pub common_dir: PathBuf,
    /// Its device and inode: another repository at the same place is another repository.
    pub identity: FileId,
    /// The worktree that `up` was run in, which git does not list for a submodule.
    pub root: PathBuf,
    /// The worktrees tracked, all present and future ones when empty.
    #[serde(default)]
    pub only: Vec<PathBuf>,
    /// User-private settings.
    #[serde(default)]
    pub settings: Layer,
    /// The settings of the repository's own git configuration that named programs when `up` saw them; absent in records
    /// of versions that did not look.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trusted: Option<BTreeMap<String, Vec<String>>>,
    /// Whether `up` made the block in `info/exclude`.
    #[serde(default)]
    pub excluded: bool,
}

impl Record {
    /// Returns a record without settings.
    ///
    /// # Errors
    /// [`PathError`] when the git directory cannot be looked at.
    pub fn new(worktree: &Worktree) -> Result<Self, PathError> {
        let common_dir = &worktree.common_dir;
        Ok(Self {
            schema: SCHEMA,
            common_dir: common_dir.clone(),
            identity: FileId::behind(common_dir).map_err(PathError::of("read", common_dir))?,
            root: worktree.root.clone(),
            only: Vec::new(),
            settings: Layer::default(),
            trusted: None,
            excluded: false,
        })
    }

    /// Returns every worktree that is tracked under the record and has a directory on disk.
    ///
    /// # Errors
    /// [`GitError`] when git cannot list them.
    pub fn worktrees(&self) -> Result<Vec<Worktree>, GitError> {
        let mut worktrees = Worktree::all(&self.common_dir)?;
        worktrees.extend(Worktree::discover(&self.root));
        worktrees.sort();
        worktrees.dedup();
        worktrees.retain(|worktree| self.covers(worktree));
        Ok(worktrees)
    }

    /// Returns the same record for the repository in the place where it lies by now.
    ///
    /// # Errors
    /// As [`Record::new`].
    pub fn moved_to(self, worktree: &Worktree) -> Result<Self, PathError> {
        let new = Self::new(worktree)?;
        let only = self.only.iter();
        let only = only.map(|root| carried_over(root, &self.common_dir, &new.common_dir));
        Ok(Self {
            only: only.collect(),
            common_dir: new.common_dir,
            identity: new.identity,
            root: new.root,
            ..self
        })
    }

    /// False when the repository was moved, also where a link leads to its new place, or replaced by another one.
    pub fn is_about_what_is_there(&self) -> bool {
        let real = self.common_dir.canonicalize();
        real.is_ok_and(|real| real == self.common_dir)
            && FileId::behind(&self.common_dir).is_ok_and(|found| found == self.identity)
    }

    /// True when this worktree is tracked under the record.
    pub fn covers(&self, worktree: &Worktree) -> bool {
        self.common_dir == worktree.common_dir
            && (self.only.is_empty() || self.only.contains(&worktree.root))
    }
}

/// The records in one directory.
#[derive(Debug, Clone)]
pub struct Registry {
    dir: PathBuf,
}

impl Registry {
    /// Returns the records kept in `dir`, which need not exist.
    pub fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// Returns where the record of a repository lies, or would.
    pub fn file(&self, common_dir: &Path) -> PathBuf {
        self.dir.join(record_file_name(common_dir))
    }

    /// Returns the record of a repository, `None` when it is not tracked.
    ///
    /// # Errors
    /// [`RegistryError`] when there is one that cannot be used.
    pub fn find(&self, common_dir: &Path) -> Result<Option<Record>, RegistryError> {
        self.refuse_link()?;
        let found = read_record(&self.file(common_dir))?;
        Ok(found
            .filter(|record| record.common_dir == common_dir && record.is_about_what_is_there()))
    }

    /// False when no record is about the repository at `common_dir`: it was given up, moved, or replaced by another one. A record
    /// that cannot be read says nothing.
    pub fn may_know(&self, common_dir: &Path) -> bool {
        !matches!(self.find(common_dir), Ok(None))
    }

    /// Returns every record of a repository that is there; those that cannot be used are logged and left out.
    ///
    /// # Errors
    /// [`RegistryError`] when the directory cannot be listed.
    pub fn all(&self) -> Result<Vec<Record>, RegistryError> {
        let mut records = self.records()?;
        records.retain(Record::is_about_what_is_there);
        Ok(records)
    }

    /// Returns every record that can be read, also of repositories that were moved or are gone.
    pub fn every(&self) -> Vec<Record> {
        self.records().unwrap_or_default()
    }

    /// Returns why records cannot be used, each naming its file: their repositories are not watched.
    pub fn unusable(&self) -> Vec<RegistryError> {
        let files = self.files().unwrap_or_default().into_iter();
        files.filter_map(|file| read_record(&file).err()).collect()
    }

    fn records(&self) -> Result<Vec<Record>, RegistryError> {
        let files = self.files()?;
        Ok(files
            .iter()
            .filter_map(|file| match read_record(file) {
                Ok(record) => record,
                Err(error) => {
                    tracing::warn!(%error, "a record is left out");
                    None
                }
            })
            .collect())
    }

    /// Records are believed: none is that lies behind a link.
    fn refuse_link(&self) -> Result<(), PathError> {
        match self.dir.symlink_metadata() {
            Ok(found) if !found.is_dir() => {
                let refused = std::io::Error::other("something that is no directory lies there");
                Err(PathError::of("use", &self.dir)(refused))
            }
            _ => Ok(()),
        }
    }

    fn files(&self) -> Result<Vec<PathBuf>, RegistryError> {
        self.refuse_link()?;
        let entries = match std::fs::read_dir(&self.dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(PathError::of("read", &self.dir)(error).into()),
        };
        let mut files: Vec<_> = entries
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| {
                path.extension()
                    .is_some_and(|extension| extension == "json")
            })
            .collect();
        files.sort();
        Ok(files)
    }

    /// Writes a record, on the disk before it returns.
    ///
    /// # Errors
    /// [`RegistryError`] when it cannot be written.
    pub fn write(&self, record: &Record) -> Result<(), RegistryError> {
        let text = serde_json::to_vec_pretty(record)
            .map_err(|_| RegistryError::NotUtf8(record.common_dir.clone()))?;
        fs_util::claim_private_dir(self.dir.parent().unwrap_or(&self.dir))?;
        fs_util::create_one_private_dir(&self.dir)?;
        fs_util::replace_durably(&self.file(&record.common_dir), &text)?;
        Ok(())
    }

    /// Removes a repository's record and returns whether there was one.
    ///
    /// # Errors
    /// [`RegistryError`] when it cannot be removed.
    pub fn remove(&self, common_dir: &Path) -> Result<bool, RegistryError> {
        Ok(fs_util::remove_if_exists(&self.file(common_dir))?)
    }
}

/// Returns what files about the repository of a common git directory are called in directories of ours.
pub fn record_file_name(common_dir: &Path) -> String {
    use std::os::unix::ffi::OsStrExt as _;
    let digest = hex(&Sha256::digest(common_dir.as_os_str().as_bytes()));
    format!("{}.json", digest.get(..16).unwrap_or(&digest))
}

/// Returns where a path is after the repository around it, whose common git directory is named, was moved; one outside of
/// it stays.
pub fn carried_over(path: &Path, from: &Path, to: &Path) -> PathBuf {
    let around = |common_dir: &Path| common_dir.parent().unwrap_or(common_dir).to_owned();
    path.strip_prefix(around(from)).map_or_else(
        |_| path.to_owned(),
        |inside| around(to).join(inside).components().collect(),
    )
}

fn read_record(file: &Path) -> Result<Option<Record>, RegistryError> {
    let Some(bytes) = fs_util::read_if_exists(file)? else {
        return Ok(None);
    };
    let invalid = |message: String| RegistryError::Invalid {
        file: file.to_owned(),
        message,
    };
    let record: Record =
        serde_json::from_slice(&bytes).map_err(|error| invalid(error.to_string()))?;
    if record.schema != SCHEMA {
        return Err(invalid(format!("schema {}", record.schema)));
    }
    Ok(Some(record))
}
