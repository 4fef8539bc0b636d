//! `tracemark watch`: follows a worktree as one edits. A block that is drawn again on a terminal, plain lines elsewhere.

use std::collections::BTreeSet;
use std::io::IsTerminal as _;
use std::sync::mpsc;
use std::time::Duration;

use super::{Context, answer, client_failure, daemon, json, once, store_of, up_plan};
use crate::cli::WatchArgs;
use crate::client::ClientError;
use crate::error::{Failure, FailureKind};
use crate::fs_util::printable;
use crate::git::Git;
use crate::ids::{ExperimentId, ModelId};
use crate::protocol::Active;
use crate::registry::Registry;
use crate::repository::Worktree;
use crate::session::Session;
use crate::trust;

/// How often the traces are counted while the code stays.
const COUNT_AGAIN: Duration = Duration::from_secs(2);
/// How long one count may take.
const COUNT_LIMIT: Duration = Duration::from_secs(2);
/// Up to the start of a block of five lines, and everything below it away.
const UP: &str = "\u{1b}[5A\u{1b}[J";

/// What is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
struct View {
    state: String,
    name: String,
    model_id: String,
    changed: Option<usize>,
    traces: Option<u64>,
    why: String,
}

pub(super) fn run(context: &Context, arguments: &WatchArgs) -> Result<(), Failure> {
    let (worktree, record) = context.tracked()?;
    let client = daemon::ensure(context, store_of(context, &worktree, &record).as_deref())?;
    if arguments.json {
        let mut told = Ok(());
        let followed = client.follow(&worktree.root, &mut |active| {
            told = line_of_json(&active);
            told.is_ok()
        });
        return told.and(ended(followed));
    }
    let session = up_plan::session(context, &worktree, &record)?;
    let (sender, receiver) = mpsc::channel();
    let root = worktree.root.clone();
    let follower =
        std::thread::spawn(move || client.follow(&root, &mut |active| sender.send(active).is_ok()));
    show(context, &session, &receiver)?;
    let followed = follower.join().unwrap_or(Ok(()));
    ended(followed)
}

fn line_of_json(active: &Active) -> Result<(), Failure> {
    let text = json(active)?;
    let value: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    answer(&format!("{value}\n"))
}

fn ended(followed: Result<(), ClientError>) -> Result<(), Failure> {
    followed.map_err(|error| client_failure(&error))?;
    Err(Failure::new(FailureKind::NoDaemon, "the daemon ended").hint("tracemark watch"))
}

/// Until the daemon ends.
fn show(
    context: &Context,
    session: &Session,
    changes: &mpsc::Receiver<Active>,
) -> Result<(), Failure> {
    let is_terminal = std::io::stdout().is_terminal();
    let mut shown: Option<View> = None;
    let mut now: Option<Active> = None;
    loop {
        match changes.recv_timeout(COUNT_AGAIN) {
            Ok(active) => now = Some(active),
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            Err(mpsc::RecvTimeoutError::Disconnected) => return Ok(()),
        }
        let Some(active) = &now else {
            continue;
        };
        let view = view(context, session, active);
        if shown.as_ref() != Some(&view) {
            let text = match (is_terminal, &shown) {
                (true, Some(_)) => UP.to_owned() + &block(&view),
                (true, None) => block(&view),
                (false, _) => line(&view),
            };
            answer(&text)?;
            shown = Some(view);
        }
    }
}

fn view(context: &Context, session: &Session, active: &Active) -> View {
    View {
        state: active.state.clone(),
        name: active.name.clone().unwrap_or_default(),
        model_id: active.model_id.clone().unwrap_or_default(),
        changed: changed(&context.registry(), &session.worktree),
        traces: traces(session, active),
        why: active.reason.clone().unwrap_or_default(),
    }
}

/// Nothing is said where git would run what `up` did not see.
fn changed(registry: &Registry, worktree: &Worktree) -> Option<usize> {
    if trust::doubt(registry, worktree).is_some() {
        return None;
    }
    let status = Git::at(&worktree.root).run(&["status", "--porcelain", "-uall"]);
    let text = status.ok()?.stdout;
    Some(text.split_inclusive(|byte| *byte == b'\n').count())
}

/// What the store says within a moment; otherwise nothing is said of traces.
fn traces(session: &Session, active: &Active) -> Option<u64> {
    let id: ModelId = active.model_id.as_ref()?.parse().ok()?;
    let experiment: ExperimentId = active.experiment_id.as_ref()?.parse().ok()?;
    let (experiments, models) = ([experiment], BTreeSet::from([id.clone()]));
    let count = session.store().count_traces(&experiments, &models);
    let limited = async { tokio::time::timeout(COUNT_LIMIT, count).await };
    let counted = once::runtime().ok()?.block_on(limited).ok()?.ok()?;
    Some(counted.get(&id).copied().unwrap_or(0))
}

fn rows(view: &View) -> [(&'static str, String); 5] {
    let number = |number: Option<u64>| number.map_or_else(|| "?".to_owned(), |n| n.to_string());
    let id = if view.model_id.is_empty() {
        format!("none: {}", view.why)
    } else {
        view.model_id.clone()
    };
    [
        ("state", view.state.clone()),
        ("version", view.name.clone()),
        ("changed", number(view.changed.map(|count| count as u64))),
        ("model", id),
        ("traces", number(view.traces)),
    ]
}

fn block(view: &View) -> String {
    let row = |(name, value): &(&str, String)| format!("{name:<9}{}\n", printable(value));
    rows(view).iter().map(row).collect()
}

fn line(view: &View) -> String {
    let word = |(name, value): &(&str, String)| format!("{name}={}", printable(value));
    let words: Vec<String> = rows(view).iter().map(word).collect();
    words.join(" ") + "\n"
}
