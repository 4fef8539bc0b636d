//! What is asked of LoggedModels that exist, in MLflow's SQLite file. Tables beside those of LoggedModels are the same in
//! MLflow 3.1.4 to 3.17.2; one that is missing refers to nothing.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{Connection, OptionalExtension as _, params};

use super::super::StoreError;
use super::super::past::{ModelRow, References, TraceLink};
use super::{Sqlite, Trouble, check_shape, has_table, now_ms, read_pairs, read_tags};
use crate::ids::ModelId;

const ROW: &str = "SELECT m.model_id, m.experiment_id, m.name, m.creation_timestamp_ms, m.source_run_id \
     FROM logged_models m WHERE m.lifecycle_stage = 'active'";

impl Sqlite {
    /// Sets tags of a row, whatever they were.
    pub(in super::super) async fn set_tags(
        &self,
        id: &ModelId,
        tags: &BTreeMap<String, String>,
    ) -> Result<(), StoreError> {
        let (id, tags) = (id.clone(), tags.clone());
        self.transact(move |transaction, _| {
            let query = "SELECT experiment_id FROM logged_models WHERE model_id = ?1 AND lifecycle_stage = 'active'";
            let experiment: Option<i64> = transaction
                .query_row(query, [id.as_str()], |row| row.get(0))
                .optional()?;
            let query = "INSERT OR REPLACE INTO logged_model_tags (model_id, experiment_id, tag_key, tag_value) VALUES (?1, ?2, ?3, ?4)";
            for (key, value) in experiment.iter().flat_map(|_| &tags) {
                transaction.execute(query, params![id.as_str(), experiment, key, value])?;
            }
            Ok(())
        })
        .await
    }

    pub(in super::super) async fn model(
        &self,
        id: &ModelId,
    ) -> Result<Option<ModelRow>, StoreError> {
        let id = id.clone();
        self.ask(move |connection| {
            let found = rows(
                connection,
                &format!("{ROW} AND m.model_id = ?1"),
                id.as_str(),
            )?;
            Ok(found.into_iter().next())
        })
        .await
    }

    pub(in super::super) async fn model_of_trace(
        &self,
        trace: &str,
    ) -> Result<TraceLink, StoreError> {
        let trace = trace.to_owned();
        self.ask(move |connection| {
            if !has_table(connection, "trace_info")? || !has_table(connection, "trace_request_metadata")? {
                return Ok(TraceLink::NoTrace);
            }
            let query = "SELECT (SELECT value FROM trace_request_metadata m WHERE m.request_id = t.request_id AND \
                         m.key = 'mlflow.modelId') FROM trace_info t WHERE t.request_id = ?1";
            let found = connection.query_row(query, [trace], |row| row.get::<_, Option<String>>(0)).optional()?;
            Ok(match found {
                None => TraceLink::NoTrace,
                Some(model) => TraceLink::of(model.and_then(|id| id.parse().ok())),
            })
        })
        .await
    }

    pub(in super::super) async fn count_traces(
        &self,
        models: &BTreeSet<ModelId>,
    ) -> Result<BTreeMap<ModelId, u64>, StoreError> {
        let models = models.clone();
        self.ask(move |connection| {
            let query = "SELECT value, count(*) FROM trace_request_metadata WHERE key = 'mlflow.modelId' GROUP BY value";
            let mut counts = counted(connection, "trace_request_metadata", query)?;
            counts.retain(|model, _| models.contains(model));
            Ok(counts)
        })
        .await
    }

    pub(in super::super) async fn references(&self) -> Result<References, StoreError> {
        self.ask(|connection| {
            let runs = "SELECT destination_id, count(*) FROM inputs WHERE destination_type IN ('MODEL_INPUT', 'MODEL_OUTPUT') \
                        GROUP BY destination_id";
            let registered = "SELECT substr(source, 9), count(*) FROM model_versions WHERE source LIKE 'models:/m-%' GROUP BY source";
            let mut models = counted(connection, "inputs", runs)?;
            for (model, count) in counted(connection, "model_versions", registered)? {
                *models.entry(model).or_default() += count;
            }
            Ok(References {
                experiments: Vec::new(),
                models,
            })
        })
        .await
    }

    /// Soft, as MLflow's own `delete_logged_model` (3.17.2).
    pub(in super::super) async fn remove(&self, id: &ModelId) -> Result<(), StoreError> {
        let id = id.clone();
        self.transact(move |transaction, _| {
            let query = "UPDATE logged_models SET lifecycle_stage = 'deleted', last_updated_timestamp_ms = ?2 WHERE model_id = ?1";
            transaction.execute(query, params![id.as_str(), now_ms()])?;
            Ok(())
        })
        .await
    }

    async fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, Trouble> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.blocking(move |sqlite| {
            let connection = sqlite.open()?;
            check_shape(&connection, &sqlite.path)?;
            work(&connection)
        })
        .await
    }
}

fn counted(
    connection: &Connection,
    table: &str,
    query: &str,
) -> Result<BTreeMap<ModelId, u64>, Trouble> {
    if !has_table(connection, table)? {
        return Ok(BTreeMap::new());
    }
    let mut statement = connection.prepare(query)?;
    let found = statement.query_map([], |row| {
        Ok((row.get::<_, Option<String>>(0)?, row.get::<_, i64>(1)?))
    })?;
    let mut counts = BTreeMap::new();
    for pair in found {
        let (model, count) = pair?;
        if let Some(model) = model.and_then(|id| id.parse().ok()) {
            counts.insert(model, u64::try_from(count).unwrap_or(0));
        }
    }
    Ok(counts)
}

fn rows(connection: &Connection, query: &str, parameter: &str) -> Result<Vec<ModelRow>, Trouble> {
    let mut statement = connection.prepare(query)?;
    let found = statement.query_map([parameter], |row| {
        let (id, experiment): (String, i64) = (row.get(0)?, row.get(1)?);
        Ok((
            id,
            experiment.to_string(),
            row.get(2)?,
            row.get(3)?,
            row.get(4)?,
        ))
    })?;
    let params = "SELECT param_key, param_value FROM logged_model_params WHERE model_id = ?1";
    let mut rows = Vec::new();
    for raw in found {
        let (id, experiment, name, created_ms, source_run): (
            String,
            String,
            String,
            i64,
            Option<String>,
        ) = raw?;
        let (Ok(id), Ok(experiment)) = (id.parse::<ModelId>(), experiment.parse()) else {
            continue;
        };
        let metrics: i64 = if has_table(connection, "logged_model_metrics")? {
            let query = "SELECT count(*) FROM logged_model_metrics WHERE model_id = ?1";
            connection.query_row(query, [id.as_str()], |row| row.get(0))?
        } else {
            0
        };
        rows.push(ModelRow {
            tags: read_tags(connection, &id)?,
            params: read_pairs(connection, params, &id)?,
            metrics: u64::try_from(metrics).unwrap_or(0),
            source_run: source_run.filter(|run| !run.is_empty()),
            id,
            experiment,
            name,
            created_ms,
        });
    }
    Ok(rows)
}
