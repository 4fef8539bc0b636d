//! `tracemark up --dry-run`: what `up` would write where. Writes nothing.

use std::path::{Path, PathBuf};

use super::keep_out::kept_out;
use super::{Context, answer, json, units};
use crate::cli::UpArgs;
use crate::client::Client;
use crate::env_file::COPY_DIR;
use crate::error::Failure;
use crate::exclude;
use crate::fs_util::{PathError, missing_dirs, read_if_exists};
use crate::hook_settings;
use crate::hooks::{self, EVENTS, Installed, LeftAlone};
use crate::mlflow::StoreUri;
use crate::registry::Record;
use crate::repository::Worktree;
use crate::session::{Session, choice_text};
use crate::text::printable;
use crate::written::Written;

/// Prints what would be written, made and started.
pub(super) fn show(
    context: &Context,
    worktree: &Worktree,
    session: &Session,
    record: &Record,
    arguments: &UpArgs,
) -> Result<(), Failure> {
    check_access(worktree)?;
    let text = store(session, arguments)
        + &excludes(context, worktree, session)?
        + &in_worktrees(worktree, session, record)
        + &in_state(context, record)?
        + &hooks(worktree)?
        + &daemon(context);
    answer(&(text + "nothing was written\n"))
}

/// As far as the system says without a trial.
fn check_access(worktree: &Worktree) -> Result<(), Failure> {
    let dir = &worktree.git_dir;
    rustix::fs::access(dir, rustix::fs::Access::WRITE_OK)
        .map_err(|error| PathError::of("write", dir)(error.into()).into())
}

fn store(session: &Session, arguments: &UpArgs) -> String {
    let made = match &session.uri {
        StoreUri::Sqlite(file) if !file.exists() => {
            let how = if arguments.yes {
                "with the app's own MLflow, where one is found"
            } else {
                "if you agree, with the app's own MLflow, where one is found"
            };
            format!("make  {}: MLflow's database, {how}\n", shown(file))
        }
        _ => String::new(),
    };
    let experiment = choice_text(&session.settings.experiment);
    let uri = printable(&session.uri.to_tracking_uri());
    format!(
        "{made}make  a LoggedModel in {uri}, experiment {}, where there is none for the code on disk\n",
        printable(&experiment)
    )
}

fn excludes(context: &Context, worktree: &Worktree, session: &Session) -> Result<String, Failure> {
    let patterns = kept_out(context, worktree, session);
    if patterns.is_empty() {
        return Ok(String::new());
    }
    let file = exclude::file(&worktree.common_dir);
    if exclude::is_elsewhere(&worktree.common_dir) {
        let lines = printable(&patterns.join(" "));
        return Ok(format!(
            "leave {}: a link; to be added to it by hand: {lines}\n",
            shown(&file)
        ));
    }
    if exclude::is_half(&worktree.common_dir) {
        let file = shown(&file);
        return Ok(format!(
            "leave {file}: it holds a block of tracemark's whose end is gone\n"
        ));
    }
    let text = exclude::with_patterns(&worktree.common_dir, &patterns)?;
    written(&file, &text)
}

fn in_worktrees(worktree: &Worktree, session: &Session, record: &Record) -> String {
    let mut worktrees = record.worktrees().unwrap_or_default();
    if worktrees.is_empty() {
        worktrees.push(worktree.clone());
    }
    let private = |one: &Worktree| {
        let what = if one.is_main() {
            "env file, snapshots of the code"
        } else {
            "env file"
        };
        made(&one.private_dir(), what)
    };
    let copy = |one: &Worktree| {
        let dir = one.root.join(COPY_DIR);
        let wanted = session.settings.env_copy.then_some(dir);
        wanted.map_or_else(String::new, |dir| made(&dir, "a copy of the env file"))
    };
    let snapshots = if worktree.is_main() {
        String::new()
    } else {
        let dir = worktree.common_dir.join("tracemark");
        made(&dir, "snapshots of the code, what was written here")
    };
    worktrees
        .iter()
        .map(|one| private(one) + &copy(one))
        .collect::<String>()
        + &snapshots
}

