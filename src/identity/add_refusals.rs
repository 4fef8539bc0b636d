//! What `git add` refuses and `git update-index` lets pass: states that have no tree, in git's words.
//!
//! Reads and changes no file itself.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use super::TreeError;
use super::nested::has_commit;
use super::real_dirs::RealDirs;
use crate::git::{Git, GitError, records};

/// How many paths one command is given.
const ARGUMENTS_MAX: usize = 256;

/// What `git update-index` says before the path of a file that may not be added; before that of a link too that stands where
/// a file was, which `git add` takes.
pub(super) const IGNORING: &str = "Ignoring path ";

pub(super) fn no_commit(path: &[u8]) -> TreeError {
    let path = String::from_utf8_lossy(path);
    refusal(format!("'{path}' does not have a commit checked out"))
}

pub(super) fn invalid_path(path: &[u8]) -> TreeError {
    refusal(format!("invalid path '{}'", String::from_utf8_lossy(path)))
}

fn refusal(message: String) -> TreeError {
    TreeError::Git(GitError::Failed {
        command: "add".to_owned(),
        message,
    })
}

/// Before it adds anything `git add` looks whether submodules are clean, and dies where one is broken, or changed and without a
/// commit (submodule.c, object-file.c, git 2.47). Its look runs what submodules name, so none is taken where that may not be.
pub(super) fn refuse_broken_submodules(
    git: &Git,
    top: &Path,
    gitlinks: &[Vec<u8>],
) -> Result<(), TreeError> {
    if git.distrusts() {
        return Ok(());
    }
    let outer = git;
    let git = git.clone().with_var("GIT_LITERAL_PATHSPECS", "1");
    for some in gitlinks.chunks(ARGUMENTS_MAX) {
        let look = [
            "diff-files",
            "--raw",
            "-z",
            "--ignore-submodules=untracked",
            "--",
        ];
        let paths = some.iter().map(|path| OsStr::from_bytes(path));
        let arguments: Vec<_> = look.into_iter().map(OsStr::new).chain(paths).collect();
        let changed = git.run(&arguments)?.stdout;
        let mut fields = changed.split(|byte| *byte == 0);
        while let (Some(change), Some(path)) = (fields.next(), fields.next()) {
            let is_there = change.starts_with(b":160000 160000 ");
            if is_there && !has_commit(outer, &top.join(OsStr::from_bytes(path))) {
                return Err(no_commit(path));
            }
        }
    }
    Ok(())
}

/// In a conflict `git add` takes what is checked out, and dies where a directory stays in which nothing is (`check_removed` in
/// diff-lib.c, `add_to_index` in read-cache.c, git 2.47).
pub(super) fn refuse_contested_submodules(
    git: &Git,
    top: &Path,
    entries: &[u8],
) -> Result<(), TreeError> {
    let mut seen = BTreeSet::new();
    for entry in records(entries) {
        let Some((_, path)) = stage_and_path(entry).filter(|(stage, _)| *stage != b'0') else {
            continue;
        };
        let is_first = seen.insert(path.clone());
        let path = path.strip_prefix(b"\t").unwrap_or(&path);
        let on_disk = top.join(OsStr::from_bytes(path));
        let is_dir = || {
            let found = on_disk.symlink_metadata();
            found.is_ok_and(|found| found.is_dir()) && RealDirs::new(top).hold(path)
        };
        let is_checked_out = || on_disk.join(".git").exists() && has_commit(git, &on_disk);
        if is_first && entry.starts_with(b"160000 ") && is_dir() && !is_checked_out() {
            return Err(no_commit(path));
        }
    }
    Ok(())
}

/// Where it writes objects git dies of text in another encoding than `working-tree-encoding` says; where it only hashes,
/// it says so and goes on (convert.c, git 2.47).
pub(super) fn refuse_wrong_encoding(stderr: &[u8]) -> Result<(), TreeError> {
    let text = String::from_utf8_lossy(stderr);
    let complaint = text.lines().find(|line| {
        [
            "failed to encode",
            "BOM is prohibited",
            "BOM is required",
            IGNORING,
        ]
        .iter()
        .any(|words| line.contains(words))
    });
    complaint.map_or(Ok(()), |line| {
        Err(TreeError::Git(GitError::Failed {
            command: "update-index".to_owned(),
            message: line.to_owned(),
        }))
    })
}

/// Returns the stage of an entry, and its path behind a tab.
pub(super) fn stage_and_path(entry: &[u8]) -> Option<(u8, Vec<u8>)> {
    let tab = entry.iter().position(|byte| *byte == b'\t')?;
    let stage = *entry.get(tab.checked_sub(1)?)?;
    Some((stage, entry.get(tab..)?.to_vec()))
}
