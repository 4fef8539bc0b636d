//! How files lie beside how they lay when they were read.
//!
//! Pure.

use std::collections::BTreeSet;

use super::file_map::{Entry, FileMap, Neighbours};
use super::index_file::IndexFile;
use super::object::Format;
use super::stamp::Stamp;
use super::status_text::PathBytes;

/// What was read, to compare with.
#[derive(Clone, Copy)]
pub(super) struct AsRead<'a> {
    files: &'a FileMap,
    /// Whether it must be certain that the content is the same, in ids of this format.
    certainly: Option<Format>,
}

/// What lies otherwise.
#[derive(Default)]
pub(super) struct Otherwise {
    /// Files that are there, by the number of their entry, and how they lie.
    pub(super) there: Vec<(usize, Stamp)>,
    /// Files that are not.
    pub(super) gone: BTreeSet<PathBytes>,
}

impl<'a> AsRead<'a> {
    /// Compares how files lie, and whether what was read of them is certain to count still.
    pub(super) fn certainly(files: &'a FileMap, format: Format) -> Self {
        Self {
            files,
            certainly: Some(format),
        }
    }

    /// Compares how files lie.
    pub(super) fn just(files: &'a FileMap) -> Self {
        Self {
            files,
            certainly: None,
        }
    }

    /// Returns a way to ask for one file after the other.
    pub(super) fn asker<'p>(self) -> Asker<'a, 'p> {
        Asker {
            files: self.files.neighbours(),
            certainly: self.certainly,
        }
    }

    /// Returns what lies otherwise, given how every file lies, in the order of the index.
    pub(super) fn beside(self, index: &IndexFile, stamps: &[Option<Stamp>]) -> Otherwise {
        let mut asker = self.asker();
        let mut otherwise = Otherwise::default();
        for ((at, entry), stamp) in index.entries().enumerate().zip(stamps) {
            match stamp {
                Some(stamp) if !asker.lies(entry.path(), *stamp) => {
                    otherwise.there.push((at, *stamp));
                }
                Some(_) => {}
                None => drop(otherwise.gone.insert(entry.path().to_vec())),
            }
        }
        otherwise
    }
}

/// Asks for files that mostly lie beside the one before.
pub(super) struct Asker<'a, 'p> {
    files: Neighbours<'a, 'p>,
    certainly: Option<Format>,
}

impl<'p> Asker<'_, 'p> {
    /// Returns whether a file that lies so lies as it did.
    pub(super) fn lies(&mut self, path: &'p [u8], stamp: Stamp) -> bool {
        let counts = |entry: &Entry| {
            self.certainly.is_none_or(|format| {
                entry.settled && entry.id.as_bytes().len() == format.id_length()
            })
        };
        let known = self.files.get(path);
        known.is_some_and(|entry| entry.stamp == Some(stamp) && counts(entry))
    }
}

impl Otherwise {
    /// Returns the paths of all files that lie otherwise than in `files`.
    pub(super) fn paths(&self, index: &IndexFile, files: &FileMap) -> BTreeSet<PathBytes> {
        let gone = self.gone.iter().filter(|path| files.get(path).is_some());
        let mut paths: BTreeSet<_> = gone.cloned().collect();
        paths.extend(self.of(index).map(|(path, _)| path.to_vec()));
        paths
    }

    /// Returns the paths of those that are there, in the order of the index, and how they lie.
    pub(super) fn of<'i>(&self, index: &'i IndexFile) -> impl Iterator<Item = (&'i [u8], Stamp)> {
        let there = self.there.iter();
        there.filter_map(|(at, stamp)| Some((index.path_at(*at)?, *stamp)))
    }
}
