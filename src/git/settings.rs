//! Settings as git itself lists them.
//!
//! Knows none by its meaning.

use std::ffi::OsStr;
use std::path::Path;

use super::{Git, GitError, records};

/// A setting, as the bytes that git printed.
pub type KeyAndValue = (Vec<u8>, Vec<u8>);

/// Returns the keys and values of the repository's own configuration, that of the worktree and what they include
/// among it (git-config(1), `--show-scope`); keys as git prints them, section and variable in small letters.
///
/// # Errors
/// As [`Git::run`].
pub fn own_settings(git: &Git) -> Result<Vec<KeyAndValue>, GitError> {
    let listed = git
        .run(&["config", "--list", "--show-scope", "--includes", "-z"])?
        .stdout;
    let mut fields = listed.split(|byte| *byte == 0);
    let mut own = Vec::new();
    while let (Some(scope), Some(setting)) = (fields.next(), fields.next()) {
        if scope == b"local" || scope == b"worktree" {
            let (key, value) = key_and_value(setting);
            own.push((key.to_vec(), value.to_vec()));
        }
    }
    Ok(own)
}

/// Returns where the submodules lie that a list like `.gitmodules` names; none where git cannot read it.
pub fn submodule_paths(git: &Git, list: &Path) -> Vec<Vec<u8>> {
    let paths = r"^submodule\..*\.path$";
    let arguments = ["config", "-z", "--get-regexp", paths, "--file"].map(OsStr::new);
    let listed = git.run(&[&arguments[..], &[list.as_os_str()]].concat());
    let listed = listed.unwrap_or_default().stdout;
    let values = records(&listed).map(|setting| key_and_value(setting).1.to_vec());
    values.collect()
}

/// A key without a value is true (git-config(1)); here its value is empty.
fn key_and_value(setting: &[u8]) -> (&[u8], &[u8]) {
    let mut parts = setting.splitn(2, |byte| *byte == b'\n');
    let key = parts.next().unwrap_or_default();
    (key, parts.next().unwrap_or_default())
}
