//! Indexes of our own, written out of the entries of others, so that a diff of git's reads few entries instead of all.
//!
//! Entries are copied as they are: stages, intent-to-add, assume-unchanged and skip-worktree flags, stat data. Opens no file: bytes
//! go out.

use std::collections::BTreeSet;

use super::{
    DIRECTORY, EXTENDED, IndexEntry, IndexFile, MODE, NAME_LENGTH, SKIP_WORKTREE, STAT, places,
};
use crate::identity::object::RawId;

impl IndexFile {
    /// Returns the bytes of an index in which directories gave way to the files that `files` lists for the id of their tree: mode,
    /// id and path below it. Git is told of them that they are not checked out.
    pub(in crate::identity) fn full(
        &self,
        mut files: impl FnMut(RawId) -> Option<Vec<(u32, RawId, Vec<u8>)>>,
    ) -> Option<Vec<u8>> {
        let mut listed = Vec::new();
        for entry in self.entries() {
            if entry.mode()? != DIRECTORY {
                listed.push((entry.head.to_vec(), entry.path.to_vec()));
                continue;
            }
            for (mode, id, below) in files(entry.id()?)? {
                listed.push((hidden_head(mode, id), [entry.path, &below].concat()));
            }
        }
        let entries: Vec<_> = listed
            .iter()
            .map(|(head, path)| IndexEntry {
                head,
                path,
                id_length: self.id_length,
            })
            .collect();
        Some(written(&entries, self.id_length))
    }

    /// Returns the bytes of the index that a split index and its shared one are together: entries of `shared` without
    /// the `deleted`, the `replaced` taken from the first entries of `own` in turn, and the rest of `own`.
    pub(in crate::identity) fn merged(
        shared: &Self,
        own: &Self,
        deleted: &[bool],
        replaced: &[bool],
    ) -> Option<Vec<u8>> {
        let is_set = |bits: &[bool], at: usize| bits.get(at).copied().unwrap_or(false);
        let mut own_entries = own.entries();
        let mut entries: Vec<IndexEntry<'_>> = Vec::new();
        for (at, entry) in shared.entries().enumerate() {
            let entry = if is_set(replaced, at) {
                IndexEntry {
                    path: entry.path,
                    ..own_entries.next()?
                }
            } else {
                entry
            };
            if !is_set(deleted, at) {
                entries.push(entry);
            }
        }
        entries.extend(own_entries);
        entries.sort_by(|a, b| (a.path, a.stage()).cmp(&(b.path, b.stage())));
        Some(written(&entries, own.id_length))
    }

    /// Returns the bytes of an index with the entries of `paths`, of all submodules, and of the files that rule others;
    /// and whether there are any of the latter two kinds.
    pub(in crate::identity) fn with_only(&self, paths: &BTreeSet<Vec<u8>>) -> SmallIndex {
        let mut chosen: BTreeSet<usize> =
            paths.iter().flat_map(|path| self.places_of(path)).collect();
        chosen.extend(&self.always);
        let places = chosen.iter().filter_map(|at| self.entries.get(*at));
        let entries: Vec<_> = places.filter_map(|place| self.entry(place)).collect();
        let is_unasked_rule =
            |entry: &IndexEntry<'_>| entry.rules_others() && !paths.contains(entry.path);
        SmallIndex {
            has_gitlinks: entries.iter().any(IndexEntry::is_gitlink),
            has_rules: entries.iter().any(is_unasked_rule),
            bytes: written(&entries, self.id_length),
        }
    }

    /// Returns the bytes of an index with the entries of `paths`, of which nothing is known to have been read.
    pub(in crate::identity) fn with_only_unread(&self, paths: &BTreeSet<Vec<u8>>) -> Vec<u8> {
        let chosen = paths.iter().flat_map(|path| self.places_of(path));
        let chosen = chosen.filter_map(|at| self.entries.get(at));
        let entries: Vec<_> = chosen.filter_map(|place| self.entry(place)).collect();
        let mut small = written(&entries, self.id_length);
        let (places, _) = places(&small, self.id_length).unwrap_or_default();
        let heads: Vec<_> = places.iter().filter_map(|it| it.head.start()).collect();
        for start in heads {
            for part in [0..MODE.start, MODE.end..STAT] {
                if let Some(stat) = small.get_mut(start + part.start..start + part.end) {
                    stat.fill(0);
                }
            }
        }
        small
    }
}

