//! `tracemark demo`: a guided tour on a throw-away repository.
//!
//! What it starts has state, settings and socket of its own, so that the user's daemon never hears of it, and is ended
//! on every way out, Ctrl-C included. Without Python it shows what works while the store is pending.

mod dirs;
mod ending;
mod python;
mod runner;
mod sandbox;
mod socket;
mod stub;
mod table;
mod words;

use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use self::runner::{PYTHON_LIMIT, QUICK_LIMIT, Runner};
use self::sandbox::{Sandbox, value};
use self::stub::Stub;
use self::table::Version;
use self::words::{indented, line, negative, quoted, short, shown, title};
use super::Context;
use crate::cli::DemoArgs;
use crate::error::Failure;
use crate::written::Written;

const APP: &str = include_str!("demo/app.py");
const PROMPT: &str = "You are a helpful assistant.";
const OTHER_PROMPT: &str = "You answer in one sentence.";
const TONE: &str = "prompts/tone.txt";
const COMMIT_MESSAGE: &str = "Shorter and kinder";

pub(super) fn run(context: &Context, arguments: &DemoArgs) -> Result<(), Failure> {
    let runner = Runner::new()?;
    runner.run(Command::new("git").arg("--version"), QUICK_LIMIT)?;
    let dir = arguments.dir.as_deref();
    dirs::check_empty(dir)?;
    line(
        "A guided tour on a throw-away repository, with its own daemon and MLflow. It takes a minute or two.",
    )?;
    let venv = virtual_environment(context, &runner)?;
    let mut tour = Tour {
        sandbox: Sandbox::new(&context.paths, dir, runner, venv)?,
        clean: arguments.clean,
        stub: None,
        versions: Vec::new(),
        name: String::new(),
    };
    let result = tour.walk();
    tour.end(result)
}

/// Returns `None` where there can be none, and says why.
fn virtual_environment(context: &Context, runner: &Runner) -> Result<Option<PathBuf>, Failure> {
    let cache = &context.paths.cache;
    title(&format!(
        "1. A virtual environment with MLflow {}, kept in {}",
        python::MLFLOW,
        cache.display()
    ))?;
    if let Some(around) = cache.parent().filter(|around| !around.exists()) {
        Written::of(&context.paths).note_dir(around)?;
    }
    match python::environment(cache, runner) {
        Ok(venv) => Ok(Some(venv)),
        Err(failure) if runner.is_stopped() => Err(failure),
        Err(failure) => {
            indented(&failure.message)?;
            indented(&format!("try: {}", failure.hint.unwrap_or_default()))?;
            indented("Without it the store stays pending; all the rest can be shown.")?;
            Ok(None)
        }
    }
}

/// A walk through the repository's versions, and all that was started for it.
struct Tour {
    sandbox: Sandbox,
    /// The repository goes away at the end.
    clean: bool,
    stub: Option<Stub>,
    /// Those that the app was run under; none without MLflow.
    versions: Vec<Version>,
    /// The env file's latest name, followed without MLflow.
    name: String,
}

impl Tour {
    fn walk(&mut self) -> Result<(), Failure> {
        self.make_repository()?;
        self.up()?;
        let number = if self.sandbox.venv.is_some() {
            self.with_mlflow()?;
            10
        } else {
            self.without_mlflow()?;
            9
        };
        title(&format!(
            "{number}. Other ways to the id: the env file, and a socket that answers any program"
        ))?;
        socket::show(&self.sandbox)
    }

    fn make_repository(&self) -> Result<(), Failure> {
        title(&format!(
            "2. A git repository with a small OpenAI app, in {}",
            self.sandbox.repo.display()
        ))?;
        self.sandbox.init()?;
        self.sandbox.write("app.py", APP)?;
        self.sandbox.commit("A small app")?;
        shown("tracemark hash")?;
        let hash = self.sandbox.tracemark(&["hash"], QUICK_LIMIT)?.stdout;
        indented(&format!("{}   (a clean tree: HEAD)", hash.trim()))
    }

    fn up(&self) -> Result<(), Failure> {
        title("3. Tracking on: checks, hooks, daemon, first version, once for each repository")?;
        if self.sandbox.venv.is_some() {
            indented(
                "MLflow's SQLite file is made on the way, by MLflow itself: 10 to 30 seconds …",
            )?;
        }
        shown("tracemark up --yes")?;
        let done = self.sandbox.tracemark(&["up", "--yes"], PYTHON_LIMIT)?;
        let notes = done.stderr.lines();
        let news = notes.filter(|note| !note.starts_with("Making "));
        news.chain(done.stdout.lines()).try_for_each(indented)
    }

    fn with_mlflow(&mut self) -> Result<(), Failure> {
        self.stub = Some(Stub::start(&self.sandbox)?);
        title("4. The app, run under the version of its code; no line of the app knows of it")?;
        self.see_commit(Instant::now())?;
        title("5. Edit 1: another prompt in app.py, not committed. The daemon names the new code")?;
        self.edit_and_commit()?;
        title(
            "9. What MLflow says: each version and the traces linked to it (mlflow.search_traces)",
        )?;
        let active = self.sandbox.active()?;
        table::show(&self.sandbox, &active, &self.versions)?;
        if self.clean {
            return Ok(());
        }
        table::show_how_to_count(&self.sandbox, &active, &self.versions)
    }

