//! What a status says of tracked files: by the content that was read, or by git on a small index.
//!
//! Reads no file, and does not say which of the two counts.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;

use super::Pass;
use super::stop::Stop;
use crate::git::{Git, records};
use crate::identity::diffs::top_literal;
use crate::identity::file_map::Mode;
use crate::identity::index_file::{EXECUTABLE, IndexEntry, IndexFile, LINK, is_other_size};
use crate::identity::own_index;
use crate::identity::stamp::Stamp;
use crate::identity::status_text::PathBytes;

impl Pass<'_> {
    /// Returns what a status by content alone would say of the files that differ from the index.
    pub(super) fn codes_by_content(&self, index: &IndexFile) -> BTreeMap<PathBytes, u8> {
        let codes = index.entries().filter_map(|entry| {
            let code = self.code_by_content(&entry)?;
            (code != b' ').then(|| (entry.path().to_vec(), code))
        });
        codes.collect()
    }

    /// Returns what a status would say of a tracked file that went by content alone.
    pub(super) fn code_by_content(&self, entry: &IndexEntry<'_>) -> Option<u8> {
        let Some(file) = self.cache.files.get(entry.path()) else {
            return Some(b'D');
        };
        let mode = entry.mode()?;
        let is_same_kind = (mode == LINK) == (file.mode == Mode::Link);
        let same_bits = (mode == EXECUTABLE) == (file.mode == Mode::Executable);
        let size = |stamp: Stamp| stamp.written_and_size().1;
        let (_, noted) = entry.written_and_size()?;
        let same_size = file.stamp.is_none_or(|it| !is_other_size(noted, size(it)));
        let is_same = same_bits && same_size && Some(file.id) == entry.id();
        Some(match (is_same_kind, is_same) {
            (false, _) => b'T',
            (true, true) => b' ',
            (true, false) => b'M',
        })
    }

    /// Returns what git's own status says of tracked files against the index.
    pub(super) fn codes_by_git(
        &self,
        index: &IndexFile,
        paths: &BTreeSet<PathBytes>,
        git: &Git,
    ) -> Result<Vec<(PathBytes, u8)>, Stop> {
        let small = index.with_only(paths);
        let whole = self.places.git_dir.join("index");
        let copy = self.workbench.path().join("codes-index");
        own_index::write_with_time_of(&whole, &copy, &small.bytes)?;
        let git = own_index::on_own_index(git, &copy).with_config(&["core.fsmonitor=false"]);
        let arguments = ["status", "--porcelain", "-z", "-uno", "--no-renames", "--"];
        let pathspecs = paths
            .iter()
            .map(|path| top_literal(OsStr::from_bytes(path)));
        let arguments: Vec<OsString> = arguments
            .map(OsString::from)
            .into_iter()
            .chain(pathspecs)
            .collect();
        let listed = git.run(&arguments)?.stdout;
        let code_of = |path: &PathBytes| {
            records(&listed)
                .filter_map(|record| record.split_first_chunk::<3>())
                .find(|(_, name)| name == path)
                .map_or(b' ', |([_, code, _], _)| *code)
        };
        Ok(paths
            .iter()
            .map(|path| (path.clone(), code_of(path)))
            .collect())
    }
}
