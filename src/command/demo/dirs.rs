//! The demo's directories: one of its own for state and settings, and that of the repository.
//!
//! Takes none that holds anything, and knows nothing of what comes into them.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::error::{Failure, FailureKind};
use crate::fs_util::PathError;
use crate::local_socket;

/// Where the demo's daemon keeps its state, below the demo's own directory.
pub(super) const OWN_STATE: &str = "state";

/// Returns a directory of this user alone, short enough for a socket in it.
pub(super) fn own_dir() -> Result<TempDir, Failure> {
    let temporary = std::env::temp_dir();
    let dir = temporary.join("tracemark-demo-XXXXXX");
    let socket = dir.join(OWN_STATE).join("run/api.sock");
    new_dir(if local_socket::fits(&socket) {
        &temporary
    } else {
        Path::new("/tmp")
    })
}

/// Returns a new directory, or the one that was asked for.
pub(super) fn repository_dir(given: Option<&Path>) -> Result<PathBuf, Failure> {
    let dir = match given {
        Some(dir) => dir.to_owned(),
        None => new_dir(&std::env::temp_dir())?.keep(),
    };
    std::fs::create_dir_all(&dir).map_err(PathError::of("create", &dir))?;
    Ok(dir.canonicalize().map_err(PathError::of("read", &dir))?)
}

pub(super) fn check_empty(given: Option<&Path>) -> Result<(), Failure> {
    let is_new = |dir: &Path| match dir.read_dir() {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    };
    match given {
        Some(dir) if !is_new(dir) => Err(Failure::new(
            FailureKind::Usage,
            &format!("{} is not an empty directory", dir.display()),
        )
        .hint("give a directory that does not exist yet")),
        _ => Ok(()),
    }
}

pub(super) fn remove_dir(dir: &Path) -> Result<(), Failure> {
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(PathError::of("remove", dir)(error).into())
        }
        _ => Ok(()),
    }
}

fn new_dir(dir: &Path) -> Result<TempDir, Failure> {
    let made = tempfile::Builder::new()
        .prefix("tracemark-demo-")
        .permissions(std::fs::Permissions::from_mode(0o700))
        .tempdir_in(dir);
    Ok(made.map_err(PathError::of("make a directory in", dir))?)
}
