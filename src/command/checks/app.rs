//! Does the app look where tracemark puts its versions: its MLflow, its experiment, its environment files, its
//! databases?
//!
//! Reads what lies there: runs none of the app's code, and asks no store.

use std::path::{Path, PathBuf};

use super::super::mlflow_setup::{environments, installed_in};
use super::calls::{Call, calls_in, files_with};
use super::{Finding, small_text};
use crate::addresses::without_credentials;
use crate::mlflow::ExperimentChoice;
use crate::repository::Worktree;
use crate::session::Session;
use crate::text::shell_quoted;

/// The first MLflow whose clients read `MLFLOW_ACTIVE_MODEL_ID` (mlflow/mlflow#15974).
const MLFLOW_MIN: (u32, u32) = (3, 1);
/// Variables of an environment file that decide where traces go.
const WHERE: [&str; 4] = [
    "MLFLOW_TRACKING_URI",
    "MLFLOW_EXPERIMENT_NAME",
    "MLFLOW_EXPERIMENT_ID",
    "MLFLOW_ACTIVE_MODEL_ID",
];
/// Files that apps and editors read variables from.
const ENV_FILES: [&str; 7] = [
    ".env",
    ".envrc",
    ".flaskenv",
    ".env.local",
    ".env.development",
    ".env.production",
    ".env.test",
];
/// How many directories are looked into for databases.
const DIRS_MAX: usize = 10_000;

/// An MLflow that knows no LoggedModel by id links nothing. The version is that of the directory that pip left: nothing of
/// a repository is run to learn it.
pub(in crate::command) fn old_mlflow(root: &Path) -> Option<Finding> {
    let mut environments = environments(root).into_iter();
    let (dir, version) = environments.find_map(|dir| Some((dir.clone(), installed_in(&dir)?)))?;
    let mut parts = version.split('.').map_while(|part| part.parse().ok());
    let found: (u32, u32) = (parts.next()?, parts.next()?);
    (found < MLFLOW_MIN).then(|| {
        let python = shell_quoted(&dir.join("bin/python").to_string_lossy());
        Finding::new(
            "old_mlflow",
            &format!("the app's MLflow is {version}, which does not read MLFLOW_ACTIVE_MODEL_ID: its traces are linked to nothing"),
            &format!("{python} -m pip install 'mlflow>=3.1'"),
        )
    })
}

/// Traces land where the code says; a version in another experiment is not theirs.
pub(in crate::command) fn other_experiment(session: &Session) -> Option<Finding> {
    let call = &other_experiment_call(session)?;
    let ours = match &session.settings.experiment {
        ExperimentChoice::Name(name) => format!("{name:?}"),
        ExperimentChoice::Default => "\"Default\"".to_owned(),
        ExperimentChoice::Id(id) => format!("the one with the id {id}"),
    };
    let theirs = &call.argument;
    let cure = if is_by_id(call) {
        format!("MLFLOW_EXPERIMENT_ID={} tracemark up", shell_quoted(theirs))
    } else {
        format!("tracemark up --experiment {}", shell_quoted(theirs))
    };
    let kind = if is_by_id(call) {
        "experiment with the id"
    } else {
        "experiment"
    };
    let problem = format!(
        "{} sets the {kind} {theirs:?}, tracemark makes its versions in {ours}",
        call.place
    );
    Some(Finding::new("other_experiment", &problem, &cure))
}

fn other_experiment_call(session: &Session) -> Option<Call> {
    let calls = calls_in(&session.worktree, "set_experiment");
    let is_ours = calls.iter().any(|call| is_our_experiment(session, call));
    calls.into_iter().next().filter(|_| !is_ours)
}

/// What the app's code names that tracemark does not use.
pub(in crate::command) struct Named {
    /// File and line, or file and cell.
    pub(in crate::command) place: String,
    /// The experiment's name, or the tracking URI.
    pub(in crate::command) value: String,
}

impl From<Call> for Named {
    fn from(call: Call) -> Self {
        Self {
            place: call.place,
            value: call.argument,
        }
    }
}

/// The experiment that the code names.
pub(in crate::command) fn experiment_of_code(session: &Session) -> Option<Named> {
    let call = other_experiment_call(session)?;
    (!is_by_id(&call)).then(|| call.into())
}

/// The tracking URI that the code names.
pub(in crate::command) fn store_of_code(session: &Session) -> Option<Named> {
    other_store_call(session).map(Named::from)
}

fn is_by_id(call: &Call) -> bool {
    call.keyword == "experiment_id"
}

