//! What git says of a state entry by entry, read through an index of our own.
//!
//! Knows no trap: what of it is one is said in `traps`. The user's index is copied, never written.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use crate::git::{Git, GitError, records};
use crate::identity::diffs::PATHSPEC_VARS;
use crate::identity::own_index;
use crate::identity::scratch::Scratch;
use crate::identity::writing_settings::WritingSettings;
use crate::identity::{GitHashError, git_hash};

/// A state to be explained.
#[derive(Debug)]
pub(super) struct State {
    /// Stands where the caller stands, on an index of our own.
    pub(super) here: Git,
    /// Stands at the top, on the same index.
    pub(super) git: Git,
    pub(super) top: PathBuf,
    /// The top as the helper reads it, and the full HEAD.
    pub(super) root: String,
    pub(super) head: String,
    /// The text of `git status --porcelain -uall`, unless it is not UTF-8.
    pub(super) status: Result<String, GitHashError>,
    pub(super) entries: Vec<Entry>,
    pub(super) scratch: Scratch,
}

impl State {
    /// # Errors
    /// [`GitHashError`] where there is nothing to explain: no repository, no commit, an index that git cannot read.
    pub(super) fn read(git: &Git) -> Result<Self, GitHashError> {
        let (root, head) = git_hash::root_and_head(git)?;
        let top = git.path(&["rev-parse", "--show-toplevel"])?;
        let scratch =
            crate::identity::scratch::new(git, &top, None).map_err(GitHashError::Scratch)?;
        let quiet = WritingSettings::read(git)
            .without_caches(git)
            .with_config(&["core.hooksPath=/dev/null"]);
        let here = own_index::with_own_index(&quiet, scratch.path())?;
        let git_dir = git.path(&["rev-parse", "--absolute-git-dir"])?;
        let git = PATHSPEC_VARS
            .into_iter()
            .fold(here.clone(), Git::without_var)
            .with_var("GIT_DIR", git_dir)
            .with_var("GIT_WORK_TREE", &top)
            .with_config(&["core.splitIndex=false", "index.sparse=false"])
            .in_dir(&top);
        let entries = entries(&git)?;
        let status = git_hash::status_text(&here);
        Ok(Self {
            here,
            git,
            top,
            root,
            head,
            status,
            entries,
            scratch,
        })
    }

    pub(super) fn of_kind(&self, kind: Kind) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(move |entry| entry.kind == kind)
    }

    /// The tracked paths of which git has anything to say.
    pub(super) fn changed(&self) -> impl Iterator<Item = &Entry> {
        let tracked = |entry: &&Entry| matches!(entry.kind, Kind::Tracked | Kind::Unmerged);
        self.entries.iter().filter(tracked)
    }

    /// The entry that the helper's status names first: tracked ones come before untracked ones, in the order of their bytes.
    pub(super) fn first(&self) -> Option<&Entry> {
        self.changed().min_by(|a, b| a.path.cmp(&b.path))
    }

    pub(super) fn on_disk(&self, path: &[u8]) -> PathBuf {
        self.top.join(os(path))
    }
}

fn entries(git: &Git) -> Result<Vec<Entry>, GitError> {
    let arguments = [
        "status",
        "--porcelain=v2",
        "-z",
        "-uall",
        "--ignored=matching",
    ];
    Ok(Entry::parse(&git.run(&arguments)?.stdout))
}

pub(super) fn os(path: &[u8]) -> OsString {
    OsString::from_vec(path.to_vec())
}

/// A path for people.
pub(super) fn shown(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}

pub(super) fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    path.symlink_metadata()
        .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

pub(super) fn is_link(path: &Path) -> bool {
    path.symlink_metadata()
        .is_ok_and(|found| found.file_type().is_symlink())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Tracked,
    Unmerged,
    Untracked,
    Ignored,
}

