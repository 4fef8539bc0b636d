//! What reads git's bytes, for inputs that nobody thought of (`fuzz/`): none may panic, and what is accepted must mean
//! itself.
//!
//! In no build for users.

use std::collections::BTreeSet;

use super::digest::TextDecoder;
use super::ignores::Ignores;
use super::index_file::IndexFile;
use super::split_index;
use super::status_text::Status;

/// Reads an index, of both kinds of object ids.
pub fn index(bytes: &[u8]) {
    for id_length in [20, 32] {
        let Some((index, link)) = IndexFile::read_with_link(bytes.to_vec(), id_length) else {
            continue;
        };
        index.cached_trees();
        if let Some(link) = link {
            split_index::read_link(&link, id_length);
            continue;
        }
        let all: Vec<_> = index.entries().map(|entry| entry.path().to_vec()).collect();
        // Git refuses an index whose paths are out of order.
        if !all.is_sorted_by(|one, next| one < next) || all.iter().any(Vec::is_empty) {
            continue;
        }
        let paths = index.entries().take(3).map(|entry| entry.path().to_vec());
        let paths: BTreeSet<_> = paths.collect();
        let some = index.with_only(&paths);
        let again = IndexFile::read_with_link(some.bytes, id_length).map(|(index, _)| index);
        let found = again.iter().flat_map(IndexFile::entries);
        let found: BTreeSet<_> = found.map(|entry| entry.path().to_vec()).collect();
        // It also has repositories inside, and what rules others.
        assert!(
            paths.is_subset(&found),
            "a small index has the entries asked for"
        );
    }
}

/// Reads a status; what it means is written as it was read or is left to git.
pub fn status(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let Some(status) = Status::parse(text) else {
        return;
    };
    for all_quoted in [true, false] {
        if let Some(text) = status.render(all_quoted) {
            assert_eq!(Status::parse(&text).as_ref(), Some(&status));
        }
    }
}

/// Reads rules of what is ignored, and asks about paths in them.
pub fn rules(bytes: &[u8]) {
    let mut ignores = Ignores::default();
    if ignores.take(bytes).is_none() {
        return;
    }
    for line in bytes.split(|byte| *byte == b'\n') {
        let path: Vec<u8> = line.iter().copied().filter(|byte| *byte != b'*').collect();
        ignores.covers(&path, path.len().is_multiple_of(2));
    }
}

/// Reads the text of a diff in two pieces, wherever it is cut.
pub fn text(bytes: &[u8]) {
    let whole = TextDecoder::default().decode(bytes);
    for cut in [bytes.len() / 3, bytes.len() / 2] {
        let Some((first, rest)) = bytes.split_at_checked(cut) else {
            continue;
        };
        let mut decoder = TextDecoder::default();
        let pieces = decoder
            .decode(first)
            .and_then(|first| Some([first, decoder.decode(rest)?].concat()));
        assert_eq!(pieces, whole, "cut at {cut}");
    }
}
