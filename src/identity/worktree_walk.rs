//! The directories of a worktree beside what an index noted of them: each by itself, as many at a time as there are processors.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::DirEntry;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::directories::{Child, Directory};
use super::index_file::{Described, IndexEntry, LINK, mode_of};
use super::status_text::Change;
use super::untracked::Stray;

/// So many files a thread are worth its start.
const FILES_A_THREAD: usize = 400;
const THREADS_MAX: usize = 8;

/// By path.
pub(super) type Changes = BTreeMap<Vec<u8>, Change>;

/// What was seen in directories with tracked files.
#[derive(Default)]
pub(super) struct Seen<'a> {
    /// Files that are gone, or another kind of file.
    pub(super) changes: Changes,
    /// Files to be compared by content: not as git noted, or written in the second of the index or later (racy-git.adoc, git
    /// 2.47).
    pub(super) unsettled: Vec<(IndexEntry<'a>, PathBuf)>,
    /// What is not in the index.
    pub(super) strays: Vec<Stray>,
    /// Directories with a `.gitignore`: empty for the root, else with a slash at the end.
    pub(super) with_rules: BTreeSet<Vec<u8>>,
}

/// Looks for `entries` below `root`, in their order; the index was written in the second `written`. `None` where git must be asked.
pub(super) fn see<'a>(root: &Path, entries: &[IndexEntry<'a>], written: i64) -> Option<Seen<'a>> {
    let directories = Directory::all(entries)?;
    let next = AtomicUsize::new(0);
    let has_failed = AtomicBool::new(false);
    let work = || {
        let mut seen = Seen::default();
        while let Some(directory) = directories.get(next.fetch_add(1, Ordering::Relaxed)) {
            let went_on = !has_failed.load(Ordering::Relaxed)
                && seen.look(root, directory, written).is_some();
            if !went_on {
                has_failed.store(true, Ordering::Relaxed);
                return None;
            }
        }
        Some(seen)
    };
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = processors
        .min(THREADS_MAX)
        .min(entries.len() / FILES_A_THREAD);
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let first = work();
        let others = others.into_iter().map(|other| other.join().ok().flatten());
        others.fold(first, |all, other| Some(all?.and(other?)))
    })
}

pub(super) fn unstaged(entry: &IndexEntry<'_>, code: u8) -> (Vec<u8>, Change) {
    let change = Change {
        unstaged: code,
        ..Change::NONE
    };
    (entry.path().to_vec(), change)
}

impl<'a> Seen<'a> {
    fn and(mut self, other: Self) -> Self {
        self.changes.extend(other.changes);
        self.unsettled.extend(other.unsettled);
        self.strays.extend(other.strays);
        self.with_rules.extend(other.with_rules);
        self
    }

    fn look(&mut self, root: &Path, directory: &Directory<'a, '_>, written: i64) -> Option<()> {
        let path = root.join(OsStr::from_bytes(directory.path));
        let listed = match std::fs::read_dir(path) {
            Ok(listed) => listed,
            // The directory above tells of it.
            Err(error)
                if error.kind() == std::io::ErrorKind::NotFound && !directory.path.is_empty() =>
            {
                return Some(());
            }
            Err(_) => return None,
        };
        let mut children = directory.children()?;
        children.sort_unstable_by_key(|child| child.name);
        for found in listed {
            let found = found.ok()?;
            let name = found.file_name();
            let name = name.as_bytes();
            if name == b".gitignore" {
                self.with_rules.insert(directory.path.to_vec());
            }
            match children.binary_search_by(|child| child.name.cmp(name)) {
                Ok(at) => {
                    let child = children.get_mut(at)?;
                    child.is_found = true;
                    self.compare(child, &found, written)?;
                }
                Err(_) if name == b".git" && directory.path.is_empty() => {}
                Err(_) => self.add_stray(directory, &found)?,
            }
        }
        let missing = children.iter().filter(|child| !child.is_found);
        let gone = missing.flat_map(|child| child.entries);
        self.changes.extend(gone.map(|entry| unstaged(entry, b'D')));
        Some(())
    }

    /// Files that rule tracked ones, and repositories, are left to git.
    fn add_stray(&mut self, directory: &Directory<'_, '_>, found: &DirEntry) -> Option<()> {
        let name = found.file_name().into_vec();
        if [&b".git"[..], b".gitattributes", b".gitmodules"].contains(&name.as_slice()) {
            return None;
        }
        let path = [directory.path, &name].concat();
        self.strays.push(Stray::new(path, found.file_type().ok()?)?);
        Some(())
    }

    fn compare(&mut self, child: &Child<'a, '_>, found: &DirEntry, written: i64) -> Option<()> {
        let Some(entry) = child.file() else {
            return found.file_type().ok()?.is_dir().then_some(());
        };
        let metadata = found.metadata().ok()?;
        let (seconds, _) = entry.written_and_size()?;
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
        let described = entry.describes(&metadata);
        if i64::from(seconds) >= written || described == Described::No {
            self.unsettled.push((*entry, found.path()));
        } else if described == Described::ToTheSecond {
            return None;
        }
        Some(())
    }
}
