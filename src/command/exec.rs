//! `tracemark exec -- CMD`: becomes CMD with the right id in its environment, whatever the shell had exported.
//!
//! Hands out no id that may be wrong: CMD runs without one then, with `--require` not at all. No parent of CMD stays.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::active::resolve_once;
use super::app_variables::{check_workspace, connection, non_empty, variables};
use super::{Context, ask_saying_whom, here, mlflow_setup, pending_failure, reloader, warn};
use crate::cli::ExecArgs;
use crate::client::{Client, Question};
use crate::error::{Failure, FailureKind};
use crate::mlflow::{Connection, StoreUri};
use crate::protocol::Active;
use crate::repository::Worktree;

/// What `tracemark._start` of the Python wheel reads.
const SOCKET_VARIABLES: [&str; 3] = ["TRACEMARK_SOCKET", "TRACEMARK_WORKTREE", "TRACEMARK_STORE"];
/// What it sets for the interpreters below one that waited in vain.
const IN_VAIN_VARIABLE: &str = "TRACEMARK_IN_VAIN";

pub(super) fn run(context: &Context, arguments: &ExecArgs) -> Result<(), Failure> {
    let (program, rest) = arguments.command.split_first().ok_or_else(|| {
        Failure::new(FailureKind::Usage, "no command given").hint("tracemark exec -- CMD")
    })?;
    let mut command = Command::new(program);
    command.args(rest);
    command.env("MLFLOW_ACTIVE_MODEL_ID", "");
    // An `exec` around this one may have set them for another worktree.
    for name in SOCKET_VARIABLES.into_iter().chain([IN_VAIN_VARIABLE]) {
        command.env_remove(name);
    }
    let found = find(context, arguments, program).and_then(|(active, daemon)| {
        let connection = connection(context, &here()?);
        check_store(&active, &std::env::current_dir().unwrap_or_default())?;
        // Without a daemon this shell's workspace was asked, where it names a store.
        if !arguments.once || non_empty("MLFLOW_TRACKING_URI").is_none() {
            check_workspace(context, &connection, &active.store)?;
        }
        set_store(&mut command, &active, &connection);
        if let Some(daemon) = &daemon {
            set_socket(&mut command, daemon, &active);
        }
        if !arguments.once {
            reloader::warn_without_wheel(&active, &arguments.command);
        }
        checked(active)
    });
    match found {
        Ok(active) => set_id(&mut command, &active),
        Err(failure) if arguments.require => {
            return Err(Failure {
                kind: FailureKind::Exec(125),
                ..failure
            });
        }
        Err(failure) => {
            let message = format!("{}; the command runs without one", failure.message);
            warn(
                &message,
                failure.hint.as_deref().unwrap_or("tracemark status"),
            );
        }
    }
    Err(not_started(program, &command.exec()))
}

/// Returns the version of the code on disk, and the daemon that said so, if one did.
fn find(
    context: &Context,
    arguments: &ExecArgs,
    program: &OsString,
) -> Result<(Active, Option<Client>), Failure> {
    let wait = Duration::from_secs(arguments.timeout);
    if arguments.once {
        return Ok((resolve_once(context, wait)?, None));
    }
    let (worktree, record) = context.tracked()?;
    let question = Question::within(wait);
    let found = ask_saying_whom(context, &worktree, &record, question)?;
    if waits_for_database(&found.0) && has_database_made(&found.0, &worktree, arguments, program) {
        return ask_saying_whom(context, &worktree, &record, question);
    }
    Ok(found)
}

fn waits_for_database(active: &Active) -> bool {
    active.waiting_for.as_deref() == Some("store") && active.store.starts_with("sqlite:")
}

fn has_database_made(
    active: &Active,
    worktree: &Worktree,
    arguments: &ExecArgs,
    program: &OsString,
) -> bool {
    StoreUri::parse(&active.store, &worktree.root).is_ok_and(|uri| {
        let missing = matches!(&uri, StoreUri::Sqlite(file) if !file.exists());
        missing && mlflow_setup::offer(&uri, &worktree.root, Some(program), arguments.yes)
    })
}

