//! Which programs the repository's own configuration names, and whether they are those that `up` saw.
//!
//! Trust is given by `up`, for what the configuration named at that moment. A change is not run before `up` saw it.

use std::collections::BTreeMap;

use crate::git::{Git, GitError};
use crate::registry::Registry;
use crate::repository::Worktree;

/// What git-lfs writes into each repository (git-lfs-install(1)); with `--skip-smudge` it says so.
const GIT_LFS: [&str; 5] = [
    "git-lfs clean -- %f",
    "git-lfs smudge -- %f",
    "git-lfs smudge --skip -- %f",
    "git-lfs filter-process",
    "git-lfs filter-process --skip",
];
/// Values of `core.fsmonitor` that name git's own monitor, or none (git-config(1)).
const NO_PROGRAM: [&str; 9] = ["", "true", "false", "yes", "no", "on", "off", "1", "0"];

/// Returns the settings of the repository itself, not of the user, that name a program which git may run when it reads the
/// repository, with their values. git-lfs's own are left out.
///
/// # Errors
/// [`GitError`] when git cannot read the configuration.
pub fn programs(worktree: &Worktree) -> Result<BTreeMap<String, Vec<String>>, GitError> {
    let listed = Git::at(&worktree.root)
        .run(&["config", "--list", "--show-scope", "--includes", "-z"])?
        .stdout;
    let mut fields = listed.split(|byte| *byte == 0);
    let mut programs: BTreeMap<String, Vec<String>> = BTreeMap::new();
    while let (Some(scope), Some(setting)) = (fields.next(), fields.next()) {
        if scope != b"local" && scope != b"worktree" {
            continue;
        }
        let setting = String::from_utf8_lossy(setting);
        let (key, value) = setting.split_once('\n').unwrap_or((&setting, ""));
        if names_a_program(key, value) {
            programs
                .entry(key.to_owned())
                .or_default()
                .push(value.to_owned());
        }
    }
    Ok(programs)
}

/// Returns why a worktree's configuration is not trusted now: which settings are not those that `up` saw. `None` where it
/// is trusted.
pub fn doubt(registry: &Registry, worktree: &Worktree) -> Option<String> {
    let record = registry.find(&worktree.common_dir).ok()??;
    let trusted = record.trusted?;
    let now = match programs(worktree) {
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
        | ("gpg", "program") => true,
        ("filter", "clean" | "smudge" | "process") => {
            !(rest.starts_with("lfs.") && GIT_LFS.contains(&value))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        ] {
            assert_eq!(names_a_program(key, value), is_program, "{key}={value}");
        }
    }
}
