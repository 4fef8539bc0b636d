//! `tracemark status`: daemon, store, every worktree, what is wrong and the next command to type.
//!
//! Asks no store itself and reads no code: the daemon tells, started where this repository is tracked; without one, the
//! records and the ledger.

use super::look::{Paint, Tone, ago};
use super::way::Way;
use super::{Context, answer, checks, daemon_end, daemon_start, json, warn};
use crate::cli::JsonArgs;
use crate::client::ClientError;
use crate::config::ConnectionLayer;
use crate::error::Failure;
use crate::ledger::Ledger;
use crate::protocol::{API, DaemonInfo, OwedTo, STATUS_SCHEMA, Status, WorktreeStatus};
use crate::registry::Record;
use crate::text::printable;

pub(super) fn run(context: &Context, arguments: &JsonArgs) -> Result<(), Failure> {
    let mut why = None;
    let status = match ask(context, &mut why) {
        Ok(status) => status,
        Err(error) if error.is_silence() => return Err(daemon_start::refused(context, &error)),
        Err(ClientError::Unreachable { .. }) => without_daemon(context, why.as_ref())?,
        Err(error) => return Err(super::client_failure(&error)),
    };
    for finding in checks::machine::records(context) {
        warn(&finding.problem, &finding.cure);
    }
    if arguments.json {
        answer(&json(&status)?)
    } else {
        answer(&text(&status, Paint::of_stdout()))
    }
}

/// In a tracked repository the daemon is started where it does not run; `why` tells why it could not be.
fn ask(context: &Context, why: &mut Option<Failure>) -> Result<Status, ClientError> {
    match context.client().status() {
        Err(error) if error.is_over() && context.tracked().is_ok() => {
            match daemon_start::ensure_soon(context) {
                Ok(client) => client.status(),
                Err(failure) => {
                    *why = Some(failure);
                    Err(error)
                }
            }
        }
        answer => answer,
    }
}

fn without_daemon(context: &Context, why: Option<&Failure>) -> Result<Status, Failure> {
    let reason = why.map_or("no daemon is running", |failure| &failure.message);
    let hint = why.and_then(|failure| failure.hint.as_deref());
    let tracked = context.registry().all()?;
    let file = context.paths.ledger();
    let ledger = file.exists().then(|| Ledger::open(&file).ok()).flatten();
    let worktrees = tracked.iter().map(|record| {
        let owed_to = owed_to(ledger.as_ref(), record);
        WorktreeStatus {
            path: record.root.to_string_lossy().into_owned(),
            state: "pending".to_owned(),
            store: record.settings.store.uri.clone().unwrap_or_default(),
            insecure_tls: uses_tls(record) && way(record).insecure_tls == Some(true),
            allow_http_credentials: way(record).allow_http_credentials == Some(true),
            server_cert: way(record)
                .server_cert
                .as_ref()
                .filter(|_| uses_tls(record))
                .map(|file| file.to_string_lossy().into_owned()),
            pinned: record.settings.pin.is_some(),
            owed: owed_to.iter().map(|to| to.owed).sum(),
            owed_to,
            mode: "none".to_owned(),
            reason: Some(reason.to_owned()),
            hint: Some(hint.unwrap_or("tracemark up").to_owned()),
            ..WorktreeStatus::default()
        }
    });
    Ok(Status {
        schema: STATUS_SCHEMA,
        api: API,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        daemon: None,
        worktrees: worktrees.collect(),
    })
}

/// Which of them is current only a daemon knows.
fn owed_to(ledger: Option<&Ledger>, record: &Record) -> Vec<OwedTo> {
    let owed = ledger.and_then(|ledger| ledger.count_owed(&record.root.to_string_lossy()).ok());
    let owed = owed.unwrap_or_default().into_iter();
    owed.map(|(account, owed)| OwedTo {
        store: account.store,
        experiment: account.choice,
        owed,
        current: false,
    })
    .collect()
}

