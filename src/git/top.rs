//! The top of a work tree, where it is found without a process of git.
//!
//! Opens no repository and asks git nothing: whether a setting puts the top elsewhere, whoever asks has to see.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Returns the first directory with a `.git`, where that is a directory, everything belongs to this user and lies on one device:
/// what git takes for the top of a work tree, unless that is configured to be elsewhere.
pub fn plain_root_above(start: &Path) -> Option<PathBuf> {
    let user = rustix::process::geteuid().as_raw();
    let device = start.metadata().ok()?.dev();
    for dir in start.ancestors() {
        let is_ours =
            |metadata: &std::fs::Metadata| metadata.uid() == user && metadata.dev() == device;
        if let Ok(found) = dir.join(".git").symlink_metadata() {
            let all_ours = is_ours(&found) && is_ours(&dir.metadata().ok()?);
            return (found.is_dir() && all_ours).then(|| dir.to_owned());
        }
        let may_be_bare = dir.join("HEAD").symlink_metadata().is_ok();
        if may_be_bare || dir.metadata().ok()?.dev() != device {
            return None;
        }
    }
    None
}
