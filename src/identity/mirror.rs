//! Files that never hold still, held: each is read once into a directory of our own, where git reads it again.
//!
//! Which files, the pass says. Runs no git, writes nothing outside of that directory, and does not remove it: it goes
//! with the scratch directory around it.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::file_content::{self, Content, ContentError};
use super::ground::Places;
use super::object::Format;
use crate::git::Git;

/// How often a file is read anew that changes while it is read.
const TRIES: usize = 64;
/// How many bytes are held at most.
const HELD_MAX: u64 = 256 << 20;

/// A directory that git takes for the worktree.
#[derive(Debug)]
pub(super) struct Mirror {
    dir: PathBuf,
    git: Git,
    held: u64,
}

impl Mirror {
    /// Makes an empty one in `scratch`.
    ///
    /// # Errors
    /// When the directory cannot be made.
    pub(super) fn new(places: &Places, scratch: &Path) -> io::Result<Self> {
        let dir = tempfile::Builder::new()
            .prefix("held-")
            .tempdir_in(scratch)?
            .keep();
        let git = Git::at(&dir)
            .with_var("GIT_DIR", &places.git_dir)
            .with_var("GIT_WORK_TREE", &dir);
        Ok(Self { dir, git, held: 0 })
    }

    /// Returns where the files are.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Returns a git that reads the files that were put here.
    pub(super) fn git(&self) -> &Git {
        &self.git
    }

    /// Reads the file `path` below `root` until it held still for one reading, and puts what was read here. Returns what
    /// that was; `None` where nothing is there.
    ///
    /// # Errors
    /// [`ContentError`] as [`file_content::read`]; [`ContentError::Torn`] for a file that never holds still and for a
    /// directory; [`ContentError::TooLarge`] when too much is held.
    pub(super) fn hold(
        &mut self,
        root: &Path,
        path: &[u8],
        format: Format,
    ) -> Result<Option<Content>, ContentError> {
        let from = root.join(std::ffi::OsStr::from_bytes(path));
        let to = self.dir.join(std::ffi::OsStr::from_bytes(path));
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent)?;
        }
        for _ in 0..TRIES {
            match copied(&from, &to) {
                Ok(false) => return Ok(None),
                Ok(true) => {}
                Err(error) if file_content::is_absence(&error) => continue,
                Err(error) => return Err(error.into()),
            }
            let copy = file_content::read(&to, format)?;
            match file_content::read(&from, format) {
                Ok(content) if is_same(content.as_ref(), copy.as_ref()) => {
                    self.count(content.as_ref())?;
                    return Ok(content);
                }
                Ok(_) | Err(ContentError::Torn) => {}
                Err(error) => return Err(error),
            }
        }
        Err(ContentError::Torn)
    }

    fn count(&mut self, content: Option<&Content>) -> Result<(), ContentError> {
        self.held += content.map_or(0, |content| content.stamp.size());
        if self.held > HELD_MAX {
            return Err(ContentError::TooLarge);
        }
        Ok(())
    }
}

fn is_same(one: Option<&Content>, other: Option<&Content>) -> bool {
    let what = |content: &Content| (content.mode, content.blob);
    one.map(what) == other.map(what)
}

/// Copies a file or link; false where nothing is there.
fn copied(from: &Path, to: &Path) -> io::Result<bool> {
    match fs::remove_file(to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let metadata = match from.symlink_metadata() {
        Ok(metadata) => metadata,
        Err(error) if file_content::is_absence(&error) => return Ok(false),
        Err(error) => return Err(error),
    };
    if metadata.is_symlink() {
        std::os::unix::fs::symlink(from.read_link()?, to)?;
        return Ok(true);
    }
    if !metadata.is_file() || metadata.len() > HELD_MAX {
        return Err(io::Error::other("no file that can be held"));
    }
    let mut source = file_content::open(from)?;
    io::copy(
        &mut io::Read::take(&mut source, HELD_MAX),
        &mut File::create_new(to)?,
    )?;
    fs::set_permissions(
        to,
        Permissions::from_mode(metadata.permissions().mode() & 0o777 | 0o600),
    )?;
    Ok(true)
}