/// An id is handed out only where it is sure to be right.
fn checked(active: Active) -> Result<Active, Failure> {
    if active.model_id.is_none() || !active.fresh {
        return Err(pending_failure(&active));
    }
    Ok(active)
}

/// An id is of no use in another store than the one that it lives in.
fn check_store(active: &Active, cwd: &Path) -> Result<(), Failure> {
    let Some(uri) = non_empty("MLFLOW_TRACKING_URI") else {
        return Ok(());
    };
    // What cannot be parsed may hold a password: it is not repeated.
    let theirs = StoreUri::parse(&uri, cwd)?.to_tracking_uri();
    if theirs == active.store {
        return Ok(());
    }
    Err(Failure::new(
        FailureKind::Store,
        &format!(
            "no model id: MLFLOW_TRACKING_URI is {theirs} here, but this repository is tracked in {}",
            active.store
        ),
    )
    .hint("unset MLFLOW_TRACKING_URI, or tracemark up to track it there"))
}

fn set_id(command: &mut Command, active: &Active) {
    if let Some(id) = &active.model_id {
        command.env("MLFLOW_ACTIVE_MODEL_ID", id);
    }
}

/// Tells interpreters below the command whom to ask about which worktree, and for which store an answer counts; also
/// while the id is pending, as the next interpreter may find it. Where no daemon answered the id stays as it is.
fn set_socket(command: &mut Command, daemon: &Client, active: &Active) {
    let values = [
        daemon.socket().as_os_str(),
        active.worktree.as_ref(),
        active.store.as_ref(),
    ];
    command.envs(SOCKET_VARIABLES.into_iter().zip(values));
}

/// Sends the command's traces where the version is or will be, unless this shell sends them somewhere itself.
fn set_store(command: &mut Command, active: &Active, connection: &Connection) {
    if non_empty("MLFLOW_TRACKING_URI").is_none() && !active.store.is_empty() {
        command.env("MLFLOW_TRACKING_URI", &active.store);
        let missing = variables(connection, &active.store).into_iter();
        command.envs(missing.filter(|(name, _)| non_empty(name).is_none()));
    }
    let name = active.experiment.strip_prefix("name:");
    let id = active
        .experiment_id
        .as_deref()
        .or(active.experiment.strip_prefix("id:"));
    let shell = (
        non_empty("MLFLOW_EXPERIMENT_NAME"),
        non_empty("MLFLOW_EXPERIMENT_ID"),
    );
    let other = match (&shell.0, &shell.1) {
        (None, None) => {
            match (id, name) {
                (Some(id), _) => command.env("MLFLOW_EXPERIMENT_ID", id),
                (None, Some(name)) => command.env("MLFLOW_EXPERIMENT_NAME", name),
                (None, None) => command,
            };
            None
        }
        (Some(theirs), _) => Some(theirs).filter(|theirs| Some(theirs.as_str()) != name),
        (None, Some(theirs)) => Some(theirs).filter(|theirs| id.is_some_and(|id| id != *theirs)),
    };
    if let Some(theirs) = other {
        warn(
            &format!(
                "this shell's experiment is {theirs}, but this repository is tracked in {}",
                active.experiment
            ),
            "unset MLFLOW_EXPERIMENT_NAME MLFLOW_EXPERIMENT_ID, or tracemark up to use it",
        );
    }
}

/// 127 when there is no such command, 126 when it cannot be run, as env(1).
fn not_started(program: &OsString, error: &std::io::Error) -> Failure {
    let code = if error.kind() == std::io::ErrorKind::NotFound {
        127
    } else {
        126
    };
    Failure::new(
        FailureKind::Exec(code),
        &format!("cannot run {}: {error}", program.to_string_lossy()),
    )
    .hint("check the command after --")
}
