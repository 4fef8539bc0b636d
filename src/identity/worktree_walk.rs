//! The directories of a worktree beside what an index noted of them: each by itself, side by side as far as that is worth it.
//!
//! Enters no directory without tracked files, knows no rule of what is ignored, and starts no git: `None` says that it
//! must be asked.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rustix::io::Errno;

use super::as_read::{AsRead, Asker};
use super::directories::{Child, Directory};
use super::index_file::{Described, IndexEntry, LINK, found_size, is_other_size, mode_of};
use super::listing::{Found, Listing};
use super::object::{Format, object_id};
use super::stamp::Stamp;
use super::status_text::{Change, Changes};
use super::untracked::Stray;

/// So many files a thread are worth its start.
const FILES_A_THREAD: usize = 2000;
/// More wait for each other in the kernel.
const THREADS_MAX: usize = 8;
/// The largest file that is read here, in bytes.
const READ_MAX: u64 = 1 << 24;

/// What was seen in directories with tracked files.
#[derive(Default)]
pub(super) struct Seen {
    /// Files that are gone, another kind of file, or differ.
    pub(super) changes: Changes,
    /// What is not in the index.
    pub(super) strays: Vec<Stray>,
    /// Directories with a `.gitignore`: empty for the root, else with a slash at the end.
    pub(super) with_rules: BTreeSet<Vec<u8>>,
    /// Directories with a `.gitattributes`, in the same way.
    pub(super) with_attributes: BTreeSet<Vec<u8>>,
    /// Files that do not lie as they did when they were read, by the number of their entry, and how they lie, where that is asked for.
    pub(super) otherwise: Vec<(usize, Stamp)>,
    /// The numbers of the entries of which content decides, where that is not looked at.
    pub(super) unsure: Vec<usize>,
}

/// What is done about files that may differ though git noted nothing of it.
#[derive(Clone, Copy)]
pub(super) enum Unsure<'a> {
    /// They are read, unless git may convert what it reads.
    Read {
        /// Whether it may.
        converts: bool,
    },
    /// They are named, and which files lie otherwise.
    Named(AsRead<'a>),
}

/// How a worktree is looked at.
#[derive(Clone, Copy)]
pub(super) struct Looker<'a> {
    /// Its top.
    pub(super) root: &'a Path,
    /// The second in which the index was written.
    pub(super) written: i64,
    pub(super) unsure: Unsure<'a>,
}

impl Looker<'_> {
    /// Looks for `entries`, in their order. `None` where git must be asked.
    pub(super) fn see(self, entries: &[IndexEntry<'_>]) -> Option<Seen> {
        let directories = Directory::all(entries)?;
        let next = AtomicUsize::new(0);
        let has_failed = AtomicBool::new(false);
        let work = || {
            let mut seen = Seen::default();
            while let Some(directory) = directories.get(next.fetch_add(1, Ordering::Relaxed)) {
                let went_on =
                    !has_failed.load(Ordering::Relaxed) && seen.look(self, directory).is_some();
                if !went_on {
                    has_failed.store(true, Ordering::Relaxed);
                    return None;
                }
            }
            Some(seen)
        };
        let threads = match (entries.len() / FILES_A_THREAD).min(THREADS_MAX) {
            wanted @ 2.. => {
                std::thread::available_parallelism().map_or(1, |all| wanted.min(all.get()))
            }
            _ => 1,
        };
        std::thread::scope(|scope| {
            let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
            let first = work();
            let others = others.into_iter().map(|other| other.join().ok().flatten());
            others.fold(first, |all, other| Some(all?.and(other?)))
        })
    }

    fn path(self, path: &[u8]) -> PathBuf {
        self.root.join(OsStr::from_bytes(path))
    }

    /// Returns whether the file of an entry differs from its blob; `None` for one that is large, or converted.
    fn differs(self, entry: &IndexEntry<'_>) -> Option<bool> {
        let path = self.path(entry.path());
        let metadata = path.symlink_metadata().ok()?;
        let converts = !matches!(self.unsure, Unsure::Read { converts: false });
        if converts || !metadata.is_file() || metadata.len() > READ_MAX {
            return None;
        }
        let bytes = std::fs::read(path).ok()?;
        Some(object_id(Format::Sha1, "blob", &bytes) != entry.id())
    }
}

