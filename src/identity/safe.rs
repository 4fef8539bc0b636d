//! Reading a repository that nobody vouched for: what its configuration names as a program is switched off.
//!
//! Attributes apply all the same where git itself converts (`text`, `eol`, `ident`, `working-tree-encoding`); a clean
//! filter does not run, so what it would change is read as it lies on disk. Does not decide whom to trust, but for
//! repositories inside: the `Git` that comes in says so.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::Path;

use crate::git::{GIT_LFS, Git, GitError, own_settings, records, submodule_paths};

/// Returns `git`, and where it distrusts the repository, with every program switched off that a configuration names for
/// reading files, whoever wrote it: one of the user's own may take orders from the repository's.
///
/// # Errors
/// [`GitError`] when git cannot read the configuration.
pub(crate) fn disarmed(git: &Git) -> Result<Git, GitError> {
    if !git.distrusts() {
        return Ok(git.clone());
    }
    let listed = git.run(&["config", "--list", "--name-only", "-z"])?.stdout;
    let programs = records(&listed).filter(|key| runs_while_reading(key));
    Ok(git
        .clone()
        .with_emptied(programs.map(|key| OsString::from_vec(key.to_vec()))))
}

/// Returns a git for the repository in `dir` inside that of `outer`. It runs nothing that this repository's own configuration names
/// where `outer` is wary: unless it is a submodule, nobody but who put it there has seen that.
pub(crate) fn inside(outer: &Git, dir: &Path) -> Git {
    let git = outer.in_other_repository(dir);
    if !outer.is_wary() || git.distrusts() || is_submodule(outer, &git, dir) || !names_own(&git) {
        git
    } else {
        git.distrusting()
    }
}

/// Submodules have their git directory in that of the repository around them, or stand in its list (gitmodules(5)).
fn is_submodule(outer: &Git, inner: &Git, dir: &Path) -> bool {
    let common = outer.path(&["rev-parse", "--path-format=absolute", "--git-common-dir"]);
    let own = inner.path(&["rev-parse", "--absolute-git-dir"]);
    if let (Ok(common), Ok(own)) = (common, own)
        && own.starts_with(common.join("modules"))
    {
        return true;
    }
    let (false, Ok(top)) = (
        outer.is_inside(),
        outer.path(&["rev-parse", "--show-toplevel"]),
    ) else {
        return false;
    };
    let relative = dir.strip_prefix(&top).unwrap_or(dir).as_os_str().as_bytes();
    let listed = submodule_paths(outer, &top.join(".gitmodules"));
    listed.iter().any(|path| path == relative)
}

/// Whether the repository's own configuration names programs, beside what git-lfs writes into each.
fn names_own(git: &Git) -> bool {
    let Ok(own) = own_settings(git) else {
        return true;
    };
    own.iter().any(|(key, value)| {
        let is_of_lfs = key.starts_with(b"filter.lfs.")
            && (key.ends_with(b".required")
                || GIT_LFS.iter().any(|known| value == known.as_bytes()));
        runs_while_reading(key) && !is_of_lfs
    })
}

/// Returns the filter drivers that have a clean filter here, which a distrusting reading does not run.
///
/// # Errors
/// As [`disarmed`].
pub(super) fn clean_filters(git: &Git) -> Result<Vec<String>, GitError> {
    let listed = git.run(&["config", "--list", "--name-only", "-z"])?.stdout;
    let mut drivers: Vec<String> = records(&listed)
        .filter_map(|key| {
            let driver = key.strip_prefix(b"filter.")?;
            [&b".clean"[..], b".process"]
                .into_iter()
                .find_map(|variable| driver.strip_suffix(variable))
        })
        .map(|driver| String::from_utf8_lossy(driver).into_owned())
        .collect();
    drivers.sort_unstable();
    drivers.dedup();
    Ok(drivers)
}

/// Whether a key names a program that git runs to read files or to compare them (gitattributes(5)); `trust` knows of others. Keys as
/// `git config --list` prints them: section and variable in small letters.
fn runs_while_reading(key: &[u8]) -> bool {
    let mut parts = key.splitn(2, |byte| *byte == b'.');
    let (section, rest) = (parts.next(), parts.next().unwrap_or_default());
    let variable = rest.rsplit(|byte| *byte == b'.').next();
    matches!(
        (section, variable),
        (
            Some(b"filter"),
            Some(b"clean" | b"smudge" | b"process" | b"required")
        ) | (Some(b"diff"), Some(b"external" | b"command" | b"textconv"))
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_told_from_other_settings_whatever_a_driver_is_called() {
        for key in [
            "filter.lfs.clean",
            "filter.a=b.c.process",
            "filter..required",
            "diff.external",
            "diff.my.driver.textconv",
        ] {
            assert!(runs_while_reading(key.as_bytes()), "{key}");
        }
        for key in ["diff.context", "core.eol", "filter.clean.x", "clean"] {
            assert!(!runs_while_reading(key.as_bytes()), "{key}");
        }
    }
}
