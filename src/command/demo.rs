//! `tracemark demo`: a guided tour on a throw-away repository.
//!
//! What it starts has state, settings and socket of its own, so that the user's daemon never hears of it, and is ended
//! on every way out, Ctrl-C included. Without Python it shows what works while the store is pending.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Seek as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use tempfile::TempDir;

use super::{Context, answer, say};
use crate::cli::DemoArgs;
use crate::client::{Client, recorded};
use crate::error::{Failure, FailureKind};
use crate::fs_util::{PathError, create_private_dir, printable, replace};
use crate::git::{GitError, LOCAL_ENV_VARS};
use crate::mlflow::StoreUri;
use crate::paths::Paths;
use crate::protocol::Active;

const MLFLOW: &str = "3.17.2";
/// As in `tests/requirements.txt`.
const REQUIREMENTS: [&str; 2] = ["mlflow==3.17.2", "openai==3.54.0"];
/// The oldest Python that MLflow 3.17.2 installs on.
const PYTHON_MIN: (u32, u32) = (3, 10);

const APP: &str = include_str!("demo/app.py");
const OPENAI_STUB: &str = include_str!("demo/openai_stub.py");
const TRACES: &str = include_str!("demo/traces.py");

/// Prints the version first: a Python without the venv module still says it.
const LOOK_AT_PYTHON: &str =
    "import sys; print('%d %d' % sys.version_info[:2], flush=True); import ensurepip, venv";
const PROMPT: &str = "You are a helpful assistant.";
const OTHER_PROMPT: &str = "You answer in one sentence.";
const COMMIT_MESSAGE: &str = "Shorter and kinder";
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
/// Where the demo's daemon keeps its state: macOS knows no `XDG_STATE_HOME`, so it gets another `HOME` there.
const OWN_STATE: &str = if cfg!(target_os = "macos") {
    "Library/Application Support/tracemark"
} else {
    "state/tracemark"
};
/// `sun_path` without its NUL is 103 bytes on macOS, 107 on Linux (unix(7)).
const SOCKET_PATH_MAX: usize = 103;

const INSTALL_LIMIT: Duration = Duration::from_mins(30);
/// MLflow makes its database in `up`, and is imported by each run of the app.
const PYTHON_LIMIT: Duration = Duration::from_mins(5);
const QUICK_LIMIT: Duration = Duration::from_mins(1);
/// How long an env file may take to follow an edit; two seconds are usual.
const ENV_LIMIT: Duration = Duration::from_secs(20);
const HEARTBEAT: Duration = Duration::from_secs(15);
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// How long a program that was told to end may take.
const END_LIMIT: Duration = Duration::from_secs(5);

pub(super) fn run(context: &Context, arguments: &DemoArgs) -> Result<(), Failure> {
    let runner = Runner::new()?;
    let mut git = Command::new("git");
    runner.run(git.arg("--version"), QUICK_LIMIT)?;
    check_empty(arguments.dir.as_deref())?;
    line(
        "A guided tour on a throw-away repository, with its own daemon and MLflow. It takes a minute or two.",
    )?;
    title(&format!(
        "1. A virtual environment with MLflow {MLFLOW}, kept in {}",
        context.paths.cache.display()
    ))?;
    let venv = match environment(&context.paths.cache, &runner) {
        Ok(venv) => Some(venv),
        Err(failure) if runner.is_stopped() => return Err(failure),
        Err(failure) => {
            line(&format!("   {}", failure.message))?;
            line(&format!("   try: {}", failure.hint.unwrap_or_default()))?;
            line("   Without it the store stays pending; all the rest can be shown.")?;
            None
        }
    };
    let mut tour = Tour::prepare(context, arguments, runner, venv)?;
    let result = tour.walk();
    tour.end(result)
}

/// Runs children one at a time, each as a process group that ends with the demo.
struct Runner {
    stopped: Arc<AtomicBool>,
}

/// A child that ended.
struct Done {
    success: bool,
    stdout: String,
    stderr: String,
}

impl Runner {
    fn new() -> Result<Self, Failure> {
        let stopped = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            signal_hook::flag::register(signal, Arc::clone(&stopped))
                .map_err(|error| negative(&format!("cannot listen for signals: {error}")))?;
        }
        Ok(Self { stopped })
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    fn check(&self) -> Result<(), Failure> {
        if self.is_stopped() {
            return Err(negative("interrupted").hint("tracemark demo, to begin again"));
        }
        Ok(())
    }

    fn run(&self, command: &mut Command, limit: Duration) -> Result<Done, Failure> {
        let stdout = scratch()?;
        let stderr = scratch()?;
        command
            .stdin(Stdio::null())
            .stdout(clone_of(&stdout)?)
            .stderr(clone_of(&stderr)?);
        let success = self.finish(command, limit, |_| Ok(()))?;
        Ok(Done {
            success,
            stdout: text_of(stdout)?,
            stderr: text_of(stderr)?,
        })
    }

