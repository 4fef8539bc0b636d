//! What was read of every file, as bytes that outlive a process: who starts again reads what does not lie as it did, not all.
//!
//! Pure. Only what had settled is told, and only where git converts nothing, so that a stamp says all that matters.

use sha2::{Digest as _, Sha256};

use super::file_map::{Entry, FileMap, Mode, Ordered};
use super::object::RawId;
use super::stamp::{STAMP_BYTES, Stamp};

/// The first bytes; another version is none of ours.
const HEAD: &[u8] = b"tracemark files 1\n";
/// A hash over the rest comes after them, as disks are cut short and filled with zeros by crashes.
const HASH: usize = 32;
/// Of how many files it is worth to be written down.
const WORTHWHILE: usize = 1000;
/// Once one file in so many was read, it is time to write down what was.
const SHARE: usize = 8;

/// What is to be written down.
#[derive(Debug)]
pub struct FilesRecord(FileMap);

impl FilesRecord {
    /// Returns what is worth to be written down of these files, of which so many were read since that was done last.
    pub(super) fn of(files: &FileMap, read: usize, is_last: bool) -> Option<Self> {
        let is_due = is_last && read > 0 || read > files.count() / SHARE;
        (files.count() >= WORTHWHILE && is_due).then(|| Self(files.clone()))
    }

    /// Returns it as bytes.
    pub fn bytes(&self) -> Vec<u8> {
        written(&self.0)
    }
}

/// Returns every file that had settled, as bytes.
fn written(files: &FileMap) -> Vec<u8> {
    let mut body = Vec::new();
    files.each(|path, entry| {
        if let Some(stamp) = entry
            .stamp
            .filter(|_| entry.settled && entry.raw == entry.id)
        {
            add(&mut body, path);
            body.extend_from_slice(entry.mode.digits());
            add(&mut body, entry.id.as_bytes());
            body.extend_from_slice(&stamp.to_bytes());
        }
    });
    let hash: [u8; HASH] = Sha256::digest(&body).into();
    [HEAD, &hash, &body].concat()
}

fn add(body: &mut Vec<u8>, field: &[u8]) {
    let length = u32::try_from(field.len()).unwrap_or(u32::MAX);
    body.extend_from_slice(&length.to_le_bytes());
    body.extend_from_slice(field);
}

/// Returns the files of what was written; `None` for anything else, and for what is damaged.
pub(super) fn read(bytes: &[u8]) -> Option<FileMap> {
    let (hash, body) = bytes.strip_prefix(HEAD)?.split_first_chunk::<HASH>()?;
    if <[u8; HASH]>::from(Sha256::digest(body)) != *hash {
        return None;
    }
    let mut files = Ordered::new();
    let mut rest = body;
    while !rest.is_empty() {
        let path = field(&mut rest)?;
        let mode = Mode::from_digits(split(&mut rest, 6)?)?;
        let id = RawId::new(field(&mut rest)?)?;
        let stamp = Stamp::from_bytes(split(&mut rest, STAMP_BYTES)?)?;
        let entry = Entry {
            mode,
            id,
            raw: id,
            stamp: Some(stamp),
            settled: true,
        };
        files.add(path, entry)?;
    }
    files.finish()
}

fn field<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = split(rest, 4)?.try_into().ok().map(u32::from_le_bytes)?;
    split(rest, usize::try_from(length).ok()?)
}

fn split<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(taken)
}

#[cfg(test)]
mod tests {
    use super::super::object::Format;
    use super::*;

    fn some_files() -> FileMap {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "x").unwrap();
        let stamp = Stamp::of(&file);
        let id = RawId::from_hex(b"4b825dc642cb6eb9a060e54bf8d69288fbee4904").unwrap();
        let mut files = FileMap::default();
        let modes = [Mode::Plain, Mode::Executable, Mode::Link];
        for (number, mode) in modes.into_iter().enumerate() {
            let entry = Entry {
                mode,
                id,
                raw: id,
                stamp,
                settled: true,
            };
            files.insert(format!("a/b{number}/\u{e9}").as_bytes(), entry);
        }
        files
    }

    fn all(files: &FileMap) -> Vec<(Vec<u8>, Entry)> {
        let mut all = Vec::new();
        files.each(|path, entry| all.push((path.to_vec(), *entry)));
        all
    }

    #[test]
    fn what_is_written_is_read_again_but_for_what_had_not_settled() {
        let mut files = some_files();
        assert_eq!(all(&read(&written(&files)).unwrap()), all(&files));
        let settled = all(&files);
        let (_, entry) = settled[0];
        let unsettled = Entry {
            settled: false,
            ..entry
        };
        files.insert(b"new", unsettled);
        assert_eq!(all(&read(&written(&files)).unwrap()), settled);
    }

    #[test]
    fn a_map_that_is_read_is_the_one_that_was_written_and_takes_changes() {
        let mut files = some_files();
        let (_, entry) = all(&files)[0];
        for path in ["a.py", "a/c", "a-b/d/e.py", "a0", "z/y/x", "z/y.py", "top"] {
            files.insert(path.as_bytes(), entry);
        }
        let mut read = read(&written(&files)).unwrap();
        assert_eq!(read.count(), files.count());
        assert_eq!(read.linked(), files.linked());
        assert_eq!(all(&read), all(&files));
        assert_eq!(read.tree_id(Format::Sha1), files.tree_id(Format::Sha1));
        for map in [&mut read, &mut files] {
            map.insert(b"a/between.py", entry);
            map.remove(b"z/y/x");
        }
        assert_eq!(all(&read), all(&files));
        assert_eq!(read.tree_id(Format::Sha1), files.tree_id(Format::Sha1));
    }

    #[test]
    fn files_out_of_order_are_not_taken_for_a_map() {
        let (_, entry) = all(&some_files())[0];
        let made_of = |paths: &[&str]| {
            let mut files = Ordered::new();
            let added = paths
                .iter()
                .try_for_each(|path| files.add(path.as_bytes(), entry));
            added.and_then(|()| files.finish())
        };
        assert_eq!(made_of(&["a", "b/c", "b/d", "e"]).unwrap().count(), 4);
        for paths in [
            &["b", "a"][..],
            &["a", "a"],
            &["b/c", "a/c"],
            &["a/b", "c/d", "a/e"],
        ] {
            assert!(made_of(paths).is_none(), "{paths:?}");
        }
    }

    #[test]
    fn damage_is_found_wherever_it_is() {
        let whole = written(&some_files());
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            assert!(read(&damaged).is_none(), "byte {at}");
            assert!(read(&whole[..at]).is_none(), "cut at {at}");
        }
    }
}
