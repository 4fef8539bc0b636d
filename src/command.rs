//! The commands: each answers on standard output, says everything else on standard error, and fails with a [`Failure`].
//!
//! Nothing but `main` calls them, the daemon least of all; none ends the process.

mod active;
mod app_variables;
mod asking;
mod checks;
mod child;
mod code;
mod config;
mod consent;
mod daemon;
mod daemon_end;
mod daemon_start;
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
mod keep_out;
mod log;
mod look;
mod looking;
mod mlflow_setup;
mod moved;
mod name_parts;
mod once;
mod output;
mod owner;
mod params;
mod pin;
mod prompt;
mod purge;
mod reloader;
mod removal;
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
mod units;
mod unreadable;
mod up;
mod up_plan;
mod versions;
mod watch;
mod way;

use std::path::PathBuf;

use crate::cli::{Cli, Command};
use crate::client::Client;
use crate::config::Settings;
use crate::error::{Failure, FailureKind};
use crate::git::plain_root_above;
use crate::identity::plain_config::is_usual;
use crate::paths::Paths;
use crate::registry::{Record, Registry};
use crate::repository::{OpenError, Worktree};
use asking::{
    ask, ask_client, ask_saying_whom, client_failure, pending_failure, tell_daemon, untrack,
};
use output::{answer, json, say, warn};

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
    Ok(Settings::load(&record.settings, &worktree.root, &user)?)
}

/// Returns the worktree around the current directory.
fn here() -> Result<Worktree, Failure> {
    Ok(Worktree::discover(&current_dir()?)?)
}

/// As [`here`]; `None` where there is no repository.
fn here_if_any() -> Result<Option<Worktree>, Failure> {
    match Worktree::discover(&current_dir()?) {
        Err(OpenError::NotARepository(_)) => Ok(None),
        found => Ok(Some(found?)),
    }
}

fn current_dir() -> Result<PathBuf, Failure> {
    std::env::current_dir().map_err(|error| {
        Failure::new(
            FailureKind::NotTracked,
            &format!("the current directory cannot be used: {error}"),
        )
        .hint("cd to the repository of your app")
    })
}

/// Returns the path of this program, for whoever is to run it later.
fn this_program() -> Result<PathBuf, Failure> {
    std::env::current_exe().map_err(|error| {
        Failure::new(
            FailureKind::Configuration,
            &format!("cannot find this program: {error}"),
        )
        .hint("run it by its full path")
    })
}
