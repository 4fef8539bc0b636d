//! A directory that is held open, so that no link that takes its place, or that of a file in it, leads elsewhere.
//!
//! Every operation goes through the descriptor, as openat(2) and renameat(2) lay out; only regular files are read or
//! written, so that a pipe or a device in the place of a file is nothing to wait for.

use std::fs::{File, FileTimes};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::PathError;

/// So many bytes are read at once, more than an env file has.
const READ_AT_ONCE: usize = 4096;

/// What lies under a name.
#[derive(Debug, PartialEq, Eq)]
pub enum Content {
    /// Nothing.
    Absent,
    /// A regular file, with its bytes and the time of its last change.
    File(Vec<u8>, Option<SystemTime>),
    /// A link, pipe, device or directory, or a file that is too large.
    Other,
}

/// A directory, held open wherever it is moved to.
#[derive(Debug)]
pub struct HeldDir {
    dir: File,
    /// Where it was, for messages.
    path: PathBuf,
}

impl HeldDir {
    /// Opens a directory; a symbolic link in its place is refused.
    ///
    /// # Errors
    /// [`PathError`] when it is none, or cannot be opened.
    pub fn open(path: &Path) -> Result<Self, PathError> {
        Self::open_at(CWD, path, path)
    }

    /// Opens a directory in this one, `None` where there is nothing.
    ///
    /// # Errors
    /// As [`HeldDir::open`].
    pub fn child(&self, name: &str) -> Result<Option<Self>, PathError> {
        match Self::open_at(&self.dir, Path::new(name), &self.path.join(name)) {
            Err(error) if error.source.kind() == io::ErrorKind::NotFound => Ok(None),
            opened => opened.map(Some),
        }
    }

    /// Opens a directory in this one, which is made where there is nothing.
    ///
    /// # Errors
    /// As [`HeldDir::open`].
    pub fn make_child(&self, name: &str) -> Result<Self, PathError> {
        let path = self.path.join(name);
        match rustix::fs::mkdirat(&self.dir, name, Mode::from_raw_mode(0o777)) {
            Ok(()) | Err(Errno::EXIST) => Self::open_at(&self.dir, Path::new(name), &path),
            Err(error) => Err(PathError::of("create", &path)(error.into())),
        }
    }

