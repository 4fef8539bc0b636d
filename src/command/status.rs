//! `tracemark status`: daemon, store, every worktree, what is wrong and the next command to type.

use super::{Context, answer, daemon, json, store_of};
use crate::cli::JsonArgs;
use crate::client::{Client, ClientError};
use crate::config::ConnectionLayer;
use crate::error::Failure;
use crate::fs_util::printable;
use crate::ledger::Ledger;
use crate::protocol::{API, DaemonInfo, OwedTo, Status, WorktreeStatus};
use crate::registry::Record;

pub(super) fn run(context: &Context, arguments: &JsonArgs) -> Result<(), Failure> {
    let status = match ask(context) {
        Ok(status) => status,
        Err(ClientError::Unreachable { .. }) => without_daemon(context)?,
        Err(error) => return Err(super::client_failure(&error)),
    };
    if arguments.json {
        answer(&json(&status)?)
    } else {
        answer(&text(&status))
    }
}

/// In a tracked repository the daemon is started where it does not run.
fn ask(context: &Context) -> Result<Status, ClientError> {
    match context.client().status() {
        Err(error) if error.is_over() => match start(context) {
            Some(client) => client.status(),
            None => Err(error),
        },
        answer => answer,
    }
}

fn start(context: &Context) -> Option<Client> {
    let (worktree, record) = context.tracked().ok()?;
    let store = store_of(context, &worktree, &record);
    daemon::ensure(context, store.as_deref()).ok()
}

fn without_daemon(context: &Context) -> Result<Status, Failure> {
    let tracked = context.registry().all()?;
    let file = context.paths.ledger();
    let ledger = file.exists().then(|| Ledger::open(&file).ok()).flatten();
    let worktrees = tracked.iter().map(|record| WorktreeStatus {
        path: record.root.to_string_lossy().into_owned(),
        state: "pending".to_owned(),
        model_id: None,
        name: None,
        store: record.settings.store.uri.clone().unwrap_or_default(),
        experiment: String::new(),
        experiment_id: None,
        experiment_url: None,
        insecure_tls: uses_tls(record) && way(record).insecure_tls == Some(true),
        allow_http_credentials: way(record).allow_http_credentials == Some(true),
        server_cert: way(record)
            .server_cert
            .as_ref()
            .filter(|_| uses_tls(record))
            .map(|file| file.to_string_lossy().into_owned()),
        pinned: record.settings.pin.is_some(),
        restorable: None,
        not_kept: None,
        owed: owed_to(ledger.as_ref(), record)
            .iter()
            .map(|to| to.owed)
            .sum(),
        owed_to: owed_to(ledger.as_ref(), record),
        refused: 0,
        refusal: None,
        duplicate: None,
        last_error: None,
        last_error_ms: None,
        env_file: String::new(),
        env_problem: None,
        mode: "none".to_owned(),
        reason: Some("no daemon is running".to_owned()),
        hint: Some("tracemark up".to_owned()),
        note: None,
        cause: None,
        watches: 0,
        passes: 0,
        full_passes: 0,
        narrow_passes: 0,
        torn_passes: 0,
        missed_changes: 0,
        store_requests: 0,
    });
    Ok(Status {
        schema: 1,
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

fn text(status: &Status) -> String {
    let daemon = status.daemon.as_ref().map_or_else(
        || "daemon    not running; it starts by itself when something is asked\n".to_owned(),
        daemon_text,
    );
    let worktrees: String = status.worktrees.iter().map(worktree_text).collect();
    if worktrees.is_empty() {
        return daemon
            + "\nnothing is tracked\n  try: tracemark up, in the repository of your app\n";
    }
    daemon + &worktrees
}

fn daemon_text(daemon: &DaemonInfo) -> String {
    let by = if daemon.by_systemd {
        ", by systemd"
    } else {
        ""
    };
    let mut text = format!(
        "daemon    running{by}, pid {}, version {}, socket {}\n",
        daemon.pid,
        printable(&daemon.version),
        printable(&daemon.socket)
    );
    if daemon.replaced {
        let program = printable(&daemon.program);
        text +=
            &format!("  note    its program {program} was replaced or removed since it began\n");
    } else if daemon::is_outdated(daemon) {
        let version = env!("CARGO_PKG_VERSION");
        text += &format!("  note    this program is version {version}\n");
    }
    if daemon::is_outdated(daemon) {
        text += "  try     tracemark up, which replaces the daemon\n";
    }
    text
}

fn worktree_text(worktree: &WorktreeStatus) -> String {
    let mut text = format!("\n{}\n", printable(&worktree.path));
    let mut row = |name: &str, value: &str| {
        if !value.is_empty() {
            text += &format!("  {name:<8}{}\n", printable(value));
        }
    };
    let id = worktree.model_id.as_deref().unwrap_or_default();
    row("state", format!("{} {id}", worktree.state).trim_end());
    let pinned = if worktree.pinned {
        " (pinned, whatever the code; tracemark unpin)"
    } else {
        ""
    };
    let name = worktree.name.as_deref().unwrap_or_default();
    row("name", format!("{name}{pinned}").trim_start());
    row("store", &worktree.store);
    row("way", &way_text(worktree));
    row("in", &experiment_text(worktree));
    row("env", &worktree.env_file);
    row("", worktree.env_problem.as_deref().unwrap_or_default());
    row("kept", &kept_text(worktree));
    row("last", worktree.cause.as_deref().unwrap_or_default());
    if worktree.mode != "watch" {
        row("mode", &worktree.mode);
    }
    for to in &worktree.owed_to {
        row("owed", &owed_text(to));
    }
    if let Some(refusal) = &worktree.refusal {
        let count = match worktree.refused {
            1 => "1 version is refused".to_owned(),
            many => format!("{many} versions are refused"),
        };
        row("refused", &format!("{count}: {refusal}"));
    }
    row("twin", worktree.duplicate.as_deref().unwrap_or_default());
    row("error", &error_text(worktree));
    row("note", worktree.note.as_deref().unwrap_or_default());
    row("why", worktree.reason.as_deref().unwrap_or_default());
    row("try", worktree.hint.as_deref().unwrap_or_default());
    text
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

/// What was given up on the way to the store, and who is trusted there.
fn way_text(worktree: &WorktreeStatus) -> String {
    let mut said = Vec::new();
    if worktree.insecure_tls {
        said.push("its certificate is not checked".to_owned());
    }
    if worktree.allow_http_credentials {
        said.push("credentials over plain http allowed".to_owned());
    }
    if let Some(file) = &worktree.server_cert {
        said.push(format!("trusts the certificates in {file}"));
    }
    said.join(", ")
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
    let at = worktree.last_error_ms.map(std::time::Duration::from_millis);
    let ago = at
        .and_then(|at| std::time::UNIX_EPOCH.checked_add(at))
        .and_then(|at| at.elapsed().ok());
    match ago {
        Some(ago) => format!("{error} ({} s ago)", ago.as_secs()),
        None => error.clone(),
    }
}