    /// Waits for the child, calling `tick` meanwhile, and returns whether it succeeded.
    fn finish(
        &self,
        command: &mut Command,
        limit: Duration,
        mut tick: impl FnMut(Duration) -> Result<(), Failure>,
    ) -> Result<bool, Failure> {
        let name = command.get_program().to_string_lossy().into_owned();
        let begun = Instant::now();
        let mut child = command
            .process_group(0)
            .spawn()
            .map_err(|error| not_started(&name, &error))?;
        loop {
            let status = child
                .try_wait()
                .map_err(|error| negative(&format!("cannot wait for {name}: {error}")))?;
            if let Some(status) = status {
                return Ok(status.success());
            }
            let late = begun.elapsed() > limit;
            let checked = self.check().and_then(|()| tick(begun.elapsed()));
            if late || checked.is_err() {
                end_group(&mut child);
                checked?;
                return Err(negative(&format!(
                    "{name} was still running after {} s",
                    limit.as_secs()
                )));
            }
            std::thread::sleep(LOOK_AGAIN);
        }
    }
}

fn not_started(name: &str, error: &std::io::Error) -> Failure {
    if name == "git" && error.kind() == std::io::ErrorKind::NotFound {
        return GitError::Missing.into();
    }
    negative(&format!("cannot run {name}: {error}"))
}

/// Asks the child and its own children to end, then makes them.
fn end_group(child: &mut Child) {
    for signal in [Signal::TERM, Signal::KILL] {
        if let Err(error) = kill_process_group(Pid::from_child(child), signal) {
            tracing::debug!(%error, "the process group has ended");
        }
        if until(END_LIMIT, || {
            matches!(child.try_wait(), Ok(Some(_)) | Err(_))
        }) {
            return;
        }
    }
}

fn until(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + limit;
    loop {
        if condition() {
            return true;
        }
        if Instant::now() > deadline {
            return false;
        }
        std::thread::sleep(LOOK_AGAIN);
    }
}