/// A workspace of Databricks is asked over TLS.
fn uses_tls(record: &Record) -> bool {
    let uri = record.settings.store.uri.as_deref().unwrap_or_default();
    uri.starts_with("https://") || uri.starts_with("databricks")
}

fn way(record: &Record) -> &ConnectionLayer {
    &record.settings.store.connection
}

fn text(status: &Status, paint: Paint) -> String {
    let mut rows = Rows::new(paint);
    match &status.daemon {
        Some(daemon) => daemon_rows(&mut rows, daemon),
        None => rows.line(
            "daemon",
            Tone::Open,
            "not running",
            "; it starts by itself when something is asked",
        ),
    }
    for worktree in &status.worktrees {
        worktree_rows(&mut rows, worktree);
    }
    if status.worktrees.is_empty() {
        rows.text += "\nnothing is tracked\n";
        let cure = "tracemark up, in the repository of your app";
        rows.text += &format!("  try: {}\n", paint.tone(Tone::Cure, cure));
    }
    rows.text
}

/// Labels in one column, what is said of them in another.
struct Rows {
    text: String,
    paint: Paint,
}

impl Rows {
    fn new(paint: Paint) -> Self {
        Self {
            text: String::new(),
            paint,
        }
    }

    /// A line at the margin, whose first word has a tone.
    fn line(&mut self, name: &str, tone: Tone, word: &str, rest: &str) {
        let word = self.paint.tone(tone, word);
        self.text += &format!("{name:<10}{word}{}\n", printable(rest));
    }

    fn heading(&mut self, text: &str) {
        let text = self.paint.tone(Tone::Head, &printable(text));
        self.text += &format!("\n{text}\n");
    }

    fn row(&mut self, name: &str, value: &str) {
        self.rest(name, "", value);
    }

    fn toned(&mut self, name: &str, tone: Tone, value: &str) {
        let value = self.paint.tone(tone, &printable(value));
        self.rest(name, &value, "");
    }

    /// `said` is printed as it is, `value` made printable; nothing of both is no row.
    fn rest(&mut self, name: &str, said: &str, value: &str) {
        if said.is_empty() && value.is_empty() {
            return;
        }
        let name = self.paint.tone(Tone::Quiet, &format!("{name:<8}"));
        self.text += &format!("  {name}{said}{}\n", printable(value));
    }
}

fn daemon_rows(rows: &mut Rows, daemon: &DaemonInfo) {
    let by = if daemon.by_systemd { " by systemd" } else { "" };
    let since = ago(daemon.since).map_or_else(String::new, |ago| format!(", started {ago}"));
    let rest = format!(
        "{by}, pid {}, version {}, socket {}{since}",
        daemon.pid, daemon.version, daemon.socket
    );
    rows.line("daemon", Tone::Good, "running", &rest);
    if daemon.replaced {
        let program = &daemon.program;
        let note = format!("its program {program} was replaced or removed since it began");
        rows.row("note", &note);
    } else if daemon_end::is_outdated(daemon) {
        let version = env!("CARGO_PKG_VERSION");
        rows.row("note", &format!("this program is version {version}"));
    }
    if daemon_end::is_outdated(daemon) {
        rows.toned("try", Tone::Cure, "tracemark up, which replaces the daemon");
    }
}

