//! The virtual environment with MLflow: made once in the cache, found there by the next demo.
//!
//! Installs nothing elsewhere: the user's own Python stays as it is.

use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::dirs::remove_dir;
use super::runner::{LOOK_AGAIN, PYTHON_LIMIT, QUICK_LIMIT, Runner, clone_of};
use super::words::{indented, last_line, negative};
use crate::error::Failure;
use crate::fs_util::{PathError, create_private_dir, replace};

pub(super) const MLFLOW: &str = "3.17.2";
/// As in `tests/requirements.txt`.
const REQUIREMENTS: [&str; 2] = ["mlflow==3.17.2", "openai==3.54.0"];
/// The oldest Python that MLflow 3.17.2 installs on.
const PYTHON_MIN: (u32, u32) = (3, 10);
/// Prints the version first: a Python without the venv module still says it.
const LOOK_AT_PYTHON: &str =
    "import sys; print('%d %d' % sys.version_info[:2], flush=True); import ensurepip, venv";
const INSTALL_VENV: &str = "install it (Debian, Ubuntu: apt install python3-venv)";
const INSTALL_LIMIT: Duration = Duration::from_mins(30);
const HEARTBEAT: Duration = Duration::from_secs(15);

/// Returns the virtual environment, made where there is no complete one.
pub(super) fn environment(cache: &Path, runner: &Runner) -> Result<PathBuf, Failure> {
    let version = python_version(runner)?;
    create_private_dir(cache)?;
    let lock = locked(&cache.join("demo.lock"), runner)?;
    let venv = cache.join(format!("demo-mlflow-{MLFLOW}"));
    let stamp = venv.join("complete");
    let wanted = format!("{version} {}", REQUIREMENTS.join(" "));
    let complete = std::fs::read_to_string(&stamp).is_ok_and(|found| found == wanted);
    if complete && is_usable(&venv, runner)? {
        indented("It is there from the last time.")?;
        return Ok(venv);
    }
    if let Err(failure) = install(cache, &venv, &lock, runner) {
        remove_dir(&venv)?;
        return Err(failure);
    }
    replace(&stamp, wanted.as_bytes(), 0o644)?;
    Ok(venv)
}

fn python_version(runner: &Runner) -> Result<String, Failure> {
    let mut command = Command::new("python3");
    command.args(["-c", LOOK_AT_PYTHON]);
    let Ok(done) = runner.run(&mut command, QUICK_LIMIT) else {
        runner.check()?;
        return Err(negative("python3 is missing").hint(
            "install Python 3.10 or later with its venv module (Debian, Ubuntu: apt install python3-venv)",
        ));
    };
    let version = done.stdout.trim();
    if numbers(version).is_none_or(|found| found < PYTHON_MIN) {
        return Err(negative(&format!(
            "python3 is too old for MLflow {MLFLOW}, or does not run"
        ))
        .hint("install Python 3.10 or later"));
    }
    if !done.success {
        return Err(negative("python3 has no venv module").hint(INSTALL_VENV));
    }
    Ok(version.to_owned())
}

fn numbers(version: &str) -> Option<(u32, u32)> {
    let (major, minor) = version.split_once(' ')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// Two demos at once must not install into one directory.
fn locked(path: &Path, runner: &Runner) -> Result<File, Failure> {
    let lock = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .map_err(PathError::of("open", path))?;
    let mut told = false;
    while lock.try_lock().is_err() {
        runner.check()?;
        if !told {
            indented("Another demo is installing it; waiting …")?;
            told = true;
        }
        std::thread::sleep(LOOK_AGAIN);
    }
    Ok(lock)
}

/// The interpreter that an environment was made with may be gone by now.
fn is_usable(venv: &Path, runner: &Runner) -> Result<bool, Failure> {
    let mut command = python(venv.join("bin/python"));
    command.args(["-c", "import mlflow.version, openai.version"]);
    let done = runner.run(&mut command, PYTHON_LIMIT);
    runner.check()?;
    Ok(done.is_ok_and(|done| done.success))
}

fn install(cache: &Path, venv: &Path, lock: &File, runner: &Runner) -> Result<(), Failure> {
    remove_dir(venv)?;
    indented(&format!(
        "Making it and installing {} with pip: about a minute, 0.9 GB on disk …",
        REQUIREMENTS.join(" and ")
    ))?;
    let mut make = python("python3");
    make.args(["-m", "venv"]).arg(venv);
    let made = runner.run(&mut make, PYTHON_LIMIT)?;
    if !made.success {
        let words = last_line(&made.stderr).or(last_line(&made.stdout));
        let text = format!("python3 -m venv failed: {}", words.unwrap_or_default());
        return Err(negative(&text).hint(INSTALL_VENV));
    }
    pip(&cache.join("demo-install.log"), venv, lock, runner)
}

/// Pip holds the lock as its standard input, so that it is held for as long as pip runs, whatever becomes of us.
fn pip(log: &Path, venv: &Path, lock: &File, runner: &Runner) -> Result<(), Failure> {
    let output = File::create(log).map_err(PathError::of("create", log))?;
    let mut command = python(venv.join("bin/python"));
    command
        .args(["-m", "pip", "install", "--disable-pip-version-check"])
        .args(["--no-input", "--progress-bar=off"])
        .args(REQUIREMENTS)
        .env("PIP_USER", "0")
        .env_remove("PIP_TARGET")
        .env_remove("PIP_PREFIX")
        .stdin(clone_of(lock)?)
        .stdout(clone_of(&output)?)
        .stderr(output);
    let mut next = HEARTBEAT;
    let installed = runner.finish(&mut command, INSTALL_LIMIT, |elapsed| {
        if elapsed >= next {
            next += HEARTBEAT;
            return heartbeat(log, elapsed);
        }
        Ok(())
    })?;
    if installed {
        return Ok(());
    }
    Err(pip_failure(log))
}

fn heartbeat(log: &Path, elapsed: Duration) -> Result<(), Failure> {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let words = last_line(&text).unwrap_or("starting pip");
    let words = words.split_once(':').map_or(words, |(what, _)| what);
    let words: String = words.chars().take(70).collect();
    indented(&format!("{:>4} s  {words}", elapsed.as_secs()))
}

fn pip_failure(log: &Path) -> Failure {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let words = text.lines().rev().find(|line| line.starts_with("ERROR"));
    let words = words.or(last_line(&text)).unwrap_or_default();
    negative(&format!("pip failed: {words}")).hint(&format!(
        "check that pip reaches a package index; all it said is in {}",
        log.display()
    ))
}

/// An interpreter of the user's, or a path of his, must not reach into the virtual environment.
fn python(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.env_remove("PYTHONHOME").env_remove("PYTHONPATH");
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_demo_installs_what_the_tests_install() {
        let pinned = include_str!("../../../tests/requirements.txt");
        for requirement in REQUIREMENTS {
            assert!(pinned.lines().any(|line| line == requirement));
        }
        assert_eq!(REQUIREMENTS[0], format!("mlflow=={MLFLOW}"));
    }
}
