//! Snapshots: the code of each version, kept where nothing that happens to the repository can harm it.
//!
//! A private git object store below the common git directory, with packs of its own and no tie to those of the repository: no
//! alternate, no reference, nothing that the user's git ever looks at. A line in `index` says which trees a version is made
//! of. Only packs are written, and git names every object in them by its bytes before they count.

mod absent;
mod capture;
mod committed;
mod compressed;
mod conversion;
mod held;
mod index;
mod objects;
mod pack;
mod path_text;
mod prune;
mod read;
mod restore;
mod secrets;
mod unseen;
mod whole;

use std::fs::File;
use std::path::{Path, PathBuf};

use crate::fs_util::{PathError, create_one_private_dir};
use crate::git::{Git, GitError};
use crate::identity::object::Format;

pub use capture::{Limits, Occasion};
pub use committed::{Committed, commits_with, committed_trees};
pub use held::Held;
pub use index::{Change, Changes, Inside, LeftOut, Record, Why};
pub use path_text::{path_bytes, path_text};
pub use prune::{Pruned, Reason};
pub use read::blob_of;
pub use restore::{RestoreError, Restored, unfinished};

use objects::Objects;

/// Why code was not kept, or cannot be read back.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// A file changed before it was kept: what lies there now is another version.
    #[error("{0:?} changed before it was kept")]
    Changed(String),
    /// A signal ended it.
    #[error("interrupted")]
    Interrupted,
    /// The files cannot be read once more.
    #[error("it cannot be read once more: {0}")]
    Unread(String),
    /// The snapshots take as much room as they may.
    #[error("the snapshots have reached their quota of {quota} bytes, tracemark gc makes room")]
    Full {
        /// The quota, in bytes.
        quota: u64,
    },
    /// There is no snapshot of that.
    #[error("no such snapshot")]
    Unknown,
    /// The store holds something that this program does not write.
    #[error("the snapshot store is damaged: {0}")]
    Damaged(String),
    /// Git refused.
    #[error(transparent)]
    Git(#[from] GitError),
    /// A file operation failed.
    #[error(transparent)]
    Path(#[from] PathError),
}

/// The snapshots of one repository, all its worktrees together.
#[derive(Debug, Clone)]
pub struct Snapshots {
    dir: PathBuf,
}

impl Snapshots {
    /// Returns the snapshots of the repository whose common git directory that is. Nothing is read or written yet.
    pub fn of(common_dir: &Path) -> Self {
        Self {
            dir: Self::place(common_dir),
        }
    }

    /// Returns where the snapshots of a repository lie.
    pub fn place(common_dir: &Path) -> PathBuf {
        common_dir.join("tracemark/snapshots")
    }

    /// Returns the packs that git cannot read, each object by its bytes. Takes as long as reading everything that is kept.
    ///
    /// # Errors
    /// [`SnapshotError::Path`] where they cannot be listed.
    pub fn unreadable_packs(&self) -> Result<Vec<PathBuf>, SnapshotError> {
        if !self.exist() {
            return Ok(Vec::new());
        }
        let mut packs = objects::unreadable(&self.git_dir())?;
        for table in &mut packs {
            table.set_extension("pack");
        }
        Ok(packs)
    }

    /// Returns whether any were ever kept.
    pub fn exist(&self) -> bool {
        self.index_file().is_file()
    }

    /// Returns every version that is kept, the oldest first.
    ///
    /// # Errors
    /// [`SnapshotError::Path`] when the index cannot be read.
    pub fn records(&self) -> Result<Vec<Record>, SnapshotError> {
        index::read(&self.index_file())
    }

    /// Returns how many bytes all of it takes, as files count.
    pub fn bytes(&self) -> u64 {
        self.objects_dir().join("pack").read_dir().map_or(0, |dir| {
            dir.flatten()
                .filter_map(|entry| entry.metadata().ok())
                .map(|metadata| metadata.len())
                .sum()
        })
    }

    /// Returns the directory of the objects, for a git that is to read them beside a repository's own.
    pub fn objects_dir(&self) -> PathBuf {
        self.git_dir().join("objects")
    }

    /// Returns the objects as a part of `GIT_ALTERNATE_OBJECT_DIRECTORIES`, for one git process that a person asked for.
    pub fn as_alternate(&self) -> std::ffi::OsString {
        conversion::alternates(&[&self.objects_dir()])
    }

    /// Returns a git that works on the store alone, whatever a person's settings say.
    pub fn git(&self) -> Git {
        objects::git(&self.git_dir())
    }

    fn git_dir(&self) -> PathBuf {
        self.dir.join("store.git")
    }

    fn index_file(&self) -> PathBuf {
        self.dir.join("index")
    }

    fn absent_file(&self) -> PathBuf {
        self.dir.join("absent")
    }

    /// Waits until no other process writes, and makes what is missing. The lock is held as long as the file is open.
    fn open(&self, format: Format) -> Result<(File, Objects), SnapshotError> {
        let lock = self.lock()?;
        let objects = Objects::open(&self.git_dir(), format)?;
        Ok((lock, objects))
    }

    fn lock(&self) -> Result<File, SnapshotError> {
        for dir in self.dir.parent().into_iter().chain([self.dir.as_path()]) {
            create_one_private_dir(dir)?;
        }
        let path = self.dir.join("lock");
        let lock = File::options()
            .create(true)
            .append(true)
            .open(&path)
            .and_then(|file| file.lock().map(|()| file));
        Ok(lock.map_err(PathError::of("lock", &path))?)
    }
}

#[cfg(test)]
mod lock_tests {
    use super::*;

    #[test]
    fn a_repository_that_was_moved_away_is_not_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        let common_dir = dir.path().join("moved/.git");
        assert!(Snapshots::of(&common_dir).lock().is_err());
        assert!(!dir.path().join("moved").exists());
        std::fs::create_dir_all(&common_dir).unwrap();
        assert!(Snapshots::of(&common_dir).lock().is_ok());
    }
}