/// Also where that cannot be known: which name an id has is the server's to say.
fn is_our_experiment(session: &Session, call: &Call) -> bool {
    let known = session.experiment_id();
    match (&session.settings.experiment, is_by_id(call)) {
        (ExperimentChoice::Name(name), false) => call.argument == *name,
        (ExperimentChoice::Default, false) => call.argument == "Default",
        (ExperimentChoice::Id(id), true) => call.argument == id.as_str(),
        (ExperimentChoice::Id(_), false) => true,
        (ExperimentChoice::Default, true) => call.argument == "0",
        (ExperimentChoice::Name(_), true) => known.is_none_or(|id| id.as_str() == call.argument),
    }
}

/// The same for the store.
pub(in crate::command) fn other_store(session: &Session) -> Option<Finding> {
    let ours = session.uri.to_tracking_uri();
    let call = other_store_call(session)?;
    let theirs = public(&call.argument);
    Some(Finding::new(
        "other_store",
        &format!(
            "{} sets the tracking URI {theirs:?}, tracemark makes its versions in {ours:?}",
            call.place
        ),
        &format!("tracemark up --store {}", shell_quoted(&theirs)),
    ))
}

fn other_store_call(session: &Session) -> Option<Call> {
    let ours = session.uri.to_tracking_uri();
    let calls = calls_in(&session.worktree, "set_tracking_uri");
    let same = |theirs: &str| {
        let parsed = crate::mlflow::StoreUri::parse(theirs, &session.worktree.root);
        parsed.is_ok_and(|theirs| theirs.to_tracking_uri() == ours)
    };
    let is_ours = |call: &Call| same(&call.argument) || same(&public(&call.argument));
    let is_ours = calls.iter().any(is_ours);
    calls.into_iter().next().filter(|_| !is_ours)
}

/// Returns an address as it may be shown.
fn public(uri: &str) -> String {
    without_credentials(uri).unwrap_or_else(|| "an address with a password in it".to_owned())
}

/// `load_dotenv` leaves what a shell exported as it is, so that an app may go on with an older id.
pub(in crate::command) fn dotenv_without_override(worktree: &Worktree) -> Option<Finding> {
    let lines_of = |name: &String| {
        let text = small_text(&worktree.root.join(name)).unwrap_or_default();
        let odd = text.lines().zip(1..).find(|(line, _)| {
            line.contains("load_dotenv(")
                && line.contains("tracemark")
                && !line.contains("override=True")
        });
        odd.map(|(_, number)| format!("{name}:{number}"))
    };
    let files = files_with(worktree, "load_dotenv(");
    let place = files.iter().find_map(lines_of)?;
    Some(Finding::new(
        "dotenv_override",
        &format!(
            "{place} reads the env file and keeps an older MLFLOW_ACTIVE_MODEL_ID that the shell exported"
        ),
        "load_dotenv(FILE, override=True)",
    ))
}

/// Environment files that an app or an editor reads and that say something else than tracemark does.
pub(in crate::command) fn env_files(session: &Session) -> Vec<Finding> {
    let root = &session.worktree.root;
    ENV_FILES
        .iter()
        .filter_map(|name| Some((name, small_text(&root.join(name))?)))
        .flat_map(|(name, text)| {
            let against = against(session, &text).into_iter();
            let findings =
                against.map(|(variable, value)| env_file_against(name, variable, &value));
            findings.collect::<Vec<_>>()
        })
        .collect()
}

fn env_file_against(name: &str, variable: &str, value: &str) -> Finding {
    let value = public(value);
    let (what, otherwise) = if variable == "MLFLOW_ACTIVE_MODEL_ID" {
        ("which stays the same whatever the code", "")
    } else {
        (
            "which is not where tracemark makes its versions",
            ", or tracemark up with the same value",
        )
    };
    Finding::new(
        "env_file_against",
        &format!("{name} sets {variable}={value}, {what}"),
        &format!("take {variable} out of {name}{otherwise}"),
    )
}

/// This shell's variables that send an app elsewhere: `exec` gives it no id then, or warns.
pub(in crate::command) fn shell_elsewhere(session: &Session) -> Vec<Finding> {
    let set = WHERE
        .iter()
        .filter(|name| **name != "MLFLOW_ACTIVE_MODEL_ID");
    let lines = set.filter_map(|name| Some(format!("{name}={}\n", std::env::var(name).ok()?)));
    let elsewhere = against(session, &lines.collect::<String>()).into_iter();
    elsewhere
        .map(|(variable, value)| {
            let value = public(&value);
            Finding::new(
                "shell_against",
                &format!("this shell sets {variable}={value}, which is not where tracemark makes its versions"),
                &format!("unset {variable}, or tracemark up to use it"),
            )
        })
        .collect()
}

