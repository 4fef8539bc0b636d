//! What lies at a path, as git sees it: nothing is there below a link or a file.
//!
//! Looks with lstat(2) alone, once at each directory: good for one pass, as it does not see what changes meanwhile.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::Metadata;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use super::file_content::is_absence;
use super::stamp::Stamp;

/// Tells what lies at a path, as git sees it: nothing is there below a link or a file.
pub(super) struct RealDirs<'a> {
    root: &'a Path,
    known: BTreeMap<Vec<u8>, bool>,
    is_unsure: bool,
}

impl<'a> RealDirs<'a> {
    pub(super) fn new(root: &'a Path) -> Self {
        Self {
            root,
            known: BTreeMap::new(),
            is_unsure: false,
        }
    }

    /// Returns the stamp of the file or link at `path`; `None` for nothing, for a directory, and below a link.
    pub(super) fn stamp(&mut self, path: &[u8]) -> Option<Stamp> {
        if !self.hold(path) {
            return None;
        }
        let metadata = self.look(path)?;
        if metadata.is_dir() {
            let repository = self.root.join(OsStr::from_bytes(path)).join(".git");
            self.is_unsure |= repository.symlink_metadata().is_ok();
            return None;
        }
        Some(Stamp::from(&metadata))
    }

    /// Returns whether the system would not say what lies at some path, which is no sign that nothing does, or whether there is a
    /// repository at one, of which git alone tells.
    pub(super) fn are_unsure(&self) -> bool {
        self.is_unsure
    }

    fn look(&mut self, path: &[u8]) -> Option<Metadata> {
        match self.root.join(OsStr::from_bytes(path)).symlink_metadata() {
            Ok(metadata) => Some(metadata),
            Err(error) => {
                self.is_unsure |= !is_absence(&error);
                None
            }
        }
    }

    /// Returns whether `path` lies below directories alone.
    pub(super) fn hold(&mut self, path: &[u8]) -> bool {
        let parent = path.iter().rposition(|byte| *byte == b'/');
        match parent.and_then(|slash| path.get(..slash)) {
            Some(dir) => self.is_real(dir),
            None => true,
        }
    }

    /// Returns whether every part of `dir` is a directory and no link.
    fn is_real(&mut self, dir: &[u8]) -> bool {
        if let Some(known) = self.known.get(dir) {
            return *known;
        }
        let above = dir.iter().rposition(|byte| *byte == b'/');
        let is_below_real = match above.and_then(|slash| dir.get(..slash)) {
            Some(above) => self.is_real(above),
            None => true,
        };
        let is_real = is_below_real && self.look(dir).is_some_and(|found| found.is_dir());
        self.known.insert(dir.to_vec(), is_real);
        is_real
    }
}
