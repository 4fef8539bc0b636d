//! Does the app look where tracemark puts its versions: its MLflow, its experiment, its environment files, its databases?

use std::path::{Path, PathBuf};

use super::super::mlflow_setup::{environments, installed_in};
use super::Finding;
use crate::fs_util::shell_quoted;
use crate::git::{Git, records};
use crate::mlflow::ExperimentChoice;
use crate::repository::Worktree;
use crate::session::Session;

/// The first MLflow whose clients read `MLFLOW_ACTIVE_MODEL_ID` (mlflow/mlflow#15974).
const MLFLOW_MIN: (u32, u32) = (3, 1);
/// Variables of an environment file that decide where traces go.
const WHERE: [&str; 4] = [
    "MLFLOW_TRACKING_URI",
    "MLFLOW_EXPERIMENT_NAME",
    "MLFLOW_EXPERIMENT_ID",
    "MLFLOW_ACTIVE_MODEL_ID",
];
/// The largest source or environment file that is looked into.
const TEXT_MAX: u64 = 1024 * 1024;

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

/// An address without user and password, which are nobody's to read over a shoulder or in a log.
fn without_user(address: &str) -> String {
    let parts = address.split_once("://");
    let place = parts.and_then(|(scheme, rest)| Some((scheme, rest.rsplit_once('@')?.1)));
    place.map_or_else(
        || address.to_owned(),
        |(scheme, place)| format!("{scheme}://{place}"),
    )
}

/// Traces land where the code says; a version in another experiment is not theirs.
pub(in crate::command) fn other_experiment(session: &Session) -> Option<Finding> {
    let ours = match &session.settings.experiment {
        ExperimentChoice::Name(name) => name.as_str(),
        ExperimentChoice::Default => "Default",
        // Which name that id has is the server's to say.
        ExperimentChoice::Id(_) => return None,
    };
    let calls = calls_in(&session.worktree, "set_experiment");
    let is_ours = |call: &Call| call.argument == ours;
    let call = calls.first().filter(|_| !calls.iter().any(is_ours))?;
    Some(experiment_finding(call, ours))
}

fn experiment_finding(call: &Call, ours: &str) -> Finding {
    Finding::new(
        "other_experiment",
        &format!(
            "{} sets the experiment {:?}, tracemark makes its versions in {ours:?}",
            call.place, call.argument
        ),
        &format!("tracemark up --experiment {}", shell_quoted(&call.argument)),
    )
}

/// The same for the store.
pub(in crate::command) fn other_store(session: &Session) -> Option<Finding> {
    let ours = session.uri.to_tracking_uri();
    let calls = calls_in(&session.worktree, "set_tracking_uri");
    let same = |theirs: &str| {
        let parsed = crate::mlflow::StoreUri::parse(theirs, &session.worktree.root);
        parsed.is_ok_and(|theirs| theirs.to_tracking_uri() == ours)
    };
    let is_ours = |call: &Call| same(&call.argument);
    let call = calls.first().filter(|_| !calls.iter().any(is_ours))?;
    Some(Finding::new(
        "other_store",
        &format!(
            "{} sets the tracking URI {:?}, tracemark makes its versions in {:?}",
            call.place,
            without_user(&call.argument),
            without_user(&ours)
        ),
        &format!(
            "tracemark up --store {}",
            shell_quoted(&without_user(&call.argument))
        ),
    ))
}

/// A call with one literal text, in Python code that git does not ignore.
struct Call {
    place: String,
    argument: String,
}

fn calls_in(worktree: &Worktree, function: &str) -> Vec<Call> {
    let pattern = format!("{function}(");
    let git = Git::at(&worktree.root).with_config(&["core.fsmonitor=false"]);
    let found = git.run(&[
        "grep",
        "--untracked",
        "-I",
        "-l",
        "-z",
        "-F",
        "-e",
        &pattern,
        "--",
        "*.py",
    ]);
    let listed = found.map(|output| output.stdout).unwrap_or_default();
    records(&listed)
        .filter_map(|name| std::str::from_utf8(name).ok())
        .flat_map(|name| calls_in_file(&worktree.root, name, &pattern))
        .collect()
}