impl Done {
    /// Returns the child's own words as a failure, never a traceback.
    fn failure(&self, what: &str) -> Failure {
        let words = last_line(&self.stderr).unwrap_or("it said nothing");
        let ours = self
            .stderr
            .lines()
            .rev()
            .find_map(|line| line.strip_prefix("tracemark: "));
        let failure = negative(&format!("{what} failed: {}", ours.unwrap_or(words)));
        match words.trim().strip_prefix("try: ") {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }

    fn checked(self, what: &str) -> Result<Self, Failure> {
        if self.success {
            Ok(self)
        } else {
            Err(self.failure(what))
        }
    }
}

// The virtual environment.

/// Returns the virtual environment, made where there is no complete one.
fn environment(cache: &Path, runner: &Runner) -> Result<PathBuf, Failure> {
    let version = python_version(runner)?;
    create_private_dir(cache)?;
    let lock = cache.join("demo.lock");
    let lock = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&lock)
        .map_err(PathError::of("open", &lock))?;
    wait_for_lock(&lock, runner)?;
    let venv = cache.join(format!("demo-mlflow-{MLFLOW}"));
    let stamp = venv.join("complete");
    let wanted = format!("{version} {}", REQUIREMENTS.join(" "));
    let complete = std::fs::read_to_string(&stamp).is_ok_and(|found| found == wanted);
    if complete && is_usable(&venv, runner)? {
        line("   It is there from the last time.")?;
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
    let missing = |what: &str, cure: &str| Err(negative(what).hint(cure));
    let Ok(done) = runner.run(&mut command, QUICK_LIMIT) else {
        runner.check()?;
        return missing(
            "python3 is missing",
            "install Python 3.10 or later with its venv module (Debian, Ubuntu: apt install python3-venv)",
        );
    };
    let version = done.stdout.trim().to_owned();
    let numbers = version
        .split_once(' ')
        .and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
    if numbers.is_none_or(|found: (u32, u32)| found < PYTHON_MIN) {
        return missing(
            &format!("python3 is too old for MLflow {MLFLOW}, or does not run"),
            "install Python 3.10 or later",
        );
    }
    if !done.success {
        return missing(
            "python3 has no venv module",
            "install it (Debian, Ubuntu: apt install python3-venv)",
        );
    }
    Ok(version)
}

/// Two demos at once must not install into one directory.
fn wait_for_lock(lock: &File, runner: &Runner) -> Result<(), Failure> {
    let mut told = false;
    while lock.try_lock().is_err() {
        runner.check()?;
        if !told {
            line("   Another demo is installing it; waiting …")?;
            told = true;
        }
        std::thread::sleep(LOOK_AGAIN);
    }
    Ok(())
}

/// The interpreter that an environment was made with may be gone by now.
fn is_usable(venv: &Path, runner: &Runner) -> Result<bool, Failure> {
    let mut command = Command::new(venv.join("bin/python"));
    command.args(["-c", "import mlflow.version, openai.version"]);
    clear_python(&mut command);
    let done = runner.run(&mut command, PYTHON_LIMIT);
    runner.check()?;
    Ok(done.is_ok_and(|done| done.success))
}

fn install(cache: &Path, venv: &Path, lock: &File, runner: &Runner) -> Result<(), Failure> {
    remove_dir(venv)?;
    line(&format!(
        "   Making it and installing {} with pip: about a minute, 0.9 GB on disk …",
        REQUIREMENTS.join(" and ")
    ))?;
    let mut make = Command::new("python3");
    make.args(["-m", "venv"]).arg(venv);
    clear_python(&mut make);
    let made = runner.run(&mut make, PYTHON_LIMIT)?;
    if !made.success {
        let words = last_line(&made.stderr).or(last_line(&made.stdout));
        let text = format!("python3 -m venv failed: {}", words.unwrap_or_default());
        return Err(negative(&text).hint("install it (Debian, Ubuntu: apt install python3-venv)"));
    }
    pip(&cache.join("demo-install.log"), venv, lock, runner)
}

/// Pip holds the lock as its standard input, so that it is held for as long as pip runs, whatever becomes of us.
fn pip(log: &Path, venv: &Path, lock: &File, runner: &Runner) -> Result<(), Failure> {
    let output = File::create(log).map_err(PathError::of("create", log))?;
    let mut command = Command::new(venv.join("bin/python"));
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
    clear_python(&mut command);
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
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let words = text.lines().rev().find(|line| line.starts_with("ERROR"));
    let words = words.or(last_line(&text)).unwrap_or_default();
    Err(negative(&format!("pip failed: {words}")).hint(&format!(
        "check that pip reaches a package index; all it said is in {}",
        log.display()
    )))
}

fn heartbeat(log: &Path, elapsed: Duration) -> Result<(), Failure> {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let words = last_line(&text).unwrap_or("starting pip");
    let words = words.split_once(':').map_or(words, |(what, _)| what);
    let words: String = words.chars().take(70).collect();
    line(&format!("   {:>4} s  {words}", elapsed.as_secs()))
}

/// An interpreter of the user's, or a path of his, must not reach into the virtual environment.
fn clear_python(command: &mut Command) {
    command.env_remove("PYTHONHOME").env_remove("PYTHONPATH");
}

// The tour.

/// A throw-away repository, and all that was started for it.
struct Tour {
    runner: Runner,
    /// tracemark itself.
    program: PathBuf,
    /// State, settings and socket, away from the user's.
    own: TempDir,
    /// Where the demo's daemon keeps its state.
    paths: Paths,
    repo: PathBuf,
    /// The repository goes away at the end.
    clean: bool,
    venv: Option<PathBuf>,
    stub: Option<Child>,
    openai: String,
    versions: Vec<Version>,
}

/// A version that the app was run under.
struct Version {
    what: String,
    name: String,
    model_id: String,
    trace_id: String,
}

impl Tour {
    fn prepare(
        context: &Context,
        arguments: &DemoArgs,
        runner: Runner,
        venv: Option<PathBuf>,
    ) -> Result<Self, Failure> {
        let program = std::env::current_exe()
            .map_err(|error| negative(&format!("cannot find this program: {error}")))?;
        let own = own_dir()?;
        let mut paths = context.paths.clone();
        paths.state = own.path().join(OWN_STATE);
        let repo = repository_dir(arguments.dir.as_deref())?;
        Ok(Self {
            runner,
            program,
            own,
            paths,
            repo,
            clean: arguments.clean,
            venv,
            stub: None,
            openai: String::new(),
            versions: Vec::new(),
        })
    }

    fn walk(&mut self) -> Result<(), Failure> {
        self.make_repository()?;
        self.up()?;
        if self.venv.is_some() {
            self.start_stub()?;
            self.with_mlflow()?;
        } else {
            self.without_mlflow()?;
        }
        self.ask_socket()
    }

    fn make_repository(&self) -> Result<(), Failure> {
        title(&format!(
            "2. A git repository with a small OpenAI app, in {}",
            self.repo.display()
        ))?;
        self.git(&["init", "-q", "-b", "main"])?;
        for (key, value) in GIT_CONFIG {
            self.git(&["config", key, value])?;
        }
        self.write("app.py", APP)?;
        self.commit("A small app")?;
        shown("tracemark hash")?;
        let hash = self.tracemark(&["hash"], QUICK_LIMIT)?.stdout;
        line(&format!("   {}   (a clean tree: HEAD)", hash.trim()))
    }

    fn up(&self) -> Result<(), Failure> {
        title("3. Tracking on: checks, hooks, daemon, first version, once for each repository")?;
        if self.venv.is_some() {
            line(
                "   MLflow's SQLite file is made on the way, by MLflow itself: 10 to 30 seconds …",
            )?;
        }
        shown("tracemark up --yes")?;
        let done = self.tracemark(&["up", "--yes"], PYTHON_LIMIT)?;
        let notes = done.stderr.lines();
        let news = notes.filter(|note| !note.starts_with("Making "));
        news.chain(done.stdout.lines()).try_for_each(indented)
    }

