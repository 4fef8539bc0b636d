//! `tracemark env`: the variables, for `eval` and for readers of env files.
//!
//! Prints no id that may be that of older code, and no value that a shell could run.

use std::time::Duration;

use super::active::wait_for;
use super::{Context, answer, json, pending_failure, warn};
use crate::cli::{EnvArgs, Shell};
use crate::client::Question;
use crate::env_file::is_portable;
use crate::error::Failure;
use crate::text::single_quoted;

pub(super) fn run(context: &Context, arguments: &EnvArgs) -> Result<(), Failure> {
    let (worktree, record) = context.tracked()?;
    let question = Question::within(Duration::from_secs(arguments.timeout));
    let mut active = wait_for(context, &worktree, &record, question)?;
    if active.model_id.is_none() || !active.fresh {
        let failure = pending_failure(&active);
        warn(
            &failure.message,
            failure.hint.as_deref().unwrap_or_default(),
        );
        active.model_id = None;
    }
    let socket = context.client().socket().to_string_lossy().into_owned();
    let values = active.env_values(&socket, true);
    let variables = values.exact();
    if arguments.shell == Shell::Json {
        let object: std::collections::BTreeMap<_, _> = variables.into_iter().collect();
        return answer(&json(&object)?);
    }
    let mut text = String::new();
    for (name, value) in variables {
        match assignment(arguments.shell, name, value) {
            Some(line) => text += &line,
            None => warn(
                &format!(
                    "{name} is {value:?}, which no line for this reader can hold: it is left out"
                ),
                "tracemark exec -- CMD, or tracemark env --shell json",
            ),
        }
    }
    answer(&text)
}

/// Returns a line that the shell reads back as the value, whatever that holds; none where readers would differ.
fn assignment(shell: Shell, name: &str, value: &str) -> Option<String> {
    if value.chars().any(char::is_control) {
        return None;
    }
    match shell {
        Shell::Fish => {
            let quoted = value.replace('\\', r"\\").replace('\'', r"\'");
            Some(format!("set -gx {name} '{quoted}';\n"))
        }
        Shell::Dotenv => dotenv_value(value).map(|value| format!("{name}={value}\n")),
        Shell::Sh | Shell::Bash | Shell::Zsh | Shell::Json => {
            Some(format!("export {name}={}\n", single_quoted(value)))
        }
    }
}

/// Between single quotes the readers of such files agree but on `'`, `\` and python-dotenv's `${NAME}`.
fn dotenv_value(value: &str) -> Option<String> {
    if is_portable(value) {
        return Some(value.to_owned());
    }
    let is_plain = !value.contains(['\'', '\\', '$']);
    is_plain.then(|| format!("'{value}'"))
}
