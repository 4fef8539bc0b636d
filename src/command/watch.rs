//! `tracemark watch`: follows a worktree as one edits. A block that is drawn again on a terminal, plain lines
//! elsewhere.
//!
//! Asks for no version: none is made because somebody watches. Starts the daemon where none runs.

use std::collections::BTreeSet;
use std::io::IsTerminal as _;
use std::ops::ControlFlow;
use std::sync::mpsc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::look::{columns, fitting};
use super::{Context, answer, client_failure, daemon_start, json, looking, once};
use crate::cli::WatchArgs;
use crate::client::ClientError;
use crate::error::{Failure, FailureKind};
use crate::git::{Git, records};
use crate::ids::{ExperimentId, ModelId};
use crate::protocol::Active;
use crate::registry::Registry;
use crate::repository::Worktree;
use crate::session::Session;
use crate::text::{printable, shell_quoted};
use crate::trust;

/// How often the traces are counted, and the reader is looked for, while the code stays.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// How long one count may take.
const COUNT_LIMIT: Duration = Duration::from_secs(2);
/// Up to the start of a block of five lines, and everything below it away.
const UP: &str = "\u{1b}[5A\u{1b}[J";
/// How many changed files are named.
const NAMES_MAX: usize = 5;

/// What is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
struct View {
    state: String,
    name: String,
    model_id: String,
    changed: Option<Changed>,
    traces: Option<u64>,
    why: String,
}

/// The files that differ from HEAD.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Changed {
    count: usize,
    /// The first ones.
    names: Vec<String>,
}

pub(super) fn run(context: &Context, arguments: &WatchArgs) -> Result<(), Failure> {
    let (worktree, record) = context.tracked()?;
    let client = daemon_start::ensure(context, None)?;
    let (sender, receiver) = mpsc::channel();
    let root = worktree.root.clone();
    let follower =
        std::thread::spawn(move || client.follow(&root, &mut |active| sender.send(active).is_ok()));
    let end = if arguments.json {
        show_json(&receiver)?
    } else {
        let session = looking::session(context, &worktree, &record, None)?;
        show(context, &session, &receiver)?
    };
    match end {
        End::OfReader => Ok(()),
        End::OfDaemon => ended(follower.join().unwrap_or(Ok(()))),
    }
}

/// Why there is no more to show.
enum End {
    /// Nobody reads standard output any more.
    OfReader,
    /// The daemon ended.
    OfDaemon,
}

/// What arrives next, nothing for a while, or the end.
fn next(changes: &mpsc::Receiver<Active>) -> ControlFlow<End, Option<Active>> {
    let next = match changes.recv_timeout(LOOK_AGAIN) {
        Ok(active) => Some(active),
        Err(mpsc::RecvTimeoutError::Timeout) => None,
        Err(mpsc::RecvTimeoutError::Disconnected) => return ControlFlow::Break(End::OfDaemon),
    };
    if is_read() {
        ControlFlow::Continue(next)
    } else {
        ControlFlow::Break(End::OfReader)
    }
}

/// A pipe without a reader is in error (poll(2), POLLERR); what cannot be asked counts as read.
fn is_read() -> bool {
    let stdout = std::io::stdout();
    let mut asked = [PollFd::new(&stdout, PollFlags::empty())];
    let at_once = Timespec::default();
    let answered = poll(&mut asked, Some(&at_once)).is_ok();
    let gone = PollFlags::ERR | PollFlags::HUP;
    !(answered && asked.iter().any(|one| one.revents().intersects(gone)))
}

