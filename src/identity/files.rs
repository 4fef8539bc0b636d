//! Every file of one reading, for whoever keeps the code: each path with its blob, and the blob of its bytes as they
//! lie on the disk; submodules and nested repositories with all of theirs.
//!
//! Holds no bytes, but in copies on the disk those of files that did not hold still. Knows no snapshot.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::file_content::{self, ContentError};
use super::file_map::{Entry, FileMap, Mode};
use super::head::commit_and_tree;
use super::nested::is_own_root;
use super::object::Format;
use super::real_dirs::RealDirs;
use super::scratch::Scratch;
use super::tree::CapturedTree;
use super::{ReadError, TreeError};
use crate::git::Git;
use crate::ids::ContentId;

/// All files of one worktree. Cheap to copy: copies share what they have in common.
#[derive(Debug, Clone)]
pub struct Files {
    pub(crate) map: FileMap,
    pub(crate) format: Format,
    pub(crate) nested: Vec<Nested>,
    /// Whether nothing that a configuration names was run to read them.
    pub(crate) is_safe: bool,
    /// What was read of files that did not hold still.
    pub(super) copies: Option<Arc<Copies>>,
}

/// Copies of files as a reading read them, removed when dropped.
#[derive(Debug)]
pub(super) struct Copies {
    pub(super) dir: PathBuf,
    pub(super) _scratch: Scratch,
}

/// A repository inside the worktree, be it a submodule or not.
#[derive(Debug, Clone)]
pub(crate) struct Nested {
    /// Where it lies, relative to the worktree around it.
    pub(crate) path: Vec<u8>,
    /// The top of its own worktree.
    pub(crate) root: PathBuf,
    /// Its HEAD, `None` before its first commit.
    pub(crate) head: Option<String>,
    pub(crate) files: Files,
}

impl Files {
    pub(super) fn plain(map: FileMap, format: Format, copies: Option<Arc<Copies>>) -> Self {
        Self {
            map,
            format,
            nested: Vec::new(),
            is_safe: false,
            copies,
        }
    }

    /// Returns the files of a repository as its objects tell.
    pub(crate) fn of_objects(map: FileMap, format: Format, nested: Vec<Nested>) -> Self {
        Self {
            map,
            format,
            nested,
            is_safe: false,
            copies: None,
        }
    }

    /// Returns the copy of a file that did not hold still when it was read.
    pub(crate) fn copy_of(&self, path: &[u8]) -> Option<PathBuf> {
        let copy = self.copies.as_ref()?.dir.join(OsStr::from_bytes(path));
        copy.symlink_metadata().is_ok().then_some(copy)
    }

    /// Returns the files of what was read of the worktree at `root`, which whoever calls has still to verify.
    pub(super) fn of(git: &Git, root: &Path, captured: &CapturedTree) -> Result<Self, TreeError> {
        let (mut map, format) = captured.map();
        for (path, entry) in as_on_disk(root, captured, &map, format)? {
            map.insert(&path, entry);
        }
        let mut nested = Vec::new();
        for path in captured.nested()? {
            let dir = root.join(OsStr::from_bytes(&path));
            let git = super::safe::inside(git, &dir);
            if !is_own_root(&git, &dir) {
                continue;
            }
            let top = dir.canonicalize().map_err(TreeError::Scratch)?;
            let (_, files) = read(&git, &top, None)?;
            let head = commit_and_tree(&git).map(|(commit, _)| commit.to_string());
            nested.push(Nested {
                path,
                root: top,
                head,
                files,
            });
        }
        Ok(Self {
            is_safe: git.distrusts(),
            ..Self::of_objects(map, format, nested)
        })
    }

    /// Returns whether every file lies at `root` as it did, in the same repositories inside.
    pub(super) fn lie_still(&self, root: &Path) -> bool {
        let mut dirs = RealDirs::new(root);
        let mut is_still = true;
        self.map.each(|path, entry| {
            is_still &= if entry.mode == Mode::Gitlink {
                let is_there = root.join(OsStr::from_bytes(path)).join(".git").exists();
                is_there == self.nested.iter().any(|nested| nested.path == path)
            } else {
                entry.stamp.is_none() || dirs.stamp(path) == entry.stamp
            };
        });
        is_still
            && self
                .nested
                .iter()
                .all(|nested| nested.root.is_dir() && nested.files.lie_still(&nested.root))
    }

    /// Reads the worktree at `root`, where `git` stands, from scratch, and all repositories in it. Temporary files go to `scratch`.
    ///
    /// # Errors
    /// As [`super::read`].
    pub fn read(
        git: &Git,
        root: &Path,
        scratch: Option<&Path>,
    ) -> Result<(ContentId, Self), ReadError> {
        read(git, root, scratch).map_err(|error| ReadError::of(root, error))
    }
}

fn read(git: &Git, root: &Path, scratch: Option<&Path>) -> Result<(ContentId, Files), TreeError> {
    let captured = CapturedTree::read(git, scratch)?;
    if captured.top() != root {
        return Err(TreeError::NoWorkTree);
    }
    let content = captured.content()?;
    let files = Files::of(git, root, &captured)?;
    captured.verify()?;
    if captured.has_nested() && captured.content()? != content {
        return Err(TreeError::Torn);
    }
    Ok((content, files))
}

/// Returns each file with the blob of its bytes.
fn as_on_disk(
    root: &Path,
    captured: &CapturedTree,
    map: &FileMap,
    format: Format,
) -> Result<Vec<(Vec<u8>, Entry)>, TreeError> {
    let mut found = Vec::new();
    for (path, stamp) in captured.stamps() {
        let (Some(stamp), Some(entry)) = (stamp, map.get(path)) else {
            continue;
        };
        if entry.mode == Mode::Gitlink {
            continue;
        }
        let on_disk = file_content::read(&root.join(OsStr::from_bytes(path)), format);
        let content = match on_disk {
            Ok(Some(content)) if content.stamp == *stamp => content,
            Err(ContentError::Io(error)) => return Err(TreeError::Scratch(error)),
            _ => return Err(TreeError::Torn),
        };
        let entry = Entry {
            raw: content.blob,
            stamp: Some(*stamp),
            ..*entry
        };
        found.push((path.clone(), entry));
    }
    Ok(found)
}
