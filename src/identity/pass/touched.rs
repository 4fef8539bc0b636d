//! The part of a narrow pass that finds out what became of the files that were touched.
//!
//! Knows their paths alone, not what an event said of them. Lists no directory: git does.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use super::stop::Stop;
use super::{Pass, may_be_refused};
use crate::git::{Git, records};
use crate::identity::candidates::{Candidates, parents};
use crate::identity::diffs::top_literal;
use crate::identity::file_map::Mode;
use crate::identity::index_file::IndexEntry;
use crate::identity::kept::Kept;
use crate::identity::real_dirs::RealDirs;
use crate::identity::status_text::{Change, PathBytes, Status};

/// Where more files than this have several names, all are looked at.
const LINKED_MAX: usize = 4096;

impl Pass<'_> {
    /// Adds the files with several names that do not lie as they did: what is written through another one makes no event.
    pub(super) fn with_moved_links(
        &self,
        touched: &BTreeSet<PathBuf>,
    ) -> Result<BTreeSet<PathBuf>, Stop> {
        if self.cache.files.linked().len() > LINKED_MAX {
            return Err(Stop::NotPlain);
        }
        let moved = self.cache.moved_links(&self.places.root);
        let moved = moved.iter().map(|path| self.at(path));
        Ok(touched.iter().cloned().chain(moved).collect())
    }

    /// Which names a file has that was not known to have several, only a look at all of them tells.
    pub(super) fn refuse_new_links<'a>(
        &self,
        mut paths: impl Iterator<Item = &'a PathBytes>,
        dirs: &mut RealDirs<'_>,
    ) -> Result<(), Stop> {
        let is_new = |path: &PathBytes| {
            !self.cache.files.linked().contains(path)
                && dirs.stamp(path).is_some_and(|it| it.has_other_names())
        };
        if paths.any(is_new) {
            return Err(Stop::NotPlain);
        }
        Ok(())
    }

    /// Asks git which of the touched paths that it does not track it would list.
    pub(super) fn untracked_among(
        &self,
        kept: &Kept,
        candidates: &Candidates,
    ) -> Result<BTreeSet<PathBytes>, Stop> {
        let known = |path: &&PathBytes| kept.status.untracked.contains(*path);
        let mut found: BTreeSet<_> = candidates
            .untracked
            .iter()
            .filter(known)
            .filter(|path| candidates.present.contains(*path))
            .filter(|path| !candidates.is_below_listed_dir(path))
            .cloned()
            .collect();
        let asked: Vec<_> = candidates
            .untracked
            .iter()
            .filter(|path| !known(path))
            .chain(&candidates.dirs)
            .collect();
        found.append(&mut self.untracked_by_git(kept, &asked)?);
        Ok(found)
    }

    /// Returns what git would list of paths that it does not track, and below them.
    pub(super) fn untracked_by_git(
        &self,
        kept: &Kept,
        asked: &[&PathBytes],
    ) -> Result<BTreeSet<PathBytes>, Stop> {
        let mut found = BTreeSet::new();
        if asked.is_empty() {
            return Ok(found);
        }
        let no_index = self.workbench.path().join("no-index");
        let git = self.git.clone().with_var("GIT_INDEX_FILE", no_index);
        let arguments = ["ls-files", "-o", "--exclude-standard", "-z", "--"].map(OsString::from);
        let pathspecs = asked
            .iter()
            .map(|path| top_literal(OsStr::from_bytes(path)));
        let arguments: Vec<OsString> = arguments.into_iter().chain(pathspecs).collect();
        let listed = git.run(&arguments)?.stdout;
        for path in records(&listed) {
            if path.ends_with(b"/") || may_be_refused(path) {
                return Err(Stop::NotPlain);
            }
            if kept.index.find(path).is_none() {
                found.insert(path.to_vec());
            }
        }
        Ok(found)
    }

    /// A directory that is new may have brought or lost an attribute file, which no event needs to have told.
    pub(super) fn refuse_new_attributes(&self, kept: &Kept, path: &[u8]) -> Result<(), Stop> {
        for dir in parents(path) {
            if self.cache.files.has_dir(dir) {
                return Ok(());
            }
            if !kept.conversion.knows(&self.places.root, dir) {
                return Err(Stop::NotPlain);
            }
        }
        Ok(())
    }

    /// Reads the candidates; returns whether tracked files were among them.
    pub(super) fn renew_touched(
        &mut self,
        kept: &mut Kept,
        candidates: &Candidates,
        untracked: &BTreeSet<PathBytes>,
    ) -> Result<bool, Stop> {
        let mut present = BTreeSet::new();
        let mut tracked = BTreeSet::new();
        for path in candidates.all() {
            self.cache.files.remove(path);
            kept.status.untracked.remove(path);
            let is_there = candidates.present.contains(path);
            if kept.index.find(path).is_some() {
                tracked.insert(path.clone());
                if is_there {
                    present.insert(path.clone());
                }
            } else if is_there && untracked.contains(path) {
                present.insert(path.clone());
            }
        }
        present.extend(untracked.iter().cloned());
        for path in untracked {
            kept.status.untracked.insert(path.clone());
        }
        // Also of files that are gone: attributes count for what is staged of them.
        for path in candidates.all().chain(&candidates.dirs).chain(&present) {
            self.refuse_new_attributes(kept, path)?;
        }
        self.read_files(&present, &kept.index, &kept.conversion, kept.head.format)?;
        self.renew_codes(kept, &tracked, self.git)?;
        Ok(!tracked.is_empty())
    }

    /// Finds out anew how tracked files differ from the index; `git` says where the files are.
    pub(super) fn renew_codes(
        &self,
        kept: &mut Kept,
        tracked: &BTreeSet<PathBytes>,
        git: &Git,
    ) -> Result<(), Stop> {
        let mut doubtful = BTreeSet::new();
        let index = std::sync::Arc::clone(&kept.index);
        for entry in tracked.iter().filter_map(|path| index.find(path)) {
            match self.unstaged_code(kept, &entry) {
                Some(code) => set_unstaged(&mut kept.status, entry.path(), code),
                None => {
                    doubtful.insert(entry.path().to_vec());
                }
            }
        }
        if !doubtful.is_empty() {
            for (path, code) in self.codes_by_git(&kept.index, &doubtful, git)? {
                set_unstaged(&mut kept.status, &path, code);
            }
        }
        Ok(())
    }

    /// Returns what git's status says of a tracked file against the index; `None` where only git can tell: where it may go
    /// by the stat data that it remembers, or convert.
    fn unstaged_code(&self, kept: &Kept, entry: &IndexEntry<'_>) -> Option<u8> {
        let code = self.code_by_content(entry)?;
        let Some(file) = self.cache.files.get(entry.path()) else {
            return Some(code);
        };
        let is_converted = kept.conversion.is_possible() && file.mode != Mode::Link;
        let is_sure = match code {
            b'M' | b' ' if is_converted => false,
            b'M' => {
                Some(entry.written_and_size()?) != file.stamp.map(|stamp| stamp.written_and_size())
            }
            _ => true,
        };
        is_sure.then_some(code)
    }
}

fn set_unstaged(status: &mut Status, path: &[u8], code: u8) {
    match status.tracked.get_mut(path) {
        Some(change) => change.unstaged = code,
        None if code != b' ' => {
            let change = Change {
                staged: b' ',
                unstaged: code,
                from: None,
            };
            status.tracked.insert(path.to_vec(), change);
        }
        None => {}
    }
    if let Some(change) = status.tracked.get(path)
        && (change.staged, change.unstaged) == (b' ', b' ')
    {
        status.tracked.remove(path);
    }
}
