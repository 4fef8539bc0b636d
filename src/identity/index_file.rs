//! Git's index as bytes: its entries, read out of it, and found by their paths.
//!
//! An index of a version or with an extension unknown here is left to git; `split_index` and `sparse_index` make whole what needs
//! more than its own bytes. Layout: gitformat-index(5), git 2.47. Opens no file and asks git nothing: bytes come in.

mod stat_data;
mod writing;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CStr;
use std::ops::Range;

use super::cached_trees;
use super::object::RawId;
pub(super) use stat_data::{Described, found_size, is_other_size, mode_of};
pub(super) use writing::SmallIndex;

/// Signature, version, number of entries.
const HEADER: usize = 12;
/// What lstat(2) said, before the object id.
const STAT: usize = 40;
/// Flag bit that says that two more bytes of flags follow (version 3 and later).
const EXTENDED: u16 = 0x4000;
/// Flag bits of an entry that is unmerged, or whose file git is told to take for unchanged.
const STAGED_OR_ASSUMED: u16 = 0xb000;
/// Flag bits that hold the length of the path.
const NAME_LENGTH: u16 = 0x0fff;
/// Extended flag bits: skip-worktree and intent-to-add.
const HIDDEN: u16 = 0x6000;
/// Extended flag bit: skip-worktree.
const SKIP_WORKTREE: u16 = 0x4000;
/// Where the seconds of the last write lie in the stat data.
const WRITTEN: Range<usize> = 8..12;
/// Where the inode's number lies in the stat data.
const INODE: usize = 20;
/// Where the mode lies in the stat data.
const MODE: Range<usize> = 24..28;
/// Where the size lies in the stat data.
const SIZE: Range<usize> = 36..40;
/// The mode of a directory's entry in a sparse index.
const DIRECTORY: u32 = 0o040_000;
/// The mode of a submodule's entry.
const GITLINK: u32 = 0o160_000;
/// The modes of files: plain, executable, link.
const FILES: [u32; 3] = [0o100_644, EXECUTABLE, LINK];
/// The mode of files that may be run.
pub(super) const EXECUTABLE: u32 = 0o100_755;
/// The mode of symbolic links.
pub(super) const LINK: u32 = 0o120_000;

/// An index that could be read.
#[derive(Debug, Default)]
pub(super) struct IndexFile {
    bytes: Vec<u8>,
    entries: Vec<Place>,
    /// Which entries a small index always has: submodules, and files that rule others.
    always: Vec<usize>,
    /// Whether an entry is no merged file that git looks at like at any other.
    is_odd: bool,
    /// The length of the longest path.
    longest: usize,
    /// Where git noted the trees that the entries make.
    trees: Option<Range<usize>>,
    is_sparse: bool,
    id_length: usize,
}

/// Where an entry lies in the file, and its path.
#[derive(Debug)]
struct Place {
    /// Stat data, object id and flags.
    head: Span,
    path: Path,
}

/// A part of a file of less than 4 GiB, in half the memory of a range: there are two for each entry.
#[derive(Debug, Clone, Copy)]
struct Span {
    start: u32,
    end: u32,
}

impl Span {
    fn new(start: usize, end: usize) -> Option<Self> {
        Some(Self {
            start: start.try_into().ok()?,
            end: end.try_into().ok()?,
        })
    }

    fn start(self) -> Option<usize> {
        self.start.try_into().ok()
    }

    fn of(self, file: &[u8]) -> Option<&[u8]> {
        file.get(self.start()?..self.end.try_into().ok()?)
    }
}

/// The path of an entry.
#[derive(Debug)]
enum Path {
    /// In the file.
    At(Span),
    /// Put together from compressed ones.
    Own(Box<[u8]>),
}

impl Path {
    fn of<'a>(&'a self, file: &'a [u8]) -> &'a [u8] {
        match self {
            Self::At(span) => span.of(file).unwrap_or_default(),
            Self::Own(path) => path,
        }
    }
}

/// One entry.
#[derive(Debug, Clone, Copy)]
pub(super) struct IndexEntry<'a> {
    head: &'a [u8],
    path: &'a [u8],
    id_length: usize,
}

