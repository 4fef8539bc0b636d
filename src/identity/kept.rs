//! What a pass leaves for the next: all that was found out of one state, and what was read of single files.
//!
//! Reads no file, asks git nothing, and does not know whether the ground moved since: whoever uses it looks.

use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::Arc;

use super::conversion::Conversion;
use super::digest::Digest;
use super::file_hashes::FileHashes;
use super::file_map::FileMap;
use super::git_config::GitConfig;
use super::ground::Ground;
use super::index_file::IndexFile;
use super::known_diffs::KnownDiffs;
use super::loose::LooseObjects;
use super::object::Format;
use super::real_dirs::RealDirs;
use super::stamp::Stamp;
use super::status_text::{PathBytes, Status};

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

/// Everything that a pass found out and the next may build on.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) ground: Ground,
    /// False when the ground had moved so shortly before that it may have moved again unseen.
    pub(super) is_settled: bool,
    pub(super) config: GitConfig,
    pub(super) head: Head,
    pub(super) index: Arc<IndexFile>,
    pub(super) conversion: Conversion,
    pub(super) status: Status,
    pub(super) quoting: Quoting,
    pub(super) after_staged: Digest,
    pub(super) after_unstaged: Digest,
    /// Why the helper could not read the diffs.
    pub(super) unreadable_diff: Option<String>,
    /// Beside which the diffs were made; `None` where more may have come unseen.
    pub(super) loose: Option<LooseObjects>,
}

impl Kept {
    /// Returns whether `files` are as many as index and status say: the tracked ones that are not gone, and the untracked ones.
    pub(super) fn accounts_for(&self, files: &FileMap) -> bool {
        let changes = self.status.tracked.values();
        let gone = changes.filter(|change| change.unstaged == b'D').count();
        files.count() + gone == self.index.count() + self.status.untracked.len()
    }

    /// Returns the files that rule how others are read, relative to `root`.
    pub(super) fn rule_files(&self, root: &Path) -> BTreeSet<PathBytes> {
        let attributes = self.conversion.inner_files();
        let inside = attributes.filter_map(|file| file.strip_prefix(root).ok());
        inside
            .map(|file| file.as_os_str().as_bytes().to_vec())
            .chain(self.index.rule_files().map(<[u8]>::to_vec))
            .collect()
    }
}

/// HEAD's commit and tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) commit: String,
    pub(super) tree: String,
    pub(super) format: Format,
}

/// How git quotes names above ASCII (`core.quotePath`), as far as its own output told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Quoting {
    All,
    Needed,
    /// There was no such name to tell by.
    Untold,
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

impl Quoting {
    /// Finds out from git's own text; `None` where neither gives it.
    pub(super) fn of(status: &Status, text: &str) -> Option<Self> {
        let is = |all| status.render(all).as_deref() == Some(text);
        match (is(true), is(false)) {
            (true, true) => Some(Self::Untold),
            (true, false) => Some(Self::All),
            (false, true) => Some(Self::Needed),
            (false, false) => None,
        }
    }

    pub(super) fn render(self, status: &Status) -> Option<String> {
        match self {
            Self::All => status.render(true),
            Self::Needed => status.render(false),
            Self::Untold => status
                .render(true)
                .filter(|text| status.render(false).as_ref() == Some(text)),
        }
    }
}
