//! Where it lies what the last daemon read of the files of a worktree, beside the env file.
//!
//! Knows nothing of what is in it, nor whether it still holds: the reader says.

use std::path::Path;

use crate::fs_util::held_dir::{Content, HeldDir};
use crate::identity::files_record::FilesRecord;
use crate::identity::reader::WorktreeReader;

const NAME: &str = "files";
/// What is larger is not read: some million files.
const SIZE_MAX: u64 = 1 << 30;

/// Lets a new reader know what was read before. What cannot be used is passed over: it is read again.
pub(super) fn recall(reader: &mut WorktreeReader, private_dir: &Path) {
    let held = HeldDir::open(private_dir).and_then(|dir| {
        dir.must_be_ours()?;
        dir.read(NAME, SIZE_MAX)
    });
    if let Ok(Content::File(bytes, _)) = held {
        reader.recall(&bytes);
    }
}

/// Writes down what was read, for the next daemon. In place: a kill midway leaves what is not believed, and no file of millions of
/// bytes under another name.
pub(super) fn write(private_dir: &Path, record: &FilesRecord) {
    let written = HeldDir::open(private_dir).and_then(|dir| {
        dir.must_be_ours()?;
        let bytes = record.bytes();
        if dir.create(NAME, &bytes, 0o600)? {
            return Ok(());
        }
        dir.write_in_place(NAME, &bytes, None)
    });
    if let Err(error) = written {
        tracing::debug!(%error, "what was read is not written down");
    }
}
