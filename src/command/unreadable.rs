//! Why there is no hash, tree or HEAD where the caller stands, and what to type.
//!
//! Only words: asks git no more than whether a repository is there, and mends nothing.

use crate::error::{Failure, FailureKind, chain};
use crate::git::{Git, GitError};
use crate::identity::{GitHashError, TreeError};

const SCRATCH_HINT: &str = "export TMPDIR=/tmp, or another directory that you can write";

/// Returns the failure that git's refusal to name HEAD is.
pub(super) fn head_failure(git: &Git, error: &GitError) -> Failure {
    match error {
        GitError::Failed { .. } if is_outside(git) => outside(),
        error if is_nowhere(error) => nowhere(error),
        GitError::Failed { .. } if git.run(&["rev-parse", "--git-dir"]).is_ok() => no_commit(),
        other => {
            Failure::new(FailureKind::Negative, &chain(other)).hint(git_hint(other, "git status"))
        }
    }
}

/// Returns the failure that the lack of a git-hash is.
pub(super) fn hash_failure(git: &Git, error: &GitHashError) -> Failure {
    let negative = |hint: &str| Failure::new(FailureKind::Negative, &chain(error)).hint(hint);
    match error {
        GitHashError::Git(GitError::Failed { .. }) if is_outside(git) => outside(),
        GitHashError::Git(error) if is_nowhere(error) => nowhere(error),
        GitHashError::Git(error) => negative(git_hint(error, "git status, git diff")),
        GitHashError::Scratch(_) => negative(SCRATCH_HINT),
        GitHashError::Index { .. } => negative("make it readable, then tracemark hash"),
        GitHashError::NoCommit => no_commit(),
        GitHashError::NotUtf8 { .. } | GitHashError::Unsteady => {
            negative("tracemark hash --naming tree")
        }
        GitHashError::TooLarge { .. } => negative("add it to .gitignore"),
        GitHashError::Endless { .. } => negative("remove it, or tracemark hash --naming tree"),
    }
}

/// Returns the failure that the lack of a tree or content id is.
pub(super) fn tree_failure(git: &Git, error: &TreeError) -> Failure {
    let negative = |hint: &str| Failure::new(FailureKind::Negative, &chain(error)).hint(hint);
    match error {
        TreeError::Git(GitError::Failed { .. }) if is_outside(git) => outside(),
        TreeError::Git(error) if is_nowhere(error) => nowhere(error),
        TreeError::Git(error) => negative(git_hint(error, "git status")),
        TreeError::Scratch(_) => negative(SCRATCH_HINT),
        TreeError::TooLarge { .. } => negative("add it to .gitignore"),
        TreeError::NothingCheckedOut => negative("git sparse-checkout disable"),
        _ => negative("git status"),
    }
}

fn git_hint<'a>(error: &GitError, otherwise: &'a str) -> &'a str {
    match error {
        GitError::Missing => "install git and put it on the PATH",
        GitError::Failed { message, .. } if message.contains("dubious ownership") => {
            "git config --global --add safe.directory \"$PWD\""
        }
        _ => otherwise,
    }
}

/// In a bare repository, and in a directory that was removed, there is no code.
fn is_nowhere(error: &GitError) -> bool {
    let signs = [
        "must be run in a work tree",
        "Unable to read current working directory",
    ];
    matches!(error, GitError::Failed { message, .. } if signs.iter().any(|sign| message.contains(sign)))
}

fn nowhere(error: &GitError) -> Failure {
    Failure::new(FailureKind::NotTracked, &chain(error)).hint("cd to a work tree of your app")
}

fn is_outside(git: &Git) -> bool {
    let asked = git
        .clone()
        .with_var("LC_ALL", "C")
        .run(&["rev-parse", "--git-dir"]);
    matches!(asked, Err(GitError::Failed { message, .. }) if message.contains("not a git repository"))
}

fn outside() -> Failure {
    Failure::new(FailureKind::NotTracked, "not a git repository")
        .hint("git init, or cd to the repository of your app")
}

fn no_commit() -> Failure {
    Failure::new(FailureKind::Negative, "this repository has no commit yet")
        .hint("git commit --allow-empty -m 'first commit'")
}
