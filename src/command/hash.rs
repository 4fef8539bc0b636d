//! `tracemark hash`: the repository hash alone, in the caller's own directory and environment, as the guide's helper.
//!
//! Asks neither the daemon nor the store.

use super::name_parts::{app, captured, head};
use super::unreadable::{hash_failure, tree_failure};
use super::{Context, answer, explain, say};
use crate::cli::{HashArgs, NamingArg};
use crate::error::{Failure, FailureKind};
use crate::git::Git;
use crate::identity::{commit_name, git_hash, tree_name};
use crate::repository::Worktree;
use crate::text::printable;
use crate::trust;

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
