//! Where the parts of a repository lie as far as the disk tells, also for one that was moved or that git refuses.
//!
//! Asks git nothing and changes nothing (gitrepository-layout(5)).

use std::path::{Path, PathBuf};

use crate::git::{git_dir_in_file, named_by};

/// Returns what `.git` is in `root`, or leads to where it is a file; whether that is there is not asked.
pub fn git_dir_of(root: &Path) -> Option<PathBuf> {
    let path = root.join(".git");
    if path.is_dir() {
        return Some(path);
    }
    git_dir_in_file(root)
}

/// Returns the git directory of the nearest repository around `path`.
pub fn git_dir_around(path: &Path) -> Option<PathBuf> {
    let mut dirs = path.ancestors();
    git_dir_of(dirs.find(|dir| dir.join(".git").exists())?)
}

/// Returns our own directories in a repository: of the main worktree and of linked ones, as they lie on the disk.
pub fn private_dirs(common_dir: &Path) -> Vec<PathBuf> {
    linked(common_dir)
        .chain([common_dir.to_owned()])
        .map(|git_dir| git_dir.join("tracemark"))
        .filter(|dir| dir.symlink_metadata().is_ok())
        .collect()
}

/// Returns the roots of worktrees in which a copy of the env file may lie, as far as the disk tells.
pub fn roots_on_disk(common_dir: &Path) -> Vec<PathBuf> {
    let linked = linked(common_dir).filter_map(|git_dir| root_of(&git_dir));
    let main = common_dir.ends_with(".git").then(|| common_dir.parent());
    linked.chain(main.flatten().map(Path::to_owned)).collect()
}

/// Returns the root of a linked worktree, which its git directory names, also relative to itself.
pub fn root_of(git_dir: &Path) -> Option<PathBuf> {
    let dot_git = named_by(&git_dir.join("gitdir"), b"", git_dir)?;
    Some(dot_git.parent()?.to_owned())
}

/// Returns the common git directory that a linked worktree's `.git` file names, whether or not it is there.
pub fn repository_named_in(root: &Path) -> Option<PathBuf> {
    let git_dir = git_dir_in_file(root)?;
    let worktrees = git_dir.parent().filter(|dir| dir.ends_with("worktrees"))?;
    Some(worktrees.parent()?.to_owned())
}

/// Returns the git directories of linked worktrees.
pub fn linked(common_dir: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let entries = std::fs::read_dir(common_dir.join("worktrees"));
    entries
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
}
