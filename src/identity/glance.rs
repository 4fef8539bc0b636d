//! A look at a worktree without a process of git, which takes longer to start than a small one to look at.
//!
//! It sees what is clean, edited, staged or untracked, the commonest states; whatever is not plain is left to git.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::git_config::xdg_dir;
use super::index_file::{IndexEntry, IndexFile};
use super::nearby::Nearby;
use super::object::{Format, object_id};
use super::plain_config;
use super::staged;
use super::status_text::{Change, Status};
use super::untracked;
use super::worktree_walk::{self, unstaged};

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
    /// Looks at every file; `None` where git must be asked: something is renamed, is converted when it
    /// is read, or configured.
    pub(super) fn at(nearby: &Nearby) -> Option<Self> {
        let path = nearby.index();
        let written = path.symlink_metadata().ok()?;
        let index = IndexFile::read(std::fs::read(&path).ok()?, 20)?;
        let repository = &nearby.repository;
        let committed = repository.find_commit(nearby.head).ok()?.tree().ok()?;
        let is_plain = index.is_plain()
            && plain_config::is_usual(repository.commondir())
            && !is_replaced(repository);
        if !is_plain {
            return None;
        }
        let entries: Vec<_> = index.entries().collect();
        let mut status = status(nearby, &entries, written.mtime())?;
        for (path, code) in staged::list(repository, &committed, &index, &entries)? {
            let change = status.tracked.entry(path).or_insert(Change::NONE);
            change.staged = code;
        }
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

/// Returns what is not as the index says.
fn status(nearby: &Nearby, entries: &[IndexEntry<'_>], written: i64) -> Option<Status> {
    let has_name = |name: &[u8]| entries.iter().any(|entry| entry.path().ends_with(name));
    // Submodules may be left out of the status by what this file says.
    if has_name(b".gitmodules") {
        return None;
    }
    let mut seen = worktree_walk::see(Path::new(&nearby.root), entries, written)?;
    let converts = || has_name(b".gitattributes") || has_outer_attributes(nearby);
    if !seen.unsettled.is_empty() && converts() {
        return None;
    }
    for (entry, path) in &seen.unsettled {
        if !holds_blob(entry, path)? {
            seen.changes.extend([unstaged(entry, b'M')]);
        }
    }
    Some(Status {
        tracked: seen.changes,
        untracked: untracked::list(nearby, seen.strays, &seen.with_rules)?,
    })
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

/// Compares the file with its blob; `None` for what is large or no file.
fn holds_blob(entry: &IndexEntry<'_>, path: &Path) -> Option<bool> {
    let metadata = path.symlink_metadata().ok()?;
    if !metadata.is_file() || metadata.len() > READ_MAX {
        return None;
    }
    let bytes = std::fs::read(path).ok()?;
    Some(object_id(Format::Sha1, "blob", &bytes) == entry.id())
}
