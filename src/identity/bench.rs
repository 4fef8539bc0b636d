//! Where a pass puts its temporary files. File systems take their time to make directories and files, so one pass leaves it to
//! the next.

use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::scratch::{self, Scratch};
use crate::git::Git;

/// In a scratch directory: the file whose times are the clock of the file system.
const PROBE: &str = "probe";

/// A scratch directory with a clock.
#[derive(Debug)]
pub(super) struct Bench {
    pub(super) scratch: Scratch,
    /// Written to, it tells the time of the file system.
    pub(super) probe: File,
}

impl Bench {
    /// Makes one in the directory `private`, which no reading sees.
    ///
    /// # Errors
    /// Where nothing can be written there.
    pub(super) fn new(git: &Git, root: &Path, private: &Path) -> std::io::Result<Self> {
        let scratch = scratch::new(git, root, Some(private))?;
        let probe = File::create(scratch.path().join(PROBE))?;
        Ok(Self { scratch, probe })
    }

    /// Returns whether it is still where it was made.
    pub(super) fn is_there(&self) -> bool {
        let found = self.path().join(PROBE).symlink_metadata();
        let own = self.probe.metadata();
        let place = |file: std::fs::Metadata| (file.dev(), file.ino());
        found.ok().map(place) == own.ok().map(place)
    }

    /// Returns its path.
    pub(super) fn path(&self) -> &Path {
        self.scratch.path()
    }
}
