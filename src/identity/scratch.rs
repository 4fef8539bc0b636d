//! Temporary directories that no reading of the worktree sees: where there is room for one.
//!
//! Puts nothing there itself.

mod on_signals;

use std::io;
use std::path::{Path, PathBuf};

use crate::git::Git;
pub use on_signals::remove_on_signals;

/// Where Linux keeps files in memory (`shm_overview(7)`).
const MEMORY: &str = "/dev/shm";

/// Where everybody may make files for a while (hier(7)).
const SYSTEM: &str = "/tmp";
/// How many bytes and files a place must have left.
const ROOM: u64 = 64 << 20;
const FILES: u64 = 256;

/// A temporary directory, removed when dropped.
#[derive(Debug)]
pub(super) struct Scratch(tempfile::TempDir);

impl Scratch {
    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        on_signals::forget(self.0.path());
    }
}

/// Returns the directory where it is one, and no link took the place of it or of one above it.
pub fn in_place(dir: &Path) -> Option<&Path> {
    let is_real = dir.is_dir() && dir.canonicalize().is_ok_and(|real| real == dir);
    is_real.then_some(dir)
}

/// Makes a directory in `parent`, else in `TMPDIR`, `/tmp` or memory, else, where all of these are full, cannot be used or lie
/// inside the worktree at `top` and so would be read as part of it, in the repository's git directory.
pub(super) fn new(git: &Git, top: &Path, parent: Option<&Path>) -> io::Result<Scratch> {
    hold(|| made(git, top, parent))
}

/// As [`new`], for little: in memory, where the system has a place for that and `TMPDIR` says no other.
pub(super) fn new_small(git: &Git, top: &Path, parent: Option<&Path>) -> io::Result<Scratch> {
    let is_asked_for = std::env::var_os("TMPDIR").is_some_and(|dir| !dir.is_empty());
    let memory = Path::new(MEMORY);
    let in_memory =
        parent.is_none() && !is_asked_for && !top.starts_with(memory) && has_room(memory);
    hold(|| match in_memory.then(|| builder().tempdir_in(memory)) {
        Some(Ok(dir)) => Ok(dir),
        _ => made(git, top, parent),
    })
}

fn hold(make: impl FnOnce() -> io::Result<tempfile::TempDir>) -> io::Result<Scratch> {
    on_signals::begin();
    let dir = make()?;
    on_signals::note(dir.path());
    Ok(Scratch(dir))
}

fn made(git: &Git, top: &Path, parent: Option<&Path>) -> io::Result<tempfile::TempDir> {
    if let Some(parent) = parent {
        return builder().tempdir_in(parent);
    }
    let top = top.canonicalize().unwrap_or_else(|_| top.to_owned());
    let named = std::env::var_os("TMPDIR").filter(|dir| !dir.is_empty());
    let usual = [named.map(PathBuf::from), Some(PathBuf::from(SYSTEM))];
    for dir in usual.iter().flatten().chain([&PathBuf::from(MEMORY)]) {
        if let Ok(dir) = dir.canonicalize()
            && !dir.starts_with(&top)
            && has_room(&dir)
            && let Ok(dir) = builder().tempdir_in(dir)
        {
            return Ok(dir);
        }
    }
    let git_dir = git
        .path(&["rev-parse", "--absolute-git-dir"])
        .map_err(io::Error::other)?;
    builder().tempdir_in(git_dir)
}

/// Returns whether there is room for copies of an index, however large: a disk that is fuller is passed over. Some count no
/// files (statvfs(3)).
fn has_room(dir: &Path) -> bool {
    rustix::fs::statvfs(dir).is_ok_and(|disk| {
        let takes_files = disk.f_files == 0 || disk.f_favail >= FILES;
        takes_files && disk.f_bavail * disk.f_frsize >= ROOM
    })
}

/// How the names of scratch directories begin.
pub(crate) const PREFIX: &str = "tracemark-";

fn builder() -> tempfile::Builder<'static, 'static> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(PREFIX);
    builder
}
