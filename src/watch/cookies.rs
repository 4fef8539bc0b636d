//! Where files of our own lie whose events tell that all earlier ones have come.
//!
//! Watches nothing and waits for no event: `watch` does. Removes nothing but cookies.

use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};

use crate::fs_util::create_one_private_dir;
use crate::repository::Worktree;

/// Not in the git directory of a linked worktree, which git empties when it removes the worktree.
pub(super) fn cookie_dir(worktree: &Worktree) -> PathBuf {
    worktree.scratch_dir().join("cookies")
}

/// Returns the directory for cookies and our own ones above it, the outermost first.
pub(super) fn own_dirs(worktree: &Worktree) -> Vec<PathBuf> {
    let dir = cookie_dir(worktree);
    let is_gits = |dir: &&Path| *dir == worktree.git_dir || *dir == worktree.common_dir;
    let own = dir.ancestors().take_while(|dir| !is_gits(dir));
    let mut own: Vec<_> = own.map(Path::to_owned).collect();
    own.reverse();
    own
}

/// Returns the directory, empty; `None` where there is no private directory.
pub(super) fn make_cookie_dir(worktree: &Worktree) -> Option<PathBuf> {
    let dir = cookie_dir(worktree);
    if !worktree.is_there() {
        return None;
    }
    // A worktree that git added since has no private directory yet; one that is gone gets none. A link is never followed.
    let own = own_dirs(worktree);
    let made = own.iter().try_for_each(|dir| create_one_private_dir(dir));
    if let Err(error) = made {
        tracing::warn!(%error, "questions are answered by full readings");
        return None;
    }
    remove_cookies(worktree);
    Some(dir)
}

/// Removes what is left of them, through no link.
pub(super) fn remove_cookies(worktree: &Worktree) {
    if !own_dirs(worktree).iter().all(|dir| is_real_dir(dir)) {
        return;
    }
    let left = std::fs::read_dir(cookie_dir(worktree));
    let left = left.into_iter().flatten().flatten();
    for cookie in left.filter(|left| is_cookie(&left.file_name())) {
        drop(std::fs::remove_file(cookie.path()));
    }
}

/// Gives the cookie before this one its name; makes one where there is none. Returns whether that was possible. File systems without a
/// journal take a millisecond and more to make a file shortly after another was removed (ext4, `recently_deleted` in fs/ext4/ialloc.c,
/// Linux 6).
pub(super) fn put_cookie(worktree: &Worktree, number: u64) -> bool {
    let dir = cookie_dir(worktree);
    let name = |number: u64| dir.join(number.to_string());
    let before = name(number.saturating_sub(1));
    renameat_with(CWD, before, CWD, name(number), RenameFlags::NOREPLACE).is_ok()
        || File::create_new(name(number)).is_ok()
}

pub(super) fn is_real_dir(path: &Path) -> bool {
    path.symlink_metadata()
        .is_ok_and(|metadata| metadata.is_dir())
}

fn is_cookie(name: &OsStr) -> bool {
    name.to_str()
        .is_some_and(|name| name.parse::<u64>().is_ok())
}
