//! Settings by which a git that only reads would write.
//!
//! Asked for where a worktree is not a usual one. Changes none: it has git work beside them.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;

use super::GitHashError;
use crate::git::{Git, records};

/// Settings by which git writes.
#[derive(Debug, Default)]
pub(super) struct WritingSettings {
    caches: BTreeSet<OsString>,
    /// Whether it is said who may read what is written.
    is_shared: bool,
}

impl WritingSettings {
    const SHARED: &[u8] = b"core.sharedrepository";

    /// Asks git for them; none are found where git refuses.
    pub(super) fn read(git: &Git) -> Self {
        let keys = "^(diff\\..*\\.cachetextconv|core\\.sharedrepository)$";
        let listed = git.run(&["config", "--name-only", "-z", "--get-regexp", keys]);
        let listed = listed.unwrap_or_default().stdout;
        let caches = records(&listed).filter(|key| *key != Self::SHARED);
        Self {
            caches: caches.map(|key| OsString::from_vec(key.to_vec())).collect(),
            is_shared: records(&listed).any(|key| key == Self::SHARED),
        }
    }

    /// The helper's git locks the index to bring it up to date, and dies where it does not know who may read the lock.
    pub(super) fn refuse_unwritable(&self, git: &Git) -> Result<(), GitHashError> {
        let takes_no_lock = std::env::var_os("GIT_OPTIONAL_LOCKS").is_some_and(|it| it == "0");
        if !self.is_shared || takes_no_lock {
            return Ok(());
        }
        let scratch = super::scratch::new(git, &git.directory(), None);
        let scratch = scratch.map_err(GitHashError::Scratch)?;
        let index = scratch.path().join("index");
        git.clone()
            .with_var("GIT_INDEX_FILE", index)
            .run(&["read-tree", "--empty"])?;
        Ok(())
    }

    /// Returns a git that keeps no cache of what programs made of files for its diffs: it would write refs and objects
    /// (`diff.<driver>.cachetextconv` in gitattributes(5)).
    pub(super) fn without_caches(&self, git: &Git) -> Git {
        if self.caches.is_empty() {
            git.clone()
        } else {
            git.clone().with_emptied(self.caches.iter().cloned())
        }
    }
}