fn worktree_rows(rows: &mut Rows, worktree: &WorktreeStatus) {
    rows.heading(&worktree.path);
    let tone = match worktree.state.as_str() {
        "active" => Tone::Good,
        "broken" => Tone::Bad,
        _ => Tone::Open,
    };
    let state = rows.paint.tone(tone, &printable(&worktree.state));
    let id = worktree.model_id.as_deref();
    let id = id.map_or_else(String::new, |id| format!(" {id}"));
    rows.rest("state", &state, &id);
    let pinned = if worktree.pinned {
        " (pinned, whatever the code; tracemark unpin)"
    } else {
        ""
    };
    let name = worktree.name.as_deref().unwrap_or_default();
    rows.row("name", format!("{name}{pinned}").trim_start());
    rows.row("store", &worktree.store);
    let way = Way {
        is_unchecked: worktree.insecure_tls,
        takes_plain_http: worktree.allow_http_credentials,
        certificates: worktree.server_cert.clone(),
    };
    rows.row("way", &way.text());
    rows.row("in", &experiment_text(worktree));
    rows.row("env", &worktree.env_file);
    rows.toned(
        "",
        Tone::Bad,
        worktree.env_problem.as_deref().unwrap_or_default(),
    );
    rows.row("kept", &kept_text(worktree));
    rows.row("last", &cause_text(worktree));
    if worktree.mode != "watch" {
        let reason = worktree.mode_reason.iter();
        let words: Vec<_> = [&worktree.mode]
            .into_iter()
            .chain(reason)
            .cloned()
            .collect();
        rows.row("mode", &words.join(": "));
    }
    trouble_rows(rows, worktree);
}

/// What waits, what is wrong, and what to type.
fn trouble_rows(rows: &mut Rows, worktree: &WorktreeStatus) {
    for to in &worktree.owed_to {
        rows.row("owed", &owed_text(to));
    }
    if let Some(refusal) = &worktree.refusal {
        let count = match worktree.refused {
            1 => "1 version is refused".to_owned(),
            many => format!("{many} versions are refused"),
        };
        rows.toned("refused", Tone::Bad, &format!("{count}: {refusal}"));
    }
    rows.row("twin", worktree.duplicate.as_deref().unwrap_or_default());
    rows.row("error", &error_text(worktree));
    rows.row("note", worktree.note.as_deref().unwrap_or_default());
    let why = worktree.reason.as_deref().unwrap_or_default();
    rows.toned("why", Tone::Open, why);
    let hint = worktree.hint.as_deref().unwrap_or_default();
    rows.toned("try", Tone::Cure, hint);
}

/// What made the last reading necessary, and how long ago that was.
fn cause_text(worktree: &WorktreeStatus) -> String {
    let cause = worktree.cause.clone().unwrap_or_default();
    match worktree.cause_ms.and_then(ago) {
        Some(ago) if !cause.is_empty() => format!("{cause}, {ago}"),
        _ => cause,
    }
}

fn owed_text(to: &OwedTo) -> String {
    let who = match to.owed {
        1 => "1 version waits for".to_owned(),
        many => format!("{many} versions wait for"),
    };
    if to.current {
        return format!("{who} the store");
    }
    let experiment = to.experiment.strip_prefix("name:");
    let experiment = experiment.map_or_else(String::new, |name| format!(", experiment {name}"));
    format!("{who} {}{experiment}", to.store)
}

/// Nothing where all of the code is kept.
fn kept_text(worktree: &WorktreeStatus) -> String {
    let kind = match worktree.restorable.as_deref() {
        Some("partial") => "in part",
        Some("false") => "no",
        _ => return String::new(),
    };
    let why = worktree.not_kept.as_deref().unwrap_or_default();
    format!("{kind}: {why}")
}

/// The experiment, by the link to its page where there is one.
fn experiment_text(worktree: &WorktreeStatus) -> String {
    let id = worktree.experiment_id.as_deref();
    let known = worktree.experiment_url.as_deref().or(id);
    match (worktree.experiment.strip_prefix("name:"), known) {
        (Some(name), Some(known)) => format!("experiment {name}, {known}"),
        (Some(name), None) => format!("experiment {name}"),
        (None, Some(known)) => format!("experiment {known}"),
        (None, None) => String::new(),
    }
}

/// The last failure that is no longer the reason of the state.
fn error_text(worktree: &WorktreeStatus) -> String {
    let error = worktree.last_error.as_ref();
    let Some(error) = error.filter(|_| worktree.last_error != worktree.reason) else {
        return String::new();
    };
    match worktree.last_error_ms.and_then(ago) {
        Some(ago) => format!("{error} ({ago})"),
        None => error.clone(),
    }
}