    fn without_mlflow(&mut self) -> Result<(), Failure> {
        title("4. The env file that apps and shells read: no model id while the store is pending")?;
        shown(&format!("cat {}", quoted(self.sandbox.env_file())))?;
        self.follow("the first commit", Instant::now())?;
        self.sandbox.env().lines().try_for_each(indented)?;
        title("5. Edit 1: another prompt in app.py, not committed; the env file follows")?;
        self.edit_and_commit()
    }

    fn edit_and_commit(&mut self) -> Result<(), Failure> {
        self.edit(1, "app.py", &edited_app())?;
        title("6. Edit 2: a new file, prompts/tone.txt, not even added to git")?;
        self.edit(2, TONE, "Be kind.\n")?;
        title(
            "7. Edit 3: that file again. git status says the same as before, tracemark does not",
        )?;
        self.edit(3, TONE, "Be kind and brief.\n")?;
        title("8. A commit: its version is named by the full commit hash")?;
        let since = Instant::now();
        shown(&format!("git add -A && git commit -m '{COMMIT_MESSAGE}'"))?;
        self.sandbox.commit(COMMIT_MESSAGE)?;
        self.see_commit(since)
    }

    fn edit(&mut self, number: u8, file: &str, text: &str) -> Result<(), Failure> {
        let since = Instant::now();
        self.sandbox.write(file, text)?;
        self.see(&format!("edit {number}, not committed"), since)
    }

    fn see_commit(&mut self, since: Instant) -> Result<(), Failure> {
        let head = self.sandbox.git(&["rev-parse", "HEAD"])?.stdout;
        self.see(&format!("commit {}", short(head.trim())), since)
    }

    fn see(&mut self, what: &str, since: Instant) -> Result<(), Failure> {
        if self.sandbox.venv.is_some() {
            return self.visit(what, since);
        }
        let elapsed = self.follow(what, since)?;
        indented(&format!(
            "TRACEMARK_NAME={}   (after {elapsed:.1} s)",
            self.name
        ))
    }

    /// Waits until a version of its own is published for the code on disk, and runs the app under it.
    fn visit(&mut self, what: &str, since: Instant) -> Result<(), Failure> {
        let before = self.versions.last().map_or("", |one| &one.model_id);
        let env = self.env_of_now(what, "MLFLOW_ACTIVE_MODEL_ID", before)?;
        let elapsed = since.elapsed().as_secs_f32();
        let name = value(&env, "TRACEMARK_NAME");
        let model_id = value(&env, "MLFLOW_ACTIVE_MODEL_ID");
        shown("tracemark active")?;
        self.check(what, model_id, "active")?;
        self.check(what, name, "hash")?;
        let note = if self.versions.is_empty() {
            String::new()
        } else {
            format!(", in the env file after {elapsed:.1} s")
        };
        indented(&format!("{model_id}   ({}{note})", short(name)))?;
        let trace_id = self.run_app()?;
        self.versions.push(Version {
            what: what.to_owned(),
            name: name.to_owned(),
            model_id: model_id.to_owned(),
            trace_id,
        });
        Ok(())
    }

    /// Waits until the env file carries another name, and returns the seconds that have passed.
    fn follow(&mut self, what: &str, since: Instant) -> Result<f32, Failure> {
        let env = self.env_of_now(what, "TRACEMARK_NAME", &self.name)?;
        let elapsed = since.elapsed().as_secs_f32();
        value(&env, "TRACEMARK_NAME").clone_into(&mut self.name);
        self.check(what, &self.name, "hash")?;
        Ok(elapsed)
    }

    /// Waits until the env file says something else than `before`, and of the code that is there: between two commands of git it may
    /// have said what lay between them.
    fn env_of_now(&self, what: &str, variable: &str, before: &str) -> Result<String, Failure> {
        let mut before = before.to_owned();
        loop {
            let env = self.sandbox.env_after(what, variable, &before)?;
            let now = self.sandbox.tracemark(&["hash"], QUICK_LIMIT)?;
            if now.stdout.trim() == value(&env, "TRACEMARK_NAME") {
                return Ok(env);
            }
            value(&env, variable).clone_into(&mut before);
        }
    }

    /// What the env file says must be what a command of tracemark says.
    fn check(&self, what: &str, value: &str, command: &str) -> Result<(), Failure> {
        let done = self.sandbox.tracemark(&[command], QUICK_LIMIT)?;
        let said = done.stdout.trim();
        if said == value {
            return Ok(());
        }
        Err(negative(&format!(
            "{what}: the env file says {value}, tracemark {command} says {said}"
        )))
    }

    /// Returns the id of the trace that the run made.
    fn run_app(&self) -> Result<String, Failure> {
        shown("tracemark exec -- python app.py")?;
        let mut command = self.sandbox.child(&self.sandbox.program);
        command
            .args(["exec", "--", "python", "app.py"])
            .env("MLFLOW_ENABLE_ASYNC_TRACE_LOGGING", "false")
            .env(
                "OPENAI_BASE_URL",
                self.stub.as_ref().map_or("", |stub| &stub.url),
            )
            .env("OPENAI_API_KEY", "none");
        let done = self.sandbox.runner.run(&mut command, PYTHON_LIMIT)?;
        let done = done.checked("the app")?;
        let mut lines = done.stdout.lines().rev();
        let (trace, said) = (lines.next(), lines.next());
        let (Some(trace), Some(said)) = (trace.filter(|id| id.starts_with("tr-")), said) else {
            return Err(done.failure("the app made no trace; it"));
        };
        indented(said)?;
        Ok(trace.to_owned())
    }
}

fn edited_app() -> String {
    APP.replace(PROMPT, OTHER_PROMPT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_edit_changes_the_app() {
        assert_ne!(edited_app(), APP);
    }
}
