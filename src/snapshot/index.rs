//! The index of the snapshots: one line of JSON a version, appended, the newest last.
//!
//! A line that a crash cut short is passed over, and the next one begins on a line of its own. Opens no object, and
//! takes no lock: whoever writes holds it.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::SnapshotError;
use crate::fs_util::{PathError, read_if_exists, replace_durably};

/// A version that is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// When it was kept, in Unix milliseconds.
    pub at_ms: u64,
    /// The LoggedModel's name.
    pub name: String,
    /// What the version is found by, next to its name.
    pub key: String,
    /// The content id.
    pub content: String,
    /// The full HEAD, `None` before the first commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<String>,
    /// The branch that was checked out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// False when it is exactly what HEAD holds.
    pub dirty: bool,
    /// The worktree that it was read in.
    pub worktree: String,
    /// The tree of all files as git takes them in, those of repositories inside included.
    pub tree: String,
    /// The same with the bytes of the disk, where git converts any of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<String>,
    /// Repositories inside.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inside: Vec<Inside>,
    /// The files that are not kept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<LeftOut>,
    /// What changed since the version before it in the same worktree; `None` for the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changes: Option<Changes>,
}

impl Record {
    /// Returns the tree with the bytes of the disk.
    pub fn disk(&self) -> &str {
        self.disk.as_deref().unwrap_or(&self.tree)
    }

    /// Returns whether every file is kept.
    pub fn is_whole(&self) -> bool {
        self.left_out.is_empty()
    }
}

/// A submodule or another repository inside a worktree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inside {
    /// Where it lies, as [`super::path_text`] writes it.
    pub path: String,
    /// Its HEAD.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<String>,
}

/// A file of a version that is not kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// The file, as [`super::path_text`] writes it.
    pub path: String,
    /// Why.
    pub why: Why,
}

impl LeftOut {
    /// Returns whether nothing of it is kept, not even as git stores it.
    pub fn is_absent(&self) -> bool {
        self.why != Why::Converted
    }
}

/// Why a file is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// It is larger than `file_limit`.
    TooLarge,
    /// It looks like a secret and is not committed.
    Secret,
    /// It is not on the disk, and git does not have it here: a partial clone.
    NotHere,
    /// A submodule: its files are in another repository. Only of code that no snapshot holds.
    Submodule,
    /// Git converts it, and its bytes on the disk were not seen: it is kept as git stores it. Only of a commit that nobody
    /// saw on the disk.
    Converted,
}

impl Why {
    /// Returns it in words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TooLarge => "larger than snapshots.file_limit",
            Self::Secret => "looks like a secret",
            Self::NotHere => "not in this partial clone",
            Self::Submodule => "a submodule, of which only the commit is known",
            Self::Converted => "converted by git, its bytes on the disk were not seen",
        }
    }
}

/// What changed between two versions.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changes {
    /// Lines added.
    pub added: u64,
    /// Lines removed.
    pub removed: u64,
    /// How many files differ.
    pub files: u64,
    /// The first of them.
    pub first: Vec<Change>,
}

/// A file that differs between two versions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The file, as [`super::path_text`] writes it.
    pub path: String,
    /// Lines added and removed; `None` for bytes that are no text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lines: Option<(u64, u64)>,
}

/// How many paths a line of the index names.
const NAMED_MAX: usize = 8;

impl Changes {
    /// Reads what `git diff-tree --numstat -z --no-renames` prints.
    pub(super) fn read(numstat: &[u8]) -> Self {
        let mut changes = Self::default();
        for record in crate::git::records(numstat) {
            let mut fields = record.splitn(3, |byte| *byte == b'\t');
            let mut number = || {
                let digits = fields.next().unwrap_or_default();
                std::str::from_utf8(digits).ok()?.parse::<u64>().ok()
            };
            let lines = number().zip(number());
            let Some(path) = fields.next() else {
                continue;
            };
            changes.files += 1;
            changes.added += lines.map_or(0, |(added, _)| added);
            changes.removed += lines.map_or(0, |(_, removed)| removed);
            if changes.first.len() < NAMED_MAX {
                let path = super::path_text(path);
                changes.first.push(Change { path, lines });
            }
        }
        changes
    }
}

/// Returns the versions of an index file, the oldest first; none where there is no file.
pub(super) fn read(path: &Path) -> Result<Vec<Record>, SnapshotError> {
    let bytes = read_if_exists(path)?.unwrap_or_default();
    let lines = bytes.split(|byte| *byte == b'\n');
    Ok(lines
        .filter_map(|line| serde_json::from_slice(line).ok())
        .collect())
}

/// Adds a version; it is on the disk when this returns.
pub(super) fn append(path: &Path, record: &Record) -> Result<(), SnapshotError> {
    // A structure of texts and numbers always has a JSON form.
    let mut line = serde_json::to_vec(record).unwrap_or_default();
    line.push(b'\n');
    let is_cut = read_last(path).is_some_and(|last| last != b'\n');
    if is_cut {
        line.insert(0, b'\n');
    }
    let written = File::options()
        .create(true)
        .append(true)
        .open(path)
        .and_then(|mut file| {
            file.write_all(&line)?;
            file.sync_all()
        });
    Ok(written.map_err(PathError::of("write", path))?)
}

fn read_last(path: &Path) -> Option<u8> {
    use std::os::unix::fs::FileExt as _;
    let file = File::open(path).ok()?;
    let last = file.metadata().ok()?.len().checked_sub(1)?;
    let mut byte = [0];
    file.read_exact_at(&mut byte, last).ok()?;
    byte.first().copied()
}

/// Replaces all lines.
pub(super) fn write(path: &Path, records: &[Record]) -> Result<(), SnapshotError> {
    let mut text = Vec::new();
    for record in records {
        text.extend(serde_json::to_vec(record).unwrap_or_default());
        text.push(b'\n');
    }
    Ok(replace_durably(path, &text)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) fn record(name: &str) -> Record {
        Record {
            at_ms: 1,
            name: name.into(),
            key: "k".into(),
            content: "c".into(),
            head: None,
            branch: None,
            dirty: true,
            worktree: "/r".into(),
            tree: "t".into(),
            disk: None,
            inside: Vec::new(),
            left_out: Vec::new(),
            changes: None,
        }
    }

    #[test]
    fn a_line_that_was_cut_short_is_passed_over_and_harms_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("index");
        append(&path, &record("one")).unwrap();
        let cut = serde_json::to_vec(&record("two")).unwrap();
        let mut file = File::options().append(true).open(&path).unwrap();
        file.write_all(&cut[..20]).unwrap();
        append(&path, &record("three")).unwrap();
        let names: Vec<_> = read(&path)
            .unwrap()
            .into_iter()
            .map(|record| record.name)
            .collect();
        assert_eq!(names, ["one", "three"]);
    }

    #[test]
    fn lines_are_counted_and_bytes_that_are_no_text_are_named() {
        let changes = Changes::read(b"12\t3\tapp.py\x00-\t-\tlogo\xff.png\x00");
        assert_eq!((changes.files, changes.added, changes.removed), (2, 12, 3));
        assert_eq!(changes.first[1].path, "logo\\xff.png");
        assert_eq!(changes.first[1].lines, None);
    }
}