impl<'a> IndexEntry<'a> {
    /// Returns the path.
    pub(super) fn path(&self) -> &'a [u8] {
        self.path
    }

    /// Returns the mode, as git stores it.
    pub(super) fn mode(&self) -> Option<u32> {
        number(self.head.get(MODE)?)
    }

    /// Returns the object id.
    pub(super) fn id(&self) -> Option<RawId> {
        RawId::new(self.head.get(STAT..STAT + self.id_length)?)
    }

    /// Returns the seconds of the last write and the size that the file had when git last looked at it, both cut to
    /// 32 bits.
    pub(super) fn written_and_size(&self) -> Option<(u32, u32)> {
        Some((
            number(self.head.get(WRITTEN)?)?,
            number(self.head.get(SIZE)?)?,
        ))
    }

    /// Returns whether it is a repository of its own.
    pub(super) fn is_gitlink(&self) -> bool {
        self.mode() == Some(GITLINK)
    }

    /// Files that git reads out of the index where they are missing on disk (gitattributes(5), gitmodules(5)).
    fn rules_others(&self) -> bool {
        let names = [&b".gitattributes"[..], b".gitmodules"].into_iter();
        let mut above = names.filter_map(|name| self.path.strip_suffix(name));
        above.any(|above| above.is_empty() || above.ends_with(b"/"))
    }

    fn is_extended(&self) -> bool {
        self.head.len() > STAT + self.id_length + 2
    }

    fn flags(&self, at: usize) -> u16 {
        let at = STAT + self.id_length + at;
        let flags = self
            .head
            .get(at..at + 2)
            .and_then(|two| two.try_into().ok());
        flags.map_or(0, u16::from_be_bytes)
    }

    fn stage(&self) -> u16 {
        self.flags(0) >> 12 & 3
    }

    /// True for a merged file that git looks at like at any other.
    fn is_plain(&self) -> bool {
        self.mode().is_some_and(|mode| FILES.contains(&mode))
            && self.flags(0) & STAGED_OR_ASSUMED == 0
            && self.flags(2) & HIDDEN == 0
    }
}

impl IndexFile {
    /// Reads an index whose object ids have `id_length` bytes; `None` for what is left to git.
    pub(super) fn read(bytes: Vec<u8>, id_length: usize) -> Option<Self> {
        let (index, link) = Self::read_with_link(bytes, id_length)?;
        (link.is_none() && !index.is_sparse).then_some(index)
    }

    /// Reads an index that holds directories in place of the files that a sparse checkout leaves out, and no other.
    pub(super) fn read_sparse(bytes: Vec<u8>, id_length: usize) -> Option<Self> {
        let (index, link) = Self::read_with_link(bytes, id_length)?;
        (link.is_none() && index.is_sparse).then_some(index)
    }

    /// Reads an index that may be split: what it says of the shared one is returned beside its own entries.
    pub(super) fn read_with_link(
        bytes: Vec<u8>,
        id_length: usize,
    ) -> Option<(Self, Option<Vec<u8>>)> {
        let (
            entries,
            Extensions {
                link,
                trees,
                is_sparse,
            },
        ) = places(&bytes, id_length)?;
        let link = link.and_then(|link| bytes.get(link)).map(<[u8]>::to_vec);
        let mut index = Self {
            bytes,
            entries,
            always: Vec::new(),
            is_odd: false,
            longest: 0,
            trees,
            is_sparse,
            id_length,
        };
        (index.always, index.is_odd, index.longest) = index.peculiarities();
        Some((index, link))
    }

    /// Looks once at every entry for what is asked again and again.
    fn peculiarities(&self) -> (Vec<usize>, bool, usize) {
        let (mut always, mut is_odd, mut longest) = (Vec::new(), false, 0);
        for (at, entry) in self.entries().enumerate() {
            if entry.is_gitlink() || entry.rules_others() {
                always.push(at);
            }
            is_odd |= !entry.is_plain();
            longest = longest.max(entry.path.len());
        }
        (always, is_odd, longest)
    }

    /// Returns the file's bytes.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns the ids of the trees that git noted of the entries below directories: that of the root, which is empty, and others,
    /// which end with a slash.
    pub(super) fn cached_trees(&self) -> BTreeMap<Vec<u8>, RawId> {
        let noted = self.trees.clone().and_then(|trees| self.bytes.get(trees));
        noted
            .and_then(|noted| cached_trees::read(noted, self.id_length))
            .unwrap_or_default()
    }

    /// Returns how many entries there are.
    pub(super) fn count(&self) -> usize {
        self.entries.len()
    }

