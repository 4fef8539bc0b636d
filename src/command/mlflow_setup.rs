//! MLflow's SQLite file where there is none yet: made by the app's own MLflow, never by us, so that its layout is that of
//! the MLflow which will use it.

use std::ffi::OsStr;
use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::say;
use crate::mlflow::StoreUri;

/// Any read through the tracking store makes MLflow create and fill the database (MLflow 3.17.2).
const MAKE: &str = "import mlflow; mlflow.search_experiments()";
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
    if !yes && !agreed(file, &python) {
        return false;
    }
    say(&format!(
        "Making {} with {} (MLflow takes 10 to 30 seconds) …",
        file.display(),
        python.display()
    ));
    let made = Command::new(&python)
        .args(["-c", MAKE])
        .env("MLFLOW_TRACKING_URI", uri.to_tracking_uri())
        .env_remove("MLFLOW_ACTIVE_MODEL_ID")
        .env_remove("MLFLOW_EXPERIMENT_NAME")
        .env_remove("MLFLOW_EXPERIMENT_ID")
        .current_dir(file.parent().unwrap_or(root))
        .stdin(Stdio::null())
        .output();
    match made {
        Ok(output) if output.status.success() && file.exists() => true,
        Ok(output) => {
            let words = String::from_utf8_lossy(&output.stderr);
            let last = words.lines().last().unwrap_or("no message");
            say(&format!(
                "That failed: {}. The app's first run makes it.",
                crate::fs_util::printable(last)
            ));
            false
        }
        Err(error) => {
            say(&format!(
                "That failed: {error}. The app's first run makes it."
            ));
            false
        }
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
    let of_shell = std::env::var_os("VIRTUAL_ENV").map(PathBuf::from);
    let environments = of_shell
        .into_iter()
        .chain(ENVIRONMENTS.iter().map(|name| root.join(name)))
        .map(|dir| dir.join("bin/python"))
        .filter(|python| python.exists());
    of_command
        .into_iter()
        .chain(environments)
        .find(|python| has_mlflow(python))
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

fn has_mlflow(python: &Path) -> bool {
    Command::new(python)
        .args([
            "-c",
            "import importlib.util as u, sys; sys.exit(u.find_spec('mlflow') is None)",
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

fn agreed(file: &Path, python: &Path) -> bool {
    if !(std::io::stdin().is_terminal() && std::io::stderr().is_terminal()) {
        return false;
    }
    let question = format!(
        "There is no MLflow database at {} yet. Have it made by {}? [Y/n] ",
        file.display(),
        python.display()
    );
    let mut stderr = std::io::stderr().lock();
    if stderr
        .write_all(question.as_bytes())
        .and_then(|()| stderr.flush())
        .is_err()
    {
        return false;
    }
    let mut reply = String::new();
    let read = std::io::stdin().read_line(&mut reply);
    read.is_ok_and(|length| length > 0)
        && matches!(reply.trim().to_lowercase().as_str(), "" | "y" | "yes")
}