fn in_state(context: &Context, record: &Record) -> Result<String, Failure> {
    let state = &context.paths.state;
    let around: String = missing_dirs(state)
        .iter()
        .skip(1)
        .rev()
        .map(|dir| made(dir, "for what lies below"))
        .collect();
    let file = context.registry().file(&record.common_dir);
    let record = json(record)?;
    let list = Written::of(&context.paths);
    Ok(around
        + &made(state, "ledger, log and lock of the daemon")
        + &written(&file, record.trim_end().as_bytes())?
        + &made(list.dir(), "the list that down --purge works from"))
}

fn hooks(worktree: &Worktree) -> Result<String, Failure> {
    let plan = hooks::plan(worktree, &super::this_program()?)?;
    let mut text = String::new();
    for (file, hook) in &plan.writes {
        text += &match hook {
            Some(hook) => written(file, hook)?,
            None => format!("remove {}\n", shown(file)),
        };
    }
    if !plan.settings.is_empty() {
        let file = hook_settings::file(&worktree.common_dir);
        text += &format!("write {}\n", shown(&file));
        for (key, value) in &plan.settings {
            text += &format!("  + {key} = {}\n", printable(value));
        }
    }
    match plan.outcome {
        Installed::All => {}
        Installed::Except(hooks) => {
            for LeftAlone { file, why, .. } in hooks {
                text += &format!("leave {}: {why}\n", shown(&file));
            }
        }
        Installed::Elsewhere { dir } => {
            text += &format!(
                "leave {}: another program's hooks; to be added in {} by hand:\n",
                shown(&dir),
                shown(hooks::place_of_lines(&dir))
            );
            for event in EVENTS {
                text += &format!("  {event}: {}\n", hooks::line(event));
            }
        }
    }
    Ok(text)
}

fn daemon(context: &Context) -> String {
    let paths = &context.paths;
    if Client::of_running(context.socket.as_deref(), paths).is_some() {
        return "tell  the daemon that runs\n".to_owned();
    }
    let socket = paths.new_socket();
    let dir = socket.parent().unwrap_or(&socket);
    let place = made(dir, "its socket, api.sock");
    if units::is_installed(paths) {
        return format!("start tracemark.service of systemd\n{place}");
    }
    let program = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("tracemark"));
    format!(
        "start {} daemon, in the background\n{place}",
        shown(&program)
    )
}

fn made(dir: &Path, what: &str) -> String {
    let verb = if dir.exists() { "use " } else { "make" };
    format!("{verb}  {}/: {what}\n", shown(dir))
}

/// The file, and the lines that it would have more and less.
fn written(file: &Path, text: &[u8]) -> Result<String, Failure> {
    let before = read_if_exists(file)?;
    let is_new = if before.is_none() { ", new" } else { "" };
    let before = before.unwrap_or_default();
    if before == text {
        return Ok(String::new());
    }
    let (old, new) = (lines(&before), lines(text));
    let same = old.iter().zip(&new).take_while(|(one, two)| one == two);
    let head = same.count();
    let (old, new) = (old.get(head..), new.get(head..));
    let (old, new) = (old.unwrap_or_default(), new.unwrap_or_default());
    let same = old.iter().rev().zip(new.iter().rev());
    let tail = same.take_while(|(one, two)| one == two).count();
    let part = |lines: &[String], mark: char| -> String {
        let part = lines.get(..lines.len() - tail).unwrap_or_default();
        part.iter()
            .map(|line| format!("  {mark} {line}\n"))
            .collect()
    };
    Ok(format!("write {}{is_new}\n", shown(file)) + &part(old, '-') + &part(new, '+'))
}

fn lines(text: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(text)
        .lines()
        .map(printable)
        .collect()
}

fn shown(path: &Path) -> String {
    printable(&path.to_string_lossy())
}
