//! A small index: the entries of a few paths out of git's index, written as an index of its own, so that `git diff` reads
//! those instead of all.
//!
//! Entries are copied as they are: stages, intent-to-add, assume-unchanged and skip-worktree flags, stat data. An index
//! that needs more than its own bytes to be understood (split, sparse, of a version unknown here) is left to git. Layout:
//! gitformat-index(5), git 2.47.

use std::collections::BTreeSet;

/// Signature, version, number of entries.
const HEADER: usize = 12;
/// What lstat(2) said, before the object id.
const STAT: usize = 40;
/// Flag bit that says that two more bytes of flags follow (version 3 and later).
const EXTENDED: u16 = 0x4000;
/// Where the mode lies in the stat data.
const MODE: std::ops::Range<usize> = 24..28;
/// The mode of a submodule's entry.
const GITLINK: u32 = 0o160_000;

/// An index that could be read.
#[derive(Debug)]
pub(super) struct IndexFile<'a> {
    entries: Vec<Entry<'a>>,
    id_length: usize,
}

#[derive(Debug)]
struct Entry<'a> {
    /// Stat data, object id and flags, as they are in the file.
    head: &'a [u8],
    path: Vec<u8>,
}

impl Entry<'_> {
    fn is_gitlink(&self) -> bool {
        let mode = self.head.get(MODE).and_then(|mode| mode.try_into().ok());
        mode.map(u32::from_be_bytes) == Some(GITLINK)
    }

    /// Files that git reads out of the index where they are missing on disk (gitattributes(5), gitmodules(5)).
    fn rules_others(&self) -> bool {
        let name = self.path.rsplit(|byte| *byte == b'/').next();
        matches!(name, Some(b".gitattributes" | b".gitmodules"))
    }
}

impl<'a> IndexFile<'a> {
    /// Reads an index whose object ids have `id_length` bytes; `None` for what is left to git.
    pub(super) fn read(bytes: &'a [u8], id_length: usize) -> Option<Self> {
        let body = bytes.get(..bytes.len().checked_sub(id_length)?)?;
        if body.get(..4)? != b"DIRC" {
            return None;
        }
        let version = number(body.get(4..8)?)?;
        let count = usize::try_from(number(body.get(8..HEADER)?)?).ok()?;
        if !matches!(version, 2..=4) {
            return None;
        }
        let mut rest = body.get(HEADER..)?;
        let mut entries: Vec<Entry<'a>> = Vec::with_capacity(count.min(rest.len() / STAT));
        for _ in 0..count {
            let previous = entries
                .last()
                .map_or(&[][..], |entry| entry.path.as_slice());
            let (entry, after) = read_entry(rest, id_length, version == 4, previous)?;
            entries.push(entry);
            rest = after;
        }
        needs_no_more(rest).then_some(Self { entries, id_length })
    }

    /// Returns the bytes of an index with the entries of `paths`, of all submodules, and of the files that rule others;
    /// and whether there are any of the latter two kinds.
    pub(super) fn with_only(&self, paths: &BTreeSet<Vec<u8>>) -> SmallIndex {
        let mut small = SmallIndex::default();
        let mut body = Vec::new();
        let mut count: u32 = 0;
        let mut extended = false;
        for entry in &self.entries {
            let asked = paths.contains(&entry.path);
            small.has_gitlinks |= entry.is_gitlink();
            small.has_rules |= !asked && entry.rules_others();
            if asked || entry.is_gitlink() || entry.rules_others() {
                extended |= self.is_extended(entry);
                write_entry(&mut body, entry);
                count += 1;
            }
        }
        let version: u32 = if extended { 3 } else { 2 };
        small.bytes.extend_from_slice(b"DIRC");
        small.bytes.extend_from_slice(&version.to_be_bytes());
        small.bytes.extend_from_slice(&count.to_be_bytes());
        small.bytes.extend_from_slice(&body);
        // Git takes zeros for "no checksum" (index.skipHash) and checks none while reading.
        small.bytes.resize(small.bytes.len() + self.id_length, 0);
        small
    }

    fn is_extended(&self, entry: &Entry<'_>) -> bool {
        entry.head.len() > STAT + self.id_length + 2
    }
}

/// An index of few entries.
#[derive(Debug, Default)]
pub(super) struct SmallIndex {
    /// The file's bytes.
    pub(super) bytes: Vec<u8>,
    /// Whether the index holds submodules.
    pub(super) has_gitlinks: bool,
    /// Whether there are entries that were not asked for and rule how others are read.
    pub(super) has_rules: bool,
}

fn number(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.try_into().ok()?))
}

