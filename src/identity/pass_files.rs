//! The part of a pass that reads files and names their blobs.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::Arc;

use super::conversion::{Conversion, converted};
use super::file_content::{self, Content};
use super::file_map::{Entry, FileMap, Mode};
use super::index_file::IndexFile;
use super::object::Format;
use super::pass::Pass;
use super::reader::Stop;
use super::stamp::Stamp;
use super::status_text::PathBytes;
use crate::git::Git;

impl Pass<'_> {
    /// Brings what is known of the files up to date: those that lie as they did when they were read are not read again.
    pub(super) fn renew_files(
        &mut self,
        conversion: &Conversion,
        index: &Arc<IndexFile>,
        paths: &[(PathBytes, Stamp)],
        format: Format,
    ) -> Result<(), Stop> {
        let old = std::mem::take(&mut self.cache.files);
        let distrusted = self.cache.distrusted(conversion, index);
        self.cache.made_under = Some((conversion.clone(), Arc::clone(index)));
        let mut unread = BTreeSet::new();
        let mut files = FileMap::default();
        for (path, stamp) in paths {
            match old.get(path) {
                Some(entry)
                    if entry.stamp == Some(*stamp)
                        && entry.settled
                        && entry.id.as_bytes().len() == format.id_length()
                        && !distrusted.covers(path) =>
                {
                    files.insert(path, *entry);
                }
                _ => {
                    unread.insert(path.clone());
                }
            }
        }
        self.cache.files = files;
        self.read_files(&unread, index, conversion, format)
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
        let mut by_git = BTreeSet::new();
        for (path, content) in &contents {
            self.cache.hashes.learn(
                self.places.root.join(OsStr::from_bytes(path)),
                content,
                &self.moment,
            );
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
        let named = converted(git, index, paths, self.scratch.path())?;
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

    pub(super) fn entry(&self, content: &Content) -> Entry {
        Entry {
            mode: content.mode,
            id: content.blob,
            stamp: Some(content.stamp),
            settled: self.moment.settles(&content.stamp),
        }
    }
}

/// Reads files on every processor; those that are not there any more make the pass torn.
fn read_side_by_side(
    root: &Path,
    paths: &BTreeSet<PathBytes>,
    format: Format,
) -> Result<Vec<(PathBytes, Content)>, Stop> {
    let paths: Vec<_> = paths.iter().collect();
    let workers = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let share = paths.len().div_ceil(workers).max(READ_TOGETHER_MIN);
    let read_all = |paths: &[&PathBytes]| -> Result<Vec<_>, Stop> {
        paths
            .iter()
            .map(|path| {
                let content = file_content::read(&root.join(OsStr::from_bytes(path)), format)?;
                Ok(((*path).clone(), content.ok_or(Stop::Torn)?))
            })
            .collect()
    };
    std::thread::scope(|scope| {
        let mut shares = paths.chunks(share);
        let first = shares.next().unwrap_or(&[]);
        let others: Vec<_> = shares
            .map(|share| scope.spawn(move || read_all(share)))
            .collect();
        let mut contents = read_all(first)?;
        for other in others {
            contents.extend(other.join().map_err(|_| Stop::NotPlain)??);
        }
        Ok(contents)
    })
}

/// Fewer files than this are not worth another thread.
const READ_TOGETHER_MIN: usize = 64;
