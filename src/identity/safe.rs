//! Reading a repository that nobody vouched for: what its configuration names as a program is switched off.
//!
//! Attributes apply all the same where git itself converts (`text`, `eol`, `ident`, `working-tree-encoding`); a clean filter
//! does not run, so what it would change is read as it lies on disk.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;

use crate::git::{Git, GitError, records};

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
    let programs = records(&listed).filter(|key| names_a_program(key));
    Ok(git
        .clone()
        .with_emptied(programs.map(|key| OsString::from_vec(key.to_vec()))))
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

/// Keys as `git config --list` prints them: section and variable in small letters (git-config(1), gitattributes(5)).
fn names_a_program(key: &[u8]) -> bool {
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
            assert!(names_a_program(key.as_bytes()), "{key}");
        }
        for key in ["diff.context", "core.eol", "filter.clean.x", "clean"] {
            assert!(!names_a_program(key.as_bytes()), "{key}");
        }
    }
}
