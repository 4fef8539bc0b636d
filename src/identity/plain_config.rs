//! Git's configuration where it is so plain that every reader takes it alike: no includes, no quotes, no comments
//! behind values.
//!
//! Asks git nothing: anything else, and any setting whose effect is not known here, is left to it.

use std::path::{Path, PathBuf};

use crate::git::{home, xdg_dir};

/// Settings by which `git status` neither fails nor prints more, whatever their value; by section, with or without subsection.
const IRRELEVANT: [&str; 5] = ["alias.", "credential.", "init.", "remote.", "url."];
/// A truth value (git-config(1)).
const BOOLEAN: [&str; 2] = ["true", "false"];
/// Where the user's own rules are about what is ignored (git-config(1)).
const EXCLUDES: &str = "core.excludesfile";
/// What others must say; nothing stands for anything.
const EXPECTED: [(&str, &[&str]); 19] = [
    ("color.ui", &["auto", "true", "false", "always", "never"]),
    ("commit.gpgsign", &BOOLEAN),
    ("core.bare", &["false"]),
    ("core.editor", &[]),
    (EXCLUDES, &[]),
    ("core.filemode", &["true"]),
    ("core.logallrefupdates", &BOOLEAN),
    ("core.pager", &[]),
    ("core.repositoryformatversion", &["0"]),
    ("fetch.prune", &BOOLEAN),
    ("gc.auto", &["0"]),
    ("maintenance.auto", &["0", "1", "false", "true"]),
    ("pull.rebase", &BOOLEAN),
    ("push.autosetupremote", &BOOLEAN),
    (
        "push.default",
        &["simple", "current", "upstream", "nothing", "matching"],
    ),
    ("safe.directory", &[]),
    ("user.email", &[]),
    ("user.name", &[]),
    ("user.signingkey", &[]),
];
/// Where git may have been built to look for the system's settings.
const SYSTEM: [&str; 4] = [
    "/etc/gitconfig",
    "/usr/local/etc/gitconfig",
    "/opt/homebrew/etc/gitconfig",
    "/opt/local/etc/gitconfig",
];

/// Returns the file of the user's own rules about what is ignored, `None` where anything is configured, for the repository with
/// this common directory, that could make `git status` print more than paths, or fail.
pub(super) fn rules_of_user(common_dir: &Path) -> Option<PathBuf> {
    let home = home().filter(|home| home.is_absolute())?;
    if !SYSTEM.map(Path::new).into_iter().all(sets_no_rules) {
        return None;
    }
    let xdg = xdg_dir().filter(|xdg| xdg.is_absolute())?;
    let mut rules = xdg.join("ignore");
    // The last one counts (git-config(1), "FILES").
    let of_user = [xdg.join("config"), home.join(".gitconfig")];
    for file in of_user.iter().chain([&common_dir.join("config")]) {
        for (key, value) in usual(file)? {
            if key == EXCLUDES {
                rules = absolute(&value, &home)?;
            }
        }
    }
    Some(rules)
}

/// Returns whether the repository's own configuration says nothing of where its work tree is, whether it has one, and of its format,
/// but what is usual; false also where it cannot be read.
pub(crate) fn is_usual(common_dir: &Path) -> bool {
    usual(&common_dir.join("config")).is_some_and(|all| !all.is_empty())
}

/// Which of the system's files git reads is not known here.
fn sets_no_rules(file: &Path) -> bool {
    usual(file).is_some_and(|all| all.iter().all(|(key, _)| key != EXCLUDES))
}

fn usual(file: &Path) -> Option<Vec<(String, String)>> {
    match std::fs::read_to_string(file) {
        Ok(text) => settings(&text).filter(|all| all.iter().all(is_expected)),
        Err(error) => (error.kind() == std::io::ErrorKind::NotFound).then(Vec::new),
    }
}

/// `None` for a path that starts at a directory which only git knows.
fn absolute(value: &str, home: &Path) -> Option<PathBuf> {
    match value.strip_prefix("~/") {
        Some(below_home) => (!below_home.starts_with('/')).then(|| home.join(below_home)),
        None => value.starts_with('/').then(|| PathBuf::from(value)),
    }
}

