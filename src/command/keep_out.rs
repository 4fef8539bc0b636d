//! What keeps an app that runs from changing the code by its database: lines in `info/exclude`, or a refusal.
//!
//! Writes nothing else, and no `.gitignore`: that is code.

use std::path::Path;

use super::{Context, say, warn};
use crate::error::{Failure, FailureKind};
use crate::exclude;
use crate::registry::Record;
use crate::repository::{self, Worktree};
use crate::session::Session;
use crate::text::printable;

/// A database that git tracks would make every trace a change of the code.
pub(super) fn refuse_tracked_store(
    worktree: &Worktree,
    store: Option<&Path>,
) -> Result<(), Failure> {
    let Some(file) = store.filter(|file| repository::is_tracked(worktree, file)) else {
        return Ok(());
    };
    let name = file.strip_prefix(&worktree.root).unwrap_or(file);
    Err(Failure::new(
        FailureKind::Configuration,
        &format!(
            "{} is tracked by git: every trace would be a change of the code",
            name.display()
        ),
    )
    .hint(&format!("git rm --cached '{}'", name.display())))
}

/// The patterns to be added to `info/exclude`.
pub(super) fn kept_out(context: &Context, worktree: &Worktree, session: &Session) -> Vec<String> {
    exclude::missing(worktree, session.store_file(), &context.paths.own_places())
}

/// Adds them, and says so.
pub(super) fn keep_out(
    context: &Context,
    worktree: &Worktree,
    session: &Session,
    record: &mut Record,
) -> Result<(), Failure> {
    let patterns = kept_out(context, worktree, session);
    if patterns.is_empty() {
        return Ok(());
    }
    let file = exclude::file(&worktree.common_dir);
    if exclude::is_elsewhere(&worktree.common_dir) {
        let problem = format!(
            "{} is a link, and what it leads to is left alone: running an app will change the code",
            file.display()
        );
        warn(
            &problem,
            &format!("add these lines to it: {}", patterns.join(" ")),
        );
        return Ok(());
    }
    if exclude::is_half(&worktree.common_dir) {
        let problem = format!(
            "{} holds a block of tracemark's whose end is gone, and stays as it is: running an app will change the code",
            file.display()
        );
        warn(
            &problem,
            "take out the line # >>> tracemark >>> and what tracemark wrote below it, then tracemark up",
        );
        return Ok(());
    }
    exclude::add(&worktree.common_dir, &patterns)?;
    record.excluded = true;
    say(&format!(
        "Running an app would change the code by {}: added to {}",
        patterns.join(", "),
        printable(&file.to_string_lossy())
    ));
    warn_of_rules(&kept_out(context, worktree, session));
    Ok(())
}

/// A rule of a `.gitignore` beats what stands in `info/exclude` (gitignore(5)).
fn warn_of_rules(patterns: &[String]) {
    if !patterns.is_empty() {
        let problem = format!(
            "a rule lets {} in all the same: running an app will change the code",
            patterns.join(", ")
        );
        warn(&problem, "take that rule (!…) out of .gitignore");
    }
}
