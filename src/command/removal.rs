//! Removing files and directories of ours, also while somebody still writes there.
//!
//! Follows no link, and knows no list: what may go it is told.

use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use crate::error::Failure;
use crate::fs_util::PathError;

/// How often a directory is removed into which somebody writes, and the pause between two tries.
const TRIES_MAX: u32 = 50;
/// See [`TRIES_MAX`].
const PAUSE: Duration = Duration::from_millis(20);

/// Removes a directory, all but what lies at `kept`; a link in its place is removed, not followed.
pub(super) fn remove_dir(dir: &Path, kept: Option<&Path>) -> Result<(), Failure> {
    let kept = kept.filter(|kept| kept.starts_with(dir) && kept.exists());
    if kept.is_none() {
        return remove(dir);
    }
    empty_dir(dir, kept)
}

/// Removes what lies in a directory, all but what lies at `kept`.
pub(super) fn empty_dir(dir: &Path, kept: Option<&Path>) -> Result<(), Failure> {
    let entries = std::fs::read_dir(dir).map_err(PathError::of("read", dir))?;
    let others = entries.flatten().map(|entry| entry.path());
    others
        .filter(|path| Some(path.as_path()) != kept)
        .try_for_each(|path| remove(&path))
}

/// Removes a file or a whole directory; one that is not there is as good as removed.
pub(super) fn remove(path: &Path) -> Result<(), Failure> {
    let is_dir = path.symlink_metadata().is_ok_and(|found| found.is_dir());
    let removed = if is_dir {
        remove_whole(path)
    } else {
        std::fs::remove_file(path)
    };
    match removed {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(PathError::of("remove", path)(error).into())
        }
        _ => Ok(()),
    }
}

/// Somebody who still writes there, the last act of a daemon or a hook, makes a removal fail.
fn remove_whole(dir: &Path) -> std::io::Result<()> {
    let mut tries = TRIES_MAX;
    loop {
        tries -= 1;
        match std::fs::remove_dir_all(dir) {
            Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty && tries > 0 => {
                std::thread::sleep(PAUSE);
            }
            done => return done,
        }
    }
}
