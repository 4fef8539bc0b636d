//! From a reading to a version: its name, its key, and the LoggedModel as it should be.
//!
//! Pure: no disk, no network, no clock.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::Settings;
use crate::identity::{Naming, Reading, model_name};
use crate::ids::ModelId;
use crate::ledger::VersionKey;
use crate::mlflow::{Key, Wanted};

/// What a version's tags say beside its reading.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// The app's name.
    pub app: String,
    /// The user's login name.
    pub user: String,
    /// The branch that is checked out.
    pub branch: Option<String>,
    /// Origin's URL without credentials.
    pub origin: Option<String>,
}

/// A reading with the name and key of the version that it belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// What was read.
    pub reading: Reading,
    /// The version.
    pub version: VersionKey,
    /// Why the name is not the one that the naming asks for.
    pub note: Option<String>,
}

impl Observation {
    /// Names a reading.
    pub fn of(reading: Reading, settings: &Settings, app: &str) -> Self {
        let (name, note) = match &settings.pin {
            Some(pin) => (pin.clone(), None),
            None => model_name(settings.naming, app, &reading),
        };
        let mut key = match (settings.naming, &reading.head) {
            _ if settings.pin.is_some() => PINNED.to_owned(),
            (Naming::Commit, Some(head)) => format!("{COMMIT}{head}"),
            _ => reading.content.to_string(),
        };
        if let Some(variant) = &settings.variant {
            key = format!("{key}{VARIANT}{variant}");
        }
        Self {
            version: VersionKey { name, key },
            reading,
            note,
        }
    }

    /// True when the version is the code of a commit, which is owed its LoggedModel whoever asks.
    pub fn is_committed(&self) -> bool {
        !self.reading.dirty
    }
}

/// Whether the code of a row can be brought back: `true`, `partial` or `false`; `false` until it is kept.
pub const TAG_RESTORABLE: &str = "tracemark.restorable";
/// The key of a pinned version.
const PINNED: &str = "pin";
/// What the key of a commit's version begins with.
const COMMIT: &str = "commit:";
/// What stands before the variant in a key.
const VARIANT: char = '#';

/// Returns what a version is found by, and its variant; `None` for a key that this program never writes.
pub fn key_of(version: &VersionKey) -> Option<(Key, Option<String>)> {
    let (key, variant) = match version.key.split_once(VARIANT) {
        Some((key, variant)) => (key, Some(variant.to_owned())),
        None => (version.key.as_str(), None),
    };
    let key = match key.strip_prefix(COMMIT) {
        Some(head) => Key::Commit(head.parse().ok()?),
        None if key == PINNED => Key::Pinned,
        None => Key::Content(key.parse().ok()?),
    };
    Some((key, variant))
}

/// Returns a version as it is looked for, without what would be needed to create it.
pub fn sought(version: &VersionKey, settings: &Settings) -> Option<Wanted> {
    let (key, variant) = key_of(version)?;
    Some(Wanted {
        name: version.name.clone(),
        key,
        variant,
        tags: BTreeMap::new(),
        params: settings.params.clone(),
        model_type: settings.model_type.clone(),
        first_seen_ms: i64::MAX,
        clean_commit: None,
        look_twice: false,
        made_here: BTreeSet::new(),
    })
}

/// A LoggedModel that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActiveModel {
    /// Its id.
    pub model_id: ModelId,
    /// Its experiment.
    pub experiment_id: crate::ids::ExperimentId,
}

/// Returns the LoggedModel that an observation asks for. `first_seen_ms` is when its content was first seen here.
pub fn wanted(
    observation: &Observation,
    settings: &Settings,
    around: &Surroundings,
    nonce: &str,
    first_seen_ms: i64,
) -> Wanted {
    let reading = &observation.reading;
    let (key, variant) = key_of(&observation.version)
        .unwrap_or_else(|| (Key::Content(reading.content.clone()), None));
    let clean_commit = reading.head.clone().filter(|_| !reading.dirty);
    let mut tags = tags(around, settings, nonce);
    match &key {
        Key::Pinned => tags.extend([pair("tracemark.pinned", "true")]),
        Key::Commit(_) => tags.extend(code_tags(reading, around)),
        Key::Content(content) => {
            tags.extend(code_tags(reading, around));
            tags.extend([pair("tracemark.content", content.as_str())]);
        }
    }
    tags.extend(
        variant
            .as_deref()
            .map(|variant| pair("tracemark.variant", variant)),
    );
    Wanted {
        name: observation.version.name.clone(),
        look_twice: clean_commit.is_some() || !matches!(key, Key::Content(_)),
        key,
        variant,
        tags,
        params: settings.params.clone(),
        model_type: settings.model_type.clone(),
        first_seen_ms,
        clean_commit,
        made_here: BTreeSet::new(),
    }
}

fn pair(key: &str, value: &str) -> (String, String) {
    (key.to_owned(), value.to_owned())
}

/// What every row says. Tag names of MLflow 3.17.2 (`mlflow/utils/mlflow_tags.py`) and our own.
fn tags(around: &Surroundings, settings: &Settings, nonce: &str) -> BTreeMap<String, String> {
    let mut tags = BTreeMap::from([
        pair("mlflow.model.isExternal", "true"),
        pair("mlflow.user", &around.user),
        pair("mlflow.source.name", &around.app),
        pair("mlflow.source.type", "LOCAL"),
        pair("tracemark.schema", "1"),
        pair("tracemark.naming", settings.naming.as_str()),
        pair("tracemark.app", &around.app),
        pair("tracemark.nonce", nonce),
        pair(TAG_RESTORABLE, "false"),
    ]);
    let origin = around.origin.as_deref().filter(|origin| !origin.is_empty());
    tags.extend(origin.map(|origin| pair("mlflow.source.git.repoURL", origin)));
    tags
}

/// What a row says of its code, which a pinned version does not have. `mlflow.source.git.dirty=true` is never written:
/// MLflow's own git versioning would take the row over and overwrite it.
fn code_tags(reading: &Reading, around: &Surroundings) -> BTreeMap<String, String> {
    let dirty = if reading.dirty { "true" } else { "false" };
    let mut tags = BTreeMap::from([pair("tracemark.dirty", dirty)]);
    if !reading.dirty {
        tags.extend([pair("mlflow.source.git.dirty", "false")]);
    }
    if let Some(head) = &reading.head {
        tags.extend([
            pair("mlflow.source.git.commit", head.as_str()),
            pair("tracemark.head", head.as_str()),
        ]);
    }
    let branch = around.branch.as_deref().filter(|branch| !branch.is_empty());
    tags.extend(branch.map(|branch| pair("mlflow.source.git.branch", branch)));
    tags
}
