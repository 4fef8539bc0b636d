//! Where a worktree's parts lie, and what git says of it beside its content: branch, origin, which paths it tracks or
//! ignores.
//!
//! Paths come from git itself, which knows every repository format, but for the commonest kind; git2 reads configuration
//! in process. Opens no file of the code.

mod ignored;
mod layout;

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use crate::addresses::without_credentials;
use crate::git::{Git, GitError, git_dir_in_file, plain_root_above, records};
use crate::text::shell_quoted;

pub use ignored::{
    IgnoreRules, first_tracked, gitlinks, ignored_by_git, is_tracked, may_be_ignored,
    repository_around,
};
pub use layout::{
    git_dir_around, git_dir_of, linked, private_dirs, repository_named_in, root_of, roots_on_disk,
};

/// Why a directory is not a worktree that can be tracked.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Not inside a git repository.
    #[error("not a git repository: {}", .0.display())]
    NotARepository(PathBuf),
    /// A bare repository, or the inside of `.git`: there are no files to watch.
    #[error("no work tree here: {} is a bare repository or the inside of .git", .0.display())]
    NoWorkTree(PathBuf),
    /// The repository belongs to another user and git refuses it.
    #[error("git refuses this repository: {0}")]
    Refused(String),
    /// Git could not be run.
    #[error(transparent)]
    Git(GitError),
}

/// The places of one worktree, absolute and without symbolic links in them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Worktree {
    /// The top of the work tree.
    pub root: PathBuf,
    /// This worktree's own git directory.
    pub git_dir: PathBuf,
    /// The git directory that all worktrees of the repository share.
    pub common_dir: PathBuf,
}

impl Worktree {
    /// Finds the worktree that `path` lies in. A path that does not exist is looked for in its parents.
    ///
    /// # Errors
    /// [`OpenError`] when there is none that git accepts.
    pub fn discover(path: &Path) -> Result<Self, OpenError> {
        let start = path
            .ancestors()
            .find(|ancestor| ancestor.is_dir())
            .unwrap_or(path);
        match Self::discover_plain(start) {
            Some(worktree) => Ok(worktree),
            None => Self::discover_by_git(start),
        }
    }

    /// Finds a repository of the commonest kind without a process of git; `None` where git is to be asked.
    fn discover_plain(start: &Path) -> Option<Self> {
        if !Git::at(start).is_installed() {
            return None;
        }
        let root = plain_root_above(&start.canonicalize().ok()?)?;
        let git_dir = root.join(".git");
        let repository = git2::Repository::open(&git_dir).ok()?;
        let is_plain = repository.workdir()? == root && repository.commondir() == git_dir;
        is_plain.then(|| Self {
            root,
            common_dir: git_dir.clone(),
            git_dir,
        })
    }

    fn discover_by_git(start: &Path) -> Result<Self, OpenError> {
        let git = Git::at(start);
        let lines = git
            .run(&[
                "rev-parse",
                "--path-format=absolute",
                "--git-dir",
                "--git-common-dir",
                "--is-inside-work-tree",
            ])
            .map_err(|error| classify(start, error))?
            .stdout;
        let mut lines = lines.split(|byte| *byte == b'\n');
        let mut path_line = || {
            lines
                .next()
                .map(|line| PathBuf::from(OsString::from_vec(line.to_vec())))
        };
        let (git_dir, common_dir) = (path_line(), path_line());
        let no_work_tree = || OpenError::NoWorkTree(start.to_owned());
        let (Some(git_dir), Some(common_dir), Some(b"true")) = (git_dir, common_dir, lines.next())
        else {
            return Err(no_work_tree());
        };
        let root = git
            .line(&["rev-parse", "--show-toplevel"])
            .map_err(|_| no_work_tree())?;
        Ok(Self {
            root: PathBuf::from(OsString::from_vec(root)),
            git_dir: git_dir.canonicalize().unwrap_or(git_dir),
            common_dir: common_dir.canonicalize().unwrap_or(common_dir),
        })
    }

    /// Our own directory inside this worktree's git directory.
    pub fn private_dir(&self) -> PathBuf {
        self.git_dir.join("tracemark")
    }

    /// Where passes keep what they need for a moment: that of a linked worktree lies beside those of the main one, as
    /// `git worktree remove` fails where somebody writes into what it empties.
    pub fn scratch_dir(&self) -> PathBuf {
        match self.git_dir.strip_prefix(self.common_dir.join("worktrees")) {
            Ok(name) => self.common_dir.join("tracemark/linked").join(name),
            Err(_) => self.private_dir(),
        }
    }

    /// False once git or a person is about to remove the worktree, and where another one lies in its place.
    pub fn is_there(&self) -> bool {
        if self.is_main() {
            return self.git_dir.join("HEAD").exists() && self.git_dir.join("objects").is_dir();
        }
        let real = |dir: &Path| dir.canonicalize().ok();
        let named = git_dir_in_file(&self.root);
        named
            .and_then(|dir| real(&dir))
            .is_some_and(|dir| Some(dir) == real(&self.git_dir))
    }

