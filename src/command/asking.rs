//! The daemon, asked from a command: what it answers, what is told it, and why there is no answer.
//!
//! Reads no code: where no daemon can be had, `once` does.

use std::path::Path;
use std::time::{Duration, Instant};

use super::{Context, daemon_start, once, warn};
use crate::client::{Client, ClientError, Question};
use crate::error::{Failure, FailureKind, chain};
use crate::protocol::Active;
use crate::registry::Record;
use crate::repository::Worktree;

/// Asks the daemon, which is started where it does not run, for the model of the code on disk; where no daemon can be
/// had, or it ends before it answers, the answer is made in this process.
pub(super) fn ask(
    context: &Context,
    worktree: &Worktree,
    record: &Record,
    question: Question,
) -> Result<Active, Failure> {
    ask_saying_whom(context, worktree, record, question).map(|(active, _)| active)
}

/// As [`ask`], with the daemon that answered, if one did.
pub(super) fn ask_saying_whom(
    context: &Context,
    worktree: &Worktree,
    record: &Record,
    question: Question,
) -> Result<(Active, Option<Client>), Failure> {
    let began = Instant::now();
    let client = context.client();
    let outcome = client.active(&worktree.root, question);
    let is_missing = matches!(&outcome, Err(error) if error.is_over());
    let asked = if is_missing && context.socket.is_none() {
        daemon_start::ensure_soon(context).map(|client| {
            let outcome = client.active(&worktree.root, question.since(began));
            (client, outcome)
        })
    } else {
        Ok((client, outcome))
    };
    let why = match asked {
        Ok((client, Ok(active))) => return Ok((about(active, &worktree.root)?, Some(client))),
        Ok((_, Err(error @ ClientError::Refused(_)))) if !error.is_stopping() => {
            return Err(client_failure(&error));
        }
        Ok((_, Err(error))) => daemon_start::refused(context, &error),
        Err(failure) => failure,
    };
    let active = once::resolve(
        context,
        worktree,
        &record.settings,
        question.since(began).wait,
    )?;
    let message = format!("{}; answered without it", why.message);
    warn(&message, why.hint.as_deref().unwrap_or("tracemark doctor"));
    Ok((active, None))
}

/// Has a running daemon read this repository's settings again; one that does not run reads them when it starts.
pub(super) fn tell_daemon(context: &Context, worktree: &Worktree) {
    if let Err(error) = context.client().track(&worktree.root) {
        tracing::debug!(%error, "the daemon was not told");
    }
}

/// A daemon that does not run has nothing to forget.
pub(super) fn untrack(context: &Context, root: &Path) {
    if let Err(error) = context.client().untrack(root) {
        tracing::debug!(%error, root = %root.display(), "the daemon was not told");
    }
}

pub(super) fn ask_client(client: &Client, root: &Path, wait: Duration) -> Result<Active, Failure> {
    let active = client
        .active(root, Question::within(wait))
        .map_err(|error| client_failure(&error))?;
    about(active, root)
}

/// An answer about another worktree, which this one lies in, is none.
fn about(active: Active, root: &Path) -> Result<Active, Failure> {
    if Path::new(&active.worktree) == root {
        return Ok(active);
    }
    Err(Failure::new(
        FailureKind::NotTracked,
        &format!(
            "the daemon does not know {}, only {} around it",
            root.display(),
            active.worktree
        ),
    )
    .hint("tracemark up"))
}

pub(super) fn client_failure(error: &ClientError) -> Failure {
    match error {
        ClientError::Refused(problem) => {
            let kind = if problem.code == "not_tracked" {
                FailureKind::NotTracked
            } else {
                FailureKind::NoDaemon
            };
            Failure::new(kind, &problem.message).hint(&problem.hint)
        }
        ClientError::Foreign(_) => {
            Failure::new(FailureKind::NoDaemon, &chain(error)).hint("the same without --socket")
        }
        ClientError::Unreachable { .. }
        | ClientError::OtherProtocol { .. }
        | ClientError::NotUnderstood { .. } => {
            Failure::new(FailureKind::NoDaemon, &chain(error)).hint("tracemark up")
        }
    }
}

/// Returns the failure that a state without a model id is.
pub(super) fn pending_failure(active: &Active) -> Failure {
    let by_store = active.waiting_for.as_deref() == Some("store");
    let kind = match active.state.as_str() {
        "broken" if active.lasting => FailureKind::Configuration,
        _ if by_store => FailureKind::Store,
        _ => FailureKind::Negative,
    };
    let reason = active
        .reason
        .as_deref()
        .unwrap_or("the code changed faster than it could be read");
    let hint = active.hint.as_deref().unwrap_or("tracemark status");
    Failure::new(kind, &format!("no model id yet: {reason}")).hint(hint)
}
