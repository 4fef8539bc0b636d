//! Files of git's that name a directory: `.git` of linked worktrees and submodules, `commondir`, `gitdir`
//! (gitrepository-layout(5)).
//!
//! Follows none of them further, and asks git nothing.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use crate::fs_util::read_if_exists;

/// The largest `.git` file that git reads (`READ_GITFILE_ERR_TOO_LARGE` in setup.c, 2.47).
const GITFILE_MAX: u64 = 1 << 20;

/// Returns the git directory that the file `.git` in `root` names; `None` where it is no file, or none that git reads.
pub fn git_dir_in_file(root: &Path) -> Option<PathBuf> {
    let file = root.join(".git");
    let is_read = file.metadata().ok()?.len() <= GITFILE_MAX;
    is_read.then(|| named_by(&file, b"gitdir: ", root))?
}

/// Returns the directory that a file names behind `before`, seen from `dir`. As git does, only line ends behind the name are no part
/// of it (`read_gitfile_gently` and `get_common_dir_noenv` in setup.c, 2.47).
pub fn named_by(file: &Path, before: &[u8], dir: &Path) -> Option<PathBuf> {
    let text = read_if_exists(file).ok()??;
    let name = text.strip_prefix(before)?;
    let end = name.iter().rposition(|byte| !b"\r\n".contains(byte))?;
    Some(dir.join(OsStr::from_bytes(name.get(..=end)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_file_names_ends_before_the_line_ends_however_many() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("commondir");
        let named = |text: &[u8]| {
            std::fs::write(&file, text).unwrap();
            named_by(&file, b"", Path::new("/r"))
        };
        assert_eq!(named(b"../real\n"), Some("/r/../real".into()));
        assert_eq!(named(b"/evil \n"), Some("/evil ".into()));
        let padded = [&b"../real"[..], &vec![b'\n'; 2 << 20]].concat();
        assert_eq!(named(&padded), Some("/r/../real".into()));
        assert_eq!(named(b"\n"), None);
    }

    #[test]
    fn a_git_file_is_one_as_git_reads_it_or_none() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        let named = |text: &str| {
            std::fs::write(root.join(".git"), text).unwrap();
            git_dir_in_file(root)
        };
        assert_eq!(named("gitdir: ../a\n"), Some(root.join("../a")));
        assert_eq!(named("gitdir:../a\n"), None);
        assert_eq!(
            named(&format!("gitdir: ../a{}", "\n".repeat(2 << 20))),
            None
        );
    }
}
