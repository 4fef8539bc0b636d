//! A worktree's session for a command that only looks: it remembers nothing.
//!
//! Makes no directory, and no ledger but one in memory.

use std::sync::Arc;

use super::Context;
use crate::error::Failure;
use crate::ledger::Ledger;
use crate::registry::Record;
use crate::repository::Worktree;
use crate::session::Session;

/// Returns a session as `up` would have it, that remembers nothing; `named` is the tracking URI of the command line.
pub(super) fn session(
    context: &Context,
    worktree: &Worktree,
    record: &Record,
    named: Option<&str>,
) -> Result<Session, Failure> {
    let ledger = Arc::new(Ledger::in_memory()?);
    Ok(Session::open_named(
        worktree,
        &record.settings,
        named,
        &context.paths,
        ledger,
    )?)
}
