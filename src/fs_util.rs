//! Small file operations that are right under crashes and beside other programs.
//!
//! Knows nothing of what the files mean.

mod file_id;
pub mod held_dir;

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};

pub use file_id::FileId;

/// The bits of a mode by which group and others may write.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// A file operation that failed, with the path that it was about.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}: {source}", path.display())]
pub struct PathError {
    /// What was tried: `read`, `write`, `create`, …
    pub action: &'static str,
    /// The path that it was tried on.
    pub path: PathBuf,
    /// The operating system's answer.
    pub source: io::Error,
}

impl PathError {
    /// Returns a function that turns an IO error into a [`PathError`], for `map_err`.
    pub fn of(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self {
            action,
            path,
            source,
        }
    }
}

/// Returns the bytes of a file, `None` when there is no such file. A pipe in its place is not waited for.
///
/// # Errors
/// [`PathError`] when it exists and cannot be read.
pub fn read_if_exists(path: &Path) -> Result<Option<Vec<u8>>, PathError> {
    match read_file(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(PathError::of("read", path)(error)),
    }
}

fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = open_without_waiting(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a file"));
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Returns the text of a file; `None` where there is none, it is no text, or it cannot be read. Waits for no pipe.
pub fn text_of(path: &Path) -> Option<String> {
    String::from_utf8(read_if_exists(path).ok()??).ok()
}

/// Opens a file to read it, never waiting for a pipe.
///
/// # Errors
/// As [`fs::File::open`].
pub fn open_without_waiting(path: &Path) -> io::Result<fs::File> {
    let nonblocking = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    fs::File::options()
        .read(true)
        .custom_flags(nonblocking)
        .open(path)
}

/// Replaces a file whole: a temporary file beside it, its mode, its bytes, then a rename. A reader sees the old or the
/// new file, never a part. A symbolic link at `path` is replaced, not followed.
///
/// # Errors
/// [`PathError`] when the directory cannot be written.
pub fn replace(path: &Path, bytes: &[u8], mode: u32) -> Result<(), PathError> {
    let dir = path.parent().unwrap_or(Path::new("."));
    let mut temporary = tempfile::Builder::new()
        .prefix(".tracemark-")
        .suffix(".tmp")
        .permissions(fs::Permissions::from_mode(mode))
        .tempfile_in(dir)
        .map_err(|error| PathError::of("write", path)(error.kind().into()))?;
    temporary
        .as_file()
        .set_permissions(fs::Permissions::from_mode(mode))
        .and_then(|()| temporary.write_all(bytes))
        .map_err(PathError::of("write", path))?;
    temporary
        .persist(path)
        .map_err(|error| PathError::of("write", path)(error.error))?;
    Ok(())
}

/// As [`replace`] for this user alone, and on the disk before it returns: for records that must survive a power cut.
///
/// # Errors
/// As [`replace`].
pub fn replace_durably(path: &Path, bytes: &[u8]) -> Result<(), PathError> {
    replace(path, bytes, 0o600)?;
    let sync = |path: &Path| File::open(path).and_then(|file| file.sync_all());
    sync(path)
        .and_then(|()| path.parent().map_or(Ok(()), sync))
        .map_err(PathError::of("write", path))
}

/// Makes a directory and its parents, readable by this user alone where they are new.
///
/// # Errors
/// [`PathError`] when it cannot be made.
pub fn create_private_dir(path: &Path) -> Result<(), PathError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(PathError::of("create", path))
}

/// As [`create_private_dir`], for a directory whose files are believed: one that others could write to is closed to
/// them.
///
/// # Errors
/// [`PathError`] when it cannot be made or taken from the others, or belongs to another user.
pub fn claim_private_dir(path: &Path) -> Result<(), PathError> {
    create_private_dir(path)?;
    let found = path.metadata().map_err(PathError::of("use", path))?;
    if found.uid() != rustix::process::geteuid().as_raw() {
        let refused = io::Error::new(
            io::ErrorKind::PermissionDenied,
            "it belongs to another user",
        );
        return Err(PathError::of("use", path)(refused));
    }
    if found.mode() & WRITABLE_BY_OTHERS == 0 {
        return Ok(());
    }
    fs::set_permissions(path, fs::Permissions::from_mode(0o700))
        .map_err(PathError::of("protect", path))
}

/// Removes a link, a pipe or a device in the place of a file of our own; what is a file or a directory stays, and nothing is opened.
///
/// # Errors
/// [`PathError`] when it cannot be removed.
pub fn remove_what_is_no_file(path: &Path) -> Result<(), PathError> {
    match path.symlink_metadata() {
        Ok(found) if !found.is_file() && !found.is_dir() => remove_if_exists(path).map(drop),
        _ => Ok(()),
    }
}

/// Makes one directory for this user alone where it is missing, and none around it: what was moved away is not made anew, and
/// no link is followed.
///
/// # Errors
/// [`PathError`] when it cannot be made, as where its parent is missing or a link lies in its place.
pub fn create_one_private_dir(path: &Path) -> Result<(), PathError> {
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            Err(PathError::of("create", path)(error))
        }
        Err(_) => match path.symlink_metadata() {
            Ok(found) if found.is_dir() => Ok(()),
            Ok(_) => Err(PathError::of("use", path)(std::io::Error::other(
                "something that is no directory lies there",
            ))),
            Err(error) => Err(PathError::of("create", path)(error)),
        },
    }
}

/// Removes a file; one that is not there is as good as removed.
///
/// # Errors
/// [`PathError`] when it exists and cannot be removed.
pub fn remove_if_exists(path: &Path) -> Result<bool, PathError> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            Ok(false)
        }
        Err(error) => Err(PathError::of("remove", path)(error)),
    }
}

/// Returns whether what lies, or would lie, at `path` lies below `dir`, whatever links there are on the way; false for a link.
pub fn lies_inside(dir: &Path, path: &Path) -> bool {
    let there = path.ancestors().skip(1).find(|above| above.exists());
    let real = there.and_then(|above| above.canonicalize().ok());
    let inside = real.zip(dir.canonicalize().ok());
    !path.is_symlink() && inside.is_some_and(|(real, dir)| real.starts_with(dir))
}

/// Removes a directory that is empty; any other stays.
pub fn remove_empty(dir: &Path) {
    if let Err(error) = std::fs::remove_dir(dir) {
        tracing::debug!(%error, dir = %dir.display(), "the directory stays");
    }
}

/// Returns `dir` and the directories around it that do not exist, the deepest first.
pub fn missing_dirs(dir: &Path) -> Vec<PathBuf> {
    dir.ancestors()
        .take_while(|dir| dir.symlink_metadata().is_err())
        .filter(|dir| !dir.as_os_str().is_empty())
        .map(Path::to_owned)
        .collect()
}
