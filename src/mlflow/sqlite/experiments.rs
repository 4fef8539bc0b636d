//! The experiments of a file.
//!
//! Opens no file and ends no transaction: the connection comes in.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension as _, params};

use super::Trouble;
use super::now_ms;
use super::shape::{columns, unsuitable};
use crate::ids::ExperimentId;
use crate::mlflow::error::clean;
use crate::mlflow::{Experiment, StoreError};

pub(super) struct ExperimentRow {
    id: i64,
    name: String,
    artifact_location: Option<String>,
    lifecycle_stage: Option<String>,
}

pub(super) fn experiment_where(
    connection: &Connection,
    condition: &str,
    value: impl rusqlite::ToSql,
) -> rusqlite::Result<Option<ExperimentRow>> {
    let query = format!(
        "SELECT experiment_id, name, artifact_location, lifecycle_stage FROM experiments WHERE {condition}"
    );
    connection
        .query_row(&query, [value], |row| {
            Ok(ExperimentRow {
                id: row.get(0)?,
                name: row.get(1)?,
                artifact_location: row.get(2)?,
                lifecycle_stage: row.get(3)?,
            })
        })
        .optional()
}

pub(super) fn accept(row: ExperimentRow) -> Result<Experiment, Trouble> {
    if row.lifecycle_stage.as_deref() == Some("deleted") {
        return Err(StoreError::ExperimentDeleted {
            name: clean(&row.name),
        }
        .into());
    }
    let id = row.id.to_string().parse();
    let id: ExperimentId =
        id.map_err(|_| StoreError::InvalidAnswer(format!("experiment id {}", row.id)))?;
    Ok(Experiment {
        id,
        name: row.name,
        artifact_location: row.artifact_location,
    })
}

pub(super) fn experiment_with_id(connection: &Connection, id: &str) -> Result<Experiment, Trouble> {
    let not_found = || StoreError::ExperimentNotFound { id: id.to_owned() };
    let number: i64 = id.parse().map_err(|_| not_found())?;
    accept(experiment_where(connection, "experiment_id = ?1", number)?.ok_or_else(not_found)?)
}

/// Experiments are unique by workspace and name since MLflow's schema has workspaces; a database without a server
/// has the workspace `default` alone.
pub(super) fn experiment_named(
    connection: &Connection,
    path: &Path,
    name: &str,
) -> Result<Experiment, Trouble> {
    let workspaces = columns(connection, "experiments")?
        .iter()
        .any(|column| column.name == "workspace");
    let condition = if workspaces {
        "name = ?1 AND workspace = 'default'"
    } else {
        "name = ?1"
    };
    match experiment_where(connection, condition, name)? {
        Some(row) => accept(row),
        None => insert_experiment(connection, path, name),
    }
}

pub(super) fn insert_experiment(
    connection: &Connection,
    path: &Path,
    name: &str,
) -> Result<Experiment, Trouble> {
    let now = now_ms();
    connection.execute(
        "INSERT INTO experiments (name, lifecycle_stage, creation_time, last_update_time) VALUES (?1, 'active', ?2, ?2)",
        params![name, now],
    )?;
    let id = connection.last_insert_rowid();
    let location = format!("{}/{id}", artifact_root(connection, path)?);
    connection.execute(
        "UPDATE experiments SET artifact_location = ?1 WHERE experiment_id = ?2",
        params![location, id],
    )?;
    experiment_with_id(connection, &id.to_string())
}

/// The directory in which the artifacts of the default experiment are, else `mlruns` next to the database, where an
/// app that runs there puts it (MLflow 3.17.2).
pub(super) fn artifact_root(connection: &Connection, path: &Path) -> Result<String, Trouble> {
    let default = experiment_where(connection, "experiment_id = ?1", 0)?
        .and_then(|row| row.artifact_location);
    let sibling = default
        .as_deref()
        .and_then(|location| location.strip_suffix("/0"));
    if let Some(root) = sibling.filter(|root| root.starts_with('/') || root.starts_with("file:")) {
        return Ok(root.to_owned());
    }
    let beside = path.parent().unwrap_or(path).join("mlruns");
    let text = beside.into_os_string().into_string();
    text.map_err(|_| unsuitable(path, "its directory is not UTF-8 text"))
}

pub(super) fn number(id: &ExperimentId) -> Result<i64, StoreError> {
    id.as_str()
        .parse()
        .map_err(|_| StoreError::ExperimentNotFound { id: id.to_string() })
}