    /// Returns what is no longer on the disk, as a sentence, and what to type; nothing where all is there.
    pub fn what_is_gone(&self) -> Option<(String, String)> {
        let is_gone = |path: &Path| path.symlink_metadata().is_err();
        let root = shell_quoted(&self.root.to_string_lossy());
        if is_gone(&self.root) && !self.is_main() && !is_gone(&self.git_dir) {
            let dir = shell_quoted(&self.common_dir.to_string_lossy());
            let cure = format!("git --git-dir={dir} worktree prune");
            return Some(("the directory of this worktree is gone".to_owned(), cure));
        }
        let gone = if is_gone(&self.root) {
            "its directory is gone"
        } else if is_gone(&self.root.join(".git")) {
            "its .git is gone"
        } else if is_gone(&self.git_dir) {
            "the repository that it belongs to is gone"
        } else {
            return None;
        };
        let cure = format!("put it back, or tracemark down {root}");
        Some((gone.to_owned(), cure))
    }

    /// The env file that apps source.
    pub fn env_file(&self) -> PathBuf {
        self.private_dir().join("env")
    }

    /// True for the worktree that `git init` or `git clone` made.
    pub fn is_main(&self) -> bool {
        self.git_dir == self.common_dir
    }

    /// Returns every worktree of the repository of `common_dir` that has a directory on disk.
    ///
    /// # Errors
    /// [`GitError`] when git cannot list them.
    pub fn all(common_dir: &Path) -> Result<Vec<Self>, GitError> {
        let listed = Git::at(common_dir)
            .run(&["worktree", "list", "--porcelain", "-z"])?
            .stdout;
        Ok(records(&listed)
            .filter_map(|record| record.strip_prefix(b"worktree "))
            .map(|path| PathBuf::from(OsString::from_vec(path.to_vec())))
            .filter_map(|path| Self::discover(&path).ok())
            .filter(|worktree| worktree.common_dir == common_dir)
            .collect())
    }

    /// Returns the branch that is checked out, `None` on a detached HEAD.
    pub fn branch(&self) -> Option<String> {
        let name = Git::at(&self.root)
            .line(&["symbolic-ref", "-q", "--short", "HEAD"])
            .ok()?;
        String::from_utf8(name).ok()
    }

    /// Returns the URL of the remote `origin` without user and password.
    pub fn origin(&self) -> Option<String> {
        let config = self.local_config()?;
        let url = config.get_string("remote.origin.url").ok()?;
        without_credentials(&url)
    }

    /// Returns the app's name where nothing else gives one: the last part of origin's URL, else the directory of the
    /// main worktree.
    pub fn default_app(&self) -> String {
        let from_origin = self.origin().and_then(|url| {
            let trimmed = url.trim_end_matches('/');
            let trimmed = trimmed.strip_suffix(".git").unwrap_or(trimmed);
            let last = trimmed.rsplit(['/', ':']).next()?;
            (!last.is_empty()).then(|| last.to_owned())
        });
        from_origin.unwrap_or_else(|| {
            let main = match self.common_dir.file_name() {
                Some(name) if name == ".git" => self.common_dir.parent(),
                _ => Some(self.common_dir.as_path()),
            };
            main.and_then(Path::file_name).map_or_else(
                || "app".to_owned(),
                |name| name.to_string_lossy().into_owned(),
            )
        })
    }

    fn local_config(&self) -> Option<git2::Config> {
        git2::Config::open(&self.common_dir.join("config")).ok()
    }
}

fn classify(start: &Path, error: GitError) -> OpenError {
    match error {
        GitError::Failed { message, .. } if message.contains("dubious ownership") => {
            OpenError::Refused(message)
        }
        GitError::Failed { message, .. } if message.contains("safe.directory") => {
            OpenError::Refused(
                "it belongs to another user; see safe.directory in git-config(1)".to_owned(),
            )
        }
        GitError::Failed { .. } => OpenError::NotARepository(start.to_owned()),
        other => OpenError::Git(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_found_without_git_is_what_git_finds() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let git = |arguments: &[&str]| drop(Git::at(&root).run(arguments).unwrap());
        let found = |below: &str| {
            let start = root.join(below);
            let plain = Worktree::discover_plain(&start);
            (plain, Worktree::discover_by_git(&start).ok())
        };
        std::fs::create_dir_all(root.join("a/b")).unwrap();
        assert_eq!(found("a"), (None, None));
        git(&["init", "-q"]);
        for below in ["", "a", "a/b"] {
            let (plain, by_git) = found(below);
            assert_eq!(plain, by_git);
            assert_eq!(plain.unwrap().root, root);
        }
        assert_eq!(found(".git/hooks"), (None, None));
        std::os::unix::fs::symlink(root.join("a"), root.join("link")).unwrap();
        let (plain, by_git) = found("link/b");
        assert_eq!(plain, by_git);
        for settings in [["core.worktree", "/"], ["core.bare", "true"]] {
            git(&["config", settings[0], settings[1]]);
            assert_eq!(found("a").0, None, "{settings:?}");
            git(&["config", "--unset", settings[0]]);
        }
        git(&["config", "core.repositoryFormatVersion", "99"]);
        assert_eq!(found("a"), (None, None));
    }
}
