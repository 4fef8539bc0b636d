//! Which programs the repository's own configuration names, and whether they are those that `up` saw.
//!
//! Trust is given by `up`, for what the configuration named at that moment. A change is not run before `up` saw it.
//! Runs none of them and writes nothing: whoever is about to run git asks here.

mod glance;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};

use crate::git::{GIT_LFS, Git, GitError, named_by, own_settings, records, submodule_paths};
use crate::identity::index_names::IndexNames;
use crate::registry::Registry;
use crate::repository::{Worktree, git_dir_of, gitlinks};
pub use glance::may_name_programs;

/// Values of `core.fsmonitor` that name git's own monitor, or none (git-config(1)).
const NO_PROGRAM: [&str; 9] = ["", "true", "false", "yes", "no", "on", "off", "1", "0"];

/// A URL that is a command (git-remote-ext(1)).
const EXT: &str = "ext::";
/// How many git directories of submodules are looked into.
const SUBMODULES_MAX: usize = 10_000;

/// Returns the settings of the repository itself and of its submodules, not of the user, that name a program which git may run when it reads the
/// repository, with their values. git-lfs's own are left out.
///
/// # Errors
/// [`GitError`] when git cannot read the configuration.
pub fn programs(worktree: &Worktree) -> Result<BTreeMap<String, Vec<String>>, GitError> {
    programs_beside(worktree, None)
}

/// As [`programs`], given what the worktree's index names where that is known.
fn programs_beside(
    worktree: &Worktree,
    names: Option<&IndexNames>,
) -> Result<BTreeMap<String, Vec<String>>, GitError> {
    let (own, inner) = std::thread::scope(|scope| {
        let own = scope.spawn(|| own_programs(worktree));
        let inner = submodule_configs(worktree, names);
        (own.join(), inner)
    });
    let mut programs = own.unwrap_or_else(|panic| resume_unwind(panic))?;
    for (name, file) in inner? {
        programs.extend(programs_in(&name, &file)?);
    }
    Ok(programs)
}

/// Git enters submodules, and heeds their configuration there: a path of each, and the file.
fn submodule_configs(
    worktree: &Worktree,
    names: Option<&IndexNames>,
) -> Result<Vec<(String, PathBuf)>, GitError> {
    let mut dirs = dirs_of_modules(worktree);
    dirs.extend(dirs_in_worktree(&worktree.root, names)?);
    let configs = dirs
        .iter()
        .flat_map(|dir| ["config", "config.worktree"].map(|name| dir.join(name)))
        .filter(|file| file.is_file())
        .map(|file| {
            let name = file.strip_prefix(&worktree.common_dir);
            let name = name.or_else(|_| file.strip_prefix(&worktree.root));
            (name.unwrap_or(&file).to_string_lossy().into_owned(), file)
        });
    Ok(configs.collect())
}

/// The git directories that lie where git puts those of submodules.
fn dirs_of_modules(worktree: &Worktree) -> BTreeSet<PathBuf> {
    let of_worktree = worktree.git_dir.join("modules");
    let mut tops = BTreeSet::from([worktree.common_dir.join("modules"), of_worktree]);
    let mut dirs = BTreeSet::new();
    while let Some(top) = tops.pop_first().filter(|_| dirs.len() < SUBMODULES_MAX) {
        for dir in subdirs(&top) {
            if dir.join("HEAD").is_file() {
                tops.insert(dir.join("modules"));
                dirs.insert(dir);
            } else {
                tops.insert(dir);
            }
        }
    }
    dirs
}

