//! A repository in a directory of its own, for tests of any module. Knows nothing but git.

use std::path::{Path, PathBuf};

use crate::git::Git;

/// A repository with a user, in which nothing is committed yet. It goes with this.
pub(crate) struct ScratchRepository {
    _dir: tempfile::TempDir,
    root: PathBuf,
}

impl ScratchRepository {
    pub(crate) fn new() -> Self {
        Self::of_format("sha1")
    }

    /// One whose object ids are of `format`, as in `git init --object-format`.
    pub(crate) fn of_format(format: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let repository = Self { _dir: dir, root };
        repository.git(&["init", "-q", &format!("--object-format={format}")]);
        let settings = [
            ("user.name", "a"),
            ("user.email", "a@b"),
            ("commit.gpgSign", "false"),
        ];
        for (name, value) in settings {
            repository.git(&["config", name, value]);
        }
        repository
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn at(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// Runs git there, without the settings of whoever runs the tests, and returns what it prints.
    pub(crate) fn git(&self, arguments: &[&str]) -> Vec<u8> {
        let git = Git::at(&self.root)
            .with_var("GIT_CONFIG_NOSYSTEM", "1")
            .with_var("GIT_CONFIG_GLOBAL", "/dev/null");
        git.run(arguments).unwrap().stdout
    }

    /// Writes a file, in directories that are made as needed, and returns where it lies.
    pub(crate) fn write(&self, path: &str, text: &str) -> PathBuf {
        let path = self.at(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Commits whatever lies there, and be it nothing.
    pub(crate) fn commit_all(&self) {
        self.git(&["add", "."]);
        self.git(&["commit", "-q", "--allow-empty", "-m", "x"]);
    }
}
