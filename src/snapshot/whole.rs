//! All files of a version, those of repositories inside included, as one map; and which repository each belongs to.
//!
//! Pure.

use std::path::{Path, PathBuf};

use super::index::{Inside, Record};
use super::path_text;
use crate::git::Git;
use crate::identity::file_map::{Entry, FileMap};
use crate::identity::files::Files;
use crate::identity::object::{Format, RawId};

/// All files, those of repositories inside included, as one map.
#[derive(Debug, Clone)]
pub(super) struct Whole {
    pub(super) map: FileMap,
    pub(super) format: Format,
    /// The innermost come first.
    pub(super) repositories: Vec<Repository>,
    is_safe: bool,
}

/// A repository whose files are kept, the outermost among them.
#[derive(Debug, Clone)]
pub(super) struct Repository {
    pub(super) path: Vec<u8>,
    pub(super) root: PathBuf,
    pub(super) head: Option<String>,
}

impl Whole {
    pub(super) fn of(root: &Path, head: Option<&str>, files: &Files) -> Self {
        let mut whole = Self {
            map: files.map.clone(),
            format: files.format,
            repositories: vec![Repository {
                path: Vec::new(),
                root: root.to_owned(),
                head: head.map(str::to_owned),
            }],
            is_safe: files.is_safe,
        };
        whole.graft(&[], files);
        whole
            .repositories
            .sort_by_key(|repository| std::cmp::Reverse(repository.path.len()));
        whole
    }

    /// A repository inside stands in the place of its commit.
    fn graft(&mut self, around: &[u8], files: &Files) {
        for nested in &files.nested {
            let path = [around, &nested.path].concat();
            self.map.remove(&path);
            let below = [&path, &b"/"[..]].concat();
            nested.files.map.each(|inner, entry| {
                self.map.insert(&[&below, inner].concat(), *entry);
            });
            self.graft(&below, &nested.files);
            self.repositories.push(Repository {
                path,
                root: nested.root.clone(),
                head: nested.head.clone(),
            });
        }
    }

    /// Returns a git for one of the repositories, which runs no program of theirs where the files were read without.
    pub(super) fn git(&self, repository: &Repository) -> Git {
        let git = Git::at(&repository.root);
        if self.is_safe { git.distrusting() } else { git }
    }

    /// Returns the repository that a path belongs to, and the path in there. The innermost come first.
    pub(super) fn owner<'a>(&self, path: &'a [u8]) -> Option<(&Repository, &'a [u8])> {
        self.repositories.iter().find_map(|repository| {
            if repository.path.is_empty() {
                return Some((repository, path));
            }
            let inner = path.strip_prefix(repository.path.as_slice())?;
            Some((repository, inner.strip_prefix(b"/")?))
        })
    }

    /// Returns a path as that repository knows it, where it is its own.
    pub(super) fn inner<'a>(&self, repository: &Repository, path: &'a [u8]) -> Option<&'a [u8]> {
        let (owner, inner) = self.owner(path)?;
        std::ptr::eq(owner, repository).then_some(inner)
    }

    /// Returns the same with the bytes of the disk.
    pub(super) fn on_disk(&self) -> FileMap {
        let mut disk = self.map.clone();
        self.map.each_converted(|path, entry| {
            let entry = Entry {
                id: entry.raw,
                ..*entry
            };
            disk.insert(path, entry);
        });
        disk
    }

    /// Returns the first of some records that says of files what these are, as they lie on the disk.
    pub(super) fn first_alike<'r>(
        &self,
        mut records: impl Iterator<Item = &'r Record>,
    ) -> Option<&'r Record> {
        let disk = self.on_disk().tree_id(self.format).map(RawId::to_hex)?;
        let inside = self.inside();
        records.find(|record| record.disk() == disk && record.inside == inside)
    }

    pub(super) fn inside(&self) -> Vec<Inside> {
        let mut inside: Vec<_> = self
            .repositories
            .iter()
            .filter(|repository| !repository.path.is_empty())
            .map(|repository| Inside {
                path: path_text(&repository.path),
                head: repository.head.clone(),
            })
            .collect();
        inside.sort_by(|one, other| one.path.cmp(&other.path));
        inside
    }
}
