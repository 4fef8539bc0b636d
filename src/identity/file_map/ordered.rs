//! A map made of files that come in its own order: each directory once, and as a whole.
//!
//! Pure.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Dir, Entry, FileMap, Held, Runs};

/// A directory whose files still come.
#[derive(Default)]
struct Open {
    /// Its name with a slash at the end; empty for the top.
    name: Vec<u8>,
    held: Vec<(Box<[u8]>, Held)>,
}

/// Makes a map of files in the order of [`FileMap::each`].
pub(in crate::identity) struct Ordered {
    /// The top, and the directories down to the one of the last file.
    open: Vec<Open>,
    count: usize,
    linked: BTreeSet<Vec<u8>>,
}

impl Ordered {
    /// Returns one that has no files yet.
    pub(in crate::identity) fn new() -> Self {
        Self {
            open: vec![Open::default()],
            count: 0,
            linked: BTreeSet::new(),
        }
    }

    /// Adds the next file; `None` where it comes out of order.
    pub(in crate::identity) fn add(&mut self, path: &[u8], entry: Entry) -> Option<()> {
        let mut rest = path;
        let mut depth = 1;
        while let Some((name, after)) = super::first_dir(rest) {
            if self.open.get(depth).is_none_or(|open| open.name != name) {
                self.close(depth)?;
                self.open.push(Open {
                    name: name.to_vec(),
                    ..Open::default()
                });
            }
            (rest, depth) = (after, depth + 1);
        }
        self.close(depth)?;
        self.open.last_mut()?.push(rest, Held::File(entry))?;
        self.count += 1;
        if entry.stamp.is_some_and(|stamp| stamp.has_other_names()) {
            self.linked.insert(path.to_vec());
        }
        Some(())
    }

    /// Returns the map of all that was added; `None` where a directory came twice.
    pub(in crate::identity) fn finish(mut self) -> Option<FileMap> {
        self.close(1)?;
        let top = self.open.pop()?;
        Some(FileMap {
            root: Arc::new(Dir::of(Runs::of_sorted(top.held))),
            count: self.count,
            packed: self.count,
            linked: Arc::new(self.linked),
        })
    }

    /// Puts every open directory from `depth` on into the one above.
    fn close(&mut self, depth: usize) -> Option<()> {
        while self.open.len() > depth {
            let open = self.open.pop()?;
            let dir = Dir::of(Runs::of_sorted(open.held));
            self.open
                .last_mut()?
                .push(&open.name, Held::Dir(Arc::new(dir)))?;
        }
        Some(())
    }
}

impl Open {
    /// `None` where the name comes out of order.
    fn push(&mut self, name: &[u8], held: Held) -> Option<()> {
        let is_next = self.held.last().is_none_or(|(last, _)| **last < *name);
        is_next.then(|| self.held.push((name.into(), held)))
    }
}
