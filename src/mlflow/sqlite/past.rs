//! What is asked of LoggedModels that exist, in MLflow's SQLite file. Tables beside those of LoggedModels are the same
//! in MLflow 3.1.4 to 3.17.2; one that is missing refers to nothing.
//!
//! Makes no row and removes none: one that nothing refers to is marked as deleted, in the transaction that looks.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{Connection, OptionalExtension as _, params};

use super::super::StoreError;
use super::models::{read_params, read_tags};
use super::now_ms;
use super::shape::{check_shape, has_table};
use super::{Sqlite, Trouble};
use crate::ids::ModelId;
use crate::mlflow::past::{ModelRow, References, TraceLink, models_in};

const ROW: &str = "SELECT experiment_id, name, creation_timestamp_ms, source_run_id FROM logged_models \
     WHERE model_id = ?1 AND lifecycle_stage = 'active'";

impl Sqlite {
    pub(in super::super) async fn model(
        &self,
        id: &ModelId,
    ) -> Result<Option<ModelRow>, StoreError> {
        let id = id.clone();
        self.ask(move |connection| find(connection, &id)).await
    }

    pub(in super::super) async fn models(
        &self,
        ids: &BTreeSet<ModelId>,
    ) -> Result<BTreeMap<ModelId, ModelRow>, StoreError> {
        let ids = ids.clone();
        self.ask(move |connection| {
            let mut rows = BTreeMap::new();
            for id in ids {
                rows.extend(find(connection, &id)?.map(|row| (id, row)));
            }
            Ok(rows)
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
            let mut counts = traces(connection)?;
            counts.retain(|model, _| models.contains(model));
            Ok(counts)
        })
        .await
    }

    pub(in super::super) async fn references(&self) -> Result<References, StoreError> {
        self.ask(|connection| {
            Ok(References {
                counted: referred(connection)?,
                ..References::default()
            })
        })
        .await
    }

    /// Soft, as MLflow's own `delete_logged_model` (3.17.2). In the transaction that looks, so that nobody begins to use
    /// one in between.
    pub(in super::super) async fn remove_unused(
        &self,
        rows: &[ModelRow],
    ) -> Result<Vec<ModelId>, StoreError> {
        let rows = rows.to_vec();
        self.transact(move |transaction, _| {
            let (referred, traced) = (referred(transaction)?, traces(transaction)?);
            let remove = "UPDATE logged_models SET lifecycle_stage = 'deleted', last_updated_timestamp_ms = ?2 WHERE model_id = ?1";
            let mut removed = Vec::new();
            for row in rows {
                let is_referred = referred.contains_key(&row.id) || traced.contains_key(&row.id);
                if is_referred || row.use_by_itself().is_some() || find(transaction, &row.id)?.as_ref() != Some(&row) {
                    continue;
                }
                transaction.execute(remove, params![row.id.as_str(), now_ms()])?;
                removed.push(row.id);
            }
            Ok(removed)
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

fn traces(connection: &Connection) -> Result<BTreeMap<ModelId, u64>, Trouble> {
    let query = "SELECT value, count(*) FROM trace_request_metadata WHERE key = 'mlflow.modelId' GROUP BY value";
    counted(connection, "trace_request_metadata", query)
}

/// How many runs and registered versions refer to LoggedModels.
fn referred(connection: &Connection) -> Result<BTreeMap<ModelId, u64>, Trouble> {
    let runs = "SELECT destination_id, count(*) FROM inputs WHERE destination_type IN ('MODEL_INPUT', 'MODEL_OUTPUT') \
                GROUP BY destination_id";
    let mut models = counted(connection, "inputs", runs)?;
    if has_table(connection, "model_versions")? {
        let mut statement = connection.prepare("SELECT source FROM model_versions")?;
        let sources = statement.query_map([], |row| row.get::<_, Option<String>>(0))?;
        for source in sources {
            for model in models_in(source?.as_deref().unwrap_or_default()) {
                *models.entry(model).or_default() += 1;
            }
        }
    }
    Ok(models)
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

fn find(connection: &Connection, id: &ModelId) -> Result<Option<ModelRow>, Trouble> {
    let mut statement = connection.prepare_cached(ROW)?;
    let found = statement
        .query_row([id.as_str()], |row| {
            let experiment: i64 = row.get(0)?;
            let source_run: Option<String> = row.get(3)?;
            Ok((experiment, row.get(1)?, row.get(2)?, source_run))
        })
        .optional()?;
    let Some((experiment, name, created_ms, source_run)) = found else {
        return Ok(None);
    };
    let Ok(experiment) = experiment.to_string().parse() else {
        return Ok(None);
    };
    let metrics: i64 = if has_table(connection, "logged_model_metrics")? {
        let query = "SELECT count(*) FROM logged_model_metrics WHERE model_id = ?1";
        connection.query_row(query, [id.as_str()], |row| row.get(0))?
    } else {
        0
    };
    Ok(Some(ModelRow {
        tags: read_tags(connection, id)?,
        params: read_params(connection, id)?,
        metrics: u64::try_from(metrics).unwrap_or(0),
        source_run: source_run.filter(|run| !run.is_empty()),
        id: id.clone(),
        experiment,
        name,
        created_ms,
    }))
}
