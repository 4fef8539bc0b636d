//! A command line that makes no sense: its cause and what to type, as for every failure.
//!
//! Pure.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};

/// What is wrong with a command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrongUsage {
    /// What is wrong, one line.
    pub cause: String,
    /// What to type, one line.
    pub cure: String,
    /// Whether it is `exec` that was called, whose command's own codes may be any but those of env(1).
    pub is_exec: bool,
}

impl WrongUsage {
    /// Returns what is wrong with `words`; `None` where the error is an answer in itself: the help or the version.
    pub(super) fn of(error: &clap::Error, words: &[OsString]) -> Option<Self> {
        if is_help(error) {
            return None;
        }
        let mut words = words.iter().map(|word| word.to_string_lossy());
        let command = words.find(|word| !word.starts_with('-'));
        Some(Self {
            cause: cause(error),
            cure: cure(error, command.as_deref()),
            is_exec: command.as_deref() == Some("exec"),
        })
    }
}

fn is_help(error: &clap::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::DisplayHelp
            | ErrorKind::DisplayVersion
            | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
    )
}

/// The first paragraph of what clap says.
fn cause(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let lines = text.lines().take_while(|line| !line.trim().is_empty());
    let lines: Vec<&str> = lines.map(str::trim).collect();
    let joined = lines.join(" ");
    joined.strip_prefix("error: ").unwrap_or(&joined).to_owned()
}

fn cure(error: &clap::Error, command: Option<&str>) -> String {
    let text = error.render().to_string();
    let usage = text.lines().find_map(|line| line.strip_prefix("Usage: "));
    let usage = usage.map(|usage| usage.split(" [OPTIONS]").next().unwrap_or(usage));
    let help = match (usage, command) {
        (Some(usage), _) if usage.contains('<') => usage.to_owned(),
        (Some(usage), _) => format!("{usage} --help"),
        (None, Some(command)) => format!("tracemark {command} --help"),
        (None, None) => "tracemark --help".to_owned(),
    };
    likely(error).map_or_else(
        || help.clone(),
        |likely| format!("{help}, or {likely}, if that was meant"),
    )
}

/// What clap takes for a slip of the finger.
fn likely(error: &clap::Error) -> Option<String> {
    let kinds = [
        ContextKind::SuggestedSubcommand,
        ContextKind::SuggestedArg,
        ContextKind::SuggestedValue,
    ];
    kinds.into_iter().find_map(|kind| match error.get(kind) {
        Some(ContextValue::String(one)) => Some(one.clone()),
        Some(ContextValue::Strings(several)) => several.first().cloned(),
        _ => None,
    })
}