fn read_entry<'a>(
    bytes: &'a [u8],
    id_length: usize,
    compressed: bool,
    previous: &[u8],
) -> Option<(Entry<'a>, &'a [u8])> {
    let flags_at = STAT + id_length;
    let flags = u16::from_be_bytes(bytes.get(flags_at..flags_at + 2)?.try_into().ok()?);
    let head_length = flags_at + if flags & EXTENDED == 0 { 2 } else { 4 };
    let (head, rest) = (bytes.get(..head_length)?, bytes.get(head_length..)?);
    if compressed {
        let (path, after) = read_compressed_path(rest, previous)?;
        return Some((Entry { head, path }, after));
    }
    let length = rest.iter().position(|byte| *byte == 0)?;
    let path = rest.get(..length)?.to_vec();
    let padded = (head_length + length + 8) & !7;
    Some((Entry { head, path }, bytes.get(padded..)?))
}

/// A path of version 4: how many bytes of the path before to drop, then what follows them, up to a NUL.
fn read_compressed_path<'a>(bytes: &'a [u8], previous: &[u8]) -> Option<(Vec<u8>, &'a [u8])> {
    let mut dropped: usize = 0;
    let mut used = 0;
    loop {
        let byte = *bytes.get(used)?;
        if used > 0 {
            dropped = dropped.checked_add(1)?;
        }
        dropped = dropped.checked_mul(128)? + usize::from(byte & 127);
        used += 1;
        if byte & 128 == 0 {
            break;
        }
    }
    let rest = bytes.get(used..)?;
    let length = rest.iter().position(|byte| *byte == 0)?;
    let mut path = previous
        .get(..previous.len().checked_sub(dropped)?)?
        .to_vec();
    path.extend_from_slice(rest.get(..length)?);
    Some((path, rest.get(length + 1..)?))
}

fn write_entry(body: &mut Vec<u8>, entry: &Entry<'_>) {
    let length = entry.head.len() + entry.path.len();
    body.extend_from_slice(entry.head);
    body.extend_from_slice(&entry.path);
    body.resize(body.len() + ((length + 8) & !7) - length, 0);
}

/// Extensions whose name begins with a capital only speed git up; any other (`link`, `sdir`) changes what the entries
/// mean.
fn needs_no_more(mut extensions: &[u8]) -> bool {
    while !extensions.is_empty() {
        let optional = extensions.first().is_some_and(u8::is_ascii_uppercase);
        let length = extensions
            .get(4..8)
            .and_then(number)
            .and_then(|length| usize::try_from(length).ok());
        let after = length.and_then(|length| extensions.get(8 + length..));
        match after {
            Some(after) if optional => extensions = after,
            _ => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::git::Git;

    fn repository(version: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let git = Git::at(dir.path());
        git.run(&["init", "-q"]).unwrap();
        for path in ["a", "deep/er/a.py", "deep/er/b.py", "deep/zz", "é"] {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "x").unwrap();
        }
        git.run(&["add", "a", "deep", "é"]).unwrap();
        git.run(&["update-index", "--index-version", version])
            .unwrap();
        std::fs::write(dir.path().join("later"), "x").unwrap();
        git.run(&["add", "-N", "later"]).unwrap();
        git.run(&["update-index", "--assume-unchanged", "deep/zz"])
            .unwrap();
        dir
    }

    fn listed(dir: &Path, index: &Path) -> Vec<u8> {
        let git = Git::at(dir).with_var("GIT_INDEX_FILE", index);
        git.run(&["ls-files", "-s", "-v", "--debug"])
            .unwrap()
            .stdout
    }

    #[test]
    fn git_reads_from_a_small_index_what_it_reads_from_the_whole() {
        for version in ["2", "3", "4"] {
            let dir = repository(version);
            let whole = dir.path().join(".git/index");
            let bytes = std::fs::read(&whole).unwrap();
            let index = IndexFile::read(&bytes, 20).unwrap();
            let all: BTreeSet<_> = index
                .entries
                .iter()
                .map(|entry| entry.path.clone())
                .collect();
            let copy = dir.path().join(".git/copy");
            std::fs::write(&copy, index.with_only(&all).bytes).unwrap();
            assert_eq!(
                listed(dir.path(), &copy),
                listed(dir.path(), &whole),
                "version {version}"
            );

            let one = BTreeSet::from([b"deep/er/b.py".to_vec()]);
            std::fs::write(&copy, index.with_only(&one).bytes).unwrap();
            let text = String::from_utf8(listed(dir.path(), &copy)).unwrap();
            assert!(
                text.contains("deep/er/b.py") && !text.contains("a.py"),
                "{text}"
            );
        }
    }

    #[test]
    fn what_needs_another_file_is_left_to_git() {
        let dir = repository("2");
        Git::at(dir.path())
            .run(&["update-index", "--split-index"])
            .unwrap();
        let bytes = std::fs::read(dir.path().join(".git/index")).unwrap();
        assert!(IndexFile::read(&bytes, 20).is_none());
    }

    #[test]
    fn a_damaged_index_is_left_to_git() {
        let dir = repository("4");
        let bytes = std::fs::read(dir.path().join(".git/index")).unwrap();
        for end in 0..bytes.len() {
            drop(IndexFile::read(&bytes[..end], 20));
        }
        assert!(IndexFile::read(&bytes[..bytes.len() / 2], 20).is_none());
    }
}