    fn with_mlflow(&mut self) -> Result<(), Failure> {
        title("4. The app, run under the version of its code; no line of the app knows of it")?;
        let head = self.short_head()?;
        self.visit(&format!("commit {head}"), Instant::now())?;

        title("5. Edit 1: another prompt in app.py, not committed. The daemon names the new code")?;
        let since = Instant::now();
        self.write("app.py", &edited_app())?;
        self.visit("edit 1, not committed", since)?;

        title("6. Edit 2: a new file, prompts/tone.txt, not even added to git")?;
        let since = Instant::now();
        self.write("prompts/tone.txt", "Be kind.\n")?;
        self.visit("edit 2, not committed", since)?;

        title(
            "7. Edit 3: that file again. git status says the same as before, tracemark does not",
        )?;
        let since = Instant::now();
        self.write("prompts/tone.txt", "Be kind and brief.\n")?;
        self.visit("edit 3, not committed", since)?;

        title("8. A commit: its version is named by the full commit hash")?;
        let since = Instant::now();
        self.commit_edits()?;
        let head = self.short_head()?;
        self.visit(&format!("commit {head}"), since)?;
        self.table()
    }

    /// Waits until a version of its own is published for the code on disk, and runs the app under it.
    fn visit(&mut self, what: &str, since: Instant) -> Result<(), Failure> {
        let before = self.versions.last().map(|version| &version.model_id);
        let variables = self.env_with(what, |variables| {
            let id = variables.get("MLFLOW_ACTIVE_MODEL_ID");
            id.is_some_and(|id| !id.is_empty() && Some(id) != before)
        })?;
        let elapsed = since.elapsed().as_secs_f32();
        let value = |name: &str| variables.get(name).cloned().unwrap_or_default();
        let (name, model_id) = (value("TRACEMARK_NAME"), value("MLFLOW_ACTIVE_MODEL_ID"));
        shown("tracemark active")?;
        let active = self.tracemark(&["active"], QUICK_LIMIT)?.stdout;
        if active.trim() != model_id {
            return Err(negative(&format!(
                "{what}: the env file says {model_id}, tracemark active says {}",
                active.trim()
            )));
        }
        self.check_name(what, &name)?;
        let note = if self.versions.is_empty() {
            String::new()
        } else {
            format!(", in the env file after {elapsed:.1} s")
        };
        indented(&format!("{model_id}   ({}{note})", short(&name)))?;
        let trace_id = self.run_app()?;
        self.versions.push(Version {
            what: what.to_owned(),
            name,
            model_id,
            trace_id,
        });
        Ok(())
    }

    /// Returns the id of the trace that the run made.
    fn run_app(&self) -> Result<String, Failure> {
        shown("tracemark exec -- python app.py")?;
        let mut command = self.child(&self.program);
        command
            .args(["exec", "--", "python", "app.py"])
            .env("MLFLOW_ENABLE_ASYNC_TRACE_LOGGING", "false")
            .env("OPENAI_BASE_URL", &self.openai)
            .env("OPENAI_API_KEY", "none");
        let done = self.runner.run(&mut command, PYTHON_LIMIT)?;
        let done = done.checked("the app")?;
        let mut lines = done.stdout.lines().rev();
        let (trace, said) = (lines.next(), lines.next());
        let (Some(trace), Some(said)) = (trace.filter(|id| id.starts_with("tr-")), said) else {
            return Err(done.failure("the app made no trace; it"));
        };
        indented(said)?;
        Ok(trace.to_owned())
    }

    /// Shows what MLflow itself says of every run, and fails where that is not what was promised.
    fn table(&self) -> Result<(), Failure> {
        title(
            "9. What MLflow says: each version and the traces linked to it (mlflow.search_traces)",
        )?;
        let active = self.active()?;
        let linked = self.linked_traces(&active)?;
        line(&format!(
            "   {:<23}  {:<21}  {:<34}  traces",
            "version", "code", "model id"
        ))?;
        for version in &self.versions {
            line(&format!(
                "   {:<23}  {:<21}  {:<34}  {}",
                short(&version.name),
                version.what,
                version.model_id,
                linked.get(&version.model_id).map_or(0, Vec::len)
            ))?;
        }
        check_links(&self.versions, &linked)?;
        let runs = self.versions.len();
        line(&format!(
            "   {runs} of {runs} runs are linked to exactly their code."
        ))?;
        if self.clean {
            return Ok(());
        }
        self.show_how_to_count(&active)
    }

    fn show_how_to_count(&self, active: &Active) -> Result<(), Failure> {
        let example = self.versions.last().map_or("", |one| &one.model_id);
        let code = format!(
            "import mlflow; print(len(mlflow.search_traces(locations=[\"{}\"], filter_string=\"metadata.`mlflow.modelId` = \\\"{example}\\\"\")))",
            active.experiment_id.as_deref().unwrap_or("0"),
        );
        indented("To count again, for any of these ids:")?;
        shown(&format!(
            "MLFLOW_TRACKING_URI={} {} -c '{code}'",
            quoted(&active.store),
            quoted(&self.python().to_string_lossy())
        ))
    }

