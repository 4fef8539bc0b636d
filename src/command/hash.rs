//! `tracemark hash`: the repository hash alone, in the caller's own directory and environment, as the guide's helper.
//!
//! Asks neither the daemon nor the store.

use super::environment;
use super::{Context, answer, explain, say};
use crate::cli::{HashArgs, NamingArg};
use crate::config::Settings;
use crate::error::{Failure, FailureKind, chain};
use crate::git::{Git, GitError};
use crate::identity::tree::CapturedTree;
use crate::identity::{GitHashError, TreeError, git_hash};
use crate::identity::{commit_name, sanitize_app, tree_name};
use crate::ids::ObjectId;
use crate::repository::Worktree;
use crate::text::printable;
use crate::trust;

const SCRATCH_HINT: &str = "export TMPDIR=/tmp, or another directory that you can write";

/// The version that step 2 of MLflow's guide gives an app outside git.
const LOCAL_DEV: &str = "local-dev";

pub(super) fn run(context: &Context, arguments: &HashArgs) -> Result<(), Failure> {
    crate::identity::scratch::remove_on_signals();
    let naming = naming(arguments).map_err(Failure::in_one_line)?;
    let git = if arguments.safe {
        Git::inherited().distrusting()
    } else {
        Git::inherited()
    };
    let outcome = if arguments.explain {
        explain::run(context, arguments, naming, &git)
    } else {
        text(context, arguments, naming, &git).and_then(|text| answer(&format!("{text}\n")))
    };
    // A failure is one line, as scripts expect.
    if outcome.is_ok() && !arguments.safe {
        warn_of_strangers(context, "tracemark hash --safe");
    }
    outcome.map_err(Failure::in_one_line)
}

/// Git runs what a repository names, also one that came from elsewhere with its `.git` directory, or that names something
/// else since it is tracked. Costs no git where its
/// configuration holds no word that could name a program.
pub(super) fn warn_of_strangers(context: &Context, cure: &str) {
    let cwd = std::env::current_dir().unwrap_or_default();
    if !trust::may_name_programs(&cwd) {
        return;
    }
    let Ok(worktree) = Worktree::discover(&cwd) else {
        return;
    };
    let names = trust::strangers(&context.registry(), &worktree);
    if !names.is_empty() {
        say(&printable(&format!(
            "tracemark: git may run what this repository's configuration names ({}), and tracemark up did not see it; try: {cure}",
            names.join(", ")
        )));
    }
}

/// The git-hash is what git says with every program that is configured; safe is the tree id.
fn naming(arguments: &HashArgs) -> Result<NamingArg, Failure> {
    match (arguments.naming, arguments.safe) {
        (Some(NamingArg::GitHash), true) => Err(Failure::new(
            FailureKind::Usage,
            "the git-hash cannot be had with --safe: its diffs run what the repository's configuration names",
        )
        .hint("tracemark hash --safe --naming tree")),
        (None, true) => Ok(NamingArg::Tree),
        (None, false) => Ok(NamingArg::GitHash),
        (Some(naming), _) => Ok(naming),
    }
}

fn text(
    context: &Context,
    arguments: &HashArgs,
    naming: NamingArg,
    git: &Git,
) -> Result<String, Failure> {
    Ok(match (naming, arguments.name) {
        (NamingArg::GitHash, _) => {
            let hash = git_hash::compute(git, None).map_err(|error| hash_failure(git, &error))?;
            hash.text
        }
        (NamingArg::Commit, false) => head(git)?.to_string(),
        (NamingArg::Commit, true) => {
            let app = app(context, arguments)?;
            head(git).map_or_else(
                |_| format!("{app}-{LOCAL_DEV}"),
                |head| commit_name(&app, &head),
            )
        }
        (NamingArg::Tree, false) => captured(git)?.id().to_string(),
        (NamingArg::Tree, true) => {
            let content = captured(git)?
                .content()
                .map_err(|error| tree_failure(git, &error))?;
            tree_name(&app(context, arguments)?, &content)
        }
    })
}

pub(super) fn captured(git: &Git) -> Result<CapturedTree, Failure> {
    CapturedTree::read(git, None).map_err(|error| tree_failure(git, &error))
}

pub(super) fn head(git: &Git) -> Result<ObjectId, Failure> {
    let bytes = git
        .line(&["rev-parse", "--verify", "HEAD"])
        .map_err(|error| match error {
            GitError::Failed { .. } if is_outside(git) => outside(),
            error if is_nowhere(&error) => nowhere(&error),
            GitError::Failed { .. } if git.run(&["rev-parse", "--git-dir"]).is_ok() => no_commit(),
            other => Failure::new(FailureKind::Negative, &chain(&other))
                .hint(git_hint(&other, "git status")),
        })?;
    String::from_utf8(bytes)
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .ok_or_else(|| {
            Failure::new(FailureKind::Negative, "git names no object id for HEAD")
                .hint("git rev-parse HEAD")
        })
}

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

pub(super) fn app(context: &Context, arguments: &HashArgs) -> Result<String, Failure> {
    if let Some(app) = &arguments.app {
        return Ok(sanitize_app(app));
    }
    let cwd = std::env::current_dir().unwrap_or_default();
    let Ok(worktree) = Worktree::discover(&cwd) else {
        let name = cwd.file_name().map(|name| name.to_string_lossy());
        return Ok(sanitize_app(&name.unwrap_or_else(|| "app".into())));
    };
    let record = context.registry().find(&worktree.common_dir)?;
    let private = record.map(|record| record.settings).unwrap_or_default();
    let layer = environment::layer().over(private);
    let settings = Settings::load(&layer, &worktree.root, &context.paths.user_config())
        .map_err(crate::session::SessionError::from)?;
    Ok(settings
        .app
        .unwrap_or_else(|| sanitize_app(&worktree.default_app())))
}
