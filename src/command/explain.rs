//! `tracemark hash --explain`: what a hash is made of and the traps that the state sits in, for a puzzled person.
//!
//! Only words: what there is to say, `identity::explain` finds out. Asks neither the daemon nor the store.

use std::path::Path;

use super::name_parts::{app, captured, head};
use super::unreadable::{hash_failure, tree_failure};
use super::{Context, answer};
use crate::cli::{HashArgs, NamingArg};
use crate::error::{Failure, FailureKind};
use crate::git::Git;
use crate::identity::explain::{
    Content, Explanation, FileLine, NoExplanation, Part, Parts, Setting, Trap, TreeExplanation,
    Uncounted, Unreadable,
};
use crate::identity::{commit_name, explain, tree_name};
use crate::text::{printable, shell_quoted};

/// How many lines are shown of a list.
const LINES_MAX: usize = 50;
/// How many names stand in a sentence.
const NAMES_MAX: usize = 3;
/// How many digits of a part's SHA-256 are shown.
const DIGITS: usize = 12;

/// Says the hash on the first line, then what there is to say of it.
pub(super) fn run(
    context: &Context,
    arguments: &HashArgs,
    naming: NamingArg,
    git: &Git,
) -> Result<(), Failure> {
    match naming {
        NamingArg::GitHash => git_hash(arguments, git),
        NamingArg::Commit => answer(&commit(context, arguments, git)?),
        NamingArg::Tree => answer(&tree(context, arguments, git)?),
    }
}

fn git_hash(arguments: &HashArgs, git: &Git) -> Result<(), Failure> {
    let explained = explain::git_hash(git).map_err(|error| hash_failure(git, &error))?;
    match &explained.hash {
        Ok(hash) => {
            let name = arguments.name.then_some(hash.text.as_str());
            answer(&format!(
                "{}\n{}",
                hash.text,
                git_hash_text(&explained, name)
            ))
        }
        Err(NoExplanation::NoHash(error)) => {
            // The first line is the hash: there is none.
            answer(&format!("\n{}", git_hash_text(&explained, None)))?;
            Err(hash_failure(git, error))
        }
        Err(error @ NoExplanation::Torn) => {
            let failure = Failure::new(FailureKind::Negative, &error.to_string());
            Err(failure.hint("tracemark hash --explain, again"))
        }
    }
}

fn git_hash_text(explained: &Explanation, name: Option<&str>) -> String {
    let mut text = String::from("\n");
    text += &row("HEAD", &explained.head);
    if let Some(name) = name {
        text += &row("LoggedModel", name);
    }
    match &explained.parts {
        Some(parts) => text += &parts_text(parts),
        None => {
            text += &row(
                "clean",
                "git status prints nothing, so the hash is HEAD itself, in full",
            );
        }
    }
    if let Err(error) = &explained.hash {
        text += &row("no hash", &error.to_string());
        text += &row(
            "",
            "tracemark names this version by its tree instead: tracemark hash --naming tree",
        );
    }
    text + &traps_text(&explained.traps)
}

fn row(title: &str, value: &str) -> String {
    format!("{title:<13}{}\n", printable(value))
}

fn parts_text(parts: &Parts) -> String {
    let mut text = row("staged", &part("git diff --cached", &parts.staged));
    text += &row("unstaged", &part("git diff", &parts.unstaged));
    match &parts.files {
        Some(lines) => {
            let count = counted(lines.len(), "line");
            let value = format!("{count}, a name of git status -uall and the file's SHA-256 each");
            text += &row("files", if lines.is_empty() { "nothing" } else { &value });
            text += &list(lines, file_line);
        }
        None => text += &row("files", "git status prints names that are not UTF-8"),
    }
    text
}

fn part(command: &str, part: &Part) -> String {
    match part {
        Part::Text { bytes: 0, .. } => format!("nothing: {command} prints nothing"),
        Part::Text {
            bytes,
            files,
            sha256,
        } => format!(
            "{} of {command} about {}, SHA-256 {}…",
            counted(*bytes, "byte"),
            counted(*files, "file"),
            sha256.get(..DIGITS).unwrap_or(sha256)
        ),
        Part::NotUtf8 { file } if file.is_empty() => {
            format!(
                "{command} gives a warning that is not UTF-8: the helper raises UnicodeDecodeError"
            )
        }
        Part::NotUtf8 { file } => {
            format!("not UTF-8 in \"{file}\": the helper raises UnicodeDecodeError")
        }
        Part::Failed(message) => format!("{message}: the helper raises RuntimeError"),
    }
}