    fn linked_traces(&self, active: &Active) -> Result<BTreeMap<String, Vec<String>>, Failure> {
        let mut command = self.child(&self.python());
        command
            .args(["-c", TRACES])
            .arg(active.experiment_id.as_deref().unwrap_or("0"))
            .args(self.versions.iter().map(|version| &version.model_id))
            .env("MLFLOW_TRACKING_URI", &active.store);
        let done = self.runner.run(&mut command, PYTHON_LIMIT)?;
        let done = done.checked("mlflow.search_traces")?;
        serde_json::from_str(last_line(&done.stdout).unwrap_or_default())
            .map_err(|error| negative(&format!("mlflow.search_traces gave no answer: {error}")))
    }

    fn without_mlflow(&self) -> Result<(), Failure> {
        title("4. The env file that apps and shells read: no model id while the store is pending")?;
        shown(&format!(
            "cat {}",
            quoted(&self.env_file().to_string_lossy())
        ))?;
        let (mut name, _) = self.follow("the first commit", "", Instant::now())?;
        let text = std::fs::read_to_string(self.env_file()).unwrap_or_default();
        text.lines().try_for_each(indented)?;
        title("5. Edit 1: another prompt in app.py, not committed; the env file follows")?;
        let since = Instant::now();
        self.write("app.py", &edited_app())?;
        name = self.follow_shown("edit 1", &name, since)?;

        title("6. Edit 2: a new file, prompts/tone.txt, not even added to git")?;
        let since = Instant::now();
        self.write("prompts/tone.txt", "Be kind.\n")?;
        name = self.follow_shown("edit 2", &name, since)?;

        title(
            "7. Edit 3: that file again. git status says the same as before, tracemark does not",
        )?;
        let since = Instant::now();
        self.write("prompts/tone.txt", "Be kind and brief.\n")?;
        name = self.follow_shown("edit 3", &name, since)?;

        title("8. A commit: its version is named by the full commit hash")?;
        let since = Instant::now();
        self.commit_edits()?;
        self.follow_shown("the commit", &name, since)?;
        Ok(())
    }

    fn follow_shown(&self, what: &str, before: &str, since: Instant) -> Result<String, Failure> {
        let (name, elapsed) = self.follow(what, before, since)?;
        let elapsed = elapsed.as_secs_f32();
        indented(&format!("TRACEMARK_NAME={name}   (after {elapsed:.1} s)"))?;
        Ok(name)
    }

    /// Waits until the env file carries another name than `before`, which must be that of `tracemark hash`.
    fn follow(
        &self,
        what: &str,
        before: &str,
        since: Instant,
    ) -> Result<(String, Duration), Failure> {
        let variables = self.env_with(what, |variables| {
            let name = variables.get("TRACEMARK_NAME");
            name.is_some_and(|name| !name.is_empty() && name != before)
        })?;
        let elapsed = since.elapsed();
        let name = variables.get("TRACEMARK_NAME").cloned().unwrap_or_default();
        self.check_name(what, &name)?;
        Ok((name, elapsed))
    }

    fn check_name(&self, what: &str, name: &str) -> Result<(), Failure> {
        let hash = self.tracemark(&["hash"], QUICK_LIMIT)?.stdout;
        if hash.trim() == name {
            return Ok(());
        }
        Err(negative(&format!(
            "{what}: the env file says {name}, tracemark hash says {}",
            hash.trim()
        )))
    }

    fn ask_socket(&self) -> Result<(), Failure> {
        let number = if self.venv.is_some() { 10 } else { 9 };
        title(&format!(
            "{number}. Other ways to the id: the env file, and a socket that answers any program"
        ))?;
        indented(&format!("env file: {}", self.env_file().display()))?;
        let variables = self.env_variables();
        let id = variables
            .get("MLFLOW_ACTIVE_MODEL_ID")
            .map_or("", |id| id.as_str());
        let socket = recorded(&self.paths).map(|daemon| PathBuf::from(daemon.socket));
        let socket = socket.ok_or_else(|| negative("the demo's daemon is gone"))?;
        let url = format!(
            "http://localhost/v1/active?worktree={}&wait=5000",
            self.encoded_repo()
        );
        shown(&format!(
            "curl --unix-socket {} '{url}'",
            quoted(&socket.to_string_lossy())
        ))?;
        let client = Client::find(Some(&socket), &self.paths);
        let active = super::ask_client(&client, &self.repo, Duration::from_secs(5))?;
        let said = match self.curl(&socket, &url)? {
            Some(said) => said,
            None => active.clone(),
        };
        indented(&summary(&said))?;
        if active.model_id.as_deref().unwrap_or_default() != id {
            return Err(negative("the socket and the env file say different ids"));
        }
        Ok(())
    }

    /// Returns what curl gets, `None` where there is no curl that can use sockets.
    fn curl(&self, socket: &Path, url: &str) -> Result<Option<Active>, Failure> {
        let mut command = self.child(Path::new("curl"));
        command
            .args(["-q", "-s", "--unix-socket"])
            .arg(socket)
            .arg(url);
        let done = self.runner.run(&mut command, QUICK_LIMIT);
        self.runner.check()?;
        Ok(done
            .ok()
            .and_then(|done| serde_json::from_str(&done.stdout).ok()))
    }

