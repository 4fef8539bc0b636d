//! One file in one reading: its blob as git would name it without any conversion, and the SHA-256 of its bytes.
//!
//! Opens no link and waits for no pipe; asks git nothing and remembers nothing.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use sha2::{Digest as _, Sha256};

use super::FILE_LIMIT;
use super::file_map::Mode;
use super::object::{Format, ObjectHasher, RawId, object_id};
use super::stamp::Stamp;

/// What a file held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Content {
    /// What it is to git.
    pub(crate) mode: Mode,
    /// Its blob, not converted.
    pub(crate) blob: RawId,
    /// SHA-256 of a regular file's bytes; `None` for links, whose target is another file.
    pub(crate) sha256: Option<[u8; 32]>,
    /// How it lay on the disk before and after it was read.
    pub(crate) stamp: Stamp,
}

/// Why a file's content is not known.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ContentError {
    /// It changed while it was read.
    #[error("it changed while it was read")]
    Torn,
    /// It is neither a regular file nor a link.
    #[error("it is no regular file")]
    NotAFile,
    /// It is larger than is read.
    #[error("it is larger than is read")]
    TooLarge,
    /// The system refused.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// How often a file is read anew that changes while it is read.
const TRIES: usize = 8;

/// Reads the file or link at `path` until it held still for one reading; `None` where there is nothing or a directory.
///
/// # Errors
/// [`ContentError`] when it is something else, cannot be read, or never holds still.
pub(crate) fn read(path: &Path, format: Format) -> Result<Option<Content>, ContentError> {
    for _ in 1..TRIES {
        match read_once(path, format) {
            Err(ContentError::Torn) => {}
            outcome => return outcome,
        }
    }
    read_once(path, format)
}

fn read_once(path: &Path, format: Format) -> Result<Option<Content>, ContentError> {
    let metadata = match path.symlink_metadata() {
        Ok(metadata) if metadata.is_dir() => return Ok(None),
        Ok(metadata) => metadata,
        Err(error) if is_absence(&error) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let stamp = Stamp::from(&metadata);
    if metadata.is_symlink() {
        let target = path.read_link()?;
        let blob = object_id(format, "blob", target.as_os_str().as_bytes());
        let content = blob.map(|blob| Content {
            mode: Mode::Link,
            blob,
            sha256: None,
            stamp,
        });
        return unchanged(content, Stamp::of(path));
    }
    if !metadata.is_file() {
        return Err(ContentError::NotAFile);
    }
    if stamp.size() > FILE_LIMIT {
        return Err(ContentError::TooLarge);
    }
    let mode = if metadata.permissions().mode() & 0o100 == 0 {
        Mode::Plain
    } else {
        Mode::Executable
    };
    let file = open(path)?;
    let (blob, sha256) = hashes(&file, format, stamp.size())?;
    let content = blob.map(|blob| Content {
        mode,
        blob,
        sha256: Some(sha256),
        stamp,
    });
    unchanged(content, Some(Stamp::from(&file.metadata()?)))
}

fn unchanged(
    content: Option<Content>,
    after: Option<Stamp>,
) -> Result<Option<Content>, ContentError> {
    match content {
        Some(content) if after == Some(content.stamp) => Ok(Some(content)),
        _ => Err(ContentError::Torn),
    }
}

/// Returns whether an error means that nothing is there: no such name, or a file where a directory would have to be.
pub(crate) fn is_absence(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

/// Opens a file to read it, no link and never waiting for a pipe.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOFOLLOW;
    File::options()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path)
}

/// Both hashes in one reading. The blob's name holds its size, so `None` where there are more or fewer bytes.
fn hashes(mut file: &File, format: Format, size: u64) -> io::Result<(Option<RawId>, [u8; 32])> {
    let mut blob = ObjectHasher::new(format, "blob", size);
    let mut sha256 = Sha256::new();
    let mut seen: u64 = 0;
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let count = file.read(&mut buffer)?;
        let Some(bytes) = buffer.get(..count).filter(|bytes| !bytes.is_empty()) else {
            break;
        };
        seen += bytes.len() as u64;
        if seen > size {
            return Ok((None, [0; 32]));
        }
        blob.update(bytes);
        sha256.update(bytes);
    }
    let blob = if seen == size { blob.finish() } else { None };
    Ok((blob, sha256.finalize().into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::Git;

    #[test]
    fn a_blob_is_named_as_git_names_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, vec![b'x'; 200_000]).unwrap();
        let expected = Git::at(dir.path()).line(&["hash-object", "--no-filters", "file"]);
        let content = read(&path, Format::Sha1).unwrap().unwrap();
        assert_eq!(content.blob.to_hex().into_bytes(), expected.unwrap());
        assert_eq!(content.mode, Mode::Plain);
    }

    #[test]
    fn a_link_is_its_text_and_a_directory_is_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink("nowhere", &link).unwrap();
        let content = read(&link, Format::Sha1).unwrap().unwrap();
        assert_eq!(content.mode, Mode::Link);
        assert_eq!(
            Some(content.blob),
            object_id(Format::Sha1, "blob", b"nowhere")
        );
        assert_eq!(read(dir.path(), Format::Sha1).unwrap(), None);
        assert_eq!(read(&link.join("below"), Format::Sha1).unwrap(), None);
    }

    #[test]
    fn a_pipe_is_refused_and_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pipe");
        make_pipe(&path);
        assert!(matches!(
            read(&path, Format::Sha1),
            Err(ContentError::NotAFile)
        ));
    }

    fn make_pipe(path: &Path) {
        let made = std::process::Command::new("mkfifo").arg(path).status();
        assert!(made.unwrap().success());
    }
}
