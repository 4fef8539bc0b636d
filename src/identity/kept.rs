//! What a pass leaves for the next: all that was found out of one state.
//!
//! Reads no file, asks git nothing, and does not know whether the ground moved since: whoever uses it looks.

use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::Arc;

use super::conversion::Conversion;
use super::digest::Digest;
use super::file_map::FileMap;
use super::git_config::GitConfig;
use super::ground::Ground;
use super::head::Head;
use super::index_file::IndexFile;
use super::loose::LooseObjects;
use super::quoting::Quoting;
use super::status_text::{PathBytes, Status};

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
