//! Which paths of a worktree git ignores, tracks or leaves to a repository inside it.
//!
//! Of what is ignored git2 gives candidates and git decides, of what is tracked the index; where none can say, nothing counts as
//! ignored. Knows nothing of what is in the files.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use super::Worktree;
use crate::git::{Git, GitError, gitlinks as gitlinks_of, records};
use crate::identity::index_names::IndexNames;

/// Returns those of `paths`, relative to the root, that git itself ignores and does not track; none when git cannot say.
///
/// libgit2 reads other configuration files than git does (it knows neither `GIT_CONFIG_GLOBAL` nor
/// `GIT_CONFIG_NOSYSTEM`), so what it takes for ignored is only a candidate.
///
/// What lies in a repository inside is its own affair: git dies of a question about a submodule's files.
pub fn ignored_by_git(worktree: &Worktree, paths: &BTreeSet<PathBuf>) -> BTreeSet<PathBuf> {
    let mut asked: BTreeMap<&Path, BTreeSet<&Path>> = BTreeMap::new();
    for path in paths {
        let around = repository_around(&worktree.root, path);
        let inside = path.strip_prefix(around).unwrap_or(path);
        asked.entry(around).or_default().insert(inside);
    }
    let ignored = asked.into_iter().flat_map(|(around, inside)| {
        let git = Git::at(&worktree.root.join(around));
        let ignored = ignored_in(&git, &inside).into_iter();
        ignored.map(move |path| around.join(path))
    });
    ignored.collect()
}

/// Returns the repository inside the worktree that a path belongs to, relative to the root; empty for that of the worktree.
pub fn repository_around<'a>(root: &Path, path: &'a Path) -> &'a Path {
    let mut dirs = path.ancestors().skip(1);
    let inner = dirs.find(|dir| root.join(dir).join(".git").symlink_metadata().is_ok());
    inner.unwrap_or(Path::new(""))
}

fn ignored_in(git: &Git, paths: &BTreeSet<&Path>) -> BTreeSet<PathBuf> {
    let input = paths
        .iter()
        .flat_map(|path| path.as_os_str().as_bytes().iter().copied().chain([0]))
        .collect();
    let listed = git
        .clone()
        .distrusting()
        // It reads the index, and a monitor with it.
        .with_config(&["core.fsmonitor=false"])
        .run_with_input(&["check-ignore", "-z", "--stdin"], Some(input))
        .unwrap_or_default();
    records(&listed.stdout)
        .map(|path| PathBuf::from(OsString::from_vec(path.to_vec())))
        .collect()
}

/// Returns where submodules lie that the index of the repository around `root` names, relative to it; those of `.gitmodules` are
/// named there only once they were added.
///
/// # Errors
/// [`GitError`] when nobody can read the index.
pub fn gitlinks(root: &Path) -> Result<Vec<PathBuf>, GitError> {
    let repository = git2::Repository::open(root).ok();
    if let Some(names) = repository.and_then(|repository| IndexNames::read(repository.path())) {
        return Ok(names.gitlinks());
    }
    let git = Git::at(root)
        .distrusting()
        .with_config(&["core.fsmonitor=false"]);
    let listed = git.run(&["ls-files", "-s", "-z"])?.stdout;
    Ok(gitlinks_of(&listed)
        .map(|path| PathBuf::from(OsString::from_vec(path.to_vec())))
        .collect())
}

/// Returns whether git tracks the file at `path`.
pub fn is_tracked(worktree: &Worktree, path: &Path) -> bool {
    path.strip_prefix(&worktree.root).is_ok_and(|path| {
        let git = Git::at(&worktree.root)
            .with_var("GIT_LITERAL_PATHSPECS", "1")
            .with_config(&["core.fsmonitor=false"]);
        let arguments = ["ls-files", "--error-unmatch", "--"].map(std::ffi::OsStr::new);
        git.run(&[&arguments[..], &[path.as_os_str()]].concat())
            .is_ok()
    })
}

/// Returns the first of the files at `paths`, relative to the root, that git tracks.
pub fn first_tracked(worktree: &Worktree, paths: &[PathBuf]) -> Option<PathBuf> {
    let repository = git2::Repository::open(&worktree.root).ok();
    let names = repository.and_then(|repository| IndexNames::read(repository.path()));
    let names = names?;
    paths.iter().find(|path| names.has(path)).cloned()
}

/// Returns whether all files at `paths`, relative to the root, may be ignored: candidates for [`ignored_by_git`], which knows
/// what is tracked in spite of the rules. False where git2 cannot open the repository.
pub fn may_be_ignored(worktree: &Worktree, paths: &BTreeSet<PathBuf>) -> bool {
    let repository = git2::Repository::open(&worktree.root);
    repository.is_ok_and(|repository| {
        let mut paths = paths.iter();
        paths.all(|path| repository.is_path_ignored(path).unwrap_or(false))
    })
}

/// Answers quickly which paths of a worktree git would not look at: candidates for [`ignored_by_git`].
pub struct IgnoreRules {
    repository: git2::Repository,
    names: IndexNames,
    tracked_dirs: BTreeSet<PathBuf>,
}

impl IgnoreRules {
    /// Reads the rules of a worktree; `None` where git2 cannot open the repository, so that nothing counts as ignored.
    pub fn read(worktree: &Worktree) -> Option<Self> {
        Self::of(&worktree.root)
    }

    /// Reads the rules of the repository whose worktree lies at `root`; `None` likewise.
    pub fn of(root: &Path) -> Option<Self> {
        let repository = git2::Repository::open(root).ok()?;
        let names = IndexNames::read(repository.path())?;
        let tracked_dirs = names.dirs();
        Some(Self {
            repository,
            names,
            tracked_dirs,
        })
    }

    /// Returns the directories, relative to the root, that hold tracked files.
    pub fn tracked_dirs(&self) -> impl Iterator<Item = &Path> {
        self.tracked_dirs.iter().map(PathBuf::as_path)
    }

    /// True when git tracks the file at `path`, relative to the root.
    pub fn tracks(&self, path: &Path) -> bool {
        self.names.has(path)
    }

    /// True when the directory at `path`, relative to the root, is ignored and holds no tracked file.
    pub fn skips_dir(&self, path: &Path) -> bool {
        !self.tracked_dirs.contains(path)
            && self
                .repository
                .is_path_ignored(path.join(""))
                .unwrap_or(false)
    }
}
