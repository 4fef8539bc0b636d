//! The commands: each answers on standard output, says everything else on standard error, and fails with a [`Failure`].
//!
//! Nothing but `main` calls them, the daemon least of all; none ends the process.

mod active;
mod app_variables;
mod checks;
mod child;
mod code;
mod config;
mod consent;
mod daemon;
mod demo;
mod diff;
mod doctor;
mod down;
mod env;
mod environment;
mod exec;
mod explain;
mod fixes;
mod gc;
mod generated;
mod hash;
mod hook;
mod log;
mod look;
mod mlflow_setup;
mod once;
mod params;
mod pin;
mod prompt;
mod purge;
mod reloader;
mod restore;
mod service;
mod show;
mod shown_by_git;
mod status;
mod steps;
mod store;
mod systemctl;
mod take_back;
mod unit_text;
mod up;
mod up_plan;
mod versions;
mod watch;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::cli::{Cli, Command};
use crate::client::{Client, ClientError, Question};
use crate::config::Settings;
use crate::error::{Failure, FailureKind, chain};
use crate::git::plain_root_above;
use crate::identity::plain_config::is_usual;
use crate::paths::Paths;
use crate::protocol::Active;
use crate::registry::{Record, Registry};
use crate::repository::Worktree;

/// What every command needs.
struct Context {
    paths: Paths,
    socket: Option<PathBuf>,
}

/// Runs a command.
///
/// # Errors
/// [`Failure`], ready to be shown.
pub fn run(cli: Cli) -> Result<(), Failure> {
    let paths = Paths::discover().map_err(|error| {
        Failure::new(FailureKind::Configuration, &error.to_string())
            .hint("set HOME to your home directory")
    })?;
    let context = Context {
        paths,
        socket: cli.socket,
    };
    match cli.command {
        Command::Up(arguments) => up::run(&context, &arguments),
        Command::Down(arguments) => down::run(&context, &arguments),
        Command::Status(arguments) => status::run(&context, &arguments),
        Command::Hash(arguments) => hash::run(&context, &arguments),
        Command::Active(arguments) => active::run(&context, &arguments),
        Command::Env(arguments) => env::run(&context, &arguments),
        Command::Exec(arguments) => exec::run(&context, &arguments),
        Command::Params(arguments) => params::run(&context, &arguments),
        Command::Pin(arguments) => pin::pin(&context, &arguments),
        Command::Unpin => pin::unpin(&context),
        Command::Restore(arguments) => restore::run(&context, &arguments),
        Command::Show(arguments) => show::run(&context, &arguments),
        Command::Diff(arguments) => diff::run(&context, &arguments),
        Command::Log(arguments) => log::run(&context, &arguments),
        Command::Gc(arguments) => gc::run(&context, &arguments),
        Command::Demo(arguments) => demo::run(&context, &arguments),
        Command::Daemon(arguments) => daemon::run(&context, &arguments),
        Command::Service(arguments) => service::run(&context, &arguments),
        Command::Watch(arguments) => watch::run(&context, &arguments),
        Command::Prompt => prompt::run(),
        Command::Completions(arguments) => generated::completions(&arguments),
        Command::Man(arguments) => generated::man(&arguments),
        Command::Doctor(arguments) => doctor::run(&context, &arguments),
        Command::Config(arguments) => config::run(&context, &arguments),
        Command::Hook(arguments) => {
            hook::run(&context, &arguments);
            Ok(())
        }
    }
}

impl Context {
    fn registry(&self) -> Registry {
        Registry::new(self.paths.repositories())
    }

    fn client(&self) -> Client {
        Client::find(self.socket.as_deref(), &self.paths)
    }

    /// Returns the tracked worktree around the current directory, and its record.
    fn tracked(&self) -> Result<(Worktree, Record), Failure> {
        if let Some(tracked) = self.tracked_as_recorded() {
            return Ok(tracked);
        }
        let worktree = here()?;
        let record = self.registry().find(&worktree.common_dir)?;
        match record.filter(|record| record.covers(&worktree)) {
            Some(record) => Ok((worktree, record)),
            None => Err(Failure::new(
                FailureKind::NotTracked,
                &format!("{} is not tracked", worktree.root.display()),
            )
            .hint("tracemark up")),
        }
    }

    /// Returns the same where `up` found a repository of the commonest kind here, which is the same repository still, with usual
    /// settings: to open it takes as long as the daemon does to answer. `None` where git is to be asked.
    fn tracked_as_recorded(&self) -> Option<(Worktree, Record)> {
        let cwd = std::env::current_dir().ok()?.canonicalize().ok()?;
        let root = plain_root_above(&cwd)?;
        let git_dir = root.join(".git");
        let record = self.registry().find(&git_dir).ok()??;
        let worktree = Worktree {
            root,
            common_dir: git_dir.clone(),
            git_dir,
        };
        let is_same = record.root == worktree.root && record.covers(&worktree);
        let has_commondir = worktree.git_dir.join("commondir").exists();
        let is_usual = worktree.is_there() && !has_commondir && is_usual(&worktree.common_dir);
        (is_same && is_usual).then_some((worktree, record))
    }
}

fn load_settings(
    context: &Context,
    worktree: &Worktree,
    record: &Record,
) -> Result<Settings, Failure> {
    let user = context.paths.user_config();
    Settings::load(&record.settings, &worktree.root, &user).map_err(|error| {
        Failure::new(FailureKind::Configuration, &error.to_string()).hint("correct it there")
    })
}

fn here() -> Result<Worktree, Failure> {
    let cwd = std::env::current_dir().map_err(|error| {
        Failure::new(
            FailureKind::NotTracked,
            &format!("the current directory cannot be used: {error}"),
        )
        .hint("cd to the repository of your app")
    })?;
    Ok(Worktree::discover(&cwd)?)
}

