//! The part of a pass that looks again, whether what was read in it held still, and reads alone what did not.
//!
//! Takes no event's word: it compares stamps, or reads once more. A file that holds still for no reading ends the pass.

use std::collections::{BTreeMap, BTreeSet};

use super::Pass;
use super::stop::Stop;
use crate::identity::file_content::{self, Content, ContentError};
use crate::identity::file_map::{Entry, Mode};
use crate::identity::index_file::IndexFile;
use crate::identity::kept::Kept;
use crate::identity::mirror::Mirror;
use crate::identity::real_dirs::RealDirs;
use crate::identity::status_text::{PathBytes, Status};

/// Larger files are not read a second time only because they were written a moment ago.
const READ_TWICE_MAX: u64 = 1 << 20;
/// When more files than this move during a pass, it is worth nothing.
const HELD_FILES_MAX: usize = 64;
/// When git thinks otherwise of more files than this, it is left to git.
pub(super) const ODD_FILES_MAX: usize = 1024;

impl Pass<'_> {
    /// Returns the tracked files of which git's status says something else than `codes`, which go by content: they changed
    /// in between.
    pub(super) fn contradicting(
        &self,
        index: &IndexFile,
        status: &Status,
        codes: &BTreeMap<PathBytes, u8>,
    ) -> Result<BTreeSet<PathBytes>, Stop> {
        let listed = |path: &[u8]| {
            let change = status.tracked.get(path);
            change.map_or(b' ', |change| change.unstaged)
        };
        let odd: BTreeSet<_> = status
            .tracked
            .keys()
            .chain(codes.keys())
            .filter(|path| codes.get(*path).copied().unwrap_or(b' ') != listed(path))
            .cloned()
            .collect();
        if odd.is_empty() {
            return Ok(odd);
        }
        if odd.len() > ODD_FILES_MAX {
            return Err(Stop::NotPlain);
        }
        // Git goes by more than content: what it remembers of a file, and its size before any conversion.
        let codes = self.codes_by_git(index, &odd, self.git)?;
        let changed = codes
            .into_iter()
            .filter(|(path, code)| *code != listed(path));
        Ok(changed.map(|(path, _)| path).collect())
    }

    /// Returns the files that are not committed, or among `more`, and no longer lie as they did when they were read.
    /// One that was written in the same tick of the clock is read once more.
    pub(super) fn moved_uncommitted(
        &self,
        kept: &Kept,
        more: &BTreeSet<PathBytes>,
    ) -> Result<BTreeSet<PathBytes>, Stop> {
        let mut dirs = RealDirs::new(&self.places.root);
        let mut moved = BTreeSet::new();
        let changed = kept.status.tracked.keys();
        for path in changed.chain(&kept.status.untracked).chain(more) {
            let known = self.cache.files.get(path);
            let is_listed = kept.index.find(path).is_some() || kept.status.untracked.contains(path);
            let has_moved = known.and_then(|known| known.stamp) != dirs.stamp(path);
            let is_other = match known.filter(|known| !known.settled) {
                Some(known) => self.is_other_content(kept, path, known)?,
                None => false,
            };
            if is_listed && (has_moved || is_other) {
                moved.insert(path.clone());
            }
        }
        Ok(moved)
    }

    fn is_other_content(&self, kept: &Kept, path: &[u8], known: &Entry) -> Result<bool, Stop> {
        let size = known.stamp.map(|stamp| stamp.size());
        if kept.conversion.is_possible() || size.is_none_or(|size| size > READ_TWICE_MAX) {
            return Ok(false);
        }
        match file_content::read(&self.at(path), kept.head.format) {
            Ok(Some(content)) => Ok((content.mode, content.blob) != (known.mode, known.id)),
            Ok(None) | Err(ContentError::Torn) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }

    /// Reads files that moved, and those that git compares with them, once and for all of this pass: git reads what was
    /// read here. Returns them all. So a writer that never stops holds up nothing but its own file, and that for as long as it takes to
    /// read it alone.
    pub(in crate::identity) fn hold_still(
        &mut self,
        kept: &mut Kept,
        moved: &BTreeSet<PathBytes>,
    ) -> Result<BTreeSet<PathBytes>, Stop> {
        if moved.len() > HELD_FILES_MAX {
            return Err(Stop::Torn);
        }
        if kept.unreadable_diff.is_some() {
            return Err(Stop::NotPlain);
        }
        let mut mirror = Mirror::new(self.places, self.workbench.path())?;
        self.held_in = Some(mirror.dir().to_owned());
        let uncommitted = kept.status.unstaged().map(|(path, _)| path);
        let compared: BTreeSet<_> = uncommitted.chain(moved).cloned().collect();
        for path in &kept.rule_files(&self.places.root) {
            mirror.hold(&self.places.root, path, kept.head.format)?;
        }
        let mut dirs = RealDirs::new(&self.places.root);
        let mut held = BTreeMap::new();
        for path in &compared {
            let content = if dirs.hold(path) {
                mirror.hold(&self.places.root, path, kept.head.format)?
            } else {
                None
            };
            held.insert(path.clone(), content);
        }
        let converted = self.take_held(kept, &held);
        self.take_converted(mirror.git(), &kept.index, &converted)?;
        self.renew_codes(kept, &compared, mirror.git())?;
        self.add_unstaged(kept, mirror.git())?;
        Ok(compared)
    }

    /// Returns which of them git may convert.
    fn take_held(
        &mut self,
        kept: &mut Kept,
        held: &BTreeMap<PathBytes, Option<Content>>,
    ) -> BTreeSet<PathBytes> {
        let mut converted = BTreeSet::new();
        for (path, content) in held {
            self.cache.files.remove(path);
            let Some(content) = content else {
                kept.status.untracked.remove(path);
                continue;
            };
            if kept.index.find(path).is_none() {
                // It may have gone when it was held before.
                kept.status.untracked.insert(path.clone());
            }
            let file = self.at(path);
            self.cache.hashes.hold(file, content, &self.moment);
            let entry = Entry {
                settled: false,
                ..self.entry(content)
            };
            self.cache.files.insert(path, entry);
            if kept.conversion.is_possible() && content.mode != Mode::Link {
                converted.insert(path.clone());
            }
        }
        converted
    }
}
