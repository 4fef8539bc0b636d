//! `tracemark env`: the variables, for `eval` and for readers of env files.

use std::time::Duration;

use super::active::wait_for;
use super::{Context, answer, json, pending_failure, warn};
use crate::cli::{EnvArgs, Shell};
use crate::client::Question;
use crate::error::Failure;

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
    let variables = active.env_values(&socket, true).variables();
    if arguments.shell == Shell::Json {
        let object: std::collections::BTreeMap<_, _> = variables.into_iter().collect();
        return answer(&json(&object)?);
    }
    let lines = variables
        .iter()
        .map(|(name, value)| line(arguments.shell, name, value));
    answer(&lines.collect::<String>())
}

/// Values hold nothing that a shell could run; the quotes keep an empty value a value.
fn line(shell: Shell, name: &str, value: &str) -> String {
    match shell {
        Shell::Fish => format!("set -gx {name} '{value}';\n"),
        Shell::Dotenv => format!("{name}={value}\n"),
        Shell::Sh | Shell::Bash | Shell::Zsh | Shell::Json => {
            format!("export {name}='{value}'\n")
        }
    }
}
