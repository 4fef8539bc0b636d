//! What may have changed since the last look: a bounded set of paths, or everything.
//!
//! Pure.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// More touched paths than this count as everything.
pub const TOUCHED_MAX: usize = 1024;

/// What was touched since the last look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Touched {
    /// These absolute paths; nothing else.
    Paths(BTreeSet<PathBuf>),
    /// Events were lost, or there were too many: anything may have changed.
    Everything,
}

impl Default for Touched {
    fn default() -> Self {
        Self::Paths(BTreeSet::new())
    }
}

impl Touched {
    /// Returns whether nothing was touched.
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Paths(paths) if paths.is_empty())
    }

    /// Returns whether `path` may have been touched.
    pub fn may_hold(&self, path: &Path) -> bool {
        match self {
            Self::Paths(paths) => paths.contains(path),
            Self::Everything => true,
        }
    }

    /// Adds a path; more than [`TOUCHED_MAX`] become everything.
    pub fn add(&mut self, path: PathBuf) {
        if let Self::Paths(paths) = self {
            paths.insert(path);
            if paths.len() > TOUCHED_MAX {
                *self = Self::Everything;
            }
        }
    }

    /// Returns what was touched before or after.
    #[must_use]
    pub fn with(mut self, later: Self) -> Self {
        match later {
            Self::Paths(paths) => paths.into_iter().for_each(|path| self.add(path)),
            Self::Everything => self = Self::Everything,
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_paths_become_everything() {
        let mut touched = Touched::default();
        for n in 0..=TOUCHED_MAX {
            touched.add(PathBuf::from(n.to_string()));
        }
        assert_eq!(touched, Touched::Everything);
    }

    #[test]
    fn what_was_touched_before_counts_with_what_was_touched_after() {
        let of = |paths: &[&str]| Touched::Paths(paths.iter().map(Into::into).collect());
        assert_eq!(of(&["a"]).with(of(&["b", "a"])), of(&["a", "b"]));
        assert_eq!(of(&["a"]).with(Touched::Everything), Touched::Everything);
        assert_eq!(Touched::Everything.with(of(&["a"])), Touched::Everything);
    }
}