fn file_line(line: &FileLine) -> String {
    let damaged = line.meant.as_ref().map_or_else(String::new, |meant| {
        format!(" ({meant}: the first line of git status lost its first letter)")
    });
    let content = match &line.content {
        Content::Sha256(digits) => digits.clone(),
        Content::Unreadable(_) if line.meant.is_some() => "unreadable".to_owned(),
        Content::Unreadable(why) => format!("unreadable ({})", unreadable(why)),
        Content::Refused(why) => why.clone(),
    };
    format!("{}: {content}{damaged}", line.name)
}

fn unreadable(why: &Unreadable) -> &str {
    match why {
        Unreadable::Missing => "there is no such file",
        Unreadable::Quoted => "git quotes the name, no file is called that with the quotes",
        Unreadable::Renamed => "git shows both names of a rename, no file is called that",
        Unreadable::Directory => "a directory",
        Unreadable::Submodule => "a submodule, which is a directory",
        Unreadable::NestedRepository => "a nested repository, which is a directory",
        Unreadable::BrokenLink => "a symbolic link that leads nowhere",
        Unreadable::LinkLoop => "symbolic links that lead in a circle",
        Unreadable::Denied => "no permission",
        Unreadable::Other(message) => message,
    }
}

fn commit(context: &Context, arguments: &HashArgs, git: &Git) -> Result<String, Failure> {
    let head = head(git)?;
    let mut text = format!("{head}\n\n{}", row("HEAD", head.as_str()));
    if arguments.name {
        let name = commit_name(&app(context, arguments)?, &head);
        text += &row("LoggedModel", &name);
    }
    text += &row(
        "edits",
        "do not count: what is not committed belongs to its commit's version",
    );
    Ok(text)
}

fn tree(context: &Context, arguments: &HashArgs, git: &Git) -> Result<String, Failure> {
    let captured = captured(git)?;
    let explained = explain::tree(&captured).map_err(|error| tree_failure(git, &error))?;
    let mut text = format!(
        "{}\n\n{}",
        captured.id(),
        row("tree", captured.id().as_str())
    );
    if arguments.name {
        let content = captured
            .content()
            .map_err(|error| tree_failure(git, &error))?;
        let name = tree_name(&app(context, arguments)?, &content);
        text += &row("LoggedModel", &name);
    }
    Ok(text + &tree_text(&explained, captured.id().as_str()))
}

fn tree_text(explained: &TreeExplanation, id: &str) -> String {
    let mut text = match &explained.head {
        Some(head) if head == id => row("HEAD's", "the same: all that is on disk is committed"),
        Some(head) => row("HEAD's", head),
        None => row("HEAD's", "none: there is no commit yet"),
    };
    if !explained.changes.is_empty() {
        let count = counted(explained.changes.len(), "path");
        let other = format!("{count} with another mode or object id than in HEAD's tree");
        text += &row("changed", &other);
        text += &list(&explained.changes, |change| match &change.now {
            Some((mode, id)) => format!("{mode} {id} {}", change.path),
            None => format!("gone {}", change.path),
        });
    }
    if !explained.dirty.is_empty() {
        let names = names(&explained.dirty);
        let value = format!(
            "{names}: only its commit counts here, if it has one; its files count in the LoggedModel's name (--name)"
        );
        text += &row("nested", &value);
    }
    if !explained.filters.is_empty() {
        let names = names(&explained.filters);
        let value = format!("clean filters do not run ({names}): files count as they lie on disk");
        text += &row("safe", &value);
    }
    text += &row(
        "without",
        &format!(
            "{}empty directories, pipes, sockets and devices; staged or committed makes no difference",
            match &explained.ignored[..] {
                [] => String::new(),
                paths => format!("what git ignores ({}), ", names(paths)),
            }
        ),
    );
    text
}

