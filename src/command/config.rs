//! `tracemark config`: the settings, and where each comes from.
//!
//! Asks neither the daemon nor the store, writes nothing, and shows no password.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::checks::Finding;
use super::environment;
use super::{Context, answer, here, json, warn};
use crate::cli::{ConfigAction, ConfigArgs, ConfigShowArgs};
use crate::config::{ConfigWarning, DEFAULT_FILE, Layer, Origin, Origins, Setting, Settings};
use crate::error::Failure;
use crate::repository::Worktree;
use crate::text::printable;

pub(super) fn run(context: &Context, arguments: &ConfigArgs) -> Result<(), Failure> {
    match &arguments.action {
        ConfigAction::Default => answer(DEFAULT_FILE),
        ConfigAction::Show(arguments) => show(context, arguments),
    }
}

#[derive(Debug, Serialize)]
struct Document {
    schema: u32,
    settings: Vec<Row>,
}

#[derive(Debug, Serialize)]
struct Row {
    key: String,
    value: toml::Value,
    /// `environment`, `up`, `repository`, `user` or `default`.
    origin: &'static str,
    /// The variable, or the file.
    place: Option<String>,
}

fn show(context: &Context, arguments: &ConfigShowArgs) -> Result<(), Failure> {
    let origins = read(context, here().ok().as_ref())?;
    tell(context, &origins);
    let rows: Vec<Row> = origins.settings.into_iter().map(row).collect();
    if arguments.json {
        answer(&json(&Document {
            schema: 1,
            settings: rows,
        })?)?;
        return check(context);
    }
    let text = rows.iter().map(|row| line(row, arguments.origin));
    answer(&text.collect::<String>())?;
    check(context)
}

/// A value that is none is shown as it stands, and then told.
fn check(context: &Context) -> Result<(), Failure> {
    let Ok(worktree) = here() else { return Ok(()) };
    let record = context.registry().find(&worktree.common_dir)?;
    let private = record.map(|record| record.settings).unwrap_or_default();
    let layer = environment::layer().over(private);
    let user = context.paths.user_config();
    let loaded = Settings::load(&layer, &worktree.root, &user);
    Ok(loaded.map(drop)?)
}

/// Reads the layers for a worktree, or for none.
pub(super) fn read(context: &Context, worktree: Option<&Worktree>) -> Result<Origins, Failure> {
    let registry = context.registry();
    let record = match worktree {
        Some(worktree) => registry.find(&worktree.common_dir)?,
        None => None,
    };
    let private = record.map_or_else(
        || (Layer::default(), PathBuf::new()),
        |record| (record.settings, registry.file(&record.common_dir)),
    );
    let root = worktree.map(|worktree| worktree.root.as_path());
    let environment = environment::layer();
    Ok(Origins::read(
        environment,
        private,
        root,
        &context.paths.user_config(),
    )?)
}

/// Returns what is no setting, or none of the file that it stands in.
pub(super) fn findings(context: &Context, origins: &Origins) -> Vec<Finding> {
    let user_file = context.paths.user_config();
    let one = |(file, warning): &(PathBuf, ConfigWarning)| {
        let problem = format!("{}: {warning}", file.display());
        Finding::new("setting", &problem, &warning.hint(&user_file))
    };
    origins.warnings.iter().map(one).collect()
}

/// Warns of them.
pub(super) fn tell(context: &Context, origins: &Origins) {
    for finding in findings(context, origins) {
        warn(&finding.problem, &finding.cure);
    }
}

fn row(setting: Setting) -> Row {
    let text = |path: &Path| Some(path.to_string_lossy().into_owned());
    let (origin, place) = match &setting.origin {
        Origin::Environment => (
            "environment",
            environment::variable(&setting.key).map(str::to_owned),
        ),
        Origin::Private(file) => ("up", text(file)),
        Origin::Repository(file) => ("repository", text(file)),
        Origin::User(file) => ("user", text(file)),
        Origin::Default => ("default", None),
    };
    Row {
        key: setting.key,
        value: masked(setting.value),
        origin,
        place,
    }
}

/// A password in an address is nobody's business.
fn masked(value: toml::Value) -> toml::Value {
    let Some(mut url) = value.as_str().and_then(|text| url::Url::parse(text).ok()) else {
        return value;
    };
    let has_secret = url.password().is_some();
    if has_secret && url.set_password(Some("***")).is_ok() {
        return toml::Value::String(url.to_string());
    }
    value
}

/// As `git config --list --show-origin` prints it.
fn line(row: &Row, with_origin: bool) -> String {
    let setting = printable(&format!("{} = {}", row.key, row.value));
    if !with_origin {
        return format!("{setting}\n");
    }
    let place = row.place.as_deref().map(printable);
    let place = place.map_or_else(String::new, |place| format!(" {place}"));
    format!("{setting:<40}  # {}{place}\n", row.origin)
}