    fn encoded_repo(&self) -> String {
        let bytes = self.repo.as_os_str().as_bytes();
        let text: String = url::form_urlencoded::byte_serialize(bytes).collect();
        text.replace("%2F", "/")
    }

    fn active(&self) -> Result<Active, Failure> {
        let done = self.tracemark(&["active", "--json"], QUICK_LIMIT)?;
        serde_json::from_str(&done.stdout)
            .map_err(|error| negative(&format!("tracemark active --json is not JSON: {error}")))
    }

    /// Starts the server that stands in for OpenAI; it ends when its standard input is closed.
    fn start_stub(&mut self) -> Result<(), Failure> {
        let failed = |error: std::io::Error| {
            negative(&format!("the stand-in for OpenAI did not start: {error}"))
        };
        let mut child = self
            .child(&self.python())
            .args(["-c", OPENAI_STUB])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .map_err(failed)?;
        let stdout = child.stdout.take();
        self.stub = Some(child);
        let mut port = String::new();
        if let Some(stdout) = stdout {
            BufReader::new(stdout)
                .read_line(&mut port)
                .map_err(failed)?;
        }
        self.openai = format!("http://127.0.0.1:{}/v1", port.trim());
        Ok(())
    }

    // What the tour is made of.

    /// Returns a command in the repository that knows nothing of the user's daemon, store or git settings.
    fn child(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.repo);
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            let prefixes = ["MLFLOW_", "TRACEMARK_", "OPENAI_"];
            if prefixes.iter().any(|prefix| text.starts_with(prefix)) {
                command.env_remove(&name);
            }
        }
        for name in LOCAL_ENV_VARS.iter().chain(&GIT_VARS).chain(&OTHER_VARS) {
            command.env_remove(name);
        }
        let own = self.own.path();
        command
            .env("XDG_STATE_HOME", own.join("state"))
            .env("XDG_CONFIG_HOME", own.join("config"))
            .env("XDG_RUNTIME_DIR", own)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("MLFLOW_DISABLE_TELEMETRY", "true")
            .env("NO_PROXY", "127.0.0.1")
            .env("no_proxy", "127.0.0.1");
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

    fn tracemark(&self, arguments: &[&str], limit: Duration) -> Result<Done, Failure> {
        let mut command = self.child(&self.program);
        let done = self.runner.run(command.args(arguments), limit)?;
        done.checked(&format!("tracemark {}", arguments.join(" ")))
    }

    fn git(&self, arguments: &[&str]) -> Result<Done, Failure> {
        let mut command = self.child(Path::new("git"));
        let done = self.runner.run(command.args(arguments), QUICK_LIMIT)?;
        done.checked(&format!("git {}", arguments.join(" ")))
    }

    fn commit(&self, message: &str) -> Result<(), Failure> {
        self.git(&["add", "-A"])?;
        let unsigned = ["-c", "commit.gpgsign=false"];
        self.git(&[&unsigned[..], &["commit", "-q", "-m", message]].concat())?;
        Ok(())
    }

    fn commit_edits(&self) -> Result<(), Failure> {
        shown(&format!("git add -A && git commit -m '{COMMIT_MESSAGE}'"))?;
        self.commit(COMMIT_MESSAGE)
    }

    fn short_head(&self) -> Result<String, Failure> {
        let head = self.git(&["rev-parse", "HEAD"])?.stdout;
        Ok(short(head.trim()))
    }

    fn write(&self, name: &str, text: &str) -> Result<(), Failure> {
        let path = self.repo.join(name);
        if let Some(dir) = path.parent() {
            std::fs::create_dir_all(dir).map_err(PathError::of("create", dir))?;
        }
        std::fs::write(&path, text).map_err(PathError::of("write", &path))?;
        Ok(())
    }

    fn python(&self) -> PathBuf {
        let venv = self.venv.as_deref().unwrap_or(Path::new(""));
        venv.join("bin/python")
    }

    fn env_file(&self) -> PathBuf {
        self.repo.join(".git/tracemark/env")
    }