fn traps_text(traps: &[Trap]) -> String {
    if traps.is_empty() {
        return "\nno known trap: this state is in none\n".to_owned();
    }
    let mut text = "\nwhat to know of this state\n".to_owned();
    for trap in traps {
        let (what, cure) = said(trap);
        text += &format!("- {}\n", printable(&what));
        if let Some(cure) = cure {
            text += &format!("    try: {}\n", printable(&cure));
        }
    }
    text
}

/// What a trap does, and what to do about it if anything.
fn said(trap: &Trap) -> (String, Option<String>) {
    let by_tree = Some("tracemark up --naming tree, for names that stay".to_owned());
    match trap {
        Trap::Staging {
            staged,
            unstaged,
            untracked,
        } => (staging(*staged, *unstaged, *untracked), by_tree),
        Trap::FirstName {
            path,
            name,
            decoy,
            outside,
            can_be_staged,
        } => (
            first_name(path, name, decoy.as_deref(), *outside),
            can_be_staged.then(|| format!("git add {}", shell_quoted(path))),
        ),
        Trap::Paths { what, paths } => {
            let (what, cure) = uncounted(*what, &names(paths));
            (what, Some(cure.to_owned()))
        }
        Trap::BinaryFirst { path, digits } => binary_first(path, *digits),
        Trap::UntrackedNotShown { files, setting } => untracked(*files, setting.as_ref()),
        Trap::Elsewhere {
            hash,
            variables,
            relative,
        } => elsewhere(hash.as_deref(), variables, *relative),
        Trap::Program { named_by, paths } => (program(named_by, paths), by_tree),
        Trap::Setting(setting) => one_setting(setting),
        Trap::DriverSetting(setting) => {
            let text = "belongs to a diff driver in use: teammates who do not have it may get another hash";
            (format!("{setting} {text}"), by_tree)
        }
        Trap::PersonalIgnores { sources, paths } => {
            let (sources, paths) = (names(sources), names(paths));
            let text = format!("ignored by {sources} alone, so a teammate's counts: {paths}");
            (text, Some("the same lines in .gitignore".to_owned()))
        }
        Trap::Abbreviation {
            digits,
            packed,
            from,
            to,
        } => {
            let text = format!(
                "the diff abbreviates object ids to {digits} digits as {packed} objects are packed: with fewer than {from}, or with {to}, the hash is another (git gc, git fetch, other clones)"
            );
            (text, by_tree)
        }
    }
}

fn binary_first(path: &str, digits: usize) -> (String, Option<String>) {
    let text = format!(
        "the content of {path} (binary) counts only through {digits} digits of its object id, as the helper looks for it under another name"
    );
    (text, Some(format!("git add {}", shell_quoted(path))))
}

fn untracked(files: usize, setting: Option<&Setting>) -> (String, Option<String>) {
    let setting = setting.map_or_else(String::new, ToString::to_string);
    let text =
        format!("no untracked file counts ({files} here) until a tracked one changes: {setting}");
    let cure = "git config status.showUntrackedFiles normal".to_owned();
    (text, Some(cure))
}

fn one_setting(setting: &Setting) -> (String, Option<String>) {
    let text = format!(
        "{setting}: without it the hash is another, as it is for teammates who do not have it"
    );
    let scope = setting.scope.as_str();
    let is_unset = matches!(scope, "global" | "local" | "system" | "worktree");
    let cure = is_unset.then(|| {
        let key = &setting.key;
        format!("git config --{scope} --unset-all {key}, or the same setting for all")
    });
    (text, cure)
}