fn show_json(changes: &mpsc::Receiver<Active>) -> Result<End, Failure> {
    loop {
        match next(changes) {
            ControlFlow::Continue(active) => active.as_ref().map_or(Ok(()), line_of_json)?,
            ControlFlow::Break(end) => return Ok(end),
        }
    }
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

fn show(
    context: &Context,
    session: &Session,
    changes: &mpsc::Receiver<Active>,
) -> Result<End, Failure> {
    let is_terminal = std::io::stdout().is_terminal();
    let mut shown: Option<View> = None;
    let mut now: Option<(Active, Option<Changed>)> = None;
    loop {
        match next(changes) {
            ControlFlow::Continue(Some(active)) => {
                let active = changes.try_iter().last().unwrap_or(active);
                let changed = changed(&context.registry(), &session.worktree, &active);
                now = Some((active, changed));
            }
            ControlFlow::Continue(None) => {}
            ControlFlow::Break(end) => return Ok(end),
        }
        let Some((active, changed)) = &now else {
            continue;
        };
        let view = view(session, active, changed.as_ref());
        if shown.as_ref() != Some(&view) {
            let columns = columns().unwrap_or(usize::MAX);
            let text = match (is_terminal, &shown) {
                (true, Some(_)) => UP.to_owned() + &block(&view, columns),
                (true, None) => block(&view, columns),
                (false, _) => line(&view),
            };
            answer(&text)?;
            shown = Some(view);
        }
    }
}

fn view(session: &Session, active: &Active, changed: Option<&Changed>) -> View {
    View {
        state: active.state.clone(),
        name: active.name.clone().unwrap_or_default(),
        model_id: active.model_id.clone().unwrap_or_default(),
        changed: changed.cloned(),
        traces: traces(session, active),
        why: active.reason.clone().unwrap_or_default(),
    }
}

/// Git is asked only where the daemon found that something differs, and where it runs nothing that `up` did not see.
fn changed(registry: &Registry, worktree: &Worktree, active: &Active) -> Option<Changed> {
    if active.dirty == Some(false) {
        return Some(Changed::default());
    }
    if trust::doubt(registry, worktree).is_some() {
        return None;
    }
    let git = Git::at(&worktree.root).with_config(&["core.fsmonitor=false"]);
    let listed = git.run(&["status", "--porcelain", "--no-renames", "-z", "-uall"]);
    let listed = listed.ok()?.stdout;
    // Two letters and a blank, then the name (git-status(1)).
    let names = records(&listed).filter_map(|record| record.get(3..));
    let names: Vec<_> = names.collect();
    let first = names.iter().take(NAMES_MAX);
    Some(Changed {
        count: names.len(),
        names: first
            .map(|name| shell_quoted(&printable(&String::from_utf8_lossy(name))))
            .collect(),
    })
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
    let count = view.changed.as_ref().map(|changed| changed.count as u64);
    [
        ("state", view.state.clone()),
        ("version", view.name.clone()),
        ("changed", number(count)),
        ("model", id),
        ("traces", number(view.traces)),
    ]
}

/// The names of the first changed files, and how many more there are.
fn names(view: &View, between: &str) -> String {
    let changed = view.changed.clone().unwrap_or_default();
    let more = changed.count - changed.names.len();
    let more = (more > 0).then(|| format!("+{more}"));
    let all: Vec<String> = changed.names.into_iter().chain(more).collect();
    all.join(between)
}

/// Each row is one line of the terminal, so that the block can be drawn again over itself.
fn block(view: &View, columns: usize) -> String {
    let row = |(name, value): &(&str, String)| {
        let names = match *name {
            "changed" => names(view, " "),
            _ => String::new(),
        };
        let row = format!("{name:<9}{} {names}", printable(value));
        fitting(row.trim_end(), columns.saturating_sub(1)) + "\n"
    };
    rows(view).iter().map(row).collect()
}

fn line(view: &View) -> String {
    let word = |(name, value): &(&str, String)| format!("{name}={}", printable(value));
    let mut words: Vec<String> = rows(view).iter().map(word).collect();
    let names = names(view, ",");
    words.extend((!names.is_empty()).then(|| format!("files={names}")));
    words.join(" ") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(count: usize) -> View {
        View {
            state: "active".to_owned(),
            name: "name".to_owned(),
            model_id: "m-1".to_owned(),
            changed: Some(Changed {
                count,
                names: vec!["app.py".to_owned(), "'b c'".to_owned()],
            }),
            traces: Some(3),
            why: String::new(),
        }
    }

    #[test]
    fn the_first_changed_files_are_named_and_the_others_counted() {
        let said = line(&view(9));
        let wanted =
            "state=active version=name changed=9 model=m-1 traces=3 files=app.py,'b c',+7\n";
        assert_eq!(said, wanted);
        assert!(block(&view(2), 80).contains("changed  2 app.py 'b c'\n"));
    }

    #[test]
    fn a_row_is_never_longer_than_the_terminal_is_wide() {
        let block = block(&view(9), 12);
        assert_eq!(block.lines().count(), 5);
        assert!(block.lines().all(|row| row.chars().count() < 12), "{block}");
    }
}
