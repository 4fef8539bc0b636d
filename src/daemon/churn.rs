//! Which paths keep changing the code of a worktree, and the ignore line that would end it.
//!
//! Writes no such line, and decides nothing: when a program writes the code, the pure state says.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::exclude;
use crate::repository::{Worktree, ignored_by_git, is_tracked};
use crate::text::shell_quoted;
use crate::touched::Touched;

/// How many paths are counted at most.
const PATHS_MAX: usize = 512;
/// How many are named.
const NAMED: usize = 3;

/// How often each path was touched when the code changed, since the last commit.
#[derive(Debug, Default, Clone)]
pub(super) struct Churn(BTreeMap<PathBuf, u32>);

/// What is said of paths that churn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Advice {
    pub(super) reason: String,
    pub(super) hint: String,
}

impl Churn {
    /// Counts what was touched before a reading that found other code.
    pub(super) fn count(&mut self, worktree: &Worktree, touched: &Touched) {
        let Touched::Paths(paths) = touched else {
            return;
        };
        let inside = paths
            .iter()
            .filter(|path| path.starts_with(&worktree.root) && !path.starts_with(&worktree.git_dir))
            .filter_map(|path| path.strip_prefix(&worktree.root).ok());
        for path in inside {
            *self.0.entry(path.to_owned()).or_default() += 1;
        }
        if self.0.len() > PATHS_MAX {
            self.0.retain(|_, count| *count > 1);
        }
        if self.0.len() > PATHS_MAX {
            self.0.clear();
        }
    }

    /// Names the paths that changed the code most often, and what to type. Asks git, so it may take some milliseconds.
    pub(super) fn advice(&self, worktree: &Worktree) -> Option<Advice> {
        let worst = self.worst(worktree);
        let (first, _) = worst.first()?;
        let named: Vec<_> = worst
            .iter()
            .map(|(path, count)| format!("{} {count} times", path.display()))
            .collect();
        Some(Advice {
            reason: format!(
                "a program writes the code ({}): created only when asked for, until the next commit",
                named.join(", ")
            ),
            hint: cure(worktree, first),
        })
    }

    fn worst(&self, worktree: &Worktree) -> Vec<(&Path, u32)> {
        let is_file = |path: &Path| !worktree.root.join(path).is_dir();
        let files: BTreeSet<PathBuf> = self
            .0
            .keys()
            .filter(|path| is_file(path))
            .cloned()
            .collect();
        let ignored = ignored_by_git(worktree, &files);
        let mut worst: Vec<_> = self
            .0
            .iter()
            .filter(|(path, _)| files.contains(*path) && !ignored.contains(*path))
            .map(|(path, count)| (path.as_path(), *count))
            .collect();
        worst.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        worst.truncate(NAMED);
        worst
    }
}

fn cure(worktree: &Worktree, path: &Path) -> String {
    let pattern = format!("/{}", exclude::pattern(&path.to_string_lossy()));
    let ignore = format!("echo {} >> .gitignore", shell_quoted(&pattern));
    if is_tracked(worktree, &worktree.root.join(path)) {
        let path = shell_quoted(&path.to_string_lossy());
        format!("git rm --cached {path} && {ignore}")
    } else {
        ignore
    }
}
