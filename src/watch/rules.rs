//! Which directories of a worktree seem to be ignored: by its own rules, and by those of each repository inside it.
//!
//! Never the last word: git is asked of every directory that seems so.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use crate::repository::{IgnoreRules, Worktree};

/// Candidates for [`crate::repository::ignored_by_git`]. Paths are relative to the root of the worktree.
pub(super) struct Rules {
    root: PathBuf,
    /// By where the repository lies; `None` where git2 cannot open it, so that nothing counts as ignored.
    of_repositories: BTreeMap<PathBuf, Option<IgnoreRules>>,
    /// Which repository directories belong to.
    around: HashMap<PathBuf, PathBuf>,
}

impl Rules {
    /// Reads those of the worktree; those of others are read when they are asked for.
    pub(super) fn read(worktree: &Worktree) -> Self {
        let own = IgnoreRules::read(worktree);
        Self {
            root: worktree.root.clone(),
            of_repositories: BTreeMap::from([(PathBuf::new(), own)]),
            around: HashMap::new(),
        }
    }

    /// Returns the worktree's own.
    pub(super) fn own(&self) -> Option<&IgnoreRules> {
        self.of_repositories.get(Path::new(""))?.as_ref()
    }

    /// True when the directory at `path` seems to be ignored and holds no tracked file.
    pub(super) fn skips_dir(&mut self, path: &Path) -> bool {
        let around = path
            .parent()
            .map(|dir| self.around(dir))
            .unwrap_or_default();
        let inside = path.strip_prefix(&around).unwrap_or(path);
        let root = self.root.join(&around);
        let rules = self.of_repositories.entry(around);
        let rules = rules.or_insert_with(|| IgnoreRules::of(&root));
        rules.as_ref().is_some_and(|rules| rules.skips_dir(inside))
    }

    fn around(&mut self, dir: &Path) -> PathBuf {
        let Some(above) = dir.parent() else {
            return PathBuf::new();
        };
        if let Some(known) = self.around.get(dir) {
            return known.clone();
        }
        let is_repository = self.root.join(dir).join(".git").symlink_metadata().is_ok();
        let around = if is_repository {
            dir.to_owned()
        } else {
            self.around(above)
        };
        self.around.insert(dir.to_owned(), around.clone());
        around
    }
}
