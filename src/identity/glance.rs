//! A look at a small worktree without a process of git, which takes longer to start than to look.
//!
//! It sees what is clean and which tracked files were edited, the commonest states; whatever is not plain is left to git.

use std::collections::{BTreeMap, HashMap};
use std::fs::DirEntry;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::git_config::xdg_dir;
use super::index_file::{Described, IndexEntry, IndexFile, LINK, mode_of};
use super::nearby::Nearby;
use super::object::{Format, object_id};
use super::plain_config;
use super::status_text::{Change, Status};

/// More files than this are looked at faster by git's threads.
const FILES_MAX: usize = 5_000;
/// The largest file that is read here, in bytes.
const READ_MAX: u64 = 1 << 24;
/// Where git is built with the usual prefix (gitattributes(5)).
const SYSTEM_ATTRIBUTES: &str = "/etc/gitattributes";
/// What was seen.
pub(super) struct Glance {
    /// The index.
    pub(super) index: IndexFile,
    /// What `git status --porcelain -uall` certainly lists.
    pub(super) status: Status,
    /// The text that it prints.
    pub(super) status_text: String,
}

impl Glance {
    /// Looks at every file; `None` where git must be asked: something is staged or not in the index, is converted when it is
    /// read, or configured.
    pub(super) fn at(nearby: &Nearby) -> Option<Self> {
        let path = nearby.index();
        let written = path.symlink_metadata().ok()?;
        let index = IndexFile::read(std::fs::read(&path).ok()?, 20)?;
        let repository = &nearby.repository;
        let committed = repository.find_commit(nearby.head).ok()?.tree().ok()?;
        let is_plain = index.len() <= FILES_MAX
            && index.is_plain()
            && index.tree_id() == Some(committed.id().as_bytes())
            && plain_config::is_usual(repository.commondir())
            && !is_replaced(repository);
        if !is_plain {
            return None;
        }
        let status = Status {
            tracked: changes(nearby, &index, written.mtime())?,
            ..Status::default()
        };
        Some(Self {
            status_text: status.render(true)?,
            status,
            index,
        })
    }
}

/// Objects may stand for others (git-replace(1)), which git2 does not know.
fn is_replaced(repository: &git2::Repository) -> bool {
    let replaced = repository.references_glob("refs/replace/*");
    !replaced.is_ok_and(|mut names| names.next().is_none())
}

/// Returns the files that are not what the index holds.
fn changes(nearby: &Nearby, index: &IndexFile, written: i64) -> Option<Changes> {
    let entries: Vec<_> = index.entries().collect();
    let has_name = |name: &[u8]| entries.iter().any(|entry| entry.path().ends_with(name));
    // Submodules may be left out of the status by what this file says.
    if has_name(b".gitmodules") {
        return None;
    }
    let mut walk = Walk {
        written,
        ..Walk::default()
    };
    walk.look(Path::new(&nearby.root), 0, &entries)?;
    let converts = || has_name(b".gitattributes") || has_outer_attributes(nearby);
    if !walk.unsettled.is_empty() && converts() {
        return None;
    }
    for (entry, path) in &walk.unsettled {
        if !holds_blob(entry, path)? {
            walk.changes.extend([unstaged(entry, b'M')]);
        }
    }
    Some(walk.changes)
}

fn has_outer_attributes(nearby: &Nearby) -> bool {
    let of_repository = nearby.repository.path().join("info/attributes");
    let of_user = xdg_dir().map(|dir| dir.join("attributes"));
    let files = [
        Some(of_repository),
        of_user,
        Some(PathBuf::from(SYSTEM_ATTRIBUTES)),
    ];
    files
        .into_iter()
        .flatten()
        .any(|file| file.symlink_metadata().is_ok())
}

type Changes = BTreeMap<Vec<u8>, Change>;

fn unstaged(entry: &IndexEntry<'_>, code: u8) -> (Vec<u8>, Change) {
    let change = Change {
        staged: b' ',
        unstaged: code,
        from: None,
    };
    (entry.path().to_vec(), change)
}