    /// Returns every entry, in the order of their paths.
    pub(super) fn entries(&self) -> impl Iterator<Item = IndexEntry<'_>> {
        self.entries.iter().filter_map(|place| self.entry(place))
    }

    fn entry<'a>(&'a self, place: &'a Place) -> Option<IndexEntry<'a>> {
        Some(IndexEntry {
            head: place.head.of(&self.bytes)?,
            path: self.path_of(place),
            id_length: self.id_length,
        })
    }

    fn path_of<'a>(&'a self, place: &'a Place) -> &'a [u8] {
        place.path.of(&self.bytes)
    }

    /// Returns the entries of submodules and of files that rule others.
    fn always(&self) -> impl Iterator<Item = IndexEntry<'_>> {
        let places = self.always.iter().filter_map(|at| self.entries.get(*at));
        places.filter_map(|place| self.entry(place))
    }

    /// Returns the paths of the files that rule others.
    pub(super) fn rule_files(&self) -> impl Iterator<Item = &[u8]> {
        let rules = self.always().filter(IndexEntry::rules_others);
        rules.map(|entry| entry.path)
    }

    /// Returns the paths of submodules.
    pub(super) fn gitlinks(&self) -> impl Iterator<Item = &[u8]> {
        let links = self.always().filter(IndexEntry::is_gitlink);
        links.map(|entry| entry.path)
    }

    /// Returns the path of an entry, counted from nought.
    pub(super) fn path_at(&self, at: usize) -> Option<&[u8]> {
        self.entries.get(at).map(|place| self.path_of(place))
    }

    /// Returns whether every entry is a merged file that git looks at like at any other.
    pub(super) fn is_plain(&self) -> bool {
        !self.is_odd
    }

    /// Returns the length of the longest path, in bytes.
    pub(super) fn longest_path(&self) -> usize {
        self.longest
    }

    /// Returns the entry of `path`.
    pub(super) fn find(&self, path: &[u8]) -> Option<IndexEntry<'_>> {
        self.entry(self.entries.get(self.places_of(path).start)?)
            .filter(|entry| entry.path == path)
    }

    /// Returns the entries below the directory `path`, given without a slash at its end.
    pub(super) fn below(&self, path: &[u8]) -> impl Iterator<Item = IndexEntry<'_>> {
        let prefix = if path.is_empty() {
            Vec::new()
        } else {
            [path, b"/"].concat()
        };
        let start = self
            .entries
            .partition_point(|place| self.path_of(place) < prefix.as_slice());
        self.entries
            .iter()
            .skip(start)
            .filter_map(|place| self.entry(place))
            .take_while(move |entry| entry.path.starts_with(&prefix))
    }

    /// All stages of a path.
    fn places_of(&self, path: &[u8]) -> Range<usize> {
        let start = self
            .entries
            .partition_point(|place| self.path_of(place) < path);
        let count = self
            .entries
            .iter()
            .skip(start)
            .take_while(|place| self.path_of(place) == path)
            .count();
        start..start + count
    }

    /// Returns the paths whose entry is another than in `before`, stat data aside.
    pub(super) fn changed_since(&self, before: &Self) -> BTreeSet<Vec<u8>> {
        let is_same = |entry: &IndexEntry<'_>, other: &Self| {
            let known = other.find(entry.path);
            known.is_some_and(|known| (known.mode(), known.id()) == (entry.mode(), entry.id()))
        };
        let now = self.entries().filter(|entry| !is_same(entry, before));
        let gone = before
            .entries()
            .filter(|entry| self.find(entry.path).is_none());
        now.chain(gone).map(|entry| entry.path.to_vec()).collect()
    }
}

/// Returns where the entries lie, and what follows them.
fn places(bytes: &[u8], id_length: usize) -> Option<(Vec<Place>, Extensions)> {
    let end = bytes.len().checked_sub(id_length)?;
    let body = bytes.get(..end)?;
    if body.get(..4)? != b"DIRC" {
        return None;
    }
    let version = number(body.get(4..8)?)?;
    let count = usize::try_from(number(body.get(8..HEADER)?)?).ok()?;
    if !matches!(version, 2..=4) {
        return None;
    }
    let mut at = HEADER;
    let mut entries: Vec<Place> = Vec::with_capacity(count.min(body.len() / STAT));
    for _ in 0..count {
        let previous = entries.last().map_or(&[][..], |place| place.path.of(body));
        let (place, length) = read_entry(body, at, id_length, version == 4, previous)?;
        entries.push(place);
        at += length;
    }
    Some((entries, extensions(body, at)?))
}

fn number(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.try_into().ok()?))
}

/// Returns the entry that begins at `at`, and its length.
fn read_entry(
    body: &[u8],
    at: usize,
    id_length: usize,
    compressed: bool,
    previous: &[u8],
) -> Option<(Place, usize)> {
    let bytes = body.get(at..)?;
    let flags_at = STAT + id_length;
    let flags = u16::from_be_bytes(bytes.get(flags_at..flags_at + 2)?.try_into().ok()?);
    let head_length = flags_at + if flags & EXTENDED == 0 { 2 } else { 4 };
    let head = Span::new(at, at + head_length)?;
    let rest = bytes.get(head_length..)?;
    if compressed {
        let (path, after) = read_compressed_path(rest, previous)?;
        let path = Path::Own(path.into_boxed_slice());
        return Some((Place { head, path }, bytes.len() - after.len()));
    }
    let length = CStr::from_bytes_until_nul(rest).ok()?.count_bytes();
    let start = at + head_length;
    let path = Path::At(Span::new(start, start + length)?);
    let padded = (head_length + length + 8) & !7;
    (padded <= bytes.len()).then_some((Place { head, path }, padded))
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
    let length = CStr::from_bytes_until_nul(rest).ok()?.count_bytes();
    let mut path = previous
        .get(..previous.len().checked_sub(dropped)?)?
        .to_vec();
    path.extend_from_slice(rest.get(..length)?);
    Some((path, rest.get(length + 1..)?))
}