/// Returns what a status lists of an entry whose file differs from it.
pub(super) fn unstaged(entry: &IndexEntry<'_>, code: u8) -> (Vec<u8>, Change) {
    let change = Change {
        unstaged: code,
        ..Change::NONE
    };
    (entry.path().to_vec(), change)
}

impl Seen {
    fn and(mut self, other: Self) -> Self {
        self.changes.extend(other.changes);
        self.strays.extend(other.strays);
        self.with_rules.extend(other.with_rules);
        self.with_attributes.extend(other.with_attributes);
        self.otherwise.extend(other.otherwise);
        self.unsure.extend(other.unsure);
        self
    }

    fn look(&mut self, looker: Looker<'_>, directory: &Directory<'_, '_>) -> Option<()> {
        let listing = match Listing::open(&looker.path(directory.path)) {
            Ok(listing) => listing,
            // The directory above tells of it.
            Err(Errno::NOENT) if !directory.path.is_empty() => return Some(()),
            Err(_) => return None,
        };
        let mut asker = match looker.unsure {
            Unsure::Named(as_read) => Some(as_read.asker()),
            Unsure::Read { .. } => None,
        };
        let mut children = directory.children()?;
        children.sort_unstable_by_key(|child| child.name);
        listing.each(|found| {
            let name = found.name();
            if name == b".gitignore" {
                self.with_rules.insert(directory.path.to_vec());
            }
            if name == b".gitattributes" {
                self.with_attributes.insert(directory.path.to_vec());
            }
            match children.binary_search_by(|child| child.name.cmp(name)) {
                Ok(at) => {
                    let child = children.get_mut(at)?;
                    child.is_found = true;
                    self.compare(looker, asker.as_mut(), child, found)
                }
                Err(_) if name == b".git" && directory.path.is_empty() => Some(()),
                Err(_) => self.add_stray(directory, found),
            }
        })?;
        let missing = children.iter().filter(|child| !child.is_found);
        let gone = missing.flat_map(|child| child.entries);
        self.changes.extend(gone.map(|entry| unstaged(entry, b'D')));
        Some(())
    }

    /// Files that rule tracked ones, and repositories, are left to git.
    fn add_stray(&mut self, directory: &Directory<'_, '_>, found: &Found<'_>) -> Option<()> {
        let name = found.name();
        if [&b".git"[..], b".gitattributes", b".gitmodules"].contains(&name) {
            return None;
        }
        let path = [directory.path, name].concat();
        self.strays.push(Stray::new(path, found.kind().ok()?)?);
        Some(())
    }

    /// By content where it is not as git noted, or written in the second of the index or later (racy-git.adoc, git 2.47).
    fn compare<'p>(
        &mut self,
        looker: Looker<'_>,
        asker: Option<&mut Asker<'_, 'p>>,
        child: &Child<'p, '_>,
        found: &Found<'_>,
    ) -> Option<()> {
        let Some(entry) = child.file() else {
            return found.kind().ok()?.is_dir().then_some(());
        };
        let metadata = found.metadata().ok()?;
        let is_named = asker.is_some();
        if let Some(asker) = asker {
            let stamp = Stamp::from(&metadata);
            if !asker.lies(entry.path(), stamp) {
                self.otherwise.push((child.at, stamp));
            }
        }
        let (seconds, size) = entry.written_and_size()?;
        let found_mode = mode_of(&metadata)?;
        let mode = entry.mode()?;
        if found_mode != mode {
            let code = if [found_mode, mode].contains(&LINK) {
                b'T'
            } else {
                b'M'
            };
            self.changes.extend([unstaged(entry, code)]);
            return Some(());
        }
        if is_other_size(size, found_size(&metadata)) {
            self.changes.extend([unstaged(entry, b'M')]);
            return Some(());
        }
        let described = entry.describes(&metadata);
        if i64::from(seconds) >= looker.written || described == Described::No {
            if is_named {
                self.unsure.push(child.at);
            } else if looker.differs(entry)? {
                self.changes.extend([unstaged(entry, b'M')]);
            }
        } else if described == Described::ToTheSecond {
            return None;
        }
        Some(())
    }
}