/// A walk over what git noted of the files.
#[derive(Default)]
struct Walk<'a> {
    /// The second in which the index was written.
    written: i64,
    /// Files that are gone, or another kind of file.
    changes: Changes,
    /// Files to be compared by content: not as git noted, or written in that second or later (racy-git.adoc, git 2.47).
    unsettled: Vec<(IndexEntry<'a>, PathBuf)>,
}

impl<'a> Walk<'a> {
    /// Looks for `entries` in `dir`; their paths are `depth` bytes longer than their place below it. `None` where there is
    /// anything that is not among them.
    fn look(&mut self, dir: &Path, depth: usize, entries: &[IndexEntry<'a>]) -> Option<()> {
        let mut expected = expected(depth, entries)?;
        for found in std::fs::read_dir(dir).ok()? {
            let found = found.ok()?;
            let name = found.file_name();
            if depth == 0 && name == ".git" {
                continue;
            }
            match expected.remove(name.as_bytes())? {
                Expected::File(entry) => self.compare(entry, &found)?,
                Expected::Dir(below) => {
                    let is_dir = found.file_type().ok()?.is_dir();
                    is_dir.then_some(())?;
                    self.look(&found.path(), depth + name.len() + 1, below)?;
                }
            }
        }
        for missing in expected.values() {
            let entries = match missing {
                Expected::File(entry) => std::slice::from_ref(*entry),
                Expected::Dir(below) => below,
            };
            let gone = entries.iter().map(|entry| unstaged(entry, b'D'));
            self.changes.extend(gone);
        }
        Some(())
    }

    fn compare(&mut self, entry: &IndexEntry<'a>, found: &DirEntry) -> Option<()> {
        let metadata = found.metadata().ok()?;
        let (seconds, _) = entry.written_and_size()?;
        let found_mode = mode_of(&metadata)?;
        let mode = entry.mode()?;
        if found_mode != mode {
            let code = if [found_mode, mode].contains(&LINK) {
                b'T'
            } else {
                b'M'
            };
            self.changes.extend([unstaged(entry, code)]);
            return Some(());
        }
        let described = entry.describes(&metadata);
        if i64::from(seconds) >= self.written || described == Described::No {
            self.unsettled.push((*entry, found.path()));
        } else if described == Described::ToTheSecond {
            return None;
        }
        Some(())
    }
}

/// Compares the file with its blob; `None` for what is large or no file.
fn holds_blob(entry: &IndexEntry<'_>, path: &Path) -> Option<bool> {
    let metadata = path.symlink_metadata().ok()?;
    if !metadata.is_file() || metadata.len() > READ_MAX {
        return None;
    }
    let bytes = std::fs::read(path).ok()?;
    Some(object_id(Format::Sha1, "blob", &bytes) == entry.id())
}

/// What a directory is to hold.
enum Expected<'a, 'b> {
    File(&'b IndexEntry<'a>),
    Dir(&'b [IndexEntry<'a>]),
}

/// Sorts entries by the next part of their paths. Those below one directory follow each other in an index.
fn expected<'a, 'b>(
    depth: usize,
    entries: &'b [IndexEntry<'a>],
) -> Option<HashMap<&'a [u8], Expected<'a, 'b>>> {
    let mut expected = HashMap::new();
    let mut rest = entries;
    while let Some(first) = rest.first() {
        let path = first.path().get(depth..)?;
        let Some(length) = path.iter().position(|byte| *byte == b'/') else {
            expected.insert(path, Expected::File(first));
            rest = rest.get(1..)?;
            continue;
        };
        let name = path.get(..length)?;
        let prefix = first.path().get(..=depth + length)?;
        let below = rest.partition_point(|entry| entry.path().starts_with(prefix));
        let (below, after) = rest.split_at_checked(below)?;
        expected.insert(name, Expected::Dir(below));
        rest = after;
    }
    Some(expected)
}
