//! Whether and how git converts files on their way in (gitattributes(5), `core.autocrlf`): blobs of converted files are
//! named by git, into an index of our own that no objects are written for.
//!
//! Reads no attribute file and converts nothing itself: that one is there is enough to leave the files to git.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::TreeError;
use super::add_refusals::refuse_wrong_encoding;
use super::file_map::{Entry, listed_entry};
use super::git_config::GitConfig;
use super::ground::{Places, outer_attributes};
use super::index_file::IndexFile;
use super::stamp::{Moment, Stamp};
use super::tree::SETTINGS;
use crate::git::{Git, records};

/// What decides how files are converted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Conversion {
    /// Attribute files inside the worktree, whether git tracks them or not.
    inner: BTreeMap<PathBuf, Stamp>,
    /// Those outside.
    outer: BTreeMap<PathBuf, Stamp>,
    /// Names the programs and the line ends.
    config: GitConfig,
}

impl Conversion {
    /// Looks for attribute files in `dirs`, relative to the root, and outside.
    pub(super) fn of(places: &Places, config: &GitConfig, dirs: &BTreeSet<Vec<u8>>) -> Self {
        let found = |files: &mut dyn Iterator<Item = PathBuf>| {
            files
                .filter_map(|file| Stamp::of_any(&file).map(|stamp| (file, stamp)))
                .collect()
        };
        let inner = dirs.iter().map(|dir| attributes_in(&places.root, dir));
        Self {
            inner: found(&mut inner.into_iter()),
            outer: found(&mut outer_attributes(places, config).into_iter()),
            config: config.clone(),
        }
    }

    /// Returns whether any file may be converted.
    pub(super) fn is_possible(&self) -> bool {
        let by_line_ends = self.config.get("core.autocrlf").is_some()
            && self.config.is_true("core.autocrlf") != Some(false);
        let from_a_tree = self.config.get("attr.tree").is_some();
        by_line_ends || from_a_tree || !self.inner.is_empty() || !self.outer.is_empty()
    }

    /// Returns whether no attribute file moved so shortly before that another change could leave the same stamp.
    pub(super) fn is_settled(&self, moment: &Moment) -> bool {
        let mut stamps = self.inner.values().chain(self.outer.values());
        stamps.all(|stamp| moment.settles(stamp))
    }

    /// Returns the attribute files inside the worktree.
    pub(super) fn inner_files(&self) -> impl Iterator<Item = &Path> {
        self.inner.keys().map(PathBuf::as_path)
    }

    /// Returns whether what was converted under `before` may be taken over.
    pub(super) fn is_as(&self, before: &Self) -> bool {
        let either = self.is_possible() || before.is_possible();
        !either || self == before
    }

    /// Returns whether a directory has the attribute file, or none, that it had.
    pub(super) fn knows(&self, root: &Path, dir: &[u8]) -> bool {
        let file = attributes_in(root, dir);
        Stamp::of_any(&file) == self.inner.get(&file).copied()
    }
}

/// Returns the attribute file of a directory.
fn attributes_in(root: &Path, dir: &[u8]) -> PathBuf {
    root.join(OsStr::from_bytes(dir)).join(".gitattributes")
}

/// Returns what git makes of the files at `paths`, which are there. Temporary files go to `scratch`.
///
/// # Errors
/// [`TreeError`] when git cannot convert one of them.
pub(super) fn converted(
    git: &Git,
    index: &IndexFile,
    paths: &BTreeSet<Vec<u8>>,
    scratch: &Path,
) -> Result<BTreeMap<Vec<u8>, Entry>, TreeError> {
    let copy = scratch.join("conversion-index");
    std::fs::write(&copy, index.with_only_unread(paths)).map_err(TreeError::Scratch)?;
    let git = git
        .clone()
        .with_config(&SETTINGS)
        .with_var("GIT_INDEX_FILE", &copy)
        .with_var("LANGUAGE", "C");
    let update = [
        "update-index",
        "--add",
        "--replace",
        "--info-only",
        "-z",
        "--stdin",
    ];
    let names = paths.iter().flat_map(|path| [path.as_slice(), b"\0"]);
    let said = git.run_with_input(&update, Some(names.flatten().copied().collect()))?;
    refuse_wrong_encoding(&said.stderr)?;
    let listed = git.run(&["ls-files", "-s", "-z"])?.stdout;
    Ok(records(&listed)
        .filter_map(listed_entry)
        .filter(|(path, _)| paths.contains(*path))
        .map(|(path, entry)| (path.to_vec(), entry))
        .collect())
}