/// Returns the path of this program, for whoever is to run it later.
fn this_program() -> Result<std::path::PathBuf, Failure> {
    std::env::current_exe().map_err(|error| {
        Failure::new(
            FailureKind::Configuration,
            &format!("cannot find this program: {error}"),
        )
        .hint("run it by its full path")
    })
}

/// Writes an answer to standard output. A reader that went away is no failure.
fn answer(text: &str) -> Result<(), Failure> {
    let written = std::io::stdout()
        .lock()
        .write_all(text.as_bytes())
        .and_then(|()| std::io::stdout().flush());
    match written {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Failure::new(
            FailureKind::Negative,
            &format!("cannot write to standard output: {error}"),
        )
        .hint("check where the output goes")),
        _ => Ok(()),
    }
}

/// Says something to the person on standard error.
fn say(text: &str) {
    if let Err(error) = writeln!(std::io::stderr().lock(), "{text}") {
        tracing::debug!(%error, "standard error is closed");
    }
}

fn warn(message: &str, hint: &str) {
    say(&format!("tracemark: {}", crate::text::printable(message)));
    say(&format!("  try: {}", crate::text::printable(hint)));
}

fn json<T: serde::Serialize>(value: &T) -> Result<String, Failure> {
    serde_json::to_string_pretty(value)
        .map(|text| crate::text::json_plain(&text) + "\n")
        .map_err(|error| Failure::new(FailureKind::Bug, &error.to_string()))
}

/// Asks the daemon, which is started where it does not run, for the model of the code on disk; where no daemon can be
/// had, or it ends before it answers, the answer is made in this process.
fn ask(
    context: &Context,
    worktree: &Worktree,
    record: &Record,
    question: Question,
) -> Result<Active, Failure> {
    ask_saying_whom(context, worktree, record, question).map(|(active, _)| active)
}

/// As [`ask`], with the daemon that answered, if one did.
fn ask_saying_whom(
    context: &Context,
    worktree: &Worktree,
    record: &Record,
    question: Question,
) -> Result<(Active, Option<Client>), Failure> {
    let began = Instant::now();
    let client = context.client();
    let outcome = client.active(&worktree.root, question);
    let is_missing = matches!(&outcome, Err(error) if error.is_over());
    let asked = if is_missing && context.socket.is_none() {
        daemon::ensure_soon(context).map(|client| {
            let outcome = client.active(&worktree.root, question.since(began));
            (client, outcome)
        })
    } else {
        Ok((client, outcome))
    };
    let why = match asked {
        Ok((client, Ok(active))) => return Ok((about(active, &worktree.root)?, Some(client))),
        Ok((_, Err(error @ ClientError::Refused(_)))) if !error.is_stopping() => {
            return Err(client_failure(&error));
        }
        Ok((_, Err(error))) => daemon::refused(context, &error),
        Err(failure) => failure,
    };
    let active = once::resolve(
        context,
        worktree,
        &record.settings,
        question.since(began).wait,
    )?;
    let message = format!("{}; answered without it", why.message);
    warn(&message, why.hint.as_deref().unwrap_or("tracemark doctor"));
    Ok((active, None))
}

/// Has a running daemon read this repository's settings again; one that does not run reads them when it starts.
fn tell_daemon(context: &Context, worktree: &Worktree) {
    if let Err(error) = context.client().track(&worktree.root) {
        tracing::debug!(%error, "the daemon was not told");
    }
}

/// A daemon that does not run has nothing to forget.
fn untrack(context: &Context, root: &Path) {
    if let Err(error) = context.client().untrack(root) {
        tracing::debug!(%error, root = %root.display(), "the daemon was not told");
    }
}

fn ask_client(client: &Client, root: &Path, wait: Duration) -> Result<Active, Failure> {
    let active = client
        .active(root, Question::within(wait))
        .map_err(|error| client_failure(&error))?;
    about(active, root)
}

/// An answer about another worktree, which this one lies in, is none.
fn about(active: Active, root: &Path) -> Result<Active, Failure> {
    if Path::new(&active.worktree) == root {
        return Ok(active);
    }
    Err(Failure::new(
        FailureKind::NotTracked,
        &format!(
            "the daemon does not know {}, only {} around it",
            root.display(),
            active.worktree
        ),
    )
    .hint("tracemark up"))
}

fn client_failure(error: &ClientError) -> Failure {
    match error {
        ClientError::Refused(problem) => {
            let kind = if problem.code == "not_tracked" {
                FailureKind::NotTracked
            } else {
                FailureKind::NoDaemon
            };
            Failure::new(kind, &problem.message).hint(&problem.hint)
        }
        ClientError::Foreign(_) => {
            Failure::new(FailureKind::NoDaemon, &chain(error)).hint("the same without --socket")
        }
        ClientError::Unreachable { .. }
        | ClientError::OtherProtocol { .. }
        | ClientError::NotUnderstood { .. } => {
            Failure::new(FailureKind::NoDaemon, &chain(error)).hint("tracemark up")
        }
    }
}

/// Returns the failure that a state without a model id is.
fn pending_failure(active: &Active) -> Failure {
    let by_store = active.waiting_for.as_deref() == Some("store");
    let kind = match active.state.as_str() {
        "broken" if active.lasting => FailureKind::Configuration,
        _ if by_store => FailureKind::Store,
        _ => FailureKind::Negative,
    };
    let reason = active
        .reason
        .as_deref()
        .unwrap_or("the code changed faster than it could be read");
    let hint = active.hint.as_deref().unwrap_or("tracemark status");
    Failure::new(kind, &format!("no model id yet: {reason}")).hint(hint)
}
