//! Blobs of files that git converts on their way in and that the repository does not have: git makes them once more,
//! beside the repository's objects, where nothing is written, not even a time.
//!
//! Runs no filter of a repository that is not trusted, and does not compare what came of it: whoever asks does.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::SnapshotError;
use crate::fs_util::PathError;
use crate::git::Git;
use crate::identity::safe::disarmed;
use crate::identity::tree::SETTINGS;

/// An index of that time vouches for no file: git compares by content what was written since (racy-git.adoc, git 2.47).
const LONG_AGO: Duration = Duration::from_secs(1);

/// Has `git` take in the files at `paths`; returns a git that has what came of it. None of them is in the repository yet, so
/// nothing there is written, not even a time.
pub(super) fn converted(
    git: &Git,
    scratch: &Path,
    paths: &BTreeSet<&[u8]>,
) -> Result<Git, SnapshotError> {
    let place = |name| git.path(&["rev-parse", "--path-format=absolute", "--git-path", name]);
    let (own, index) = (place("objects")?, place("index")?);
    let (objects, copy) = (scratch.join("converted"), scratch.join("conversion-index"));
    fs::create_dir_all(&objects).map_err(PathError::of("create", &objects))?;
    if index.is_file() {
        fs::copy(&index, &copy)
            .and_then(|_| fs::File::options().write(true).open(&copy))
            .and_then(|copy| copy.set_modified(SystemTime::UNIX_EPOCH + LONG_AGO))
            .map_err(PathError::of("write", &copy))?;
    }
    let git = disarmed(git)?
        .with_config(&SETTINGS)
        .with_var("GIT_INDEX_FILE", &copy)
        .with_var("GIT_OBJECT_DIRECTORY", &objects)
        .with_var("GIT_ALTERNATE_OBJECT_DIRECTORIES", alternates(&[&own]));
    let update = ["update-index", "--add", "--replace", "-z", "--stdin"];
    let names = paths.iter().flat_map(|path| [path, &b"\0"[..]].concat());
    git.run_with_input(&update, Some(names.collect()))?;
    Ok(git)
}

/// Returns the value of `GIT_ALTERNATE_OBJECT_DIRECTORIES` for directories, quoted where a colon would split them (git(1)).
pub(super) fn alternates(dirs: &[&Path]) -> OsString {
    let quoted = dirs.iter().map(|dir| {
        let bytes = dir.as_os_str().as_bytes();
        if !bytes.contains(&b':') && !bytes.starts_with(b"\"") {
            return bytes.to_vec();
        }
        let escaped = bytes.iter().flat_map(|byte| match byte {
            b'"' | b'\\' => vec![b'\\', *byte],
            other => vec![*other],
        });
        [b'"'].into_iter().chain(escaped).chain([b'"']).collect()
    });
    OsString::from_vec(quoted.collect::<Vec<_>>().join(&b':'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_colon_in_a_directory_splits_nothing() {
        let value = alternates(&[Path::new("/a b"), Path::new("/c:d")]);
        assert_eq!(value, "/a b:\"/c:d\"");
    }
}