    fn env_variables(&self) -> BTreeMap<String, String> {
        let text = std::fs::read_to_string(self.env_file()).unwrap_or_default();
        text.lines()
            .filter_map(|line| line.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }

    /// Waits until the env file satisfies `condition`.
    fn env_with(
        &self,
        what: &str,
        condition: impl Fn(&BTreeMap<String, String>) -> bool,
    ) -> Result<BTreeMap<String, String>, Failure> {
        let deadline = Instant::now() + ENV_LIMIT;
        loop {
            self.runner.check()?;
            let variables = self.env_variables();
            if condition(&variables) {
                return Ok(variables);
            }
            if Instant::now() > deadline {
                return Err(negative(&format!(
                    "{what}: the env file did not follow within {} s",
                    ENV_LIMIT.as_secs()
                )));
            }
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    /// Takes everything back that was started, whatever happened before.
    fn end(mut self, result: Result<(), Failure>) -> Result<(), Failure> {
        let stopped = self.runner.is_stopped();
        self.runner.stopped = Arc::new(AtomicBool::new(false));
        if let Some(mut stub) = self.stub.take() {
            end_group(&mut stub);
        }
        let result = result.and_then(|()| {
            title("The end: nothing stays tracked, and the demo's daemon ends")?;
            shown("tracemark down")
        });
        let down = self.tracemark(&["down"], QUICK_LIMIT);
        self.end_daemon();
        if self.clean {
            remove_dir(&self.repo)?;
        }
        match result {
            Ok(()) => {
                indented(down?.stdout.trim())?;
                line(&self.farewell())
            }
            Err(failure) if stopped => {
                line(&self.remains())?;
                Err(failure)
            }
            Err(failure) => {
                line(&self.remains())?;
                Err(self.explained(failure))
            }
        }
    }

    fn remains(&self) -> String {
        if self.clean {
            return "\nThe demo's daemon has ended; the repository is removed.".to_owned();
        }
        let repo = quoted(&self.repo.to_string_lossy());
        format!(
            "\nThe demo's daemon has ended; the repository stays until you remove it: rm -r {repo}"
        )
    }

    /// Keeps what the daemon wrote, for whoever looks for the cause.
    fn explained(self, failure: Failure) -> Failure {
        let log = self.paths.log();
        if failure.hint.is_some() || !log.exists() {
            return failure;
        }
        drop(self.own.keep());
        failure.hint(&format!("tail {}", log.display()))
    }

    /// The daemon ends by itself when its last repository is given up; one that came up too late for that is told.
    fn end_daemon(&self) {
        if until(END_LIMIT, || self.is_daemon_gone()) {
            return;
        }
        let pid = recorded(&self.paths)
            .and_then(|daemon| i32::try_from(daemon.pid).ok())
            .and_then(Pid::from_raw);
        if let Some(pid) = pid
            && let Err(error) = kill_process(pid, Signal::TERM)
        {
            tracing::debug!(%error, "the daemon has ended");
        }
        if !until(END_LIMIT, || self.is_daemon_gone()) {
            say("The demo's daemon did not end: tracemark daemon, in ps");
        }
    }

    /// Its lock is the truth.
    fn is_daemon_gone(&self) -> bool {
        let lock = File::options().write(true).open(self.paths.lock());
        lock.map_or(true, |lock| lock.try_lock().is_ok())
    }

    fn farewell(&self) -> String {
        let own = "   In your own repository: tracemark up, then tracemark exec -- python app.py";
        if self.clean {
            return format!("   The repository and its store are removed.\n{own}");
        }
        let repo = quoted(&self.repo.to_string_lossy());
        let look = self.venv.as_ref().map_or_else(String::new, |venv| {
            let store = StoreUri::Sqlite(self.repo.join("mlflow.db")).to_tracking_uri();
            let mlflow = venv.join("bin/mlflow");
            format!(
                "   Versions and traces in MLflow's own UI, at http://127.0.0.1:5000 until Ctrl-C:\n   $ {} ui --backend-store-uri {}\n",
                quoted(&mlflow.to_string_lossy()),
                quoted(&store)
            )
        });
        format!("{look}   The repository stays until you remove it: rm -r {repo}\n{own}")
    }
}

// Directories.

/// Returns a directory of this user alone, short enough for a socket in it.
fn own_dir() -> Result<TempDir, Failure> {
    let temporary = std::env::temp_dir();
    let dir = temporary.join("tracemark-demo-XXXXXX");
    let socket = dir.join(OWN_STATE).join("run/api.sock");
    let is_short = socket.as_os_str().as_bytes().len() <= SOCKET_PATH_MAX;
    new_dir(if is_short {
        &temporary
    } else {
        Path::new("/tmp")
    })
}

fn new_dir(dir: &Path) -> Result<TempDir, Failure> {
    let made = tempfile::Builder::new()
        .prefix("tracemark-demo-")
        .permissions(std::fs::Permissions::from_mode(0o700))
        .tempdir_in(dir);
    Ok(made.map_err(PathError::of("make a directory in", dir))?)
}

/// Returns a new directory, or the one that was asked for.
fn repository_dir(given: Option<&Path>) -> Result<PathBuf, Failure> {
    let Some(dir) = given else {
        let dir = new_dir(&std::env::temp_dir())?.keep();
        return Ok(dir.canonicalize().map_err(PathError::of("read", &dir))?);
    };
    std::fs::create_dir_all(dir).map_err(PathError::of("create", dir))?;
    Ok(dir.canonicalize().map_err(PathError::of("read", dir))?)
}

fn check_empty(given: Option<&Path>) -> Result<(), Failure> {
    let is_new = |dir: &Path| match dir.read_dir() {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    };
    match given {
        Some(dir) if !is_new(dir) => Err(Failure::new(
            FailureKind::Usage,
            &format!("{} is not an empty directory", dir.display()),
        )
        .hint("give a directory that does not exist yet")),
        _ => Ok(()),
    }
}

fn remove_dir(dir: &Path) -> Result<(), Failure> {
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(PathError::of("remove", dir)(error).into())
        }
        _ => Ok(()),
    }
}

fn scratch() -> Result<File, Failure> {
    let dir = std::env::temp_dir();
    Ok(tempfile::tempfile().map_err(PathError::of("write in", &dir))?)
}

fn clone_of(file: &File) -> Result<File, Failure> {
    file.try_clone()
        .map_err(|error| negative(&format!("cannot share an output file: {error}")))
}

fn text_of(mut file: File) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    file.rewind()
        .and_then(|()| file.read_to_end(&mut bytes))
        .map_err(|error| negative(&format!("cannot read a program's output: {error}")))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn path_with(first: &Path) -> std::ffi::OsString {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs = std::iter::once(first.to_owned()).chain(std::env::split_paths(&path));
    std::env::join_paths(dirs).unwrap_or(path)
}

// Words.

fn edited_app() -> String {
    APP.replace(PROMPT, OTHER_PROMPT)
}

fn check_links(
    versions: &[Version],
    linked: &BTreeMap<String, Vec<String>>,
) -> Result<(), Failure> {
    for version in versions {
        let traces = linked.get(&version.model_id).map_or(&[][..], Vec::as_slice);
        if traces != [version.trace_id.as_str()] {
            return Err(negative(&format!(
                "{}: trace {} should be the one linked to {}, MLflow finds {traces:?}",
                version.what, version.trace_id, version.model_id
            )));
        }
    }
    Ok(())
}

/// `3f2a…-dirty-…` and full hashes, shortened as git does.
fn short(name: &str) -> String {
    let (head, rest) = name.split_once('-').unwrap_or((name, ""));
    let head: String = head.chars().take(7).collect();
    if rest.is_empty() {
        head
    } else {
        format!("{head}…-{rest}")
    }
}

/// What of an answer fits on a line.
fn summary(active: &Active) -> String {
    format!(
        "{{\"state\":\"{}\", \"model_id\":{}, \"dirty\":{}, \"fresh\":{}, …}}",
        active.state,
        active
            .model_id
            .as_ref()
            .map_or_else(|| "null".to_owned(), |id| format!("\"{id}\"")),
        active.dirty.unwrap_or_default(),
        active.fresh
    )
}

/// Quotes a word for a shell where it needs that.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._/:@%+,=-".contains(c);
    if word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

fn last_line(text: &str) -> Option<&str> {
    text.lines()
        .rev()
        .map(str::trim)
        .find(|line| !line.is_empty())
}

fn negative(message: &str) -> Failure {
    Failure::new(FailureKind::Negative, message)
}

fn title(text: &str) -> Result<(), Failure> {
    line("")?;
    line(text)
}

fn shown(command: &str) -> Result<(), Failure> {
    line(&format!("   $ {command}"))
}

fn indented(text: &str) -> Result<(), Failure> {
    line(&format!("   {text}"))
}

/// All of the tour is the answer: it goes to standard output.
fn line(text: &str) -> Result<(), Failure> {
    let lines: String = text
        .split('\n')
        .map(|line| printable(line) + "\n")
        .collect();
    answer(&lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_demo_installs_what_the_tests_install() {
        let pinned = include_str!("../../tests/requirements.txt");
        for requirement in REQUIREMENTS {
            assert!(pinned.lines().any(|line| line == requirement));
        }
        assert_eq!(REQUIREMENTS[0], format!("mlflow=={MLFLOW}"));
    }

    #[test]
    fn the_first_edit_changes_the_app() {
        assert_ne!(edited_app(), APP);
    }

    #[test]
    fn names_are_shortened_to_what_tells_them_apart() {
        let head = "3f2a1b0c9d8e7f6a5b4c3d2e1f0a9b8c7d6e5f4a";
        assert_eq!(short(head), "3f2a1b0");
        let dirty = format!("{}-dirty-01234567", &head[..32]);
        assert_eq!(short(&dirty), "3f2a1b0…-dirty-01234567");
    }

    #[test]
    fn a_word_with_blanks_and_quotes_survives_a_shell() {
        assert_eq!(quoted("/tmp/a"), "/tmp/a");
        assert_eq!(quoted("/tmp/a b's"), "'/tmp/a b'\\''s'");
    }

    #[test]
    fn a_trace_that_is_linked_elsewhere_fails_the_demo() {
        let version = Version {
            what: "edit 1".to_owned(),
            name: "n".to_owned(),
            model_id: "m-1".to_owned(),
            trace_id: "tr-1".to_owned(),
        };
        let of = |traces: &[&str]| {
            let traces = traces.iter().map(|id| (*id).to_owned()).collect();
            BTreeMap::from([("m-1".to_owned(), traces)])
        };
        let versions = [version];
        assert!(check_links(&versions, &of(&["tr-1"])).is_ok());
        for wrong in [&[][..], &["tr-2"], &["tr-1", "tr-2"]] {
            assert!(check_links(&versions, &of(wrong)).is_err());
        }
    }
}
