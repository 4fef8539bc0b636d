//! The part of a pass that reads files and names their blobs.
//!
//! Looks for none: which files there are it is told. Makes no diff.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::Arc;

use super::Pass;
use super::basis::Basis;
use super::stop::Stop;
use crate::git::Git;
use crate::identity::as_read::{AsRead, Otherwise};
use crate::identity::cache::Distrust;
use crate::identity::candidates::parents;
use crate::identity::conversion::{Conversion, converted};
use crate::identity::file_content::{self, Content};
use crate::identity::file_map::{Entry, Mode};
use crate::identity::index_file::IndexFile;
use crate::identity::object::Format;
use crate::identity::shares::in_shares;
use crate::identity::stamp::Stamp;
use crate::identity::status_text::{PathBytes, Status};

/// What was found out of the tracked files.
pub(super) struct Tracked {
    pub(super) conversion: Conversion,
    dirs: BTreeSet<Vec<u8>>,
    distrust: Distrust,
    /// Those that are not there.
    gone: BTreeSet<PathBytes>,
    /// Those that moved between the look at them and their reading.
    pub(super) moved: BTreeSet<PathBytes>,
}

impl Pass<'_> {
    /// Reads the tracked files that do not lie as they did when they were read, given those, and in which directories attribute files
    /// may be.
    pub(super) fn take_tracked(
        &mut self,
        basis: &Basis,
        otherwise: &Otherwise,
        mut dirs: BTreeSet<Vec<u8>>,
    ) -> Result<Tracked, Stop> {
        let index = &basis.index;
        for path in &otherwise.gone {
            self.cache.files.remove(path);
        }
        dirs.extend(self.cache.attribute_dirs(&self.places.root));
        let conversion = Conversion::of(self.places, &basis.config, &dirs);
        let distrust = self.cache.distrusted(&conversion, index);
        self.cache.trust_nothing_unless(&distrust);
        let gone = otherwise.gone.clone();
        let mut distrusted: Vec<_> = match &distrust {
            Distrust::Everything => self.as_known(present(index, &gone)).collect(),
            Distrust::Paths(paths) => {
                let paths = paths.iter().map(Vec::as_slice);
                let there = paths.filter(|it| index.find(it).is_some() && !gone.contains(*it));
                self.as_known(there).collect()
            }
        };
        if !distrusted.is_empty() {
            let others: BTreeSet<_> = otherwise.of(index).map(|(path, _)| path).collect();
            distrusted.retain(|(path, _)| !others.contains(path));
        }
        let unread = otherwise.of(index).chain(distrusted);
        let moved = self.read_anew(unread, index, &conversion, basis.head.format)?;
        Ok(Tracked {
            conversion,
            dirs,
            distrust,
            gone,
            moved,
        })
    }

    /// Reads the untracked files that do not lie as they did when they were read, and forgets those that are no longer there. Returns how files are converted.
    pub(super) fn look_at_untracked(
        &mut self,
        basis: &Basis,
        tracked: &mut Tracked,
        status: &Status,
    ) -> Result<Conversion, Stop> {
        let (index, format) = (&basis.index, basis.head.format);
        let mut files = Vec::new();
        for path in &status.untracked {
            let stamp = Stamp::of(&self.at(path)).ok_or(Stop::Torn)?;
            files.push((path.clone(), stamp));
        }
        let mut dirs = dirs_of(files.iter().map(|(path, _)| path.as_slice()));
        dirs.extend(tracked.dirs.iter().cloned());
        let conversion = Conversion::of(self.places, &basis.config, &dirs);
        if !conversion.is_as(&tracked.conversion) {
            // An attribute file beside untracked files alone: nothing was read with it in mind.
            self.cache.made_under = None;
            let every: Vec<_> = self.as_known(present(index, &tracked.gone)).collect();
            let moved = self.read_anew(every.into_iter(), index, &conversion, format)?;
            tracked.moved.extend(moved);
        }
        let mut asker = AsRead::certainly(&self.cache.files, format).asker();
        let unread = files.iter().map(|(path, stamp)| (path.as_slice(), *stamp));
        let unread = unread
            .filter(|(path, stamp)| !asker.lies(path, *stamp) || tracked.distrust.covers(path));
        let unread: Vec<_> = unread.collect();
        let moved = self.read_anew(unread.into_iter(), index, &conversion, format)?;
        tracked.moved.extend(moved);
        let untracked = files.iter().map(|(path, _)| path.as_slice());
        let all = || present(index, &tracked.gone).chain(untracked.clone());
        if self.cache.files.count() != all().count() {
            let present: BTreeSet<_> = all().collect();
            let gone = self.cache.files.paths();
            for path in gone
                .iter()
                .filter(|path| !present.contains(path.as_slice()))
            {
                self.cache.files.remove(path);
            }
        }
        self.cache.files.pack();
        let is_settled = conversion.is_settled(&self.moment);
        self.cache.made_under = is_settled.then(|| (conversion.clone(), Arc::clone(index)));
        Ok(conversion)
    }

    /// Returns how files lay when they were read, of those that were.
    fn as_known<'p>(
        &self,
        paths: impl Iterator<Item = &'p [u8]>,
    ) -> impl Iterator<Item = (&'p [u8], Stamp)> {
        paths.filter_map(|path| Some((path, self.cache.files.get(path)?.stamp?)))
    }

    /// Reads files that lay so, a part of them at a time. Returns those that moved meanwhile.
    fn read_anew<'f>(
        &mut self,
        mut files: impl Iterator<Item = (&'f [u8], Stamp)>,
        index: &IndexFile,
        conversion: &Conversion,
        format: Format,
    ) -> Result<BTreeSet<PathBytes>, Stop> {
        // Git is started once for all that it may convert.
        let at_once = if conversion.is_possible() {
            usize::MAX
        } else {
            READ_AT_ONCE_MAX
        };
        let mut moved = BTreeSet::new();
        loop {
            let some: Vec<_> = files.by_ref().take(at_once).collect();
            if some.is_empty() {
                return Ok(moved);
            }
            let paths = some.iter().map(|(path, _)| path.to_vec()).collect();
            self.read_files(&paths, index, conversion, format)?;
            let mut asker = AsRead::just(&self.cache.files).asker();
            let others = some
                .iter()
                .filter(|(path, stamp)| !asker.lies(path, *stamp));
            moved.extend(others.map(|(path, _)| path.to_vec()));
        }
    }

    /// Reads files that are there.
    pub(super) fn read_files(
        &mut self,
        paths: &BTreeSet<PathBytes>,
        index: &IndexFile,
        conversion: &Conversion,
        format: Format,
    ) -> Result<(), Stop> {
        let contents = read_side_by_side(&self.places.root, paths, format)?;
        self.cache.read += contents.len();
        let mut by_git = BTreeSet::new();
        for (path, content) in &contents {
            if may_be_opened(index, path, content) {
                let path = self.places.root.join(OsStr::from_bytes(path));
                self.cache.hashes.learn(path, content, &self.moment);
            }
            let entry = self.entry(content);
            self.cache.files.insert(path, entry);
            if conversion.is_possible() && content.mode != Mode::Link {
                by_git.insert(path.clone());
            }
        }
        self.take_converted(self.git, index, &by_git)
    }

    /// Has git name the blobs of files that it may convert.
    pub(super) fn take_converted(
        &mut self,
        git: &Git,
        index: &IndexFile,
        paths: &BTreeSet<PathBytes>,
    ) -> Result<(), Stop> {
        if paths.is_empty() {
            return Ok(());
        }
        let named = converted(git, index, paths, self.workbench.path())?;
        for path in paths {
            let known = self.cache.files.get(path).copied();
            let (Some(known), Some(named)) = (known, named.get(path)) else {
                return Err(Stop::Torn);
            };
            let entry = Entry {
                id: named.id,
                mode: named.mode,
                ..known
            };
            self.cache.files.insert(path, entry);
        }
        Ok(())
    }

    pub(in crate::identity) fn entry(&self, content: &Content) -> Entry {
        Entry {
            mode: content.mode,
            id: content.blob,
            raw: content.blob,
            stamp: Some(content.stamp),
            settled: self.moment.settles(&content.stamp),
        }
    }
}

