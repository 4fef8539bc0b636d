//! The LoggedModels of a file, their tags, params and `MLmodel` files.
//!
//! Opens no database and ends no transaction. Which row stands for a version is not decided here, but by `Wanted`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rusqlite::{Connection, Transaction, params};

use super::Trouble;
use super::experiments::number;
use super::now_ms;
use crate::ids::ModelId;
use crate::mlflow::error::clean;
use crate::mlflow::mlmodel::{self, Place};
use crate::mlflow::patience::Patience;
use crate::mlflow::wanted::{Claim, Row, Wanted, shared_tag};
use crate::mlflow::{Experiment, Found, ModelFile, StoreError};

/// `LoggedModelStatus.READY` (MLflow 3.17.2, `mlflow/entities/logged_model_status.py`).
pub(super) const READY: i64 = 2;

/// Nothing where the row of a machine that goes through a server is to be waited for.
pub(super) fn find_or_insert(
    connection: &Transaction<'_>,
    experiment: &Experiment,
    wanted: &Wanted,
    patience: &mut Patience,
) -> Result<Option<Found>, Trouble> {
    let id = number(&experiment.id)?;
    let rows = rows_named(connection, id, &wanted.name)?;
    let mut refused = BTreeSet::new();
    while let Some((row, claim)) = wanted.choose(&rows, &refused) {
        if patience.is_with(row, Some(now_ms())) {
            return Ok(None);
        }
        if claim == Claim::Adoptable {
            insert_tags(connection, id, &row.id, &wanted.adoption_tags(row))?;
            let carried = Row {
                tags: read_tags(connection, &row.id)?,
                ..row.clone()
            };
            if wanted.claim(&carried) != Claim::Ours {
                refused.insert(row.id.clone());
                continue;
            }
        }
        insert_params(connection, id, &row.id, &wanted.missing_params(row))?;
        if wanted.is_to_mark(row) {
            insert_tags(connection, id, &row.id, &shared_tag())?;
        }
        return Ok(Some(found(row, false)));
    }
    let newest = rows.iter().map(|row| row.created_ms).max();
    let row = insert_model(connection, experiment, wanted, newest)?;
    Ok(Some(found(&row, true)))
}

/// Only a row that this program made gets its file: one without a nonce belongs to whoever made it.
pub(super) fn found(row: &Row, created: bool) -> Found {
    let finalize = row.is_of_tracemark()
        && model_dir(row.artifact_location.as_deref(), &row.id).is_some_and(|dir| !has_file(&dir));
    Found {
        model_id: row.id.clone(),
        created,
        artifact_location: row.artifact_location.clone(),
        needs_finish: finalize,
        finalize,
        unmarked: false,
        missing_params: BTreeMap::new(),
        params: row.params.clone(),
    }
}

pub(super) fn has_file(dir: &Path) -> bool {
    dir.join(mlmodel::FILE_NAME).symlink_metadata().is_ok()
}

pub(super) fn model_dir(location: Option<&str>, id: &ModelId) -> Option<PathBuf> {
    match Place::of(location?, id) {
        Place::Local(dir) => Some(dir),
        Place::Proxied(_) | Place::Elsewhere => None,
    }
}

pub(super) fn write_model_file(found: &Found) -> ModelFile {
    let location = found.artifact_location.as_deref().unwrap_or_default();
    match model_dir(Some(location), &found.model_id) {
        Some(dir) => mlmodel::write(
            &dir,
            &mlmodel::text(location, &found.model_id, SystemTime::now()),
        ),
        None => ModelFile::Skipped,
    }
}

pub(super) fn rows_named(
    connection: &Connection,
    experiment: i64,
    name: &str,
) -> Result<Vec<Row>, Trouble> {
    let mut statement = connection.prepare(
        "SELECT model_id, creation_timestamp_ms, status, artifact_location FROM logged_models \
         WHERE experiment_id = ?1 AND name = ?2 AND lifecycle_stage = 'active'",
    )?;
    let raw = statement.query_map(params![experiment, name], |row| {
        Ok((
            row.get::<_, String>(0)?,
            row.get(1)?,
            row.get::<_, i64>(2)?,
            row.get(3)?,
        ))
    })?;
    let mut rows = Vec::new();
    for raw in raw {
        let (id, created_ms, status, artifact_location) = raw?;
        let invalid = |_| StoreError::InvalidAnswer(format!("model id \"{}\"", clean(&id)));
        let id: ModelId = id.parse().map_err(invalid)?;
        let tags = read_tags(connection, &id)?;
        let params = read_params(connection, &id)?;
        rows.push(Row {
            id,
            created_ms,
            ready: status == READY,
            artifact_location,
            tags,
            params,
        });
    }
    Ok(rows)
}