fn against(session: &Session, text: &str) -> Vec<(&'static str, String)> {
    let ours = |variable: &str, value: &str| match (variable, &session.settings.experiment) {
        ("MLFLOW_TRACKING_URI", _) => crate::mlflow::StoreUri::parse(value, &session.worktree.root)
            .is_ok_and(|theirs| theirs.to_tracking_uri() == session.uri.to_tracking_uri()),
        ("MLFLOW_EXPERIMENT_NAME", ExperimentChoice::Name(name)) => name == value,
        ("MLFLOW_EXPERIMENT_NAME", ExperimentChoice::Default) => value == "Default",
        ("MLFLOW_EXPERIMENT_NAME", ExperimentChoice::Id(_)) => true,
        ("MLFLOW_EXPERIMENT_ID", ExperimentChoice::Id(id)) => id.as_str() == value,
        ("MLFLOW_EXPERIMENT_ID", ExperimentChoice::Name(_)) => session
            .experiment_id()
            .is_none_or(|id| id.as_str() == value),
        ("MLFLOW_EXPERIMENT_ID", ExperimentChoice::Default) => value == "0",
        _ => false,
    };
    let wrong = |line: &str| {
        let line = line.trim_start();
        let line = line.strip_prefix("export ").unwrap_or(line);
        let (name, value) = line.split_once('=')?;
        let variable = WHERE
            .into_iter()
            .find(|variable| *variable == name.trim())?;
        let value = assigned(value);
        // What a shell or a reader makes of it is not known here.
        let is_known = !value.is_empty() && !value.contains(['$', '`']);
        (is_known && !ours(variable, value)).then(|| (variable, value.to_owned()))
    };
    text.lines().filter_map(wrong).collect()
}

/// Returns the value of an assignment without its quotes and without the comment behind it.
fn assigned(text: &str) -> &str {
    let text = text.trim();
    let quoted = ['"', '\''].into_iter().find_map(|quote| {
        let (value, _) = text.strip_prefix(quote)?.split_once(quote)?;
        Some(value)
    });
    let plain = || {
        let value = text.split_once(" #").map_or(text, |(value, _)| value);
        if value.starts_with('#') {
            ""
        } else {
            value.trim_end()
        }
    };
    quoted.unwrap_or_else(plain)
}

/// An app that is started elsewhere than in the root makes a database of its own there.
pub(in crate::command) fn other_databases(session: &Session) -> Vec<Finding> {
    let root = &session.worktree.root;
    databases(root)
        .into_iter()
        .filter(|file| Some(file.as_path()) != session.store_file())
        .filter(|file| file.metadata().is_ok_and(|file| file.len() > 0))
        .map(|file| {
            let name = file.strip_prefix(root).unwrap_or(&file).display();
            Finding::new(
                "other_database",
                &format!("{name} is another MLflow database: an app that was started in its directory traced into it"),
                "tracemark exec -- CMD, which tells the app where the store is",
            )
        })
        .collect()
}

fn databases(root: &Path) -> Vec<PathBuf> {
    let (mut found, mut waiting, mut looks) = (Vec::new(), vec![root.to_owned()], 0);
    while let Some(dir) = waiting.pop().filter(|_| looks < DIRS_MAX) {
        looks += 1;
        let entries = std::fs::read_dir(&dir).into_iter().flatten().flatten();
        for entry in entries {
            let (name, kind) = (entry.file_name(), entry.file_type());
            let is_dir = kind.is_ok_and(|kind| kind.is_dir());
            let has = |name: &str| entry.path().join(name).exists();
            // Another worktree or repository has a store of its own.
            let is_foreign = name == "node_modules" || has("pyvenv.cfg") || has(".git");
            if is_dir && !is_foreign && !name.to_string_lossy().starts_with('.') {
                waiting.push(entry.path());
            } else if !is_dir && name == "mlflow.db" {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_read_without_quotes_and_comment() {
        for (text, value) in [
            ("a", "a"),
            (" 'a b' # c", "a b"),
            ("\"a#b\"", "a#b"),
            ("a # c", "a"),
            ("a#b", "a#b"),
            ("# c", ""),
        ] {
            assert_eq!(assigned(text), value, "{text}");
        }
    }
}