fn calls_in_file(root: &Path, name: &str, pattern: &str) -> Vec<Call> {
    let text = small_text(&root.join(name)).unwrap_or_default();
    let lines = text.lines().zip(1..);
    lines
        .filter(|(line, _)| !line.trim_start().starts_with('#'))
        .filter_map(|(line, number)| {
            let argument = line.split(pattern).nth(1)?.trim_start();
            let quote = argument.chars().next().filter(|c| "\"'".contains(*c))?;
            let rest = argument.get(1..)?;
            let (argument, _) = rest.split_once(quote)?;
            Some(Call {
                place: format!("{name}:{number}"),
                argument: argument.to_owned(),
            })
        })
        .collect()
}

/// Environment files that an app or an editor reads and that say something else than tracemark does.
pub(in crate::command) fn env_files(session: &Session) -> Vec<Finding> {
    let root = &session.worktree.root;
    [".env", ".envrc", ".flaskenv", ".env.local"]
        .iter()
        .filter_map(|name| Some((name, small_text(&root.join(name))?)))
        .filter_map(|(name, text)| {
            let (variable, value) = against(session, &text)?;
            let value = without_user(&value);
            Some(Finding::new(
                "env_file_against",
                &format!("{name} sets {variable}={value}, which is not where tracemark makes its versions"),
                &format!("take {variable} out of {name}, or tracemark up with the same value"),
            ))
        })
        .collect()
}

fn against(session: &Session, text: &str) -> Option<(&'static str, String)> {
    let ours = |variable: &str, value: &str| match (variable, &session.settings.experiment) {
        ("MLFLOW_TRACKING_URI", _) => crate::mlflow::StoreUri::parse(value, &session.worktree.root)
            .is_ok_and(|theirs| theirs.to_tracking_uri() == session.uri.to_tracking_uri()),
        ("MLFLOW_EXPERIMENT_NAME", ExperimentChoice::Name(name)) => name == value,
        ("MLFLOW_EXPERIMENT_ID", ExperimentChoice::Id(id)) => id.as_str() == value,
        ("MLFLOW_EXPERIMENT_ID", ExperimentChoice::Name(_)) => session
            .experiment_id()
            .is_none_or(|id| id.as_str() == value),
        ("MLFLOW_EXPERIMENT_ID", ExperimentChoice::Default) => value == "0",
        _ => false,
    };
    text.lines().find_map(|line| {
        let line = line.trim_start();
        let line = line.strip_prefix("export ").unwrap_or(line);
        let (name, value) = line.split_once('=')?;
        let variable = WHERE
            .into_iter()
            .find(|variable| *variable == name.trim())?;
        let value = value.trim().trim_matches(['"', '\'']);
        (!value.is_empty() && !ours(variable, value)).then(|| (variable, value.to_owned()))
    })
}

/// An app that is started elsewhere than in the root makes a database of its own there.
pub(in crate::command) fn other_databases(session: &Session) -> Vec<Finding> {
    let root = &session.worktree.root;
    databases(root)
        .into_iter()
        .filter(|file| Some(file.as_path()) != session.store_file())
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
            let is_foreign = name == "node_modules" || entry.path().join("pyvenv.cfg").exists();
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

fn small_text(file: &Path) -> Option<String> {
    let metadata = file.metadata().ok()?;
    if !metadata.is_file() || metadata.len() > TEXT_MAX {
        return None;
    }
    std::fs::read_to_string(file).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_user_and_password() {
        for (address, shown) in [
            (
                "https://ann:s3cret@mlflow.example/ml",
                "https://mlflow.example/ml",
            ),
            (
                "postgresql://ann:a/b@c@db.example/ml",
                "postgresql://db.example/ml",
            ),
            ("https://mlflow.example", "https://mlflow.example"),
            ("databricks", "databricks"),
        ] {
            assert_eq!(without_user(address), shown);
        }
    }
}
