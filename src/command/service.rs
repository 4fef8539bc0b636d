//! `tracemark service`: has systemd run the daemon, or no longer.
//!
//! Touches no unit that somebody else wrote, and removes none of a package.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::daemon_end::end_detached;
use super::systemctl::{systemctl, user_manager_answers};
use super::units::{JOB_LIMIT, SERVICE, SOCKET, UNITS, installed, show, unit_dir, unit_dirs};
use super::{Context, answer, json, say, unit_text};
use crate::cli::{JsonArgs, ServiceAction, ServiceArgs};
use crate::error::{Failure, FailureKind};
use crate::fs_util::{self, PathError};
use crate::paths::Paths;
use crate::text::{printable, shell_quoted};
use crate::written::Written;

/// What every unit of ours says, also one that was copied by hand.
const MARK: &str = "which links MLflow traces to the code that made them";
const RESET: &str = "systemctl --user reset-failed tracemark.socket tracemark.service; systemctl --user start tracemark.socket tracemark.service";

pub(super) fn run(context: &Context, arguments: &ServiceArgs) -> Result<(), Failure> {
    match &arguments.action {
        ServiceAction::Install => install(context),
        ServiceAction::Uninstall => uninstall(context),
        ServiceAction::Status(arguments) => status(context, arguments),
    }
}

fn install(context: &Context) -> Result<(), Failure> {
    if context.paths.is_separate {
        let message =
            "TRACEMARK_STATE_DIR names an instance of its own; the units are for the user's";
        return Err(Failure::new(FailureKind::Usage, message).hint("unset TRACEMARK_STATE_DIR"));
    }
    if !user_manager_answers(&context.paths) {
        let message = "no systemd user manager answers here";
        return Err(Failure::new(FailureKind::NoDaemon, message)
            .hint("tracemark up, which starts the daemon without systemd"));
    }
    let program = super::this_program()?;
    let dir = unit_dir(&context.paths);
    write_units(context, &dir, &program)?;
    end_detached(context)?;
    systemctl(&context.paths, &["daemon-reload"], JOB_LIMIT)?;
    systemctl(&context.paths, &["enable", SOCKET, SERVICE], JOB_LIMIT)?;
    systemctl(&context.paths, &["start", SOCKET], JOB_LIMIT)?;
    systemctl(&context.paths, &["restart", SERVICE], JOB_LIMIT)?;
    answer(&format!(
        "systemd runs {} from now on: at login, when something asks, and again after a crash; the units are in {}\n",
        printable(&program.to_string_lossy()),
        printable(&dir.to_string_lossy())
    ))?;
    if lingers(&context.paths) == Some(false) {
        say("It ends with your last login on this machine; loginctl enable-linger lets it stay.");
    }
    Ok(())
}

fn write_units(context: &Context, dir: &Path, program: &Path) -> Result<(), Failure> {
    for (unit, _) in UNITS {
        check_ours(&dir.join(unit))?;
    }
    let list = Written::of(&context.paths);
    for (_, wants) in UNITS {
        list.note_dir(&dir.join(wants))?;
    }
    fs_util::create_private_dir(dir)?;
    let environment = unit_text::environment(|name| std::env::var(name).ok());
    let texts = [
        (SOCKET, unit_text::socket().to_owned()),
        (SERVICE, unit_text::service(program, &environment)?),
    ];
    for (unit, text) in texts {
        fs_util::replace(&dir.join(unit), text.as_bytes(), 0o644)?;
    }
    Ok(())
}

/// A unit of that name that somebody else wrote stays.
fn check_ours(file: &Path) -> Result<bool, Failure> {
    let Some(bytes) = fs_util::read_if_exists(file)? else {
        return Ok(false);
    };
    if String::from_utf8_lossy(&bytes).contains(MARK) {
        return Ok(true);
    }
    let message = format!("{} is not tracemark's", file.display());
    Err(
        Failure::new(FailureKind::Configuration, &message).hint(&format!(
            "mv {0} {0}.mine",
            shell_quoted(&file.to_string_lossy())
        )),
    )
}

