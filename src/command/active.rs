//! `tracemark active`: the model id of the code on disk now.
//!
//! Prints no id that may be that of older code, unless it was told not to wait. Starts a daemon where none runs, but
//! with `--once`.

use std::time::{Duration, Instant};

use super::environment::{layer_for, over_kept};
use super::{Context, answer, ask, here, json, once, pending_failure, say};
use crate::cli::ActiveArgs;
use crate::client::Question;
use crate::error::Failure;
use crate::protocol::Active;
use crate::registry::Record;
use crate::repository::Worktree;
use crate::text::printable;

/// The pause before a store that failed is asked about again.
const RETRY: Duration = Duration::from_millis(500);

pub(super) fn run(context: &Context, arguments: &ActiveArgs) -> Result<(), Failure> {
    let wait = if arguments.no_wait {
        Duration::ZERO
    } else {
        Duration::from_secs(arguments.timeout)
    };
    let full = arguments.full;
    let active = if arguments.once {
        resolve_once(context, wait)?
    } else {
        let (worktree, record) = context.tracked()?;
        wait_for(context, &worktree, &record, Question { wait, full })?
    };
    let usable = active.fresh || arguments.no_wait;
    let id = active.model_id.as_ref().filter(|_| usable);
    if arguments.json {
        answer(&json(&active)?)?;
    } else if let Some(id) = id {
        answer(&format!("{id}\n"))?;
        note_pin(&active);
    }
    id.map(drop).ok_or_else(|| pending_failure(&active))
}

/// Whoever reads the id should know that it says nothing of the code.
fn note_pin(active: &Active) {
    if active.pinned {
        let name = active.name.as_deref().unwrap_or_default();
        say(&printable(&format!(
            "pinned to {name}, whatever the code; tracemark unpin goes back"
        )));
    }
}

/// Reads and creates in this process, with the settings of `up` where there are some and this shell's over them.
pub(super) fn resolve_once(context: &Context, wait: Duration) -> Result<Active, Failure> {
    let worktree = here()?;
    let record = context.registry().find(&worktree.common_dir)?;
    let kept = record.map(|record| record.settings).unwrap_or_default();
    let asked = layer_for(None)?;
    once::resolve(context, &worktree, &over_kept(asked, kept), wait)
}

/// Asks until there is a model id that is sure to be right, until the store answers what waiting cannot mend, or until
/// the time is over.
pub(super) fn wait_for(
    context: &Context,
    worktree: &Worktree,
    record: &Record,
    question: Question,
) -> Result<Active, Failure> {
    let deadline = Instant::now() + question.wait;
    loop {
        let left = Question {
            wait: deadline.saturating_duration_since(Instant::now()),
            ..question
        };
        let active = ask(context, worktree, record, left)?;
        let done = active.model_id.is_some() && active.fresh;
        if done || active.lasting || Instant::now() + RETRY >= deadline {
            return Ok(active);
        }
        std::thread::sleep(RETRY);
    }
}
