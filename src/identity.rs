//! What the code is called: git-hash, tree id, content id, and the LoggedModel's name made of them.
//!
//! [`read`] reads a worktree once and from scratch, [`reader`] again and again. Knows nothing of MLflow but what it refuses in
//! names, nothing of the daemon, and of time only what a stamp needs (`stamp::Moment`).

mod add_refusals;
mod as_read;
mod cache;
mod cached_trees;
mod candidates;
mod conversion;
mod diffs;
pub(crate) mod digest;
mod directories;
mod error;
pub mod explain;
pub(crate) mod file_content;
mod file_hashes;
pub(crate) mod file_map;
pub mod files;
pub mod files_record;
mod from_scratch;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod git_config;
pub mod git_hash;
mod glance;
mod ground;
mod head;
mod helper_text;
mod ignores;
mod index_file;
pub mod index_names;
mod kept;
mod known_diffs;
mod line_starts;
mod listing;
mod loose;
mod mirror;
mod naming;
mod nearby;
pub(crate) mod nested;
pub(crate) mod object;
mod own_index;
mod pass;
pub(crate) mod plain_config;
mod quoting;
pub mod reader;
mod real_dirs;
pub(crate) mod safe;
pub mod scratch;
mod shares;
mod sparse_index;
mod split_index;
mod staged;
pub(crate) mod stamp;
mod starting_index;
mod status_text;
pub mod tree;
mod untracked;
mod workbench;
mod worktree_walk;
mod writing_settings;

use crate::ids::{ContentId, ObjectId};
pub use candidates::rules_others;
pub use error::{GitHashError, ReadError, TreeError};
pub use from_scratch::read;
pub use naming::{Naming, commit_name, model_name, sanitize_app, tree_name};

/// Returns the names in a git directory that every reading rests on.
#[cfg(test)]
pub(crate) fn names_of_ground() -> impl Iterator<Item = &'static str> {
    ground::COMMON.into_iter().chain(ground::OWN)
}

/// The largest file that is read: 16 GiB. Files are hashed as they are read, so this bounds time, not memory.
pub const FILE_LIMIT: u64 = 16 << 30;

/// One consistent reading of a worktree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// The full HEAD, `None` before the first commit.
    pub head: Option<ObjectId>,
    /// The git-hash, or in one line why there is none for this state.
    pub git_hash: Result<String, String>,
    /// The content id.
    pub content: ContentId,
    /// False when the worktree holds exactly what HEAD holds and `git status` prints nothing.
    pub dirty: bool,
}
