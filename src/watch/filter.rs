//! Which paths that events tell of matter, and which are our own, or say nothing about the code.
//!
//! Looks at no event: only at paths, and at whose the visible copy of the env file is.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use super::cookies::cookie_dir;
use crate::env_file::{self, COPY_DIR};
use crate::locks::lock;
use crate::repository::Worktree;

/// Whether git tracks the visible copy's files, so that they are code like others. Atomic because the event thread reads what a
/// look at the index renews.
pub(super) type CopyIsCode = Arc<AtomicBool>;

/// Files outside the worktree that matter. A mutex because the event thread reads what a rewatch renews; held for one
/// look.
pub(super) type Outside = Arc<Mutex<Vec<PathBuf>>>;

/// Tells apart what matters in directories that are watched for a few files.
pub(super) struct Filter {
    root: PathBuf,
    git_dirs: Vec<PathBuf>,
    cookies: PathBuf,
    outside: Outside,
    copy_is_code: CopyIsCode,
}

impl Filter {
    pub(super) fn new(worktree: &Worktree, outside: Outside, copy_is_code: CopyIsCode) -> Self {
        Self {
            root: worktree.root.clone(),
            git_dirs: vec![worktree.git_dir.clone(), worktree.common_dir.clone()],
            cookies: cookie_dir(worktree),
            outside,
            copy_is_code,
        }
    }

    /// That of a worktree at `root` that has its own git directory.
    #[cfg(test)]
    pub(super) fn at(root: &Path, outside: Vec<PathBuf>) -> Self {
        Self {
            root: root.to_owned(),
            git_dirs: vec![root.join(".git")],
            cookies: root.join(".git/tracemark/cookies"),
            outside: Arc::new(Mutex::new(outside)),
            copy_is_code: CopyIsCode::default(),
        }
    }

    /// Returns the number of a cookie.
    pub(super) fn cookie(&self, path: &Path) -> Option<u64> {
        let name = path.strip_prefix(&self.cookies).ok()?;
        name.to_str()?.parse().ok()
    }

    pub(super) fn is_gits(&self, path: &Path) -> bool {
        self.git_dirs.iter().any(|dir| path.starts_with(dir))
    }

    /// The visible copy of the env file, where it is ours, and what is written on the way to it.
    fn is_own(&self, path: &Path) -> bool {
        let inside = path.strip_prefix(self.root.join(COPY_DIR));
        let is_its_name = inside.is_ok_and(|inside| {
            let name = inside.to_string_lossy();
            matches!(&*name, "env" | ".gitignore") || name.starts_with(".tracemark-")
        });
        is_its_name && !self.copy_is_code.load(Ordering::Relaxed) && env_file::has_copy(&self.root)
    }

    /// Returns whether a file at `path` may decide which directories are to be watched.
    pub(super) fn decides_what_is_watched(&self, path: &Path) -> bool {
        let is_rule = path.file_name().is_some_and(|name| name == ".gitignore");
        is_rule || !path.starts_with(&self.root) || self.is_gits(path)
    }

    pub(super) fn matters(&self, path: &Path) -> bool {
        let inside_git = self
            .git_dirs
            .iter()
            .find_map(|dir| path.strip_prefix(dir).ok());
        match inside_git {
            Some(inside) => matters_to_git(inside),
            None if path.starts_with(&self.root) => !self.is_own(path),
            None => lock(&self.outside)
                .iter()
                .any(|file| file.starts_with(path)),
        }
    }
}

fn matters_to_git(inside: &Path) -> bool {
    if inside
        .extension()
        .is_some_and(|extension| extension == "lock")
    {
        return false;
    }
    let names = || inside.iter().filter_map(std::ffi::OsStr::to_str);
    if inside == Path::new("worktrees") || is_linked(inside) {
        return true;
    }
    if inside.starts_with("modules") || inside.starts_with("worktrees") {
        let decides = [
            "HEAD",
            "index",
            "packed-refs",
            "config",
            "refs",
            "reftable",
            "info",
        ];
        return !names().any(|name| matches!(name, "tracemark" | "logs"))
            && names().any(|name| decides.contains(&name));
    }
    let first = inside.iter().next().and_then(std::ffi::OsStr::to_str);
    match first {
        None
        | Some(
            "HEAD" | "index" | "packed-refs" | "config" | "config.worktree" | "refs" | "reftable"
            | "info" | "shallow",
        ) => true,
        Some("objects") => {
            inside.starts_with("objects/pack") || inside == Path::new("objects/info/alternates")
        }
        _ => false,
    }
}

/// The git directory of a linked worktree.
pub(super) fn is_linked(inside: &Path) -> bool {
    inside.starts_with("worktrees") && inside.components().count() == 2
}

/// What changes at every commit and says nothing about ignored files.
pub(super) fn moves_at_every_commit(inside: &Path) -> bool {
    let ordinary = [
        "index",
        "HEAD",
        "packed-refs",
        "shallow",
        "refs",
        "reftable",
        "objects",
    ];
    inside
        .iter()
        .any(|part| ordinary.iter().any(|name| part == *name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_files_and_locks_never_look_like_a_change() {
        let filter = Filter::at(Path::new("/r"), vec!["/home/u/.gitconfig".into()]);
        for quiet in [
            "/r/.git/tracemark/env",
            "/r/.git/index.lock",
            "/r/.git/FETCH_HEAD",
            "/r/.git/worktrees/side/tracemark/env",
            "/home/u/.bash_history",
        ] {
            assert!(!filter.matters(Path::new(quiet)), "{quiet}");
        }
        for loud in [
            "/r/app.py",
            "/r/.git/HEAD",
            "/r/.git/index",
            "/r/.git/refs/heads/main",
            "/r/.git/modules/sm/HEAD",
            "/r/.git/modules/sm/refs/heads/main",
            "/r/.git/worktrees/side/HEAD",
            "/r/.tracemark/notes.txt",
            "/r/deep/.tracemark/env",
            "/home/u",
            "/home/u/.gitconfig",
        ] {
            assert!(filter.matters(Path::new(loud)), "{loud}");
        }
    }

    #[test]
    fn the_visible_copy_is_quiet_where_it_is_ours_and_git_does_not_track_it() {
        let root = tempfile::tempdir().unwrap();
        let filter = Filter::at(root.path(), Vec::new());
        let copy = root.path().join(".tracemark/env");
        assert!(filter.matters(&copy), "it is gone");
        let ours = env_file::EnvValues::default().render();
        env_file::publish_copy(root.path(), &ours, &mut env_file::Dates::default()).unwrap();
        assert!(!filter.matters(&copy));
        filter.copy_is_code.store(true, Ordering::Relaxed);
        assert!(filter.matters(&copy), "git tracks it");
        filter.copy_is_code.store(false, Ordering::Relaxed);
        std::fs::write(&copy, "MINE=1\n").unwrap();
        assert!(filter.matters(&copy), "it is somebody else's");
    }
}
