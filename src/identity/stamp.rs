//! What changes whenever a file is written, replaced or renamed over.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// Device, inode, mode, size, and the times of the last write and the last change in nanoseconds. The last cannot be set
/// by a program (utimensat(2)), so equal stamps mean that nothing was written in between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    place: (u64, u64),
    mode: u32,
    size: u64,
    written: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    /// Returns the stamp of what lies at `path` itself, links not followed; `None` for nothing and for directories.
    pub(super) fn of(path: &Path) -> Option<Self> {
        let metadata = path.symlink_metadata().ok()?;
        (!metadata.is_dir()).then(|| Self {
            place: (metadata.dev(), metadata.ino()),
            mode: metadata.mode(),
            size: metadata.size(),
            written: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }
}
