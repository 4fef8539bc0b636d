//! `tracemark doctor`: looks for every known trouble, and says what to type.
//!
//! Mends nothing and starts no daemon.

use serde::Serialize;

use super::checks::{Finding, app, env_file, here as around, machine};
use super::keep_out::kept_out;
use super::look::{Paint, Tone};
use super::{Context, answer, config, here, here_if_any, json, looking, once, service, units};
use crate::cli::JsonArgs;
use crate::client::Client;
use crate::error::{Failure, FailureKind};
use crate::exclude;
use crate::protocol::WorktreeStatus;
use crate::registry::Record;
use crate::repository::Worktree;
use crate::session::Session;
use crate::text::printable;
use crate::trust;

#[derive(Debug, Serialize)]
struct Report {
    schema: u32,
    findings: Vec<Finding>,
    /// What is no trouble now and may become one.
    notes: Vec<Finding>,
}

pub(super) fn run(context: &Context, arguments: &JsonArgs) -> Result<(), Failure> {
    let report = Report {
        schema: 1,
        findings: examine(context)?,
        notes: notes(context),
    };
    if arguments.json {
        answer(&json(&report)?)?;
    } else {
        answer(&text(&report, Paint::of_stdout()))?;
    }
    match report.findings.len() {
        0 => Ok(()),
        1 => Err(found("one trouble was found")),
        many => Err(found(&format!("{many} troubles were found"))),
    }
}

fn found(message: &str) -> Failure {
    Failure::new(FailureKind::Negative, message).hint("what is said of each, then tracemark doctor")
}

fn text(report: &Report, paint: Paint) -> String {
    let one = |tone, mark: &str, finding: &Finding| {
        let problem = paint.tone(tone, &printable(&finding.problem));
        let cure = paint.tone(Tone::Cure, &printable(&finding.cure));
        format!("{mark}{problem}\n  try: {cure}\n")
    };
    let findings = report.findings.iter();
    let mut text: String = findings.map(|it| one(Tone::Open, "", it)).collect();
    if report.findings.is_empty() {
        text = paint.tone(Tone::Good, "no trouble was found") + "\n";
    }
    let notes = report.notes.iter();
    text + &notes
        .map(|it| one(Tone::Quiet, "note: ", it))
        .collect::<String>()
}

/// What is said beside the troubles.
fn notes(context: &Context) -> Vec<Finding> {
    let mut notes: Vec<Finding> = machine::linger(&context.paths).into_iter().collect();
    if let Ok(worktree) = here() {
        notes.extend(around::hooks_left_alone(&worktree));
        notes.extend(around::unfinished_restores(&worktree));
        notes.extend(app::dotenv_without_override(&worktree));
    }
    notes
}

fn examine(context: &Context) -> Result<Vec<Finding>, Failure> {
    let tracked = context.registry().all()?;
    let mut findings: Vec<Finding> = machine::old_git().into_iter().collect();
    findings.extend(machine::daemons(context, !tracked.is_empty()));
    findings.extend(machine::records(context));
    findings.extend(machine::ledger(&context.paths));
    findings.extend(machine::socket(&context.paths));
    findings.extend(machine::credentials(&context.paths));
    if units::is_installed(&context.paths)
        && let Some((problem, cure)) = service::problem(&context.paths)
    {
        findings.push(Finding::new("service", &problem, &cure));
    }
    let heard = heard(context);
    let worktrees = heard.as_deref().unwrap_or_default();
    findings.extend(machine::watches(worktrees));
    let here = here_if_any();
    let around_here = here.as_ref().ok().and_then(Option::as_ref);
    findings.extend(around::others(worktrees, around_here));
    match here {
        Ok(Some(worktree)) => {
            // Of a record that cannot be used enough is said.
            if let Ok(known) = context.registry().find(&worktree.common_dir) {
                findings.extend(repository(context, &worktree, known, heard.as_deref())?);
            }
        }
        Ok(None) => {}
        Err(failure) => findings.push(of_failure("repository", failure)),
    }
    Ok(findings)
}

