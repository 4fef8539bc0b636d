//! Which settings shape a git-hash here, found by asking what it would be without each.
//!
//! Knows of a setting only git's default, never what it does; sets none but for one call of git.

use std::collections::BTreeMap;

use super::state::State;
use crate::git::{Git, GitError};
use crate::identity::git_hash;

/// Settings that the text of status and diff depends on (git-config(1)), each with git's default.
const SHAPING: [(&str, &str); 28] = [
    ("color.diff", "color.diff=auto"),
    ("color.ui", "color.ui=auto"),
    ("core.abbrev", "core.abbrev=auto"),
    ("core.attributesfile", "core.attributesFile=/dev/null"),
    ("core.autocrlf", "core.autocrlf=false"),
    ("core.bigfilethreshold", "core.bigFileThreshold=512m"),
    ("core.eol", "core.eol=native"),
    ("core.filemode", "core.fileMode=true"),
    ("core.quotepath", "core.quotePath=true"),
    ("diff.algorithm", "diff.algorithm=default"),
    ("diff.context", "diff.context=3"),
    ("diff.dstprefix", "diff.dstPrefix=b/"),
    // Unset, it is `none` for status and `untracked` for diff.
    ("diff.ignoresubmodules", "diff.ignoreSubmodules=none"),
    ("diff.ignoresubmodules", "diff.ignoreSubmodules=untracked"),
    ("diff.indentheuristic", "diff.indentHeuristic=true"),
    ("diff.interhunkcontext", "diff.interHunkContext=0"),
    ("diff.mnemonicprefix", "diff.mnemonicPrefix=false"),
    ("diff.noprefix", "diff.noPrefix=false"),
    ("diff.orderfile", "diff.orderFile=/dev/null"),
    ("diff.relative", "diff.relative=false"),
    ("diff.renamelimit", "diff.renameLimit=1000"),
    ("diff.renames", "diff.renames=true"),
    ("diff.srcprefix", "diff.srcPrefix=a/"),
    ("diff.submodule", "diff.submodule=short"),
    ("diff.suppressblankempty", "diff.suppressBlankEmpty=false"),
    ("status.renamelimit", "status.renameLimit=1000"),
    ("status.renames", "status.renames=true"),
    (
        "status.showuntrackedfiles",
        "status.showUntrackedFiles=normal",
    ),
];

/// A setting as it is in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Section and variable in small letters.
    pub key: String,
    /// The value, `true` where only the key is given.
    pub value: String,
    /// Whose it is: `system`, `global`, `local`, `worktree`, `command`.
    pub scope: String,
    /// Where it stands: `file:/home/ann/.gitconfig`.
    pub origin: String,
}

/// All settings in force, by key.
#[derive(Debug)]
pub(super) struct Settings(BTreeMap<String, Setting>);

impl Settings {
    pub(super) fn read(git: &Git) -> Result<Self, GitError> {
        let arguments = ["config", "--list", "--show-scope", "--show-origin", "-z"];
        let listed = git.run(&arguments)?.stdout;
        let text = String::from_utf8_lossy(&listed);
        let mut fields = text.split('\0');
        let mut settings = BTreeMap::new();
        while let (Some(scope), Some(origin), Some(entry)) =
            (fields.next(), fields.next(), fields.next())
        {
            let (key, value) = entry.split_once('\n').unwrap_or((entry, "true"));
            let setting = Setting {
                key: key.to_owned(),
                value: value.to_owned(),
                scope: scope.to_owned(),
                origin: origin.trim_end_matches(':').to_owned(),
            };
            settings.insert(setting.key.clone(), setting);
        }
        Ok(Self(settings))
    }

    pub(super) fn get(&self, key: &str) -> Option<&Setting> {
        self.0.get(key)
    }

    /// The driver's settings out of `variables`, in their order.
    pub(super) fn of_driver(&self, driver: &str, variables: &[&str]) -> Vec<&Setting> {
        variables
            .iter()
            .filter_map(|variable| self.get(&format!("diff.{driver}.{variable}")))
            .collect()
    }

    /// The settings without which the hash would not be `text`. Two that have the same effect hide each other: then all that
    /// are set are returned. None where the hash is another one on every call anyhow.
    pub(super) fn that_shape(&self, text: &str, git: &Git) -> Vec<&Setting> {
        let set: Vec<_> = SHAPING
            .iter()
            .filter_map(|(key, default)| {
                let setting = self.get(key)?;
                let (_, value) = default.split_once('=')?;
                (setting.value != value).then_some((setting, *default))
            })
            .collect();
        let differs = |defaults: &[&'static str]| {
            let hash = git_hash::compute(&git.clone().with_config(defaults), None);
            !hash.is_ok_and(|hash| hash.text == text)
        };
        if set.is_empty() || differs(&[]) {
            return Vec::new();
        }
        let mut shaping: Vec<&Setting> = set
            .iter()
            .filter(|(_, default)| differs(&[*default]))
            .map(|(setting, _)| *setting)
            .collect();
        let all: Vec<&'static str> = set.iter().map(|(_, default)| *default).collect();
        if shaping.is_empty() && all.len() > 1 && differs(&all) {
            shaping = set.iter().map(|(setting, _)| *setting).collect();
        }
        shaping.dedup();
        shaping
    }
}

/// The diff driver of each of the paths that has one (gitattributes(5)).
pub(super) fn drivers(state: &State, paths: &[&[u8]]) -> Result<Vec<(String, Vec<u8>)>, GitError> {
    let input: Vec<u8> = paths
        .iter()
        .flat_map(|path| path.iter().copied().chain([0]))
        .collect();
    let arguments = ["check-attr", "-z", "--stdin", "diff"];
    let listed = state.git.run_with_input(&arguments, Some(input))?.stdout;
    let mut fields = listed.split(|byte| *byte == 0);
    let mut drivers = Vec::new();
    while let (Some(path), Some(_), Some(value)) = (fields.next(), fields.next(), fields.next()) {
        if !matches!(value, b"unspecified" | b"set" | b"unset") {
            drivers.push((String::from_utf8_lossy(value).into_owned(), path.to_vec()));
        }
    }
    Ok(drivers)
}
