//! Which file lies at a path, whatever its name.
//!
//! Opens none. Says nothing of what was there before: systems give the number of a file that is gone to another.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// What tells a file from every other that is there at the same time: device and inode (inode(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileId(u64, u64);

impl FileId {
    /// Returns which file metadata are of.
    pub fn of(metadata: &Metadata) -> Self {
        Self(metadata.dev(), metadata.ino())
    }

    /// Returns which file a path leads to.
    ///
    /// # Errors
    /// Where nothing is there, or it cannot be looked at.
    pub fn behind(path: &Path) -> io::Result<Self> {
        path.metadata().map(|found| Self::of(&found))
    }

    /// Returns what lies at a path itself, be it a link.
    ///
    /// # Errors
    /// As [`FileId::behind`].
    pub fn at(path: &Path) -> io::Result<Self> {
        path.symlink_metadata().map(|found| Self::of(&found))
    }
}
