//! The log of a daemon without a terminal or journal: standard error, which is a file, set aside when it grows.
//!
//! Standard error itself is moved to the new file, so that what a library or a panic says lands there too; crates that
//! rotate logs hold a file of their own and leave standard error behind. Knows nothing of what is worth a line.

use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use crate::fs_util::{PathError, remove_what_is_no_file};

/// A log larger than this is set aside as `daemon.log.old`, in the place of the one before: two of these are kept.
pub const LOG_MAX: u64 = 2 * 1024 * 1024;

/// Writes to standard error, and keeps the file that it goes to small.
#[derive(Debug, Clone)]
pub struct LogFile {
    path: PathBuf,
}

impl LogFile {
    /// Returns a writer for the log at `path`, which standard error goes to already.
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    fn rotate_if_large(&self) -> io::Result<()> {
        let is_large = rustix::fs::fstat(io::stderr())?.st_size >= LOG_MAX.cast_signed();
        if is_large {
            let log = open(&self.path).map_err(|error| error.source)?;
            rustix::stdio::dup2_stderr(&log)?;
        }
        Ok(())
    }
}

impl io::Write for LogFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = io::Write::write(&mut io::stderr(), bytes)?;
        // A log that cannot be set aside goes on growing, which harms less than no log.
        drop(self.rotate_if_large());
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        io::Write::flush(&mut io::stderr())
    }
}

/// Returns where a log that grew too large is set aside.
pub fn set_aside(path: &Path) -> PathBuf {
    path.with_extension("log.old")
}

/// Opens the log for appending; a large one is set aside first. A link, a pipe or a device in its place is replaced.
///
/// # Errors
/// [`PathError`] when the directory cannot be written.
pub fn open(path: &Path) -> Result<File, PathError> {
    remove_what_is_no_file(path)?;
    if path
        .symlink_metadata()
        .is_ok_and(|log| log.len() >= LOG_MAX)
    {
        std::fs::rename(path, set_aside(path)).map_err(PathError::of("set aside", path))?;
    }
    File::options()
        .create(true)
        .append(true)
        .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed())
        .open(path)
        .map_err(PathError::of("open", path))
}
