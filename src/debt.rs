//! A version that is owed its LoggedModel, as text that outlives the daemon: what was observed, and the row as it should be.
//!
//! Pure. The tags are those of the moment when the version was asked for or committed; the nonce too, by which a row
//! whose creation was not answered is recognised.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::identity::Reading;
use crate::ids::VersionKey;
use crate::mlflow::Wanted;
use crate::version::{Observation, key_of};

/// An observation and the LoggedModel that it is owed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Debt {
    /// What was observed.
    pub observation: Observation,
    /// The LoggedModel as it should be.
    pub wanted: Wanted,
}

#[derive(Serialize, Deserialize)]
struct Text {
    head: Option<String>,
    git_hash: Option<String>,
    content: String,
    dirty: bool,
    note: Option<String>,
    tags: BTreeMap<String, String>,
    params: BTreeMap<String, String>,
    model_type: Option<String>,
    first_seen_ms: i64,
    clean_commit: Option<String>,
    look_twice: bool,
}

impl Debt {
    /// Returns the debt as text.
    pub fn to_text(&self) -> String {
        let reading = &self.observation.reading;
        let wanted = &self.wanted;
        let text = Text {
            head: reading.head.as_ref().map(ToString::to_string),
            git_hash: reading.git_hash.as_ref().ok().cloned(),
            content: reading.content.to_string(),
            dirty: reading.dirty,
            note: self.observation.note.clone(),
            tags: wanted.tags.clone(),
            params: wanted.params.clone(),
            model_type: wanted.model_type.clone(),
            first_seen_ms: wanted.first_seen_ms,
            clean_commit: wanted.clean_commit.as_ref().map(ToString::to_string),
            look_twice: wanted.look_twice,
        };
        // A structure of texts and numbers always has a JSON form.
        serde_json::to_string(&text).unwrap_or_default()
    }

    /// Returns the debt that a text is about, `None` for what this version never wrote.
    pub fn from_text(version: &VersionKey, text: &str) -> Option<Self> {
        let text: Text = serde_json::from_str(text).ok()?;
        let (key, variant) = key_of(version)?;
        let head = text.head.map(|head| head.parse()).transpose().ok()?;
        let clean_commit = text
            .clean_commit
            .map(|head| head.parse())
            .transpose()
            .ok()?;
        let reading = Reading {
            head,
            git_hash: text.git_hash.ok_or_else(String::new),
            content: text.content.parse().ok()?,
            dirty: text.dirty,
        };
        Some(Self {
            observation: Observation {
                reading,
                version: version.clone(),
                note: text.note,
            },
            wanted: Wanted {
                name: version.name.clone(),
                key,
                variant,
                tags: text.tags,
                params: text.params,
                model_type: text.model_type,
                first_seen_ms: text.first_seen_ms,
                clean_commit,
                look_twice: text.look_twice,
                made_here: BTreeSet::new(),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Layer, Settings};
    use crate::version::{Surroundings, wanted};

    #[test]
    fn a_debt_is_the_same_after_it_was_written_down() {
        let dir = tempfile::tempdir().unwrap();
        let private = Layer {
            variant: Some("v2".into()),
            params: BTreeMap::from([("llm".into(), "gpt".into())]),
            ..Layer::default()
        };
        let settings = Settings::load(&private, dir.path(), &dir.path().join("none")).unwrap();
        let head = "1".repeat(40);
        let reading = Reading {
            head: head.parse().ok(),
            git_hash: Ok(head.clone()),
            content: "2".repeat(40).parse().unwrap(),
            dirty: false,
        };
        let observation = Observation::of(reading, &settings, "app");
        let around = Surroundings {
            branch: Some("main".into()),
            ..Surroundings::default()
        };
        let debt = Debt {
            wanted: wanted(&observation, &settings, &around, "nonce", 7),
            observation,
        };
        let version = &debt.observation.version;
        assert_eq!(
            Debt::from_text(version, &debt.to_text()),
            Some(debt.clone())
        );
        assert_eq!(Debt::from_text(version, "{}"), None);
    }
}
