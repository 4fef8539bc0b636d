//! The code of what was read: held from the reading on, so that it can be kept whatever happens to the files.
//!
//! Keeps none for good, and does not know for which of it there will be a version.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use super::Session;
use crate::git::Git;
use crate::identity::files::Files;
use crate::identity::{ReadError, Reading};
use crate::ids::ContentId;
use crate::locks::lock;
use crate::snapshot::{Held, SnapshotError};

/// The code of so many readings is held that nobody has made a version of yet.
const SEEN_MAX: usize = 8;

/// After so many readings in a row whose files did not hold still until their bytes were taken, one counts without.
const MISSED_MAX: u32 = 5;

/// The code of a reading.
#[derive(Debug, Clone)]
pub(super) struct SeenCode {
    pub(super) content: ContentId,
    pub(super) held: Arc<Held>,
}

impl SeenCode {
    fn stored(self) -> Self {
        Self {
            held: Arc::new(self.held.stored()),
            ..self
        }
    }
}

/// The code that is held of a worktree.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// The code of the last readings, the newest last. A mutex as readings and resolutions run side by side; held for a move.
    codes: Mutex<VecDeque<SeenCode>>,
    /// The same code lies on the disk in other bytes since it was kept.
    lies_otherwise: AtomicBool,
    /// How many readings in a row changed before their bytes were taken.
    missed: AtomicU32,
}

impl Session {
    /// Takes the bytes of a reading that are not in the store yet, so that they can be kept whatever happens to the files;
    /// `files` are those of the reading, `None` where they have to be read from scratch. Returns false where a file changed
    /// since, so that the reading counts for nothing.
    pub fn saw(&self, reading: &Reading, files: Option<Files>) -> bool {
        if !self.settings.retention.snapshots || self.settings.pin.is_some() {
            return true;
        }
        let last = self.seen_codes().back().cloned();
        match self.hold(reading, files, last.as_ref()) {
            Ok(held) => {
                self.seen.missed.store(0, Ordering::Relaxed);
                let same = last.filter(|last| last.content == reading.content);
                let lies_otherwise = same.is_some_and(|last| held.lies_otherwise(&last.held));
                self.seen
                    .lies_otherwise
                    .fetch_or(lies_otherwise, Ordering::Relaxed);
                self.remember_seen(&reading.content, held);
                true
            }
            Err(SnapshotError::Changed(_))
                if self.seen.missed.fetch_add(1, Ordering::Relaxed) < MISSED_MAX =>
            {
                false
            }
            Err(error) => {
                tracing::warn!(%error, "the code of this reading is not held");
                true
            }
        }
    }

    /// True once where the same code lies on the disk in other bytes than before: what is kept of it is kept anew.
    pub fn take_lies_otherwise(&self) -> bool {
        self.seen.lies_otherwise.swap(false, Ordering::Relaxed)
    }

    fn hold(
        &self,
        reading: &Reading,
        files: Option<Files>,
        last: Option<&SeenCode>,
    ) -> Result<Held, SnapshotError> {
        let files = match files {
            Some(files) => files,
            None => self.read_files(&reading.content)?,
        };
        let root = &self.worktree.root;
        let head = reading.head.as_ref().map(ToString::to_string);
        let before = last.map(|last| last.held.as_ref());
        let (private, limits) = (self.worktree.private_dir(), self.limits());
        let place = (root.as_path(), head.as_deref());
        let held = self
            .code
            .snapshots
            .hold(place, &files, &limits, before, &private);
        match held {
            Err(error) if !matches!(error, SnapshotError::Changed(_)) => {
                tracing::warn!(%error, "what is to be kept is read again when it is");
                Ok(Held::unheld(root, head.as_deref(), &files))
            }
            held => held,
        }
    }

    pub(super) fn seen_codes(&self) -> MutexGuard<'_, VecDeque<SeenCode>> {
        lock(&self.seen.codes)
    }

    fn remember_seen(&self, content: &ContentId, held: Held) {
        let mut seen = self.seen_codes();
        seen.retain(|code| code.content != *content);
        seen.push_back(SeenCode {
            content: content.clone(),
            held: Arc::new(held),
        });
        let too_many = seen.len().saturating_sub(SEEN_MAX);
        seen.drain(..too_many);
    }

    /// The newest stays, without the bytes that are stored: what comes next is compared with it. Where it is heavy, those before it
    /// go: whoever keeps one of them began before, with it in hand.
    pub(super) fn forget_seen(&self, code: &SeenCode, is_stored: bool) {
        let mut seen = self.seen_codes();
        let is_it = |one: &SeenCode| Arc::ptr_eq(&one.held, &code.held);
        let is_newest = seen.back().is_some_and(is_it);
        let newest = is_newest.then(|| seen.pop_back()).flatten();
        seen.retain(|one| !(is_it(one) || is_newest && one.held.is_heavy()));
        let rest = |newest: SeenCode| {
            if is_stored { newest.stored() } else { newest }
        };
        seen.extend(newest.map(rest));
    }

    /// Reads all files from scratch, which must be what was observed.
    fn read_files(&self, content: &ContentId) -> Result<Files, SnapshotError> {
        let private = self.worktree.scratch_dir();
        let scratch = crate::identity::scratch::in_place(&private);
        let root = &self.worktree.root;
        match Files::read(&Git::at(root).wary(), root, scratch) {
            Ok((found, files)) if found == *content => Ok(files),
            Ok(_) | Err(ReadError::Torn) => Err(SnapshotError::Changed("the code".to_owned())),
            Err(error) => Err(SnapshotError::Unread(error.to_string())),
        }
    }
}