fn uninstall(context: &Context) -> Result<(), Failure> {
    if !remove_units(context)? {
        let message = "no units of tracemark are installed";
        return Err(Failure::new(FailureKind::Negative, message).hint("tracemark service status"));
    }
    answer(match installed(&context.paths) {
        None => {
            "systemd no longer runs tracemark; the first command that needs the daemon starts it\n"
        }
        Some(_) => {
            "systemd starts tracemark no longer at login, but when a command needs it; the units of the package stay\n"
        }
    })
}

/// Stops and removes the units, and returns whether there were any of the user's own instance. Those of a package are
/// stopped and disabled.
pub(super) fn remove_units(context: &Context) -> Result<bool, Failure> {
    let paths = &context.paths;
    if paths.is_separate || installed(paths).is_none() {
        return Ok(false);
    }
    let files = || unit_dirs(paths).flat_map(|dir| UNITS.map(|(unit, _)| dir.join(unit)));
    for file in files() {
        check_ours(&file)?;
    }
    let manager = user_manager_answers(paths);
    if manager {
        systemctl(paths, &["disable", "--now", SOCKET, SERVICE], JOB_LIMIT)?;
    }
    for file in files() {
        fs_util::remove_if_exists(&file)?;
    }
    let wanted = |dir: PathBuf| UNITS.map(|(unit, wants)| dir.join(wants).join(unit));
    for link in unit_dirs(paths).flat_map(wanted) {
        remove_link(&link)?;
    }
    if manager {
        systemctl(paths, &["daemon-reload"], JOB_LIMIT)?;
        // What failed before is forgotten; units that never failed make this fail.
        drop(systemctl(
            paths,
            &["reset-failed", SOCKET, SERVICE],
            JOB_LIMIT,
        ));
    }
    Ok(true)
}

fn remove_link(link: &Path) -> Result<(), PathError> {
    if link
        .symlink_metadata()
        .is_ok_and(|found| found.is_symlink())
    {
        fs_util::remove_if_exists(link)?;
    }
    Ok(())
}

/// What `service status` says.
#[derive(Debug, Serialize)]
struct Report {
    schema: u32,
    /// The directory of the units, null when there are none.
    units: Option<String>,
    /// Whether it starts at login.
    enabled: bool,
    /// `active`, `inactive`, `failed`, …, as systemd calls it; `unknown` where no manager answers.
    service: String,
    socket: String,
    /// What the daemon says of itself.
    sentence: String,
    pid: Option<u32>,
    /// How often it was started again after a failure.
    restarts: Option<u32>,
    /// The program that the unit names, and whether it exists and is this one.
    program: Option<String>,
    program_exists: bool,
    program_is_this: bool,
    /// Whether the user manager stays after the last login; null when unknown.
    lingers: Option<bool>,
    /// What is wrong, and what to type.
    problem: Option<String>,
    hint: Option<String>,
}

fn status(context: &Context, arguments: &JsonArgs) -> Result<(), Failure> {
    let report = look(&context.paths);
    if arguments.json {
        answer(&json(&report)?)?;
    } else {
        answer(&text(&report))?;
    }
    match (report.problem, report.hint) {
        (Some(problem), Some(hint)) => {
            Err(Failure::new(FailureKind::Negative, &problem).hint(&hint))
        }
        _ => Ok(()),
    }
}

