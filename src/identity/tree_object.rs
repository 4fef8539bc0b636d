//! Tree objects from a list of index entries, hashed and written nowhere (gitformat-index(5); git-mktree(1) for the format).
//!
//! Pure.

use git2::{ObjectType, Oid};
use sha2::{Digest as _, Sha256};

use super::git_hash::hex;
use crate::git::records;
use crate::ids::ObjectId;

/// One entry of `git ls-files -s -z`.
struct Entry<'a> {
    mode: &'a [u8],
    id: Vec<u8>,
    path: &'a [u8],
}

/// Returns the id of the tree over the entries that `git ls-files -s -z` printed; `None` for unmerged entries and for text
/// that is none of git's. Object ids have `id_length` bytes.
pub(super) fn id_of(listed: &[u8], id_length: usize) -> Option<ObjectId> {
    let entries: Vec<Entry<'_>> = records(listed).map(Entry::read).collect::<Option<_>>()?;
    let id = tree(&entries, 0, id_length)?;
    hex(&id).parse().ok()
}

impl<'a> Entry<'a> {
    /// `MODE ID STAGE TAB PATH`
    fn read(record: &'a [u8]) -> Option<Self> {
        let tab = record.iter().position(|byte| *byte == b'\t')?;
        let mut fields = record.get(..tab)?.split(|byte| *byte == b' ');
        let (mode, id, stage) = (fields.next()?, fields.next()?, fields.next()?);
        (stage == b"0").then_some(())?;
        Some(Self {
            mode,
            id: unhex(id)?,
            path: record.get(tab + 1..)?,
        })
    }
}

fn unhex(digits: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(digits).ok()?;
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok())
        .collect()
}

/// Hashes the tree of entries that share the first `depth` bytes of their paths. Their order in the index is that of
/// trees, as a directory sorts with its slash.
fn tree(mut entries: &[Entry<'_>], depth: usize, id_length: usize) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    while let Some(entry) = entries.first() {
        let rest = entry.path.get(depth..)?;
        let (count, mode, name, id) = match rest.iter().position(|byte| *byte == b'/') {
            None => (1, entry.mode, rest, entry.id.clone()),
            Some(slash) => {
                let name = rest.get(..slash)?;
                let prefix = entry.path.get(..=depth + slash)?;
                let count = entries
                    .iter()
                    .take_while(|entry| entry.path.starts_with(prefix))
                    .count();
                let id = tree(entries.get(..count)?, prefix.len(), id_length)?;
                (count, &b"40000"[..], name, id)
            }
        };
        body.extend_from_slice(mode);
        body.push(b' ');
        body.extend_from_slice(name);
        body.push(0);
        body.extend_from_slice(&id);
        entries = entries.get(count..)?;
    }
    object_id(&body, id_length)
}

fn object_id(body: &[u8], id_length: usize) -> Option<Vec<u8>> {
    if id_length == 20 {
        let id = Oid::hash_object(ObjectType::Tree, body).ok()?;
        return Some(id.as_bytes().to_vec());
    }
    let mut hasher = Sha256::new();
    hasher.update(format!("tree {}\0", body.len()));
    hasher.update(body);
    Some(hasher.finalize().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::Git;

    #[test]
    fn the_tree_is_the_one_that_git_writes() {
        for (format, id_length) in [("sha1", 20), ("sha256", 32)] {
            let dir = tempfile::tempdir().unwrap();
            let git = Git::at(dir.path());
            git.run(&["init", "-q", &format!("--object-format={format}")])
                .unwrap();
            for path in ["a-b", "a/b/c", "a/b.c", "a0", "a/z/y", "\u{e9}"] {
                let path = dir.path().join(path);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(&path, path.to_str().unwrap()).unwrap();
            }
            git.run(&["add", "."]).unwrap();
            let expected = String::from_utf8(git.line(&["write-tree"]).unwrap()).unwrap();
            let listed = git.run(&["ls-files", "-s", "-z"]).unwrap().stdout;
            assert_eq!(id_of(&listed, id_length).unwrap().as_str(), expected);
        }
    }

    #[test]
    fn without_entries_it_is_the_empty_tree() {
        let id = id_of(b"", 20).unwrap();
        assert_eq!(id.as_str(), "4b825dc642cb6eb9a060e54bf8d69288fbee4904");
    }
}
