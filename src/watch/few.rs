//! Directories that are watched for a few files in them: git's own, and those of files outside the worktree.
//!
//! Watches none of them itself, and knows no directory of the code.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use notify::RecursiveMode;

use crate::git::{Git, home, records, xdg_dir};
use crate::repository::Worktree;

/// The directories that are watched for a few files in them: what the identity depends on in git's own, and those of the
/// files outside.
pub(super) fn dirs_of_few(
    worktree: &Worktree,
    outside: &[PathBuf],
) -> Vec<(PathBuf, RecursiveMode)> {
    let common = &worktree.common_dir;
    let mut dirs = vec![
        (worktree.git_dir.clone(), RecursiveMode::NonRecursive),
        (common.clone(), RecursiveMode::NonRecursive),
        (common.join("info"), RecursiveMode::NonRecursive),
        (common.join("refs"), RecursiveMode::Recursive),
        (common.join("objects/pack"), RecursiveMode::NonRecursive),
        (common.join("objects/info"), RecursiveMode::NonRecursive),
        (common.join("reftable"), RecursiveMode::NonRecursive),
        (
            worktree.git_dir.join("reftable"),
            RecursiveMode::NonRecursive,
        ),
        (worktree.git_dir.join("info"), RecursiveMode::NonRecursive),
    ];
    // Which worktrees there are is seen from the main one, where there is one.
    if worktree.is_main() || !common.ends_with(".git") {
        dirs.push((common.join("worktrees"), RecursiveMode::NonRecursive));
    }
    dirs.extend(
        outside
            .iter()
            .filter_map(|file| file.ancestors().skip(1).find(|dir| dir.is_dir()))
            .map(|dir| (dir.to_owned(), RecursiveMode::NonRecursive)),
    );
    dirs.retain(|(dir, _)| dir.is_dir());
    dirs.sort_by(|a, b| a.0.cmp(&b.0));
    dirs.dedup_by(|a, b| a.0 == b.0);
    dirs
}

/// The user's own git configuration, ignore and attribute files (git-config(1), gitignore(5)).
pub(super) fn user_files(worktree: &Worktree) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = [git2::Config::find_global(), git2::Config::find_xdg()]
        .into_iter()
        .flatten()
        .collect();
    let of_user = ["config", "ignore", "attributes"];
    files.extend(
        xdg_dir()
            .into_iter()
            .flat_map(|dir| of_user.map(|name| worktree.root.join(&dir).join(name))),
    );
    files.extend(home().map(|home| home.join(".gitconfig")));
    files.extend(configuration(worktree));
    // Written through a link, a file makes its events where it lies.
    let of_git = ["config", "info/exclude", "info/attributes"];
    let own = of_git.map(|name| worktree.common_dir.join(name));
    let lead = files.iter().chain(&own).filter(|file| file.is_symlink());
    let targets: Vec<_> = lead.filter_map(|file| file.canonicalize().ok()).collect();
    files.extend(targets);
    files.sort();
    files.dedup();
    files
}

/// Returns the files of git's configuration that say anything, those that others include among them, and the ignore and attribute
/// files that it names.
fn configuration(worktree: &Worktree) -> Vec<PathBuf> {
    let listed = [
        "config",
        "--list",
        "--includes",
        "--show-origin",
        "--name-only",
        "-z",
    ];
    let listed = Git::at(&worktree.root).run(&listed).unwrap_or_default();
    let origins = records(&listed.stdout).filter_map(|field| field.strip_prefix(b"file:"));
    let mut files: Vec<_> = origins
        .map(|file| worktree.root.join(OsStr::from_bytes(file)))
        .filter(|file| !file.starts_with(&worktree.common_dir))
        .collect();
    if records(&listed.stdout).any(|key| NAMED.contains(&key)) {
        files.extend(named_files(worktree));
    }
    files
}

/// Settings whose values are files (git-config(1)).
const NAMED: [&[u8]; 2] = [b"core.excludesfile", b"core.attributesfile"];

fn named_files(worktree: &Worktree) -> Vec<PathBuf> {
    let keys = "^core\\.(excludesfile|attributesfile)$";
    let named = Git::at(&worktree.root).run(&["config", "-z", "--path", "--get-regexp", keys]);
    let named = named.unwrap_or_default().stdout;
    records(&named)
        .filter_map(|setting| {
            let at = setting.iter().position(|byte| *byte == b'\n')?;
            Some(PathBuf::from(OsStr::from_bytes(setting.get(at + 1..)?)))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::filter::Filter;
    use super::*;
    use crate::identity::names_of_ground;
    use crate::scratch_repository::ScratchRepository;

    #[test]
    fn whatever_a_reading_rests_on_in_a_git_directory_makes_events_that_count() {
        let repository = ScratchRepository::new();
        let worktree = Worktree::discover(repository.root()).unwrap();
        let git_dir = &worktree.git_dir;
        for dir in ["reftable", "refs/replace"] {
            std::fs::create_dir_all(git_dir.join(dir)).unwrap();
        }
        let dirs = dirs_of_few(&worktree, &[]);
        let filter = Filter::at(repository.root(), Vec::new());
        for name in names_of_ground() {
            let path = git_dir.join(name);
            let is_seen = |(dir, mode): &(PathBuf, RecursiveMode)| {
                let is_in = path.parent() == Some(dir) || path == *dir;
                is_in || *mode == RecursiveMode::Recursive && path.starts_with(dir)
            };
            assert!(dirs.iter().any(is_seen), "{name} is not watched");
            assert!(filter.matters(&path), "{name} does not count");
        }
    }
}