/// What the daemon says of the worktrees; `None` where it says nothing in time.
fn heard(context: &Context) -> Option<Vec<WorktreeStatus>> {
    let running = Client::of_running(context.socket.as_deref(), &context.paths);
    match running.map(|client| client.status()) {
        Some(Ok(status)) => Some(status.worktrees),
        Some(Err(error)) if error.is_silence() => None,
        _ => Some(Vec::new()),
    }
}

fn state_of<'a>(
    worktrees: &'a [WorktreeStatus],
    worktree: &Worktree,
) -> Option<&'a WorktreeStatus> {
    let path = worktree.root.to_string_lossy();
    worktrees.iter().find(|one| one.path == path)
}

fn repository(
    context: &Context,
    worktree: &Worktree,
    record: Option<Record>,
    heard: Option<&[WorktreeStatus]>,
) -> Result<Vec<Finding>, Failure> {
    let Some(record) = record.filter(|record| record.covers(worktree)) else {
        let problem = format!("{} is not tracked", worktree.root.display());
        return Ok(vec![Finding::new("not_tracked", &problem, "tracemark up")]);
    };
    let mut findings: Vec<Finding> = around::no_commit(worktree).into_iter().collect();
    if let Some(doubt) = trust::doubt(&context.registry(), worktree) {
        let cure = "git config --list --show-origin, then tracemark up if all of it is yours";
        findings.push(Finding::new("trust", &doubt, cure));
    }
    findings.extend(around::hooks(worktree)?);
    findings.extend(around::snapshots(worktree));
    findings.extend(env_file::places(worktree));
    let state = heard.and_then(|worktrees| state_of(worktrees, worktree));
    let look_again = || state_of(&self::heard(context)?, worktree).cloned();
    // Of a daemon that hangs enough is said.
    if heard.is_some() {
        findings.extend(env_file::text(worktree, state, look_again));
    }
    findings.extend(around::direnv(worktree));
    findings.extend(state.into_iter().flat_map(around::state));
    let active = state.and_then(|state| state.model_id.as_deref());
    findings.extend(around::exported_id(active));
    findings.extend(app::old_mlflow(&worktree.root));
    match config::read(context, Some(worktree)) {
        Ok(origins) => findings.extend(config::findings(context, &origins)),
        Err(failure) => {
            findings.push(of_failure("config", failure));
            return Ok(findings);
        }
    }
    match looking::session(context, worktree, &record, None) {
        Ok(session) => {
            findings.extend(excludes(context, worktree, &session));
            findings.extend(app_and_store(&session)?);
        }
        Err(failure) => findings.push(of_failure("settings", failure)),
    }
    Ok(findings)
}

/// What an app leaves and is no longer kept out: the block was taken away, or a rule lets it in again.
fn excludes(context: &Context, worktree: &Worktree, session: &Session) -> Option<Finding> {
    let patterns = kept_out(context, worktree, session);
    (!patterns.is_empty()).then(|| {
        let problem = format!(
            "running an app would change the code by {}, which git does not ignore",
            patterns.join(", ")
        );
        let cure = if exclude::is_half(&worktree.common_dir) {
            "take the line # >>> tracemark >>> and what tracemark wrote below it out of info/exclude, then tracemark up"
        } else {
            "tracemark up; if it stays, take the rule out of .gitignore that lets it in (git check-ignore -v)"
        };
        Finding::new("excludes", &problem, cure)
    })
}

fn app_and_store(session: &Session) -> Result<Vec<Finding>, Failure> {
    let mut findings = Vec::new();
    if let Err(error) = once::runtime()?.block_on(session.check()) {
        findings.push(of_failure("store", error.into()));
    }
    findings.extend(machine::clock(session.store().clock_skew()));
    findings.extend(app::shell_elsewhere(session));
    findings.extend(app::other_experiment(session));
    findings.extend(app::other_store(session));
    findings.extend(app::env_files(session));
    findings.extend(app::other_databases(session));
    Ok(findings)
}

fn of_failure(check: &'static str, failure: Failure) -> Finding {
    let cure = failure
        .hint
        .unwrap_or_else(|| "tracemark status".to_owned());
    Finding::new(check, &failure.message, &cure)
}
