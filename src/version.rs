//! From a reading to a version: its name, its key, and the LoggedModel as it should be.
//!
//! Pure: no disk, no network, no clock.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::Settings;
use crate::identity::{Naming, Reading, model_name};
use crate::ids::{ModelId, VersionKey};
use crate::mlflow::{Key, Wanted, tags};

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

/// Returns whether a version goes by its name alone, so that it says nothing of code.
pub fn is_pinned(version: &VersionKey) -> bool {
    matches!(key_of(version), Some((Key::Pinned, _)))
}

/// Returns whether a version goes by its content, not by a commit or by its name.
pub fn is_of_content(version: &VersionKey) -> bool {
    matches!(key_of(version), Some((Key::Content(_), _)))
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
    let mut tags = tags_of_any(around, settings, nonce);
    match &key {
        Key::Pinned => tags.extend([pair(tags::PINNED, "true")]),
        Key::Commit(_) => tags.extend(code_tags(reading, around)),
        Key::Content(content) => {
            tags.extend(code_tags(reading, around));
            tags.extend([pair(tags::CONTENT, content.as_str())]);
        }
    }
    tags.extend(
        variant
            .as_deref()
            .map(|variant| pair(tags::VARIANT, variant)),
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
fn tags_of_any(
    around: &Surroundings,
    settings: &Settings,
    nonce: &str,
) -> BTreeMap<String, String> {
    let mut tags = BTreeMap::from([
        pair(tags::EXTERNAL, "true"),
        pair(tags::USER, &around.user),
        pair(tags::SOURCE_NAME, &around.app),
        pair(tags::SOURCE_TYPE, "LOCAL"),
        pair(tags::SCHEMA, "1"),
        pair(tags::NAMING, settings.naming.as_str()),
        pair(tags::APP, &around.app),
        pair(tags::NONCE, nonce),
        pair(tags::RESTORABLE, "false"),
    ]);
    let origin = around.origin.as_deref().filter(|origin| !origin.is_empty());
    tags.extend(origin.map(|origin| pair(tags::GIT_REPO_URL, origin)));
    tags
}

/// What a row says of its code, which a pinned version does not have. `mlflow.source.git.dirty=true` is never written:
/// MLflow's own git versioning would take the row over and overwrite it.
fn code_tags(reading: &Reading, around: &Surroundings) -> BTreeMap<String, String> {
    let dirty = if reading.dirty { "true" } else { "false" };
    let mut tags = BTreeMap::from([pair(tags::DIRTY, dirty)]);
    if !reading.dirty {
        tags.extend([pair(tags::GIT_DIRTY, "false")]);
    }
    if let Some(head) = &reading.head {
        tags.extend([
            pair(tags::GIT_COMMIT, head.as_str()),
            pair(tags::HEAD, head.as_str()),
        ]);
    }
    let branch = around.branch.as_deref().filter(|branch| !branch.is_empty());
    tags.extend(branch.map(|branch| pair(tags::GIT_BRANCH, branch)));
    tags
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_version_goes_by_is_told_with_a_variant_and_without() {
        let tree = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";
        for (key, is_by_name, is_by_content) in [
            ("pin", true, false),
            ("pin#v1", true, false),
            (tree, false, true),
            (&format!("{tree}#v1"), false, true),
            (&format!("commit:{tree}"), false, false),
            (&format!("commit:{tree}#v1"), false, false),
            ("something else", false, false),
        ] {
            let version = VersionKey {
                name: "pin".to_owned(),
                key: key.to_owned(),
            };
            assert_eq!(is_pinned(&version), is_by_name, "{key}");
            assert_eq!(is_of_content(&version), is_by_content, "{key}");
        }
    }
}
