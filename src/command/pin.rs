//! `tracemark pin` and `tracemark unpin`: a version found by its name alone, whatever the code.
//!
//! Only writes the setting down and asks: whoever answers finds the version.

use std::time::Duration;

use super::{Context, answer, ask, pending_failure, tell_daemon, warn};
use crate::cli::PinArgs;
use crate::client::Question;
use crate::error::{Failure, FailureKind};
use crate::mlflow::is_usable_name;
use crate::registry::Record;
use crate::repository::Worktree;
use crate::text::printable;

/// How long the version may take.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) fn pin(context: &Context, arguments: &PinArgs) -> Result<(), Failure> {
    if !is_usable_name(&arguments.name) {
        return Err(Failure::new(
            FailureKind::Usage,
            &format!("MLflow accepts no LoggedModel named {:?}", arguments.name),
        )
        .hint(r#"choose a name without / : . % " '"#));
    }
    let (worktree, mut record) = context.tracked()?;
    record.settings.pin = Some(arguments.name.clone());
    apply(context, &worktree, &record)
}

pub(super) fn unpin(context: &Context) -> Result<(), Failure> {
    let (worktree, mut record) = context.tracked()?;
    if record.settings.pin.take().is_none() {
        return Err(
            Failure::new(FailureKind::Negative, "no version is pinned here")
                .hint("tracemark pin NAME"),
        );
    }
    apply(context, &worktree, &record)
}

/// What is decided counts, also while the store cannot be reached.
fn apply(context: &Context, worktree: &Worktree, record: &Record) -> Result<(), Failure> {
    context.registry().write(record)?;
    tell_daemon(context, worktree);
    let active = ask(context, worktree, record, Question::within(PATIENCE))?;
    let name = printable(active.name.as_deref().unwrap_or("not read yet"));
    let note = if active.pinned {
        " (pinned, whatever the code)"
    } else {
        ""
    };
    if let Some(id) = &active.model_id {
        return answer(&format!("{name} {id}{note}\n"));
    }
    let failure = pending_failure(&active);
    warn(
        &failure.message,
        failure.hint.as_deref().unwrap_or("tracemark status"),
    );
    answer(&format!("{name}{note}\n"))
}
