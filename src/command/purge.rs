//! `tracemark down --purge`: removes everything that tracemark ever wrote on this machine.
//!
//! Asks no store, and leaves what a person wrote, settings included.

use std::path::{Path, PathBuf};

use super::moved::place_of;
use super::removal::{empty_dir, remove};
use super::take_back::{self, Snapshot};
use super::{Context, answer, daemon_end, here, service};
use crate::error::{Failure, FailureKind};
use crate::fs_util::remove_empty;
use crate::ledger::Ledger;
use crate::log_file;
use crate::paths::Paths;
use crate::repository::Worktree;
use crate::text::printable;
use crate::written::{Entry, Written};

/// What was done, and what is left to a person.
#[derive(Debug, Default)]
struct Report {
    removed: Vec<String>,
    left: Vec<String>,
    /// Repositories that could not be cleaned, each with the reason.
    failed: Vec<String>,
}

pub(super) fn run(context: &Context) -> Result<(), Failure> {
    let paths = &context.paths;
    let list = Written::of(paths);
    let mut report = Report::default();
    if service::remove_units(context)? {
        report.removed.push("the units of systemd".to_owned());
    }
    daemon_end::end_detached(context)?;
    let here = here().ok();
    let common_dir = here.as_ref().map(|worktree| worktree.common_dir.as_path());
    for entry in entries(context, &list, here.as_ref())? {
        if let Err(failure) = repository(&list, &mut entry.clone(), common_dir, &mut report) {
            list.keep(&entry)?;
            report.failed.push(format!(
                "{}: {}",
                entry.common_dir.display(),
                failure.message
            ));
        }
    }
    let made = list.made_dirs();
    let noted = made
        .iter()
        .filter(|dir| dir.ends_with("tracemark"))
        .cloned();
    for dir in paths.socket_dirs().chain(noted) {
        for name in ["api.sock", "api.sock.slow"] {
            remove(&dir.join(name))?;
        }
        remove_empty(&dir);
    }
    own_dirs(paths, made.contains(&paths.state), &mut report)?;
    for dir in made.iter().rev() {
        remove_empty(dir);
    }
    if paths.config.exists() {
        report.left.push(format!(
            "{}: you wrote what is in it",
            paths.config.display()
        ));
    }
    answer(&text(&report))?;
    if report.failed.is_empty() {
        return Ok(());
    }
    Err(
        Failure::new(FailureKind::Negative, &report.failed.join("; "))
            .hint("correct that, then tracemark down --purge again"),
    )
}

/// What the list says, and what the repository around the current directory says where the list does not know it there.
fn entries(
    context: &Context,
    list: &Written,
    here: Option<&Worktree>,
) -> Result<Vec<Entry>, Failure> {
    let mut entries = list.entries(&context.registry());
    let unknown = here.filter(|here| !entries.iter().any(|entry| entry.is_at(&here.common_dir)));
    // What belongs to somebody else, or to another home, stays.
    let found = unknown.and_then(|here| take_back::unlisted(context, here).ok().flatten());
    if let Some(found) = found {
        let old = found.old.map(|old| old.common_dir);
        for entry in entries.extract_if(.., |entry| Some(&entry.common_dir) == old.as_ref()) {
            list.remove(&entry)?;
        }
        entries.push(found.entry);
    }
    Ok(entries)
}

fn repository(
    list: &Written,
    entry: &mut Entry,
    here: Option<&Path>,
    report: &mut Report,
) -> Result<(), Failure> {
    let place = place_of(entry, here);
    // What bears our marks is ours in whatever repository lies there by now.
    let old = Some(entry.common_dir.clone()).filter(|dir| dir.join("HEAD").exists());
    let mut places: Vec<PathBuf> = place.iter().cloned().chain(old).collect();
    places.dedup();
    for place in &places {
        take_back::repository(list, entry, place, Snapshot::Removed)?;
        report.removed.push(format!(
            "hooks, excludes, env files and snapshots in {}",
            place.display()
        ));
    }
    if place.is_none() {
        report.left.push(format!(
            "{} is gone; if it was moved: tracemark down --purge, in its new place",
            entry.common_dir.display()
        ));
    }
    Ok(())
}

/// The state directory whole where it is ours, and what can be made again where it is nobody else's. The list stays while a
/// repository could not be cleaned. A link that the user put in a directory's place stays, and what it leads to goes.
fn own_dirs(paths: &Paths, is_made: bool, report: &mut Report) -> Result<(), Failure> {
    if paths.state.exists() && report.failed.is_empty() {
        report.removed.push(paths.state.display().to_string());
    }
    let is_whole = report.failed.is_empty() && !paths.state.is_symlink();
    if is_whole && (is_made || !paths.is_separate) {
        remove(&paths.state)?;
    }
    for place in state_files(paths) {
        remove(&place)?;
    }
    if report.failed.is_empty() {
        remove(Written::of(paths).dir())?;
    }
    if !paths.is_separate && paths.cache.exists() {
        if paths.cache.is_symlink() {
            empty_dir(&paths.cache, None)?;
        } else {
            remove(&paths.cache)?;
        }
        report.removed.push(paths.cache.display().to_string());
    }
    Ok(())
}

/// What of ours lies in a state directory, that of somebody else too, beside the list.
fn state_files(paths: &Paths) -> Vec<PathBuf> {
    let log = paths.log();
    let mut files = vec![
        paths.lock(),
        paths.daemon_record(),
        log_file::set_aside(&log),
        log,
        paths.repositories(),
        paths.own_socket_dir(),
    ];
    files.extend(Ledger::files(&paths.ledger()));
    files
}

fn text(report: &Report) -> String {
    let lines = |title: &str, lines: &[String]| -> String {
        let line = |line: &String| format!("{title:<8} {}\n", printable(line));
        lines.iter().map(line).collect()
    };
    let nothing = if report.removed.is_empty() {
        "nothing of tracemark was found on this machine\n"
    } else {
        ""
    };
    lines("removed", &report.removed)
        + nothing
        + &lines("left", &report.left)
        + "left     LoggedModels and traces in their stores, databases that MLflow made, and what tracemark restore wrote\n"
}
