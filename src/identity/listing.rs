//! What a directory holds, told without a copy of every name.
//!
//! Follows no link, enters no directory and opens no file. Knows nothing of git.

use std::ffi::CStr;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Result;

/// A directory that is open.
pub(super) struct Listing {
    directory: OwnedFd,
}

/// What was found in it.
pub(super) struct Found<'a> {
    directory: &'a OwnedFd,
    name: &'a CStr,
    kind: FileType,
}

impl Listing {
    /// Opens the directory at `path`, which is no link.
    ///
    /// # Errors
    /// As open(2) of a directory fails.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        // A slash at the end would have links followed (path_resolution(7)).
        let path = path.components().as_path();
        let directory = rustix::fs::open(path, flags, Mode::empty())?;
        Ok(Self { directory })
    }

    /// Tells of everything but `.` and `..`; ends early, with `None`, where that does or the directory cannot be read.
    pub(super) fn each(&self, mut tell: impl FnMut(&Found<'_>) -> Option<()>) -> Option<()> {
        self.each_entry(|name, kind| {
            if matches!(name.to_bytes(), b"." | b"..") {
                return Some(());
            }
            tell(&Found {
                directory: &self.directory,
                name,
                kind,
            })
        })
    }

    #[cfg(target_os = "linux")]
    fn each_entry(&self, mut tell: impl FnMut(&CStr, FileType) -> Option<()>) -> Option<()> {
        /// As much as the C library asks for at a time.
        const BUFFER: usize = 1 << 15;
        let mut buffer = Vec::with_capacity(BUFFER);
        let mut entries = rustix::fs::RawDir::new(&self.directory, buffer.spare_capacity_mut());
        while let Some(entry) = entries.next() {
            let entry = entry.ok()?;
            tell(entry.file_name(), entry.file_type())?;
        }
        Some(())
    }

    #[cfg(not(target_os = "linux"))]
    fn each_entry(&self, mut tell: impl FnMut(&CStr, FileType) -> Option<()>) -> Option<()> {
        for entry in rustix::fs::Dir::read_from(&self.directory).ok()? {
            let entry = entry.ok()?;
            tell(entry.file_name(), entry.file_type())?;
        }
        Some(())
    }
}

impl Found<'_> {
    /// Returns its name.
    pub(super) fn name(&self) -> &[u8] {
        self.name.to_bytes()
    }

    /// Returns what lstat(2) says of it.
    ///
    /// # Errors
    /// As lstat(2), where it is gone by now among others.
    pub(super) fn metadata(&self) -> Result<Stat> {
        rustix::fs::statat(self.directory, self.name, AtFlags::SYMLINK_NOFOLLOW)
    }

    /// Returns what kind of file it is.
    ///
    /// # Errors
    /// As [`Self::metadata`], which is asked on file systems that do not tell (readdir(3), `DT_UNKNOWN`).
    pub(super) fn kind(&self) -> Result<FileType> {
        match self.kind {
            FileType::Unknown => Ok(FileType::from_raw_mode(self.metadata()?.st_mode)),
            known => Ok(known),
        }
    }
}
