//! MLflow's SQLite file where there is none yet: made by the app's own MLflow, never by us, so that its layout is that of
//! the MLflow which will use it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::child::run_within;
use super::{consent, say};
use crate::mlflow::StoreUri;
use crate::text::printable;

/// Any read through the tracking store makes MLflow create and fill the database (MLflow 3.17.2).
const MAKE: &str = "import mlflow; mlflow.search_experiments()";
/// Whether there is an MLflow, without importing it.
const LOOK: &str = "import importlib.util as u, sys; sys.exit(u.find_spec('mlflow') is None)";
/// How long that may take.
const LOOK_LIMIT: Duration = Duration::from_secs(20);
/// How long the making may take; MLflow needs 10 to 30 seconds.
const MAKE_LIMIT: Duration = Duration::from_mins(5);
/// Where virtual environments are kept, relative to the repository's root.
pub(super) const ENVIRONMENTS: [&str; 3] = [".venv", "venv", "env"];

/// Has the file made when it is missing and `yes`, or when a person at the terminal agrees. Returns false while it is
/// missing afterwards.
pub(super) fn offer(uri: &StoreUri, root: &Path, command: Option<&OsStr>, yes: bool) -> bool {
    let StoreUri::Sqlite(file) = uri else {
        return true;
    };
    if file.exists() {
        return true;
    }
    let Some(python) = interpreter(root, command) else {
        say(&format!(
            "There is no MLflow database at {} yet, and no Python with MLflow was found to make it; the app's first run makes it.",
            file.display()
        ));
        return false;
    };
    let question = format!(
        "There is no MLflow database at {} yet. Have it made by {}?",
        file.display(),
        python.display()
    );
    if !yes && !consent::given(&question) {
        return false;
    }
    say(&format!(
        "Making {} with {} (MLflow takes 10 to 30 seconds) …",
        file.display(),
        python.display()
    ));
    make(uri, file, root, &python)
}

/// Returns whether the file is there afterwards.
fn make(uri: &StoreUri, file: &Path, root: &Path, python: &Path) -> bool {
    let mut make = Command::new(python);
    make.args(["-c", MAKE])
        // Modules of the directory are none of MLflow's (Python 3.11 and newer).
        .env("PYTHONSAFEPATH", "1")
        .env("MLFLOW_TRACKING_URI", uri.to_tracking_uri())
        .env_remove("MLFLOW_ACTIVE_MODEL_ID")
        .env_remove("MLFLOW_EXPERIMENT_NAME")
        .env_remove("MLFLOW_EXPERIMENT_ID")
        // Artifacts of the default experiment lie below the directory where this runs.
        .current_dir(file.parent().unwrap_or(root));
    let failed = |why: &str| {
        say(&format!(
            "That failed: {why}. The app's first run makes it."
        ));
        false
    };
    match run_within(&mut make, MAKE_LIMIT) {
        Ok(done) if done.status.success() && file.exists() => true,
        Ok(done) => failed(&printable(
            done.stderr.lines().last().unwrap_or("no message"),
        )),
        Err(error) => failed(&error.to_string()),
    }
}

/// The interpreter that runs the command, else that of a virtual environment in the repository or of this shell.
pub(super) fn interpreter(root: &Path, command: Option<&OsStr>) -> Option<PathBuf> {
    let of_command = command.and_then(found_on_path).and_then(|program| {
        let is_python = program
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with("python"));
        if is_python {
            Some(program)
        } else {
            program
                .parent()
                .map(|dir| dir.join("python"))
                .filter(|python| python.exists())
        }
    });
    let of_command = of_command.filter(|python| has_mlflow(python));
    let mut environments = environments(root).into_iter();
    of_command.or_else(|| {
        let with_mlflow = environments.find(|dir| installed_in(dir).is_some())?;
        Some(with_mlflow.join("bin/python"))
    })
}

/// The virtual environment of this shell, and those in the repository, as far as they have an interpreter.
pub(super) fn environments(root: &Path) -> Vec<PathBuf> {
    let of_shell = std::env::var_os("VIRTUAL_ENV").map(PathBuf::from);
    let of_root = ENVIRONMENTS.iter().map(|name| root.join(name));
    let all = of_shell.into_iter().chain(of_root);
    all.filter(|dir| dir.join("bin/python").exists()).collect()
}

/// The version of the MLflow that an environment has, by the directory that its installation left
/// (packaging.python.org, recording installed packages). Runs nothing.
pub(super) fn installed_in(environment: &Path) -> Option<String> {
    let names = |dir: &Path| -> Vec<String> {
        let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
        entries
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect()
    };
    let lib = environment.join("lib");
    let pythons = names(&lib)
        .into_iter()
        .filter(|name| name.starts_with("python"));
    let installed: Vec<String> = pythons
        .flat_map(|python| names(&lib.join(python).join("site-packages")))
        .collect();
    ["mlflow-", "mlflow_skinny-"].iter().find_map(|package| {
        let mut versions = installed
            .iter()
            .filter_map(|name| name.strip_prefix(package)?.strip_suffix(".dist-info"));
        versions.next().map(str::to_owned)
    })
}

pub(super) fn found_on_path(program: &OsStr) -> Option<PathBuf> {
    let path = Path::new(program);
    if path.components().count() > 1 {
        return path
            .exists()
            .then(|| std::path::absolute(path).ok())
            .flatten();
    }
    let dirs = std::env::var_os("PATH")?;
    std::env::split_paths(&dirs)
        .map(|dir| dir.join(path))
        .find(|candidate| candidate.is_file())
}

/// An interpreter of a virtual environment is not run to learn that.
fn has_mlflow(python: &Path) -> bool {
    let environment = python.parent().and_then(Path::parent);
    if let Some(dir) = environment.filter(|dir| dir.join("pyvenv.cfg").exists()) {
        return installed_in(dir).is_some();
    }
    let mut look = Command::new(python);
    look.args(["-c", LOOK]).current_dir("/");
    run_within(&mut look, LOOK_LIMIT).is_ok_and(|done| done.status.success())
}