/// The git directories of submodules, and of theirs, as the worktree has them: `.gitmodules` or the index names them.
fn dirs_in_worktree(
    root: &Path,
    names: Option<&IndexNames>,
) -> Result<BTreeSet<PathBuf>, GitError> {
    let mut tops = BTreeSet::from([root.to_owned()]);
    let mut dirs = BTreeSet::new();
    while let Some(top) = tops.pop_first().filter(|_| dirs.len() < SUBMODULES_MAX) {
        let named = paths_in_gitmodules(&top).into_iter();
        let linked = match names.filter(|_| top == root) {
            Some(names) => names.gitlinks(),
            None => gitlinks(&top)?,
        };
        for path in named.chain(linked) {
            let inside = top.join(path);
            if let Some(dir) = real_git_dir_of(&inside)
                && dirs.insert(dir.clone())
            {
                let common = named_by(&dir.join("commondir"), b"", &dir);
                dirs.extend(common.and_then(|dir| dir.canonicalize().ok()));
                tops.insert(inside);
            }
        }
    }
    Ok(dirs)
}

/// Of several names of one directory always the same.
fn real_git_dir_of(root: &Path) -> Option<PathBuf> {
    git_dir_of(root)?.canonicalize().ok()
}

fn subdirs(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

fn paths_in_gitmodules(root: &Path) -> Vec<PathBuf> {
    let list = root.join(".gitmodules");
    if !list.is_file() {
        return Vec::new();
    }
    let paths = submodule_paths(&Git::at(root), &list).into_iter();
    paths
        .map(|path| PathBuf::from(OsString::from_vec(path)))
        .collect()
}

fn programs_in(name: &str, file: &Path) -> Result<BTreeMap<String, Vec<String>>, GitError> {
    let path = file.to_string_lossy();
    let dir = file.parent().unwrap_or(file);
    let arguments = ["config", "--file", &path, "--includes", "--list", "-z"];
    let git = Git::at(dir);
    // Git goes to the worktree that `core.worktree` names, which may have been moved; conditional includes need the git directory.
    let beside = || {
        let git = git.clone().with_var("GIT_DIR", dir);
        git.with_var("GIT_WORK_TREE", dir).run(&arguments)
    };
    let listed = git.run(&arguments).or_else(|_| beside())?.stdout;
    let mut programs: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for setting in records(&listed) {
        let setting = String::from_utf8_lossy(setting);
        let (key, value) = setting.split_once('\n').unwrap_or((&setting, ""));
        if names_a_program(key, value) {
            let values = programs.entry(format!("{name}: {key}")).or_default();
            values.push(value.to_owned());
        }
    }
    Ok(programs)
}

fn own_programs(worktree: &Worktree) -> Result<BTreeMap<String, Vec<String>>, GitError> {
    let mut programs: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (key, value) in own_settings(&Git::at(&worktree.root))? {
        let [key, value] = [key, value].map(|text| String::from_utf8_lossy(&text).into_owned());
        if names_a_program(&key, &value) {
            programs.entry(key).or_default().push(value);
        }
    }
    Ok(programs)
}

/// Returns the settings that name a program which git may run and which no `up` saw: of a repository that is not tracked,
/// all.
pub fn strangers(registry: &Registry, worktree: &Worktree) -> Vec<String> {
    let record = registry.find(&worktree.common_dir).ok().flatten();
    let trusted = record.map(|record| record.trusted);
    let seen = match trusted {
        // A record from before trust was kept.
        Some(None) => return Vec::new(),
        Some(Some(seen)) => seen,
        None => BTreeMap::new(),
    };
    let now = programs(worktree).unwrap_or_default().into_iter();
    now.filter(|(key, values)| seen.get(key) != Some(values))
        .map(|(key, _)| key)
        .collect()
}

/// Returns why a worktree's configuration is not trusted now: which settings are not those that `up` saw. `None` where it
/// is trusted.
pub fn doubt(registry: &Registry, worktree: &Worktree) -> Option<String> {
    doubt_beside(registry, worktree, None)
}

/// As [`doubt`], given what the worktree's index names now where that is known.
pub fn doubt_beside(
    registry: &Registry,
    worktree: &Worktree,
    names: Option<&IndexNames>,
) -> Option<String> {
    let record = match registry.find(&worktree.common_dir) {
        Ok(record) => record?,
        Err(error) => {
            return Some(format!(
                "what tracemark up trusted cannot be read, and nothing of the repository is run: {error}; remove that file, then tracemark up"
            ));
        }
    };
    let trusted = record.trusted?;
    let now = match programs_beside(worktree, names) {
        Ok(now) => now,
        Err(error) => return Some(format!("git's configuration cannot be read: {error}")),
    };
    let keys = trusted.keys().chain(now.keys());
    let mut changed: Vec<&String> = keys
        .filter(|key| trusted.get(*key) != now.get(*key))
        .collect();
    changed.sort();
    changed.dedup();
    if changed.is_empty() {
        return None;
    }
    let names: Vec<&str> = changed.into_iter().map(String::as_str).collect();
    Some(format!(
        "the repository's git configuration names other programs than when tracemark up saw it, and none is run: {}; tracemark up trusts it again",
        names.join(", ")
    ))
}

/// Keys as git prints them: section and variable in small letters.
fn names_a_program(key: &str, value: &str) -> bool {
    let (section, rest) = key.split_once('.').unwrap_or((key, ""));
    let variable = rest.rsplit('.').next().unwrap_or_default();
    match (section, variable) {
        ("core", "fsmonitor") => !NO_PROGRAM.contains(&value.to_lowercase().as_str()),
        ("core", "sshcommand" | "gitproxy" | "askpass" | "alternaterefscommand")
        | ("diff", "external" | "command" | "textconv")
        | ("remote", "uploadpack" | "vcs")
        | ("credential", "helper")
        | ("hook", "command")
        | ("gpg", "program") => true,
        ("protocol", "allow") => value != "never",
        ("remote", "url" | "pushurl") | ("submodule", "url") => value.starts_with(EXT),
        ("url", "insteadof" | "pushinsteadof") => rest.starts_with(EXT),
        ("submodule", "update") => value.starts_with('!'),
        ("filter", "clean" | "smudge" | "process") => {
            !(rest.starts_with("lfs.") && GIT_LFS.contains(&value))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;

    use super::*;

    #[test]
    fn what_git_leads_to_is_found_by_one_name_whatever_its_bytes_and_a_pipe_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let target = root.join(OsStr::from_bytes(b"else\xffwhere"));
        let inside = root.join("inside");
        std::fs::create_dir_all(&inside).unwrap();
        std::fs::create_dir(&target).unwrap();
        std::fs::write(inside.join(".git"), b"gitdir: ../else\xffwhere\n").unwrap();
        assert_eq!(real_git_dir_of(&inside), Some(target));
        std::fs::remove_file(inside.join(".git")).unwrap();
        let made = std::process::Command::new("mkfifo")
            .arg(inside.join(".git"))
            .status();
        assert!(made.unwrap().success());
        assert_eq!(real_git_dir_of(&inside), None);
    }

    #[test]
    fn programs_are_told_from_other_settings_and_git_lfs_is_none() {
        for (key, value, is_program) in [
            ("filter.x.clean", "sh x", true),
            ("filter.lfs.process", "git-lfs filter-process", false),
            ("filter.lfs.process", "sh evil", true),
            ("filter.lfs.required", "true", false),
            ("core.fsmonitor", "True", false),
            ("core.fsmonitor", ".git/hooks/x", true),
            ("core.hookspath", ".husky/_", false),
            ("diff.a.b.textconv", "x", true),
            ("core.sshcommand", "x", true),
            ("hook.any.command", "x", true),
            ("hook.any.event", "post-commit", false),
            ("protocol.ext.allow", "always", true),
            ("protocol.ext.allow", "never", false),
            ("remote.origin.url", "ext::sh -c x", true),
            ("remote.origin.url", "https://example.org/x", false),
            ("url.ext::sh -c x %S.insteadof", "https://example.org", true),
            (
                "url.git@example.org:.insteadof",
                "https://example.org",
                false,
            ),
            ("submodule.a.update", "!x", true),
            ("submodule.a.update", "rebase", false),
        ] {
            assert_eq!(names_a_program(key, value), is_program, "{key}={value}");
        }
    }
}
