//! What once led to an error, or shows what is meant, is read by everything that reads bytes from outside (`fuzz/corpus`).
//!
//! For tests only: in no build for users.

use std::path::{Path, PathBuf};

/// A directory of inputs and who reads them.
type Kept = (&'static str, fn(&[u8]));

const KEPT: [Kept; 9] = [
    ("answer", crate::mlflow::fuzz::answer),
    ("config", crate::config::fuzz),
    ("credentials", crate::mlflow::fuzz::text),
    ("env_file", crate::env_file::fuzz),
    ("index", crate::identity::fuzz::index),
    ("requests", crate::daemon::fuzz::requests),
    ("rules", crate::identity::fuzz::rules),
    ("status", crate::identity::fuzz::status),
    ("text", crate::identity::fuzz::text),
];

fn files_in(dir: &Path) -> Vec<PathBuf> {
    let listed = std::fs::read_dir(dir).unwrap();
    let mut files: Vec<_> = listed.map(|file| file.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn every_input_that_was_kept_is_read_without_an_error() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let dirs = files_in(&corpus);
    assert_eq!(dirs, KEPT.map(|(name, _)| corpus.join(name)));
    for (dir, (name, read)) in dirs.iter().zip(KEPT) {
        let files = files_in(dir);
        assert!(!files.is_empty(), "{name}");
        for file in files {
            read(&std::fs::read(file).unwrap());
        }
    }
}