/// One line of `git status --porcelain=v2` (git-status(1)).
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) kind: Kind,
    pub(super) path: Vec<u8>,
    /// `X` and `Y`, with `.` for "no change".
    pub(super) staged: u8,
    pub(super) unstaged: u8,
    is_submodule: bool,
    /// A submodule's commit, its tracked files, its untracked files.
    has_new_commit: bool,
    has_new_content: bool,
    /// The modes in index and worktree are equal.
    same_mode: bool,
}

impl Entry {
    fn parse(listed: &[u8]) -> Vec<Self> {
        let mut entries = Vec::new();
        let mut records = records(listed);
        while let Some(record) = records.next() {
            entries.extend(Self::read(record));
            if record.starts_with(b"2 ") {
                // What it was called.
                records.next();
            }
        }
        entries
    }

    fn read(record: &[u8]) -> Option<Self> {
        let (kind, fields_before_path) = match record.first()? {
            b'1' => (Kind::Tracked, 8),
            b'2' => (Kind::Tracked, 9),
            b'u' => (Kind::Unmerged, 10),
            b'?' => (Kind::Untracked, 1),
            b'!' => (Kind::Ignored, 1),
            _ => return None,
        };
        let fields: Vec<&[u8]> = record
            .splitn(fields_before_path + 1, |byte| *byte == b' ')
            .collect();
        let field = |at: usize| fields.get(at).copied().unwrap_or_default();
        let letter = |text: &[u8], at: usize| text.get(at).copied().unwrap_or(b'.');
        let (code, submodule) = match kind {
            Kind::Tracked | Kind::Unmerged => (field(1), field(2)),
            Kind::Untracked | Kind::Ignored => (&b".."[..], &b"N..."[..]),
        };
        Some(Self {
            kind,
            path: fields.get(fields_before_path)?.to_vec(),
            staged: letter(code, 0),
            unstaged: letter(code, 1),
            is_submodule: letter(submodule, 0) == b'S',
            has_new_commit: letter(submodule, 1) == b'C',
            has_new_content: letter(submodule, 2) == b'M' || letter(submodule, 3) == b'U',
            same_mode: field(4) == field(5),
        })
    }

    pub(super) fn is_submodule(&self) -> bool {
        self.is_submodule
    }

    pub(super) fn is_dirty_submodule(&self) -> bool {
        self.is_submodule && self.has_new_content
    }

    /// Whether `git add` would change the index: of a submodule it sees the commit alone.
    pub(super) fn can_be_staged(&self) -> bool {
        self.kind == Kind::Tracked
            && self.unstaged != b'.'
            && (!self.is_submodule || self.has_new_commit || self.unstaged != b'M')
    }

    /// Whether only the bytes of a plain file can differ from the index.
    pub(super) fn is_edited(&self) -> bool {
        self.kind == Kind::Tracked && self.unstaged == b'M' && !self.is_submodule && self.same_mode
    }

    pub(super) fn is_nested_repository(&self) -> bool {
        self.kind == Kind::Untracked && self.path.ends_with(b"/")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_line_is_read_and_old_names_are_passed_over() {
        let zeros = "0".repeat(40);
        let listed = format!(
            "1 .M N... 100644 100644 100644 {zeros} {zeros} a b.txt\0\
             2 R. N... 100644 100644 100644 {zeros} {zeros} R100 new\0? old\0\
             1 .M S.MU 160000 160000 160000 {zeros} {zeros} sub\0\
             u UU N... 100644 100644 100644 100644 {zeros} {zeros} {zeros} both\0\
             ? nest/\0! x.log\0"
        );
        let entries = Entry::parse(listed.as_bytes());
        let paths: Vec<_> = entries.iter().map(|entry| shown(&entry.path)).collect();
        assert_eq!(paths, ["a b.txt", "new", "sub", "both", "nest/", "x.log"]);
        assert!(entries[0].is_edited() && entries[0].can_be_staged());
        assert!(entries[2].is_dirty_submodule() && !entries[2].can_be_staged());
        assert_eq!(entries[3].kind, Kind::Unmerged);
        assert!(entries[4].is_nested_repository());
    }
}
