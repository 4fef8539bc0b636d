//! From a reading to a version: its name, its key, and the LoggedModel as it should be.
//!
//! Pure: no disk, no network, no clock.

use std::collections::BTreeMap;

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
        let (name, note) = model_name(settings.naming, app, &reading);
        let key = match (settings.naming, &reading.head) {
            (Naming::Commit, Some(head)) => format!("commit:{head}"),
            _ => reading.content.to_string(),
        };
        Self {
            version: VersionKey { name, key },
            reading,
            note,
        }
    }
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
    let by_commit = reading
        .head
        .clone()
        .filter(|_| observation.version.key.starts_with("commit:"));
    let clean_commit = reading.head.clone().filter(|_| !reading.dirty);
    let mut wanted = Wanted {
        name: observation.version.name.clone(),
        tags: tags(observation, settings, around, nonce),
        params: settings.params.clone(),
        model_type: settings.model_type.clone(),
        first_seen_ms,
        look_twice: clean_commit.is_some() || by_commit.is_some(),
        key: Key::Content(reading.content.clone()),
        clean_commit,
    };
    if let Some(head) = by_commit {
        wanted.key = Key::Commit(head);
    } else {
        wanted
            .tags
            .insert("tracemark.content".into(), reading.content.to_string());
    }
    wanted
}

/// Tag names of MLflow 3.17.2 (`mlflow/utils/mlflow_tags.py`) and our own. `mlflow.source.git.dirty=true` is never
/// written: MLflow's own git versioning would take the row over and overwrite it.
fn tags(
    observation: &Observation,
    settings: &Settings,
    around: &Surroundings,
    nonce: &str,
) -> BTreeMap<String, String> {
    let reading = &observation.reading;
    let mut tags: BTreeMap<String, String> = [
        ("mlflow.model.isExternal", "true"),
        ("mlflow.user", &around.user),
        ("mlflow.source.name", &around.app),
        ("mlflow.source.type", "LOCAL"),
        ("tracemark.schema", "1"),
        ("tracemark.naming", settings.naming.as_str()),
        ("tracemark.app", &around.app),
        ("tracemark.nonce", nonce),
        ("tracemark.restorable", "false"),
        (
            "tracemark.dirty",
            if reading.dirty { "true" } else { "false" },
        ),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .collect();
    let mut optional = |key: &str, value: Option<String>| {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            tags.insert(key.to_owned(), value);
        }
    };
    let head = reading.head.as_ref().map(ToString::to_string);
    optional("mlflow.source.git.commit", head.clone());
    optional("tracemark.head", head);
    optional("mlflow.source.git.branch", around.branch.clone());
    optional("mlflow.source.git.repoURL", around.origin.clone());
    if !reading.dirty {
        optional("mlflow.source.git.dirty", Some("false".to_owned()));
    }
    tags
}