/// Returns every key, in lower case but for subsections, with its value; `None` where there is anything that is not plain.
fn settings(text: &str) -> Option<Vec<(String, String)>> {
    let mut section = None;
    let mut found = Vec::new();
    for line in text.lines() {
        let line = line.trim_matches([' ', '\t']);
        // What git takes for white space, and where, differs: config.c, git 2.47.
        if line.contains(|c: char| c.is_control() && c != '\t') {
            return None;
        }
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(header) = line.strip_prefix('[') {
            section = Some(section_of(header.strip_suffix(']')?)?);
            continue;
        }
        let (name, value) = line.split_once('=')?;
        let (name, value) = (
            name.trim_end_matches([' ', '\t']),
            value.trim_start_matches([' ', '\t']),
        );
        let is_plain = is_name(name) && !value.contains(['"', '\\', '#', ';']);
        let key = format!("{}.{}", section.as_ref()?, name.to_ascii_lowercase());
        is_plain.then(|| found.push((key, value.to_owned())))?;
    }
    Some(found)
}

/// `name`, or `name "subsection"`.
fn section_of(header: &str) -> Option<String> {
    let (name, subsection) = match header.split_once(' ') {
        None => (header, None),
        Some((name, rest)) => {
            let inner = rest.strip_prefix('"')?.strip_suffix('"')?;
            (name, Some(inner))
        }
    };
    let is_plain = subsection.is_none_or(|inner| !inner.contains(['"', '\\']));
    (is_plain && is_name(name)).then(|| {
        let name = name.to_ascii_lowercase();
        subsection.map_or_else(|| name.clone(), |inner| format!("{name}.{inner}"))
    })
}

/// Letters, digits and hyphens, a letter first (git-config(1), "Syntax").
fn is_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
}

fn is_expected((key, value): &(String, String)) -> bool {
    let of_filter = [".clean", ".smudge", ".process"]
        .iter()
        .any(|end| key.ends_with(end))
        || key.ends_with(".required") && BOOLEAN.contains(&value.as_str());
    let of_branch = [".remote", ".merge"].iter().any(|end| key.ends_with(end));
    let expected = EXPECTED.iter().find(|(known, _)| known == key);
    // A truth value, read by every command (promisor-remote.c, git 2.47).
    let is_promise = key.starts_with("remote.") && key.ends_with(".promisor");
    let is_irrelevant = IRRELEVANT.iter().any(|start| key.starts_with(start));
    is_irrelevant && (!is_promise || BOOLEAN.contains(&value.as_str()))
        || key.starts_with("filter.") && of_filter
        || key.starts_with("branch.") && of_branch
        || expected.is_some_and(|(_, values)| values.is_empty() || values.contains(&value.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_fine(text: &str) -> bool {
        settings(text).is_some_and(|all| all.iter().all(is_expected))
    }

    #[test]
    fn what_git_init_and_clone_write_is_usual() {
        assert!(is_fine(
            "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = false\n\tlogallrefupdates = true\n\
             [remote \"origin\"]\n\turl = https://example.org/a.git\n\tfetch = +refs/heads/*:refs/remotes/origin/*\n\
             [branch \"main\"]\n\tremote = origin\n\tmerge = refs/heads/main\n[user]\n\tname = A B\n"
        ));
    }

    #[test]
    fn a_path_that_starts_at_a_directory_of_gits_choice_is_left_to_git() {
        let home = Path::new("/home/a");
        assert_eq!(absolute("~/x", home), Some(home.join("x")));
        assert_eq!(absolute("/x", home), Some(PathBuf::from("/x")));
        for other in ["~nobody/x", "~//x", "x", "%(prefix)/x", "", "~"] {
            assert_eq!(absolute(other, home), None, "{other}");
        }
    }

    #[test]
    fn what_git_may_read_otherwise_or_refuse_is_not() {
        for text in [
            "[alias]\n1a = x\n",
            "[user]\nname = \"x\n",
            "[user]\nname\n",
            "[core]\nlogAllRefUpdates = bogus\n",
            "[core]\nworktree = /x\n",
            "[user]\nuseConfigOnly = garbage\n",
            "[user]\nname\u{b} = x\n",
            "[include]\npath = x\n",
            "[fetch]\nnegotiationAlgorithm = zz\n",
            "[filter \"x\"]\nrequired = abc\n",
            "[user] name = x\n",
            "[a b]\n",
            "name = x\n",
        ] {
            assert!(!is_fine(text), "{text}");
        }
    }
}
