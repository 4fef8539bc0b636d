//! The hash after the unstaged part, of states that were seen before: who comes back to one of them waits for no process of git.
//!
//! Pure. What is known counts as long as nothing moved that decides how git prints a diff; the files themselves, by their
//! blobs, and what the index says of them are the key.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;

use sha2::{Digest as _, Sha256};

use super::conversion::Conversion;
use super::diffs::NewSides;
use super::digest::Digest;
use super::file_map::FileMap;
use super::ground::Ground;
use super::kept::Kept;
use super::loose::LooseObjects;
use super::object::RawId;

/// How many states are known at most, the last ones: some hundred bytes each.
const KNOWN_MAX: usize = 1024;
/// The shortest abbreviation that git makes by itself (`FALLBACK_DEFAULT_ABBREV` in object-name.h, git 2.47).
const ABBREVIATION_MIN: usize = 7;
/// Settings that have git read what lies anywhere: attributes from a tree, the order of the files (git-config(1)).
const ELSEWHERE: [&str; 2] = ["attr.tree", "diff.orderfile"];

/// The hashes of one worktree.
#[derive(Debug, Default)]
pub(super) struct KnownDiffs {
    under: Option<Under>,
    digests: BTreeMap<Key, Digest>,
    /// The oldest first.
    order: VecDeque<Key>,
    /// How often one was found.
    #[cfg(test)]
    pub(super) recalled: u64,
}

/// What decides how git prints a diff, beside the files and their entries in the index.
#[derive(Debug)]
struct Under {
    ground: Ground,
    conversion: Conversion,
    loose: LooseObjects,
}

/// What differs from the index, and what goes before it in the hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key([u8; 32]);

impl KnownDiffs {
    /// Returns the hash after the unstaged part where that is known.
    pub(super) fn find(&mut self, key: &Key, kept: &Kept, index: &Path) -> Option<Digest> {
        let under = self.under.as_ref().filter(|_| is_sure(kept))?;
        let known = self.digests.get(key);
        let found = known.filter(|_| under.is_that_of(kept, index))?;
        #[cfg(test)]
        {
            self.recalled += 1;
        }
        Some(found.clone())
    }

    /// Takes note of the hash of a state whose files held still.
    pub(super) fn learn(&mut self, key: Key, kept: &Kept, index: &Path) {
        let Some(loose) = kept.loose.as_ref().filter(|_| is_sure(kept)) else {
            return;
        };
        let is_as_before = self
            .under
            .as_ref()
            .is_some_and(|it| it.is_that_of(kept, index));
        if !is_as_before {
            *self = Self {
                under: Some(Under {
                    ground: kept.ground.clone(),
                    conversion: kept.conversion.clone(),
                    loose: loose.clone(),
                }),
                #[cfg(test)]
                recalled: self.recalled,
                ..Self::default()
            };
        }
        let digest = kept.after_unstaged.clone();
        if self.digests.insert(key, digest).is_none() {
            self.order.push_back(key);
        }
        if self.order.len() > KNOWN_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.digests.remove(&oldest);
        }
    }
}

impl Under {
    /// The index may be another: what it says of the files is in the key.
    fn is_that_of(&self, kept: &Kept, index: &Path) -> bool {
        Some(&self.loose) == kept.loose.as_ref()
            && self.conversion == kept.conversion
            && self.ground.is_as_but_for(&kept.ground, index)
    }
}

/// Returns whether all is known that decides how git prints a diff; what changed a moment ago may change again unseen.
fn is_sure(kept: &Kept) -> bool {
    kept.is_settled && ELSEWHERE.iter().all(|key| kept.config.get(key).is_none())
}

impl Key {
    /// Returns what the unstaged part of this state is known by.
    pub(super) fn of(kept: &Kept, files: &FileMap) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(kept.after_staged.state());
        let mut add = |field: &[u8]| {
            hasher.update(field.len().to_le_bytes());
            hasher.update(field);
        };
        for (path, code) in kept.status.unstaged() {
            add(path);
            add(&[code]);
            let noted = kept.index.find(path);
            let noted = noted.and_then(|entry| entry.mode().zip(entry.id()));
            add(&noted.map_or(Vec::new(), |(mode, id)| {
                [&mode.to_le_bytes(), id.as_bytes()].concat()
            }));
            match files.get(path) {
                Some(file) => {
                    add(file.mode.digits());
                    add(file.id.as_bytes());
                    add(file.raw.as_bytes());
                }
                None => add(b""),
            }
        }
        Self(hasher.finalize().into())
    }
}

/// Returns whether git compared the very files that were read. False too where that cannot be told, and where a file is gone or of
/// another kind: the attributes beside it were not looked for.
pub(super) fn are_sides_of(kept: &Kept, files: &FileMap, sides: &NewSides) -> bool {
    let mut named = sides.iter();
    let all_named = kept.status.unstaged().all(|(path, code)| {
        let noted = kept.index.find(path).and_then(|entry| entry.id());
        match (code, files.get(path)) {
            // Only its mode changed, of which no blob is named.
            (b'M', Some(file)) if Some(file.id) == noted => true,
            (b'M', Some(file)) => named.next().is_some_and(|side| is_start(side, file.id)),
            _ => false,
        }
    });
    all_named && named.next().is_none()
}

fn is_start(side: &str, id: RawId) -> bool {
    side.len() >= ABBREVIATION_MIN && id.to_hex().starts_with(side)
}