    fn open_at(at: impl rustix::fd::AsFd, name: &Path, path: &Path) -> Result<Self, PathError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = rustix::fs::openat(&at, name, flags, Mode::empty());
        opened.map_or_else(
            |error| Err(PathError::of("use", path)(refusal(at, name, error))),
            |dir| {
                Ok(Self {
                    dir: dir.into(),
                    path: path.to_owned(),
                })
            },
        )
    }

    /// Refuses a directory of another user, who could put anything in it.
    ///
    /// # Errors
    /// [`PathError`] when it is one.
    pub fn must_be_ours(&self) -> Result<(), PathError> {
        let us = rustix::process::geteuid().as_raw();
        let owner = self.dir.metadata().map_or(us, |found| found.uid());
        if owner == us {
            return Ok(());
        }
        let message = format!("it belongs to another user (uid {owner}, this is {us})");
        Err(PathError::of("use", &self.path)(io::Error::new(
            io::ErrorKind::PermissionDenied,
            message,
        )))
    }

    /// Returns what lies under a name, at most `max` bytes of it.
    ///
    /// # Errors
    /// [`PathError`] when a file cannot be read.
    pub fn read(&self, name: &str, max: u64) -> Result<Content, PathError> {
        let failed = || PathError::of("read", &self.path.join(name));
        match rustix::fs::statat(&self.dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(Content::Absent),
            Err(error) => return Err(failed()(error.into())),
            Ok(found) if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile => {
                return Ok(Content::Other);
            }
            Ok(_) => {}
        }
        let file = match self.open_file(name, OFlags::RDONLY) {
            Ok(Some(file)) => file,
            Ok(None) => return Ok(Content::Other),
            Err(Errno::NOENT) => return Ok(Content::Absent),
            Err(error) => return Err(failed()(error.into())),
        };
        let modified = file.metadata().and_then(|found| found.modified()).ok();
        let mut bytes = Vec::with_capacity(READ_AT_ONCE);
        let read = file.take(max + 1).read_to_end(&mut bytes);
        read.map_err(failed())?;
        if bytes.len() as u64 > max {
            return Ok(Content::Other);
        }
        Ok(Content::File(bytes, modified))
    }

    /// Opens a regular file, `None` where it is none.
    fn open_file(&self, name: &str, how: OFlags) -> Result<Option<File>, Errno> {
        let flags = how | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        match rustix::fs::openat(&self.dir, name, flags, Mode::empty()) {
            // A pipe that nobody reads, a link, a socket: open(2).
            Err(Errno::NXIO | Errno::LOOP) => Ok(None),
            Err(error) => Err(error),
            Ok(file) => {
                let file = File::from(file);
                let is_file = file.metadata().is_ok_and(|found| found.is_file());
                Ok(is_file.then_some(file))
            }
        }
    }

    /// Replaces a file whole, and gives it a time where one is given: a reader sees the old or the new one, never a
    /// part. Whatever else lies under the name is replaced too, but for a directory. A mount point, which no rename can
    /// replace (EBUSY, rename(2)), is written in place.
    ///
    /// # Errors
    /// [`PathError`] when the directory cannot be written.
    pub fn replace(
        &self,
        name: &str,
        bytes: &[u8],
        mode: u32,
        modified: Option<SystemTime>,
    ) -> Result<(), PathError> {
        let failed = || PathError::of("write", &self.path.join(name));
        let temporary = format!(".tracemark-{}.tmp", uuid::Uuid::new_v4().simple());
        let written = self
            .write_new(&temporary, bytes, mode, modified)
            .and_then(|()| {
                Ok(rustix::fs::renameat(
                    &self.dir, &temporary, &self.dir, name,
                )?)
            });
        let Err(error) = written else {
            return Ok(());
        };
        if let Err(error) = self.remove(&temporary) {
            tracing::debug!(%error, "a temporary file stays behind");
        }
        if error.raw_os_error() == Some(Errno::BUSY.raw_os_error()) {
            return self.write_in_place(name, bytes, modified);
        }
        Err(failed()(error))
    }

    fn write_new(
        &self,
        name: &str,
        bytes: &[u8],
        mode: u32,
        modified: Option<SystemTime>,
    ) -> io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        let mode = Mode::from_raw_mode(mode);
        let file = rustix::fs::openat(&self.dir, name, flags | OFlags::CLOEXEC, mode)?;
        rustix::fs::fchmod(&file, mode)?;
        write(File::from(file), bytes, modified)
    }

    /// Makes a file where there is nothing; returns whether there was nothing.
    ///
    /// # Errors
    /// [`PathError`] when the directory cannot be written.
    pub fn create(&self, name: &str, bytes: &[u8], mode: u32) -> Result<bool, PathError> {
        match self.write_new(name, bytes, mode, None) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(PathError::of("write", &self.path.join(name))(error)),
        }
    }

    /// Writes into a regular file that is there.
    ///
    /// # Errors
    /// [`PathError`] when there is none, or it cannot be written.
    pub fn write_in_place(
        &self,
        name: &str,
        bytes: &[u8],
        modified: Option<SystemTime>,
    ) -> Result<(), PathError> {
        let failed = || PathError::of("write", &self.path.join(name));
        let opened = self.open_file(name, OFlags::WRONLY);
        let Some(file) = opened.map_err(|error| failed()(error.into()))? else {
            return Err(failed()(io::Error::other("it is no regular file")));
        };
        let emptied = file.set_len(0);
        emptied
            .and_then(|()| write(file, bytes, modified))
            .map_err(failed())
    }

    /// Removes a file; one that is not there is as good as removed.
    ///
    /// # Errors
    /// [`PathError`] when it cannot be removed.
    pub fn remove(&self, name: &str) -> Result<(), PathError> {
        self.unlink(name, AtFlags::empty())
    }

    /// Removes an empty directory.
    ///
    /// # Errors
    /// [`PathError`] when it cannot be removed.
    pub fn remove_dir(&self, name: &str) -> Result<(), PathError> {
        self.unlink(name, AtFlags::REMOVEDIR)
    }

    fn unlink(&self, name: &str, flags: AtFlags) -> Result<(), PathError> {
        match rustix::fs::unlinkat(&self.dir, name, flags) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(PathError::of("remove", &self.path.join(name))(error.into())),
        }
    }

    /// Returns the names in it; none where it cannot be listed.
    pub fn names(&self) -> Vec<std::ffi::OsString> {
        use std::os::unix::ffi::OsStringExt as _;
        let entries = rustix::fs::Dir::read_from(&self.dir).into_iter().flatten();
        entries
            .flatten()
            .map(|entry| std::ffi::OsString::from_vec(entry.file_name().to_bytes().to_vec()))
            .filter(|name| name != "." && name != "..")
            .collect()
    }
}

fn write(mut file: File, bytes: &[u8], modified: Option<SystemTime>) -> io::Result<()> {
    file.write_all(bytes)?;
    let Some(modified) = modified else {
        return Ok(());
    };
    // A file system that refuses to set times costs direnv a reload, nothing more.
    if let Err(error) = file.set_times(FileTimes::new().set_modified(modified)) {
        tracing::debug!(%error, "cannot set a file's time");
    }
    Ok(())
}

/// Which of ELOOP and ENOTDIR a link gives depends on the system.
fn refusal(at: impl rustix::fd::AsFd, name: &Path, error: Errno) -> io::Error {
    let found = rustix::fs::statat(at, name, AtFlags::SYMLINK_NOFOLLOW);
    let is_link =
        found.is_ok_and(|found| FileType::from_raw_mode(found.st_mode) == FileType::Symlink);
    if is_link {
        io::Error::other("it is a symbolic link, which is not followed")
    } else {
        error.into()
    }
}
