//! What was read of single files, and which of it counts no more.
//!
//! Asks git nothing, and reads no file: it looks at the stamps of those with several names.

use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::Arc;

use super::conversion::Conversion;
use super::file_hashes::FileHashes;
use super::file_map::FileMap;
use super::index_file::IndexFile;
use super::known_diffs::KnownDiffs;
use super::real_dirs::RealDirs;
use super::stamp::Stamp;
use super::status_text::PathBytes;

/// What was read of single files, each for itself right for as long as its stamp is the same.
#[derive(Debug, Default)]
pub(super) struct Cache {
    pub(super) files: FileMap,
    pub(super) hashes: FileHashes,
    /// How files were converted, and for which index: git looks at its entry for a file's line ends.
    pub(super) made_under: Option<(Conversion, Arc<IndexFile>)>,
    pub(super) known_diffs: KnownDiffs,
    /// How many files were read since what was read was written down.
    pub(super) read: usize,
    /// The user's index of that stamp was copied to the private directory, where git may refresh it.
    pub(super) copied_index: Option<Stamp>,
}

impl Cache {
    /// Takes over what was read where nothing was converted.
    pub(super) fn recall(&mut self, files: FileMap) {
        self.files = files;
        self.made_under = Some((Conversion::default(), Arc::default()));
    }

    /// Returns the directories that had attribute files, relative to `root`.
    pub(super) fn attribute_dirs(&self, root: &Path) -> Vec<Vec<u8>> {
        let files = self
            .made_under
            .iter()
            .flat_map(|(made, _)| made.inner_files());
        let dirs = files.filter_map(|file| file.parent()?.strip_prefix(root).ok());
        dirs.map(|dir| dir.as_os_str().as_bytes().to_vec())
            .collect()
    }

    /// Returns the files with several names that do not lie as they did.
    pub(super) fn moved_links(&self, root: &Path) -> Vec<PathBytes> {
        let mut dirs = RealDirs::new(root);
        let linked = self.files.linked().iter();
        let moved = linked.filter(|path| {
            let known = self.files.get(path).and_then(|entry| entry.stamp);
            dirs.stamp(path) != known
        });
        moved.cloned().collect()
    }

    /// Before files are read under other rules: should the pass end early, it is not known which were.
    pub(super) fn trust_nothing_unless(&mut self, distrust: &Distrust) {
        if !matches!(distrust, Distrust::Paths(paths) if paths.is_empty()) {
            self.made_under = None;
        }
    }

    /// Returns which files are read again although they lie as they did.
    pub(super) fn distrusted(&self, conversion: &Conversion, index: &IndexFile) -> Distrust {
        match &self.made_under {
            Some((before, _)) if !conversion.is_as(before) => Distrust::Everything,
            Some((_, before)) if conversion.is_possible() => {
                Distrust::Paths(index.changed_since(before))
            }
            Some(_) => Distrust::Paths(BTreeSet::new()),
            None => Distrust::Everything,
        }
    }
}

/// Which files are read again although they lie as they did.
pub(super) enum Distrust {
    Paths(BTreeSet<PathBytes>),
    Everything,
}

impl Distrust {
    pub(super) fn covers(&self, path: &[u8]) -> bool {
        match self {
            Self::Paths(paths) => paths.contains(path),
            Self::Everything => true,
        }
    }
}