pub(super) fn read_tags(
    connection: &Connection,
    id: &ModelId,
) -> rusqlite::Result<BTreeMap<String, String>> {
    read_pairs(
        connection,
        "SELECT tag_key, tag_value FROM logged_model_tags WHERE model_id = ?1",
        id,
    )
}

pub(super) fn read_params(
    connection: &Connection,
    id: &ModelId,
) -> rusqlite::Result<BTreeMap<String, String>> {
    read_pairs(
        connection,
        "SELECT param_key, param_value FROM logged_model_params WHERE model_id = ?1",
        id,
    )
}

fn read_pairs(
    connection: &Connection,
    query: &str,
    id: &ModelId,
) -> rusqlite::Result<BTreeMap<String, String>> {
    let mut statement = connection.prepare(query)?;
    let pairs = statement.query_map([id.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))?;
    pairs.collect()
}

/// The row gets a later time than all others of its name: MLflow's own pick by name is the latest (3.17.2,
/// `set_active_model`).
pub(super) fn insert_model(
    connection: &Connection,
    experiment: &Experiment,
    wanted: &Wanted,
    newest: Option<i64>,
) -> Result<Row, Trouble> {
    let experiment_number = number(&experiment.id)?;
    let id = format!("m-{}", uuid::Uuid::new_v4().simple());
    let id: ModelId = id
        .parse()
        .map_err(|_| StoreError::InvalidAnswer(format!("model id {id}")))?;
    let now = newest
        .map_or(0, |newest| newest.saturating_add(1))
        .max(now_ms());
    let location = model_location(experiment, &id)?;
    connection.execute(
        "INSERT INTO logged_models (model_id, experiment_id, name, artifact_location, creation_timestamp_ms, \
         last_updated_timestamp_ms, status, lifecycle_stage, model_type) VALUES (?1, ?2, ?3, ?4, ?5, ?5, ?6, 'active', ?7)",
        params![id.as_str(), experiment_number, wanted.name, location, now, READY, wanted.model_type],
    )?;
    insert_tags(connection, experiment_number, &id, &wanted.tags)?;
    insert_params(connection, experiment_number, &id, &wanted.params)?;
    Ok(Row {
        id,
        created_ms: now,
        ready: true,
        artifact_location: Some(location),
        tags: wanted.tags.clone(),
        params: wanted.params.clone(),
    })
}

/// As MLflow 3.17.2 joins it (`append_to_uri_path` of `mlflow/utils/uri.py`): before a query, where there is one.
pub(super) fn model_location(experiment: &Experiment, id: &ModelId) -> Result<String, Trouble> {
    let root = experiment
        .artifact_location
        .as_deref()
        .filter(|root| !root.is_empty())
        .ok_or_else(|| {
            StoreError::InvalidAnswer(format!(
                "experiment {} has no artifact location",
                experiment.id
            ))
        })?;
    let (path, query) = match root.split_once('?') {
        Some((path, query)) if root.contains("://") => (path, format!("?{query}")),
        _ => (root, String::new()),
    };
    Ok(format!(
        "{}/models/{id}/artifacts{query}",
        path.trim_end_matches('/')
    ))
}

pub(super) fn insert_tags(
    connection: &Connection,
    experiment: i64,
    id: &ModelId,
    tags: &BTreeMap<String, String>,
) -> rusqlite::Result<()> {
    let query = "INSERT OR IGNORE INTO logged_model_tags (model_id, experiment_id, tag_key, tag_value) VALUES (?1, ?2, ?3, ?4)";
    insert_pairs(connection, query, experiment, id, tags)
}

pub(super) fn insert_params(
    connection: &Connection,
    experiment: i64,
    id: &ModelId,
    values: &BTreeMap<String, String>,
) -> rusqlite::Result<()> {
    let query = "INSERT OR IGNORE INTO logged_model_params (model_id, experiment_id, param_key, param_value) VALUES (?1, ?2, ?3, ?4)";
    insert_pairs(connection, query, experiment, id, values)
}

pub(super) fn insert_pairs(
    connection: &Connection,
    query: &str,
    experiment: i64,
    id: &ModelId,
    pairs: &BTreeMap<String, String>,
) -> rusqlite::Result<()> {
    let mut statement = connection.prepare(query)?;
    for (key, value) in pairs {
        statement.execute(params![id.as_str(), experiment, key, value])?;
    }
    Ok(())
}
