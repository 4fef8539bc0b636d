//! A sparse index made full, so that git need not: it would write trees into the user's object store, and freshen the
//! times of those that are there (sparse-index.c, `expand_index`, git 2.47).
//!
//! Opens and writes no index: bytes come in and go out, and git only lists trees.

use std::path::Path;

use super::index_file::IndexFile;
use super::object::RawId;
use crate::git::{Git, GitError, records};

/// Returns whether a git directory is that of a sparse checkout (git-sparse-checkout(1)).
pub(super) fn is_likely(git_dir: &Path) -> bool {
    git_dir
        .join("info/sparse-checkout")
        .symlink_metadata()
        .is_ok()
}

/// Returns the bytes of an index that means the same as `bytes` and holds files alone; `bytes` themselves where they do, or
/// where they are not understood.
///
/// # Errors
/// [`GitError`] when git cannot list a tree.
pub(super) fn full(bytes: Vec<u8>, git: &Git) -> Result<Vec<u8>, GitError> {
    let read = |id_length| IndexFile::read_sparse(bytes.clone(), id_length);
    let Some(index) = [20, 32].into_iter().find_map(read) else {
        return Ok(bytes);
    };
    let mut failed = None;
    let full = index.full(|tree| match files(git, tree) {
        Ok(files) => files,
        Err(error) => {
            failed = Some(error);
            None
        }
    });
    match failed {
        Some(error) => Err(error),
        None => Ok(full.unwrap_or(bytes)),
    }
}

type Files = Vec<(u32, RawId, Vec<u8>)>;

/// `MODE SP TYPE SP ID TAB PATH NUL` (git-ls-tree(1)).
fn files(git: &Git, tree: RawId) -> Result<Option<Files>, GitError> {
    let listed = git.run(&["ls-tree", "-r", "-z", "--full-tree", &tree.to_hex()])?;
    Ok(records(&listed.stdout).map(file).collect())
}

fn file(record: &[u8]) -> Option<(u32, RawId, Vec<u8>)> {
    let tab = record.iter().position(|byte| *byte == b'\t')?;
    let (head, path) = record.split_at_checked(tab)?;
    let mut words = head.split(|byte| *byte == b' ');
    let mode = std::str::from_utf8(words.next()?).ok()?;
    let id = RawId::from_hex(words.nth(1)?)?;
    Some((
        u32::from_str_radix(mode, 8).ok()?,
        id,
        path.get(1..)?.to_vec(),
    ))
}
