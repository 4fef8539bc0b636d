//! `tracemark params`: parameters of the versions of this repository, and what the version of now has.
//!
//! Changes no parameter that a LoggedModel has already, as MLflow never does: that takes another version.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use super::{Context, answer, ask, json, load_settings, once, pending_failure, tell_daemon, warn};
use crate::cli::{ParamsAction, ParamsArgs};
use crate::client::Question;
use crate::config::{Layer, Settings};
use crate::error::{Failure, FailureKind};
use crate::identity::digest::hex;
use crate::ledger::Ledger;
use crate::registry::Record;
use crate::repository::Worktree;
use crate::session::{Review, Session};
use crate::text::{printable, shell_quoted};
use crate::version::ActiveModel;

/// How long the version of now may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest key of a param (MLflow 3.17.2, the column's width).
const KEY_MAX: usize = 255;
/// How many characters of a value are shown; `--json` has all of it.
const VALUE_SHOWN: usize = 200;

pub(super) fn run(context: &Context, arguments: &ParamsArgs) -> Result<(), Failure> {
    let (worktree, mut record) = context.tracked()?;
    match &arguments.action {
        ParamsAction::Show { json } => return show(context, &worktree, &record, *json),
        ParamsAction::Set { params, .. } => {
            for text in params {
                let (key, value) = parse(text)?;
                record.settings.params.insert(key, value);
            }
        }
        ParamsAction::Unset { keys, .. } => {
            for key in keys {
                unset(context, &worktree, &mut record.settings, key)?;
            }
        }
    }
    if arguments.action.wants_new_version() {
        let settings = load_settings(context, &worktree, &record)?;
        record.settings.variant = variant_of(&settings.params);
    }
    context.registry().write(&record)?;
    tell_daemon(context, &worktree);
    show(context, &worktree, &record, false)
}

fn parse(text: &str) -> Result<(String, String), Failure> {
    let pair = text.split_once('=').filter(|(key, value)| {
        !key.is_empty()
            && key.chars().count() <= KEY_MAX
            && !text.contains('\0')
            && !value.is_empty()
    });
    pair.map(|(key, value)| (key.to_owned(), value.to_owned()))
        .ok_or_else(|| {
            Failure::new(
                FailureKind::Usage,
                &format!("{:?} is not KEY=VALUE", shown(text)),
            )
            .hint("tracemark params set llm=gpt-4o-mini temperature=0.7")
        })
}

fn unset(
    context: &Context,
    worktree: &Worktree,
    private: &mut Layer,
    key: &str,
) -> Result<(), Failure> {
    if private.params.remove(key).is_some() {
        return Ok(());
    }
    let settings = Settings::load(private, &worktree.root, &context.paths.user_config());
    let in_a_file = settings.is_ok_and(|settings| settings.params.contains_key(key));
    let failure = Failure::new(
        FailureKind::Negative,
        &format!("{:?} was not set with tracemark params", shown(key)),
    );
    Err(if in_a_file {
        failure.hint("take it out of [params] in .tracemark.toml or in your config.toml")
    } else {
        failure.hint("tracemark params show")
    })
}

/// The same params give the same variant, on every machine; none give none.
fn variant_of(params: &BTreeMap<String, String>) -> Option<String> {
    if params.is_empty() {
        return None;
    }
    let mut digest = Sha256::new();
    for text in params.iter().flat_map(|(key, value)| [key, value]) {
        digest.update(text.len().to_le_bytes());
        digest.update(text.as_bytes());
    }
    hex(&digest.finalize()).get(..8).map(str::to_owned)
}

/// What is wanted, and what the version of now has; what it lacks is sent first.
fn show(
    context: &Context,
    worktree: &Worktree,
    record: &Record,
    as_json: bool,
) -> Result<(), Failure> {
    let settings = load_settings(context, worktree, record)?;
    let found = complete(context, worktree, record);
    let present = found.as_ref().ok().map(|(_, params)| params);
    if as_json {
        let document = serde_json::json!({
            "schema": 1,
            "params": settings.params,
            "variant": settings.variant,
            "model_id": found.as_ref().ok().map(|(id, _)| id),
            "model_params": present,
        });
        return answer(&json(&document)?);
    }
    answer(&text(&settings, present))?;
    match found {
        Ok(_) => Ok(()),
        Err(failure) => {
            let message = format!("kept for the versions to come; {}", failure.message);
            warn(
                &message,
                failure.hint.as_deref().unwrap_or("tracemark status"),
            );
            Ok(())
        }
    }
}

/// Returns the LoggedModel of the code on disk and the params that it had before those that it lacked were sent.
fn complete(
    context: &Context,
    worktree: &Worktree,
    record: &Record,
) -> Result<(String, BTreeMap<String, String>), Failure> {
    let active = ask(context, worktree, record, Question::within(PATIENCE))?;
    let ids = active.model_id.as_ref().zip(active.experiment_id.as_ref());
    let ids = ids.and_then(|(model, experiment)| {
        Some(ActiveModel {
            model_id: model.parse().ok()?,
            experiment_id: experiment.parse().ok()?,
        })
    });
    let Some(model) = ids else {
        return Err(pending_failure(&active));
    };
    let ledger = Arc::new(Ledger::open(&context.paths.ledger())?);
    let session = Session::open(worktree, &record.settings, &context.paths, ledger)?;
    let version = once::observe(context, &session, false)?.version;
    match once::runtime()?.block_on(session.review(&model, &version))? {
        Review::Stands { params } => Ok((model.model_id.to_string(), params)),
        Review::Later(_) | Review::Gone => Err(Failure::new(
            FailureKind::Negative,
            "the code or its LoggedModel changed meanwhile",
        )
        .hint("tracemark params show")),
    }
}

/// A value that is long is cut, with its length.
fn shown(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(VALUE_SHOWN) {
        None => text.into(),
        Some((end, _)) => {
            let kept = text.get(..end).unwrap_or_default();
            format!("{kept}… ({} characters)", text.chars().count()).into()
        }
    }
}

fn text(settings: &Settings, present: Option<&BTreeMap<String, String>>) -> String {
    let mut lines = String::new();
    if let Some(variant) = &settings.variant {
        lines += &format!("variant {variant} of the code's version\n");
    }
    for (key, value) in &settings.params {
        let kept = present
            .and_then(|present| present.get(key))
            .filter(|kept| *kept != value);
        lines += &printable(&format!("{} = {}", shown(key), shown(value)));
        lines += "\n";
        if let Some(kept) = kept {
            lines += &printable(&format!(
                "  this version keeps {}, as MLflow never changes a param that is set; {} is for versions to come",
                shown(kept),
                shown(value)
            ));
            let again = if value.chars().count() > VALUE_SHOWN {
                format!("{}=…", shell_quoted(key))
            } else {
                shell_quoted(&format!("{key}={value}"))
            };
            lines += &format!("\n  try: tracemark params set {again} --new-version\n");
        }
    }
    let others = present.into_iter().flatten();
    for (key, value) in others.filter(|(key, _)| !settings.params.contains_key(*key)) {
        lines += &printable(&format!(
            "{} = {} (only on this version)",
            shown(key),
            shown(value)
        ));
        lines += "\n";
    }
    if lines.is_empty() {
        lines += "no params\n  try: tracemark params set llm=gpt-4o-mini\n";
    }
    lines
}