/// What follows the entries.
#[derive(Default)]
struct Extensions {
    /// Where the body of the one lies that makes an index a split one.
    link: Option<Range<usize>>,
    /// Where git noted the trees that the entries make.
    trees: Option<Range<usize>>,
    /// Whether some entries are directories.
    is_sparse: bool,
}

/// Extensions whose name begins with a capital only speed git up. Returns `None` for one that is not known here and changes
/// what the entries mean.
fn extensions(body: &[u8], mut at: usize) -> Option<Extensions> {
    let (mut link, mut trees, mut is_sparse) = (None, None, false);
    while at < body.len() {
        let name = body.get(at..at + 4)?;
        let length = usize::try_from(number(body.get(at + 4..at + 8)?)?).ok()?;
        let inside = at + 8..(at + 8).checked_add(length)?;
        body.get(inside.clone())?;
        at = inside.end;
        if name == b"link" {
            link = Some(inside);
        } else if name == b"TREE" {
            trees = Some(inside);
        } else if name == b"sdir" {
            is_sparse = true;
        } else if !name.first().is_some_and(u8::is_ascii_uppercase) {
            return None;
        }
    }
    Some(Extensions {
        link,
        trees,
        is_sparse,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::Git;
    use crate::scratch_repository::ScratchRepository;

    pub(super) fn repository(version: &str) -> ScratchRepository {
        let repository = ScratchRepository::new();
        for path in ["a", "deep/er/a.py", "deep/er/b.py", "deep/zz", "é"] {
            repository.write(path, "x");
        }
        repository.git(&["add", "a", "deep", "é"]);
        repository.git(&["update-index", "--index-version", version]);
        repository.write("later", "x");
        repository.git(&["add", "-N", "later"]);
        repository.git(&["update-index", "--assume-unchanged", "deep/zz"]);
        repository
    }

    #[test]
    fn entries_are_found_by_their_paths() {
        for version in ["2", "3", "4"] {
            let repository = repository(version);
            let bytes = std::fs::read(repository.at(".git/index")).unwrap();
            let index = IndexFile::read(bytes, 20).unwrap();
            let below: Vec<_> = index
                .below(b"deep/er")
                .map(|entry| String::from_utf8_lossy(entry.path()).into_owned())
                .collect();
            assert_eq!(below, ["deep/er/a.py", "deep/er/b.py"]);
            assert_eq!(index.below(b"").count(), 6);
            assert_eq!(index.find(b"a").unwrap().mode(), Some(0o100_644));
            assert!(index.find(b"deep").is_none());
            assert!(
                !index.is_plain(),
                "one is meant to be added, one is assumed unchanged"
            );
        }
    }

    #[test]
    fn what_changed_between_two_indexes_is_told() {
        let repository = repository("2");
        let path = repository.at(".git/index");
        let before = IndexFile::read(std::fs::read(&path).unwrap(), 20).unwrap();
        repository.write("a", "y");
        let git = Git::at(repository.root());
        git.run(&["rm", "-q", "--cached", "deep/zz"]).unwrap();
        git.run(&["add", "a", "later"]).unwrap();
        let after = IndexFile::read(std::fs::read(&path).unwrap(), 20).unwrap();
        let changed = after.changed_since(&before);
        let expected = ["a", "deep/zz", "later"].map(|path| path.as_bytes().to_vec());
        assert_eq!(changed, BTreeSet::from(expected));
    }

    #[test]
    fn what_needs_another_file_is_left_to_git() {
        let repository = repository("2");
        Git::at(repository.root())
            .run(&["update-index", "--split-index"])
            .unwrap();
        let bytes = std::fs::read(repository.at(".git/index")).unwrap();
        assert!(IndexFile::read(bytes.clone(), 20).is_none());
    }

    #[test]
    fn a_damaged_index_is_left_to_git() {
        let repository = repository("4");
        let bytes = std::fs::read(repository.at(".git/index")).unwrap();
        for end in 0..bytes.len() {
            drop(IndexFile::read(bytes[..end].to_vec(), 20));
        }
        assert!(IndexFile::read(bytes[..bytes.len() / 2].to_vec(), 20).is_none());
    }
}
