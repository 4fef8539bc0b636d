//! Whether the tables of a file are those that are written, and stand still.
//!
//! Writes nothing and waits for nothing. Knows no list of MLflow's revisions.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension as _};

use super::Trouble;
use crate::mlflow::StoreError;
use crate::mlflow::error::clean;

/// A table that is missing from a file as young as this may still be on its way.
pub(super) const CREATION: Duration = Duration::from_secs(10);

/// The tables that are used and the columns that are written, the same in MLflow 3.1.4 to 3.17.2.
pub(super) const TABLES: &[(&str, &[&str])] = &[
    (
        "experiments",
        &[
            "experiment_id",
            "name",
            "artifact_location",
            "lifecycle_stage",
            "creation_time",
            "last_update_time",
        ],
    ),
    (
        "logged_models",
        &[
            "model_id",
            "experiment_id",
            "name",
            "artifact_location",
            "creation_timestamp_ms",
            "last_updated_timestamp_ms",
            "status",
            "lifecycle_stage",
            "model_type",
        ],
    ),
    (
        "logged_model_tags",
        &["model_id", "experiment_id", "tag_key", "tag_value"],
    ),
    (
        "logged_model_params",
        &["model_id", "experiment_id", "param_key", "param_value"],
    ),
];

pub(super) struct Column {
    pub(super) name: String,
    required: bool,
}

pub(super) fn has_table(connection: &Connection, name: &str) -> rusqlite::Result<bool> {
    let query = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?1";
    Ok(connection
        .query_row(query, [name], |_| Ok(()))
        .optional()?
        .is_some())
}

/// Returns Alembic's revision, or nothing where there is none or a table is being rebuilt (Alembic copies into
/// `_alembic_tmp_…`, then renames).
pub(super) fn revision(connection: &Connection) -> rusqlite::Result<Option<String>> {
    let rebuilding =
        "SELECT 1 FROM sqlite_master WHERE name LIKE '\\_alembic\\_tmp\\_%' ESCAPE '\\'";
    let rebuilding = connection
        .query_row(rebuilding, [], |_| Ok(()))
        .optional()?
        .is_some();
    if rebuilding || !has_table(connection, "alembic_version")? {
        return Ok(None);
    }
    connection.query_row(
        "SELECT group_concat(version_num) FROM alembic_version",
        [],
        |row| row.get(0),
    )
}

/// MLflow inserts the experiment `0` after the last migration (observed with MLflow 3.17.2).
pub(super) fn has_experiments(connection: &Connection) -> rusqlite::Result<bool> {
    if !has_table(connection, "experiments")? {
        return Ok(false);
    }
    Ok(connection
        .query_row("SELECT 1 FROM experiments LIMIT 1", [], |_| Ok(()))
        .optional()?
        .is_some())
}

/// Accepts every schema that has the columns that are written and wants no others: lists of revisions go stale.
pub(super) fn check_shape(connection: &Connection, path: &Path) -> Result<(), Trouble> {
    for (table, needed) in TABLES {
        let columns = columns(connection, table)?;
        let has = |name: &str| columns.iter().any(|column| column.name == name);
        let Some(missing) = needed.iter().find(|name| !has(name)) else {
            let Some(demanding) = columns
                .iter()
                .find(|c| c.required && !needed.contains(&c.name.as_str()))
            else {
                continue;
            };
            return Err(unsuitable(
                path,
                &format!("column {table}.{} must be filled", demanding.name),
            ));
        };
        if is_younger(path, CREATION) {
            return Err(migrating(path));
        }
        return Err(unsuitable(
            path,
            &format!("no column {table}.{missing}, as before MLflow 3"),
        ));
    }
    Ok(())
}

pub(super) fn unsuitable(path: &Path, what: &str) -> Trouble {
    StoreError::Unsuitable {
        reason: clean(&format!("{}: {what}", path.display())),
    }
    .into()
}

pub(super) fn migrating(path: &Path) -> Trouble {
    StoreError::Migrating {
        path: path.to_owned(),
    }
    .into()
}

pub(super) fn is_younger(path: &Path, age: Duration) -> bool {
    let modified = std::fs::metadata(path).and_then(|file| file.modified());
    // A time in the future counts as young.
    modified.is_ok_and(|modified| modified.elapsed().map_or(true, |elapsed| elapsed < age))
}

pub(super) fn columns(connection: &Connection, table: &str) -> rusqlite::Result<Vec<Column>> {
    let query = r#"SELECT name, "notnull" AND dflt_value IS NULL FROM pragma_table_info(?1)"#;
    let mut statement = connection.prepare(query)?;
    let rows = statement.query_map([table], |row| {
        Ok(Column {
            name: row.get(0)?,
            required: row.get(1)?,
        })
    })?;
    rows.collect()
}
