//! The throw-away repository and its surroundings: children in it know nothing of the user's daemon, store or git
//! settings.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use super::dirs::{OWN_STATE, own_dir, repository_dir};
use super::runner::{Done, QUICK_LIMIT, Runner, until};
use super::words::negative;
use crate::error::Failure;
use crate::fs_util::PathError;
use crate::git::LOCAL_ENV_VARS;
use crate::paths::{Paths, STATE_DIR_VARIABLE};
use crate::protocol::Active;

/// The repository's own settings. libgit2 reads the user's configuration whatever `GIT_CONFIG_GLOBAL` says, so ignore
/// rules and conversions are set here too.
const GIT_CONFIG: [(&str, &str); 5] = [
    ("user.name", "tracemark demo"),
    ("user.email", "demo@localhost"),
    ("core.excludesFile", "/dev/null"),
    ("core.attributesFile", "/dev/null"),
    ("core.autocrlf", "false"),
];
/// What changes what git prints or where it looks, beside [`LOCAL_ENV_VARS`].
const GIT_VARS: [&str; 4] = [
    "GIT_TEMPLATE_DIR",
    "GIT_CONFIG_SYSTEM",
    "GIT_CEILING_DIRECTORIES",
    "GIT_EXTERNAL_DIFF",
];
/// The app's server is on this machine, and no program of the demo is a systemd unit.
const OTHER_VARS: [&str; 12] = [
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "DBUS_SESSION_BUS_ADDRESS",
    "NOTIFY_SOCKET",
    "VIRTUAL_ENV",
    "CONDA_PREFIX",
    "PYTHONHOME",
    "PYTHONPATH",
];
const PREFIXES: [&str; 3] = ["MLFLOW_", "TRACEMARK_", "OPENAI_"];
/// How long an env file may take to follow an edit; two seconds are usual.
const ENV_LIMIT: Duration = Duration::from_secs(20);

/// The repository, and what its programs are run with.
pub(super) struct Sandbox {
    pub(super) runner: Runner,
    /// tracemark itself.
    pub(super) program: PathBuf,
    /// State, settings and socket, away from the user's.
    pub(super) own: TempDir,
    /// Where the demo's daemon keeps its state.
    pub(super) paths: Paths,
    pub(super) repo: PathBuf,
    pub(super) venv: Option<PathBuf>,
}

impl Sandbox {
    pub(super) fn new(
        paths: &Paths,
        dir: Option<&Path>,
        runner: Runner,
        venv: Option<PathBuf>,
    ) -> Result<Self, Failure> {
        let program = std::env::current_exe()
            .map_err(|error| negative(&format!("cannot find this program: {error}")))?;
        let own = own_dir()?;
        let mut paths = paths.clone();
        paths.state = own.path().join(OWN_STATE);
        paths.is_separate = true;
        Ok(Self {
            runner,
            program,
            own,
            paths,
            repo: repository_dir(dir)?,
            venv,
        })
    }

    pub(super) fn child(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.repo);
        forget_user(&mut command);
        let own = self.own.path();
        command
            .env(STATE_DIR_VARIABLE, own.join(OWN_STATE))
            .env("XDG_CONFIG_HOME", own.join("config"))
            .env("XDG_RUNTIME_DIR", own)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("MLFLOW_DISABLE_TELEMETRY", "true")
            .env("NO_PROXY", "127.0.0.1")
            .env("no_proxy", "127.0.0.1");
        // macOS knows no `XDG_CONFIG_HOME`.
        if cfg!(target_os = "macos") {
            command.env("HOME", own);
        }
        if let Some(venv) = &self.venv {
            command
                .env("VIRTUAL_ENV", venv)
                .env("PATH", path_with(&venv.join("bin")));
        }
        command
    }

    pub(super) fn tracemark(&self, arguments: &[&str], limit: Duration) -> Result<Done, Failure> {
        let mut command = self.child(&self.program);
        let done = self.runner.run(command.args(arguments), limit)?;
        done.checked(&format!("tracemark {}", arguments.join(" ")))
    }

    pub(super) fn active(&self) -> Result<Active, Failure> {
        let done = self.tracemark(&["active", "--json"], QUICK_LIMIT)?;
        serde_json::from_str(&done.stdout)
            .map_err(|error| negative(&format!("tracemark active --json is not JSON: {error}")))
    }

    pub(super) fn git(&self, arguments: &[&str]) -> Result<Done, Failure> {
        let mut command = self.child(Path::new("git"));
        let done = self.runner.run(command.args(arguments), QUICK_LIMIT)?;
        done.checked(&format!("git {}", arguments.join(" ")))
    }

    pub(super) fn init(&self) -> Result<(), Failure> {
        self.git(&["init", "-q", "-b", "main"])?;
        for (key, value) in GIT_CONFIG {
            self.git(&["config", key, value])?;
        }
        Ok(())
    }

    pub(super) fn commit(&self, message: &str) -> Result<(), Failure> {
        self.git(&["add", "-A"])?;
        self.git(&["-c", "commit.gpgsign=false", "commit", "-q", "-m", message])?;
        Ok(())
    }

    pub(super) fn write(&self, name: &str, text: &str) -> Result<(), Failure> {
        let path = self.repo.join(name);
        if let Some(dir) = path.parent() {
            std::fs::create_dir_all(dir).map_err(PathError::of("create", dir))?;
        }
        std::fs::write(&path, text).map_err(PathError::of("write", &path))?;
        Ok(())
    }

    pub(super) fn python(&self) -> PathBuf {
        let venv = self.venv.as_deref().unwrap_or(Path::new(""));
        venv.join("bin/python")
    }

    pub(super) fn env_file(&self) -> PathBuf {
        self.repo.join(".git/tracemark/env")
    }

    pub(super) fn env(&self) -> String {
        std::fs::read_to_string(self.env_file()).unwrap_or_default()
    }

    /// Waits until the env file carries a value of `variable` other than `before`, and returns its text.
    pub(super) fn env_after(
        &self,
        what: &str,
        variable: &str,
        before: &str,
    ) -> Result<String, Failure> {
        let mut env = String::new();
        let followed = until(ENV_LIMIT, || {
            env = self.env();
            let value = value(&env, variable);
            (!value.is_empty() && value != before) || self.runner.is_stopped()
        });
        self.runner.check()?;
        if followed {
            return Ok(env);
        }
        Err(negative(&format!(
            "{what}: the env file did not follow within {} s",
            ENV_LIMIT.as_secs()
        )))
    }
}

/// Returns a variable's value in the text of an env file, empty where it has none.
pub(super) fn value<'a>(env: &'a str, variable: &str) -> &'a str {
    env.lines()
        .filter_map(|line| line.split_once('='))
        .find_map(|(name, value)| (name == variable).then_some(value))
        .unwrap_or_default()
}

/// Takes the user's daemon, store, git settings and Python out of the environment.
fn forget_user(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if PREFIXES.iter().any(|prefix| text.starts_with(prefix)) {
            command.env_remove(&name);
        }
    }
    for name in LOCAL_ENV_VARS.iter().chain(&GIT_VARS).chain(&OTHER_VARS) {
        command.env_remove(name);
    }
}

fn path_with(first: &Path) -> OsString {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs = std::iter::once(first.to_owned()).chain(std::env::split_paths(&path));
    std::env::join_paths(dirs).unwrap_or(path)
}