fn uncounted(what: Uncounted, names: &str) -> (String, &'static str) {
    match what {
        Uncounted::QuotedName => (
            format!(
                "the content of {names} does not count here: git quotes such names, and the helper opens them with the quotes"
            ),
            "git add, then it counts through the diff; or names of ASCII letters without spaces",
        ),
        Uncounted::QuotedDecoy => (
            format!(
                "the content of {names} does not count here: the helper reads the file that has git's quotes in its name"
            ),
            "rename the file that has quotes in its name",
        ),
        Uncounted::ExecutableBit => (
            format!("the executable bit of {names} does not count while untracked"),
            "git add",
        ),
        Uncounted::LinkTarget => (
            format!(
                "untracked links count as the content that they lead to, wherever that is: {names}"
            ),
            "git add",
        ),
        Uncounted::NestedContent => (
            format!("nothing in the nested repository counts: {names}"),
            "git submodule add, and commits in it; or .gitignore",
        ),
        Uncounted::SubmoduleContent => (
            format!("further edits in the dirty submodule do not count: {names}"),
            "git commit, in the submodule",
        ),
        Uncounted::Conflict => (
            format!(
                "a conflict resolved to ours and one resolved to theirs have the same hash: {names}"
            ),
            "git add, when it is resolved",
        ),
        Uncounted::Hidden => (
            format!("flagged assume-unchanged or skip-worktree, so changes do not count: {names}"),
            "git update-index --no-assume-unchanged FILE; git update-index --no-skip-worktree FILE",
        ),
        Uncounted::Phantom => (
            format!(
                "git status calls it changed, git diff shows no change (line ends, or no regular file is there): {names}"
            ),
            "git add, which changes this hash and no code",
        ),
    }
}

fn staging(staged: usize, unstaged: usize, untracked: usize) -> String {
    let ways = [
        (unstaged, "git add", "changed file"),
        (untracked, "git add or git add -N", "untracked file"),
        (staged, "git commit or git reset", "staged file"),
    ];
    let ways: Vec<String> = ways
        .into_iter()
        .filter(|(count, ..)| *count > 0)
        .map(|(count, command, what)| format!("{command} ({})", counted(count, what)))
        .collect();
    format!(
        "{} would change this hash though no code changes",
        ways.join(", ")
    )
}

fn first_name(path: &str, name: &str, decoy: Option<&Path>, outside: bool) -> String {
    let lost = format!(
        "{path} is first in git status and not staged: the helper trims the space before it, and so loses a letter of the name"
    );
    match decoy {
        None => {
            format!("{lost}; it looks for \"{name}\", and the content counts only through the diff")
        }
        Some(decoy) => format!(
            "{lost}; it reads {}{} in its place",
            decoy.display(),
            if outside {
                ", outside the worktree,"
            } else {
                ""
            }
        ),
    }
}

fn elsewhere(hash: Option<&str>, variables: &[&str], relative: bool) -> (String, Option<String>) {
    let hash = hash.unwrap_or("none");
    let mut causes: Vec<String> = variables
        .iter()
        .map(|name| format!("{name} in this shell"))
        .collect();
    if relative {
        causes.push("diff.relative in this subdirectory".to_owned());
    }
    let cure = match variables {
        [] => "cd \"$(git rev-parse --show-toplevel)\"".to_owned(),
        names => format!("unset {}", names.join(" ")),
    };
    (
        format!(
            "{} makes it differ from the daemon's, which is {hash}",
            causes.join(" and ")
        ),
        Some(cure),
    )
}

fn program(named_by: &str, paths: &[String]) -> String {
    let of = if paths.is_empty() {
        String::new()
    } else {
        format!(" of {}", names(paths))
    };
    format!(
        "{named_by} prints what is hashed{of}: without it the hash is another, and one that prints its temporary files' names makes another on every call"
    )
}

fn counted(count: impl TryInto<u64>, what: &str) -> String {
    match count.try_into() {
        Ok(1) => format!("1 {what}"),
        Ok(count) => format!("{count} {what}s"),
        Err(_) => format!("many {what}s"),
    }
}

/// A few names for a sentence.
fn names(all: &[String]) -> String {
    let shown: Vec<&str> = all.iter().take(NAMES_MAX).map(String::as_str).collect();
    match all.len().saturating_sub(NAMES_MAX) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// Indented lines, not too many.
fn list<T>(all: &[T], line: impl Fn(&T) -> String) -> String {
    let shown = all.iter().take(LINES_MAX);
    let mut text: String = shown
        .map(|item| format!("  {}\n", printable(&line(item))))
        .collect();
    if all.len() > LINES_MAX {
        text += &format!("  and {} more\n", all.len() - LINES_MAX);
    }
    text
}
