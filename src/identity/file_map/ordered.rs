//! A map made of files that come in its own order: each directory once, and as a whole.
//!
//! Pure.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

use super::{Dir, Entry, FileMap};

/// A directory whose files still come.
#[derive(Default)]
struct Open {
    /// Its name with a slash at the end; empty for the top.
    name: Vec<u8>,
    files: Vec<(Box<[u8]>, Entry)>,
    dirs: Vec<(Arc<[u8]>, Arc<Dir>)>,
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
        let files = &mut self.open.last_mut()?.files;
        if files.last().is_some_and(|(last, _)| **last >= *rest) {
            return None;
        }
        files.push((rest.into(), entry));
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
            root: Arc::new(top.closed()),
            count: self.count,
            packed: self.count,
            linked: Arc::new(self.linked),
        })
    }

    /// Puts every open directory from `depth` on into the one above.
    fn close(&mut self, depth: usize) -> Option<()> {
        while self.open.len() > depth {
            let open = self.open.pop()?;
            let name: Arc<[u8]> = open.name.as_slice().into();
            let dirs = &mut self.open.last_mut()?.dirs;
            if dirs.last().is_some_and(|(last, _)| **last >= *name) {
                return None;
            }
            dirs.push((name, Arc::new(open.closed())));
        }
        Some(())
    }
}

impl Open {
    fn closed(self) -> Dir {
        Dir {
            files: self.files.into_iter().collect(),
            dirs: self.dirs.into_iter().collect(),
            id: OnceLock::new(),
            is_converted: OnceLock::new(),
        }
    }
}