/// Returns the directories of the tracked files that are there, given how each lies, in the order of the index.
pub(super) fn dirs_of_present(index: &IndexFile, stamps: &[Option<Stamp>]) -> BTreeSet<Vec<u8>> {
    let entries = index.entries().zip(stamps);
    let there = entries.filter(|(_, stamp)| stamp.is_some());
    dirs_of(there.map(|(entry, _)| entry.path()))
}

/// Returns the tracked files that are there.
fn present<'i>(index: &'i IndexFile, gone: &BTreeSet<PathBytes>) -> impl Iterator<Item = &'i [u8]> {
    let paths = index.entries().map(|entry| entry.path());
    paths.filter(|path| gone.is_empty() || !gone.contains(*path))
}

/// The helper opens what differs from the index, all others at most by a name that it damaged.
fn may_be_opened(index: &IndexFile, path: &[u8], content: &Content) -> bool {
    let noted = index.find(path).and_then(|entry| entry.id());
    noted != Some(content.blob)
}

/// Reads files on every processor; those that are not there any more make the pass torn.
fn read_side_by_side(
    root: &Path,
    paths: &BTreeSet<PathBytes>,
    format: Format,
) -> Result<Vec<(PathBytes, Content)>, Stop> {
    let paths: Vec<_> = paths.iter().collect();
    let read = |path: &PathBytes| -> Result<_, Stop> {
        let content = file_content::read(&root.join(OsStr::from_bytes(path)), format)?;
        Ok((path.clone(), content.ok_or(Stop::Torn)?))
    };
    let read_all = |share: Range<usize>| -> Result<Vec<_>, Stop> {
        let share = paths.get(share).unwrap_or_default();
        share.iter().map(|path| read(path)).collect()
    };
    let mut contents = Vec::with_capacity(paths.len());
    for share in in_shares(paths.len(), READ_TOGETHER_MIN, read_all).ok_or(Stop::NotPlain)? {
        contents.append(&mut share?);
    }
    Ok(contents)
}

/// How many files are read before what was read of them is put away: as much memory as that takes is needed besides.
const READ_AT_ONCE_MAX: usize = 4096;
/// So many files to read are worth a thread.
const READ_TOGETHER_MIN: usize = 64;

fn dirs_of<'a>(paths: impl Iterator<Item = &'a [u8]>) -> BTreeSet<Vec<u8>> {
    let mut dirs = BTreeSet::from([Vec::new()]);
    let mut last: &[u8] = b"";
    for path in paths {
        // Most lie beside the one before.
        let nearest = parents(path).next().unwrap_or_default();
        if std::mem::replace(&mut last, nearest) == nearest {
            continue;
        }
        for dir in parents(path) {
            if dirs.contains(dir) {
                break;
            }
            dirs.insert(dir.to_vec());
        }
    }
    dirs
}