/// An index of few entries.
#[derive(Debug, Default)]
pub(in crate::identity) struct SmallIndex {
    /// The file's bytes.
    pub(in crate::identity) bytes: Vec<u8>,
    /// Whether the index holds submodules.
    pub(in crate::identity) has_gitlinks: bool,
    /// Whether there are entries that were not asked for and rule how others are read.
    pub(in crate::identity) has_rules: bool,
}

/// The head of an entry of which nothing is known but mode and id, and which is not to be looked for on disk.
fn hidden_head(mode: u32, id: RawId) -> Vec<u8> {
    let mut head = vec![0; MODE.start];
    head.extend_from_slice(&mode.to_be_bytes());
    head.resize(STAT, 0);
    head.extend_from_slice(id.as_bytes());
    head.extend_from_slice(&EXTENDED.to_be_bytes());
    head.extend_from_slice(&SKIP_WORKTREE.to_be_bytes());
    head
}

/// Returns the bytes of an index with these entries and no extension.
fn written(entries: &[IndexEntry<'_>], id_length: usize) -> Vec<u8> {
    let is_extended = entries.iter().any(IndexEntry::is_extended);
    let version: u32 = if is_extended { 3 } else { 2 };
    let count = u32::try_from(entries.len()).unwrap_or(u32::MAX);
    let mut bytes = b"DIRC".to_vec();
    bytes.extend_from_slice(&version.to_be_bytes());
    bytes.extend_from_slice(&count.to_be_bytes());
    for entry in entries {
        write_entry(&mut bytes, entry);
    }
    // Git takes zeros for "no checksum" (index.skipHash) and checks none while reading.
    bytes.resize(bytes.len() + id_length, 0);
    bytes
}

/// The flags hold the length of the path, which a split index leaves out.
fn write_entry(body: &mut Vec<u8>, entry: &IndexEntry<'_>) {
    let length = entry.head.len() + entry.path.len();
    let flags_at = body.len() + STAT + entry.id_length;
    body.extend_from_slice(entry.head);
    let path_length = u16::try_from(entry.path.len())
        .unwrap_or(NAME_LENGTH)
        .min(NAME_LENGTH);
    let flags = entry.flags(0) & !NAME_LENGTH | path_length;
    if let Some(place) = body.get_mut(flags_at..flags_at + 2) {
        place.copy_from_slice(&flags.to_be_bytes());
    }
    body.extend_from_slice(entry.path);
    body.resize(body.len() + ((length + 8) & !7) - length, 0);
}

#[cfg(test)]
mod tests {
    use super::super::tests::repository;
    use super::*;
    use crate::git::Git;

    fn listed(dir: &std::path::Path, index: &std::path::Path) -> Vec<u8> {
        let git = Git::at(dir).with_var("GIT_INDEX_FILE", index);
        git.run(&["ls-files", "-s", "-v", "--debug"])
            .unwrap()
            .stdout
    }

    #[test]
    fn git_reads_from_a_small_index_what_it_reads_from_the_whole() {
        for version in ["2", "3", "4"] {
            let repository = repository(version);
            let whole = repository.at(".git/index");
            let bytes = std::fs::read(&whole).unwrap();
            let index = IndexFile::read(bytes.clone(), 20).unwrap();
            let all: BTreeSet<_> = index.entries().map(|entry| entry.path().to_vec()).collect();
            let copy = repository.at(".git/copy");
            std::fs::write(&copy, index.with_only(&all).bytes).unwrap();
            assert_eq!(
                listed(repository.root(), &copy),
                listed(repository.root(), &whole),
                "version {version}"
            );

            let one = BTreeSet::from([b"deep/er/b.py".to_vec()]);
            std::fs::write(&copy, index.with_only(&one).bytes).unwrap();
            let text = String::from_utf8(listed(repository.root(), &copy)).unwrap();
            assert!(
                text.contains("deep/er/b.py") && !text.contains("a.py"),
                "{text}"
            );
        }
    }
}