fn look(paths: &Paths) -> Report {
    let (service, socket) = (show(paths, SERVICE), show(paths, SOCKET));
    let value =
        |unit: &BTreeMap<String, String>, key: &str| unit.get(key).cloned().unwrap_or_default();
    let dir = installed(paths);
    let program = dir
        .as_ref()
        .and_then(|dir| std::fs::read_to_string(dir.join(SERVICE)).ok())
        .and_then(|text| unit_text::program(&text));
    let state = |unit: &BTreeMap<String, String>| match value(unit, "ActiveState") {
        state if state.is_empty() => "unknown".to_owned(),
        state => state,
    };
    let this = std::env::current_exe().ok();
    let mut report = Report {
        schema: 1,
        units: dir.map(|dir| dir.to_string_lossy().into_owned()),
        enabled: value(&service, "UnitFileState") == "enabled",
        service: state(&service),
        socket: state(&socket),
        sentence: value(&service, "StatusText"),
        pid: value(&service, "MainPID")
            .parse()
            .ok()
            .filter(|pid| *pid != 0),
        restarts: value(&service, "NRestarts").parse().ok(),
        program_exists: program.as_ref().is_some_and(|program| program.exists()),
        program_is_this: program.is_some() && program == this,
        program: program.map(|program| program.to_string_lossy().into_owned()),
        lingers: lingers(paths),
        problem: None,
        hint: None,
    };
    let limit = "start-limit-hit";
    let is_limited = [&service, &socket]
        .iter()
        .any(|unit| value(unit, "Result").ends_with(limit));
    if let Some((problem, hint)) = trouble(&report, is_limited) {
        report.problem = Some(problem);
        report.hint = Some(hint.to_owned());
    }
    report
}

fn trouble(report: &Report, is_limited: bool) -> Option<(String, &'static str)> {
    let log = "journalctl --user -u tracemark.service -n 20";
    let program = report.program.as_deref().unwrap_or("no program");
    let (problem, hint) = if report.units.is_none() {
        (
            "no units of tracemark are installed".to_owned(),
            "tracemark service install",
        )
    } else if !report.program_exists {
        (
            format!("the unit names {program}, which does not exist"),
            "tracemark service install",
        )
    } else if report.service == "unknown" {
        (
            "no systemd user manager answers here".to_owned(),
            "tracemark up",
        )
    } else if is_limited {
        ("systemd gave up after too many failures".to_owned(), RESET)
    } else if report.service == "failed" || report.socket == "failed" {
        ("the daemon failed under systemd".to_owned(), log)
    } else if report.socket != "active" {
        (
            "systemd does not listen for tracemark".to_owned(),
            "systemctl --user start tracemark.socket",
        )
    } else if !report.enabled {
        (
            "systemd does not start it at login".to_owned(),
            "tracemark service install",
        )
    } else {
        return None;
    };
    Some((problem, hint))
}

fn text(report: &Report) -> String {
    let mut text = String::new();
    let mut row = |name: &str, value: &str| {
        if !value.is_empty() {
            text += &format!("{name:<10}{}\n", printable(value));
        }
    };
    row("units", report.units.as_deref().unwrap_or("not installed"));
    if report.units.is_none() {
        return text;
    }
    let program = report.program.as_deref().unwrap_or("none");
    let which = match (report.program_exists, report.program_is_this) {
        (false, _) => " (does not exist)",
        (true, false) => " (another one than this)",
        (true, true) => "",
    };
    row("program", &format!("{program}{which}"));
    row(
        "at login",
        if report.enabled {
            "started"
        } else {
            "not started"
        },
    );
    row("socket", &report.socket);
    let pid = report
        .pid
        .map_or_else(String::new, |pid| format!(", pid {pid}"));
    let restarts = match report.restarts {
        None | Some(0) => String::new(),
        Some(restarts) => format!(", restarted {restarts} times after failures"),
    };
    row("service", &format!("{}{pid}{restarts}", report.service));
    row("says", &report.sentence);
    match report.lingers {
        Some(true) => row("linger", "yes: it stays after the last login"),
        Some(false) => row(
            "linger",
            "no: it ends with the last login; loginctl enable-linger lets it stay",
        ),
        None => {}
    }
    text
}

/// What is wrong with the units, and what to type.
pub(super) fn problem(paths: &Paths) -> Option<(String, String)> {
    let report = look(paths);
    report.problem.zip(report.hint)
}

/// Whether logind keeps the user manager after the last login, where logind answers (loginctl(1)).
pub(super) fn lingers(paths: &Paths) -> Option<bool> {
    match super::systemctl::loginctl(paths)?.as_str() {
        "yes" => Some(true),
        "no" => Some(false),
        _ => None,
    }
}
