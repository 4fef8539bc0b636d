//! Git's configuration as it is in force for one worktree, and the files that it comes from.
//!
//! Reads none of these files: git lists what they say (`plain_config` reads those that every reader takes alike).

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use crate::git::{Git, GitError, seen_from};

/// What `git config --list` says (git-config(1)).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct GitConfig {
    /// The last value of each key; sections and names are in lower case.
    values: BTreeMap<String, String>,
    files: BTreeSet<PathBuf>,
}

impl GitConfig {
    /// Reads it for the repository at `root`.
    ///
    /// # Errors
    /// [`GitError`] when git refuses to read it.
    pub(super) fn read(git: &Git, root: &Path) -> Result<Self, GitError> {
        let listed = git.run(&["config", "--list", "-z", "--show-origin"])?;
        Ok(Self::parse(&listed.stdout, root))
    }

    /// `ORIGIN NUL KEY LF VALUE NUL`; a key without a value is true.
    fn parse(listed: &[u8], root: &Path) -> Self {
        let mut config = Self::default();
        let mut fields = listed.split(|byte| *byte == 0);
        while let (Some(origin), Some(setting)) = (fields.next(), fields.next()) {
            let file = origin
                .strip_prefix(b"file:")
                .map(|path| root.join(Path::new(OsStr::from_bytes(path))));
            let setting = String::from_utf8_lossy(setting);
            let (key, value) = setting.split_once('\n').unwrap_or((&setting, "true"));
            if let (true, Some(included)) = (is_include(key), included(value, file.as_deref())) {
                config.files.insert(included);
            }
            config.files.extend(file);
            config.values.insert(key.to_owned(), value.to_owned());
        }
        config
    }

    /// Returns the last value of a key, whose section and name are in lower case.
    pub(super) fn get(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(String::as_str)
    }

    /// Returns a boolean; `None` where it is unset or none of git's words.
    pub(super) fn is_true(&self, key: &str) -> Option<bool> {
        match self.get(key)?.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "1" => Some(true),
            "false" | "no" | "off" | "0" | "" => Some(false),
            _ => None,
        }
    }

    /// Returns whether files are converted by programs other than git-lfs, which may do something else tomorrow.
    pub(super) fn has_own_filters(&self) -> bool {
        self.values.iter().any(|(key, value)| {
            let name = key
                .strip_prefix("filter.")
                .and_then(|key| key.rsplit_once('.'));
            let cleans = matches!(name, Some((_, "clean" | "process")));
            cleans && !value.is_empty() && !value.starts_with("git-lfs ")
        })
    }

    /// Returns whether diffs are made, or files made readable for them, by other programs than git.
    pub(super) fn runs_programs_in_diffs(&self) -> bool {
        let is_of_driver = |key: &str| {
            let name = key
                .strip_prefix("diff.")
                .and_then(|key| key.rsplit_once('.'));
            matches!(name, Some((_, "command" | "textconv")))
        };
        self.values
            .keys()
            .any(|key| key == "diff.external" || is_of_driver(key))
    }

    /// Returns the files that were read, and those that would be included if they were there.
    pub(super) fn files(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(PathBuf::as_path)
    }
}

fn is_include(key: &str) -> bool {
    let conditional = key.strip_prefix("includeif.");
    key == "include.path" || conditional.is_some_and(|rest| rest.strip_suffix(".path").is_some())
}

fn included(value: &str, by: Option<&Path>) -> Option<PathBuf> {
    seen_from(by.and_then(Path::parent), value)
}

/// Returns whether a value of `status.showUntrackedFiles` has `git status` list any (`parse_untracked_setting_name` in
/// builtin/commit.c, git 2.47).
pub(super) fn lists_untracked(value: &str) -> bool {
    matches!(
        value.to_ascii_lowercase().as_str(),
        "normal" | "all" | "true" | "yes" | "on" | "1"
    )
}

/// Where git may have been built to look for the attributes of the whole system (gitattributes(5)).
pub(super) const SYSTEM_ATTRIBUTES: [&str; 4] = [
    "/etc/gitattributes",
    "/usr/local/etc/gitattributes",
    "/opt/homebrew/etc/gitattributes",
    "/opt/local/etc/gitattributes",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_value_counts_and_includes_are_known_by_their_place() {
        let listed = b"file:.git/config\0core.abbrev\n8\0file:.git/config\0include.path\n../more\0\
                       command line:\0core.abbrev\n9\0file:/home/u/.gitconfig\0core.bare\0";
        let config = GitConfig::parse(listed, Path::new("/r"));
        assert_eq!(config.get("core.abbrev"), Some("9"));
        assert_eq!(config.is_true("core.bare"), Some(true));
        let files: Vec<_> = config.files().collect();
        let expected = ["/home/u/.gitconfig", "/r/.git/../more", "/r/.git/config"];
        assert_eq!(files, expected.map(Path::new));
    }
}
