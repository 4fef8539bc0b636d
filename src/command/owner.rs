//! Whose repository this is.
//!
//! Looks at its git directory alone, and gives no leave: git has its own word in that.

use crate::error::{Failure, FailureKind};
use crate::fs_util::PathError;
use crate::repository::Worktree;

/// Fails before anything is written where the repository belongs to somebody else.
pub(super) fn check_owner(worktree: &Worktree) -> Result<(), Failure> {
    use std::os::unix::fs::MetadataExt as _;
    let owner = worktree
        .common_dir
        .metadata()
        .map_err(PathError::of("read", &worktree.common_dir))?
        .uid();
    if owner != rustix::process::geteuid().as_raw() {
        return Err(Failure::new(
            FailureKind::Configuration,
            &format!("{} belongs to another user", worktree.common_dir.display()),
        )
        .hint("the same as its owner"));
    }
    Ok(())
}
