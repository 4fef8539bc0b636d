//! Indexes of our own for git to read and write, so that it writes no other.
//!
//! The user's index is copied, never written. Knows no entry: what stands in an index is for others to read and make.

use std::fs::File;
use std::path::Path;

use super::{GitHashError, sparse_index, split_index};
use crate::git::{Git, GitError};

/// Gives git an index of our own, which it may write: without the hook that it runs then (`post-index-change`, githooks(5)),
/// never in parts that lie in the user's git directory, and without what the user's git noted of untracked files, which it takes
/// for right in an index that was written in a later second (`match_stat_data_racy` in read-cache.c, git 2.47).
pub(super) fn on_own_index(git: &Git, index: &Path) -> Git {
    git.clone()
        .with_config(&[
            "core.hooksPath=/dev/null",
            "core.splitIndex=false",
            "core.untrackedCache=false",
            "index.sparse=false",
        ])
        .with_var("GIT_INDEX_FILE", index)
}

/// Gives git a copy of the index to refresh, as the helper's git refreshes the real one. `git diff` writes the index
/// back even with `GIT_OPTIONAL_LOCKS=0`, and one that is not refreshed shows touched files to external diffs and as
/// sources of copies.
pub(super) fn with_own_index(git: &Git, scratch: &Path) -> Result<Git, GitHashError> {
    let index = git.path(&["rev-parse", "--path-format=absolute", "--git-path", "index"])?;
    let copy = scratch.join("index");
    match std::fs::read(&index) {
        Ok(bytes) => {
            let git_dir = git.path(&["rev-parse", "--absolute-git-dir"])?;
            let bytes = sparse_index::full(split_index::whole(bytes, &git_dir), git)?;
            write_with_time_of(&index, &copy, &bytes).map_err(GitHashError::Scratch)?;
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(source) => {
            return Err(GitHashError::Index {
                path: index,
                source,
            });
        }
    }
    let git = on_own_index(git, &copy);
    refresh(&git)?;
    Ok(git)
}

/// Brings the stat data of the index up to date, as `git status` does before the helper's diffs.
pub(super) fn refresh(git: &Git) -> Result<(), GitHashError> {
    let refreshed = git.run(&["update-index", "-q", "--unmerged", "--refresh"]);
    match refreshed {
        // It also fails when a file really differs.
        Ok(_) | Err(GitError::Failed { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Writes an index that has the time of another.
pub(super) fn write_with_time_of(whole: &Path, copy: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let time = std::fs::metadata(whole)?.modified()?;
    std::fs::write(copy, bytes)?;
    File::options().write(true).open(copy)?.set_modified(time)
}
