//! The loose objects of a repository, as far as they decide how long git's abbreviations in a diff are: an object that
//! shares the first digits of another lengthens them (`core.abbrev` in git-config(1)). No event tells of one.
//!
//! Lists and opens none: when their directories changed is enough.

use std::path::Path;

use super::ground::object_dirs;
use super::stamp::{Moment, Stamp};

/// Into how many directories git spreads loose objects, by their first two digits (gitrepository-layout(5)).
const FANS: u16 = 256;

/// When an object was last added or removed, for each of these directories.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LooseObjects(Vec<Option<Stamp>>);

impl LooseObjects {
    /// Looks at them as they are now.
    pub(super) fn of(common_dir: &Path) -> Self {
        let dirs = object_dirs(&common_dir.join("objects")).into_iter();
        let stamps = dirs.flat_map(|dir| {
            (0..FANS).map(move |first| Stamp::of_any(&dir.join(format!("{first:02x}"))))
        });
        Self(stamps.collect())
    }

    /// Returns whether none of it changed so shortly before that another change could leave the same stamps.
    pub(super) fn is_settled(&self, moment: &Moment) -> bool {
        self.0.iter().flatten().all(|stamp| moment.settles(stamp))
    }
}
