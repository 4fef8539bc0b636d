//! What running an app leaves in its worktree and git does not ignore: a marked block in `info/exclude`, so that git,
//! the guide's helper and tracemark agree that it is no code.
//!
//! Touches no `.gitignore`, and nothing in that file but our own block.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::fs_util::{PathError, read_if_exists, remove_if_exists, replace};
use crate::git::Git;
use crate::marked_block::{Marks, OURS};
use crate::repository::Worktree;

const BEGIN: &str = "# >>> tracemark >>> (made by `tracemark up`, removed by `tracemark down`)\n";
/// The whole first line: what a person wrote about it is no block.
const MARKS: Marks = Marks {
    begin: BEGIN.as_bytes(),
    ..OURS
};

/// Patterns, each with a path that it is tried on.
const LEFTOVERS: [(&str, &str); 6] = [
    ("mlflow.db", "mlflow.db"),
    ("mlflow.db-journal", "mlflow.db-journal"),
    ("mlflow.db-*", "mlflow.db-wal"),
    ("mlruns/", "mlruns/0"),
    ("mlartifacts/", "mlartifacts/0"),
    ("__pycache__/", "__pycache__/app.pyc"),
];

/// Returns the patterns of what would make every run a change of the code: what an app leaves, the database at `store`,
/// and what of `own`, our directories and files outside of repositories, lies in this one.
pub fn missing(worktree: &Worktree, store: Option<&Path>, own: &[PathBuf]) -> Vec<String> {
    let git = Git::at(&worktree.root);
    let is_missing = |example: &str| {
        git.run(&["check-ignore", "-q", "--no-index", "--", example])
            .is_err()
    };
    let leftovers = LEFTOVERS
        .iter()
        .filter(|(_, example)| is_missing(example))
        .map(|(pattern, _)| (*pattern).to_owned());
    let inside = store
        .and_then(|store| store.strip_prefix(&worktree.root).ok())
        .and_then(Path::to_str)
        .filter(|path| *path != "mlflow.db" && is_missing(path));
    let database = inside.map(pattern).into_iter();
    let ours = own
        .iter()
        .filter_map(|place| inside_of(&worktree.root, place));
    let ours = ours.filter(|path| is_missing(path) && is_missing(&format!("{path}/any")));
    leftovers
        .chain(database.flat_map(|path| [format!("/{path}"), format!("/{path}-*")]))
        .chain(ours.map(|path| format!("/{}", pattern(&path))))
        .collect()
}

/// Where a place that may not be there yet lies in a worktree; `None` outside of it, and in a git directory.
fn inside_of(root: &Path, place: &Path) -> Option<String> {
    let there = place.ancestors().find(|above| above.exists())?;
    let rest = place.strip_prefix(there).ok()?;
    let real = there.canonicalize().ok()?.join(rest);
    let path = real.strip_prefix(root).ok()?;
    let is_code = path.components().next().is_some() && !path.iter().any(|name| name == ".git");
    is_code.then(|| path.to_str().map(str::to_owned)).flatten()
}

/// Returns a path as a pattern that matches only it (gitignore(5)).
pub fn pattern(path: &str) -> String {
    path.chars()
        .flat_map(|c| {
            let special = matches!(c, '*' | '?' | '[' | '\\' | ' ');
            special.then_some('\\').into_iter().chain([c])
        })
        .collect()
}

/// True where the file is a link: what it leads to is somebody else's, and is not written.
pub fn is_elsewhere(common_dir: &Path) -> bool {
    let real = |path: &Path| path.canonicalize().ok();
    let file = file(common_dir);
    let there = real(&file).or_else(|| real(&common_dir.join("info")));
    file.is_symlink()
        || there.is_some_and(|there| real(common_dir).is_some_and(|dir| !there.starts_with(dir)))
}

/// Returns whether the block of the file was cut off, so that what of it is ours cannot be told.
pub fn is_half(common_dir: &Path) -> bool {
    let text = read_if_exists(&file(common_dir)).ok().flatten();
    text.is_some_and(|text| MARKS.is_cut_off(&text))
}

/// Returns the file that the block is in.
pub fn file(common_dir: &Path) -> PathBuf {
    common_dir.join("info/exclude")
}

/// Returns the file's text with a block of `patterns`, or with them in the block that is there. Nothing is written.
///
/// # Errors
/// [`PathError`] when the file cannot be read.
pub fn with_patterns(common_dir: &Path, patterns: &[String]) -> Result<Vec<u8>, PathError> {
    let before = read_if_exists(&file(common_dir))?.unwrap_or_default();
    let mut text = MARKS.without_block(&before);
    let kept = MARKS.lines_inside(&before);
    let added = patterns.iter().filter(|pattern| !kept.contains(pattern));
    let block = kept
        .iter()
        .chain(added)
        .fold(BEGIN.to_owned(), |block, pattern| block + pattern + "\n");
    if text.last().is_some_and(|last| *last != b'\n') {
        text.push(b'\n');
    }
    text.extend_from_slice(block.as_bytes());
    text.extend_from_slice(OURS.end);
    Ok(text)
}

/// Adds a block with `patterns`, or adds them to the block that is there.
///
/// # Errors
/// [`PathError`] when the file cannot be written.
pub fn add(common_dir: &Path, patterns: &[String]) -> Result<(), PathError> {
    let text = with_patterns(common_dir, patterns)?;
    let info = common_dir.join("info");
    std::fs::create_dir_all(&info).map_err(PathError::of("create", &info))?;
    write(&file(common_dir), &text)
}

/// Keeps the mode of a file that is there.
fn write(path: &Path, text: &[u8]) -> Result<(), PathError> {
    let mode = path
        .metadata()
        .map_or(0o644, |metadata| metadata.permissions().mode() & 0o7777);
    replace(path, text, mode)
}

/// Removes the block; a file that held nothing else is removed.
///
/// # Errors
/// [`PathError`] when the file cannot be written.
pub fn remove(common_dir: &Path) -> Result<(), PathError> {
    let path = file(common_dir);
    if is_elsewhere(common_dir) {
        return Ok(());
    }
    let Some(before) = read_if_exists(&path)? else {
        return Ok(());
    };
    let text = MARKS.without_block(&before);
    if text.is_empty() {
        remove_if_exists(&path)?;
        return Ok(());
    }
    if text == before {
        return Ok(());
    }
    write(&path, &text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_block_comes_and_goes_and_leaves_the_rest() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("info")).unwrap();
        let path = file(dir.path());
        std::fs::write(&path, "# mine\n*.log\n").unwrap();
        add(dir.path(), &["mlruns/".to_owned()]).unwrap();
        add(dir.path(), &["mlflow.db".to_owned()]).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.matches("mlruns/").count(), 1, "{text}");
        assert_eq!(text.matches("mlflow.db").count(), 1, "{text}");
        remove(dir.path()).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "# mine\n*.log\n");
    }
}
