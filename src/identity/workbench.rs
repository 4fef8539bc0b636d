//! Where a pass puts its temporary files, and by which it learns what time the file system has. File systems take their time to make directories and files, so one pass leaves it to
//! the next. Nothing there is held open, so that the file system can be unmounted. Knows nothing of
//! what is read.

use std::fs::File;
use std::path::Path;

use super::scratch::{self, Scratch};
use super::stamp::Moment;
use crate::git::Git;

/// In a scratch directory: the file whose times are the clock of the file system.
const PROBE: &str = "probe";

/// A scratch directory with a clock.
#[derive(Debug)]
pub(super) struct Workbench {
    pub(super) scratch: Scratch,
}

impl Workbench {
    /// Makes one in the directory `private`, which no reading sees.
    ///
    /// # Errors
    /// Where nothing can be written there.
    pub(super) fn new(git: &Git, root: &Path, private: &Path) -> std::io::Result<Self> {
        let scratch = scratch::new(git, root, Some(private))?;
        File::create_new(scratch.path().join(PROBE))?;
        Ok(Self { scratch })
    }

    /// Asks the file system for its time.
    ///
    /// # Errors
    /// Where the directory is no longer there, or full.
    pub(super) fn now(&self) -> std::io::Result<Moment> {
        let probe = File::options().write(true).open(self.path().join(PROBE))?;
        Moment::now(&probe)
    }

    /// Returns whether somebody removed the directory, as whoever removes the whole repository does.
    pub(super) fn is_gone(&self) -> bool {
        self.path().symlink_metadata().is_err()
    }

    /// Returns its path.
    pub(super) fn path(&self) -> &Path {
        self.scratch.path()
    }
}
