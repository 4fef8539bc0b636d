//! What MLflow answers over REST, and is sent, as what it is here.
//!
//! Pure.

use std::collections::BTreeMap;

use crate::ids::{ExperimentId, ModelId};
use crate::mlflow::wanted::{Row, Wanted};
use crate::mlflow::wire::{self, Pair};
use crate::mlflow::{Experiment, Found, StoreError, tags};

/// The longest value of a tag in characters that every store takes (Databricks' documented limit for tags of runs).
const TAG_VALUE_MAX: usize = 5000;

/// A version as MLflow answers it: at most 40 characters of digits, letters, dots and signs.
pub(super) fn version(body: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(body).ok()?.trim();
    let plain = |b: u8| b.is_ascii_alphanumeric() || b".+-".contains(&b);
    let is_version = text.len() <= 40
        && text.starts_with(|c: char| c.is_ascii_digit())
        && text.bytes().all(plain);
    is_version.then(|| text.to_owned())
}

/// Tags as they are sent: a value that is too long is cut, with a mark at its end. Ours that decide are short.
pub(super) fn tag_pairs(map: &BTreeMap<String, String>) -> Vec<Pair> {
    let mut pairs = pairs(map);
    for pair in &mut pairs {
        if let Some((cut, _)) = pair.value.char_indices().nth(TAG_VALUE_MAX) {
            let keep = pair.value.get(..cut).map_or(cut, |kept| {
                kept.char_indices().next_back().map_or(0, |(last, _)| last)
            });
            pair.value.truncate(keep);
            pair.value.push('…');
        }
    }
    pairs
}

pub(super) fn pairs(map: &BTreeMap<String, String>) -> Vec<Pair> {
    map.iter()
        .map(|(key, value)| Pair {
            key: key.clone(),
            value: value.clone(),
        })
        .collect()
}

pub(super) fn map(pairs: Vec<Pair>) -> BTreeMap<String, String> {
    pairs
        .into_iter()
        .map(|pair| (pair.key, pair.value))
        .collect()
}

pub(super) fn experiment_id(text: &str) -> Result<ExperimentId, StoreError> {
    text.parse()
        .map_err(|_| StoreError::InvalidAnswer("an experiment id that is none".to_owned()))
}

pub(super) fn is_of(model: &wire::Model, experiment: &Experiment, name: &str) -> bool {
    model.info.name == name && model.info.experiment_id == experiment.id.as_str()
}

pub(super) fn row(model: wire::Model) -> Result<Row, StoreError> {
    let info = model.info;
    // Not shown: a server may put there what the request was signed with.
    let id: ModelId = info
        .model_id
        .parse()
        .map_err(|_| StoreError::InvalidAnswer("a model id that is none".to_owned()))?;
    let created_ms = wire::int64(&info.creation_timestamp_ms).ok_or_else(|| {
        StoreError::InvalidAnswer(format!("LoggedModel {id} has no creation time"))
    })?;
    Ok(Row {
        id,
        created_ms,
        ready: wire::is_ready(&info.status),
        artifact_location: info.artifact_uri.filter(|uri| !uri.is_empty()),
        tags: map(info.tags),
        params: map(model.data.params),
    })
}

/// Only a row that this program made is finalized: one without a nonce belongs to whoever made it.
pub(super) fn found(row: Row, wanted: &Wanted, created: bool) -> Found {
    let missing_params = wanted.missing_params(&row);
    let finalize = !row.ready && row.tags.contains_key(tags::NONCE);
    let unmarked = !created && wanted.is_to_mark(&row);
    Found {
        needs_finish: finalize || unmarked || !missing_params.is_empty(),
        unmarked,
        model_id: row.id,
        created,
        artifact_location: row.artifact_location,
        finalize,
        missing_params,
        params: row.params,
    }
}
