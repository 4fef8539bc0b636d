//! What is asked of LoggedModels that exist, over REST.
//!
//! Makes no row and tags none; deletes only one that nothing refers to by then.

use std::collections::{BTreeMap, BTreeSet};

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use super::super::StoreError;
use super::{EXPERIMENTS, MODELS, Rest, TRACES, map, wire};
use crate::ids::{ExperimentId, ModelId};
use crate::mlflow::past::{ModelRow, References, Run, TraceCounts, TraceLink, models_in};

const RUNS: &[&str] = &["api", "2.0", "mlflow", "runs"];
const VERSIONS: &[&str] = &["api", "2.0", "mlflow", "model-versions"];
const OLD_TRACES: &[&str] = &["api", "2.0", "mlflow", "traces"];
/// Pages of LoggedModels, experiments or traces that are read at most.
const PAGES_MAX: usize = 1_000;
/// Runs that are looked at one by one at most: a search does not say which LoggedModels they used (MLflow 3.17.2).
const RUNS_MAX: usize = 5_000;
/// Experiments that one search names.
const TOGETHER: usize = 100;
/// Traces of one LoggedModel are counted up to here.
const TRACES_MAX: u64 = 10_000;
/// What one page holds: an answer is read up to 4 MiB.
const PAGE: u64 = 200;
/// From so many LoggedModels on they are listed, not asked for one by one.
const LISTED_FROM: usize = 8;

impl Rest {
    pub(in super::super) async fn model(
        &self,
        id: &ModelId,
    ) -> Result<Option<ModelRow>, StoreError> {
        let answer = self
            .call(self.request(Method::GET, &[MODELS, &[id.as_str()]]))
            .await;
        match answer {
            Ok(answer) => model_row(&answer, "/model").map(Some),
            Err(StoreError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(in super::super) async fn models(
        &self,
        experiments: &BTreeSet<ExperimentId>,
        ids: &BTreeSet<ModelId>,
    ) -> Result<BTreeMap<ModelId, ModelRow>, StoreError> {
        let mut rows = BTreeMap::new();
        if ids.len() < LISTED_FROM {
            for id in ids {
                rows.extend(self.model(id).await?.map(|row| (id.clone(), row)));
            }
            return Ok(rows);
        }
        let experiments: Vec<_> = experiments.iter().map(ExperimentId::as_str).collect();
        for some in experiments.chunks(TOGETHER) {
            let body = json!({
                "experiment_ids": some,
                "max_results": PAGE,
                "order_by": [{"field_name": "creation_timestamp", "ascending": true}],
            });
            for model in self.pages(&[MODELS, &["search"]], body, "models").await? {
                let row = model_row(&model, "")?;
                if ids.contains(&row.id) {
                    rows.insert(row.id.clone(), row);
                }
            }
        }
        Ok(rows)
    }

    pub(in super::super) async fn model_of_trace(
        &self,
        trace: &str,
    ) -> Result<TraceLink, StoreError> {
        let new: Result<Value, _> = self
            .call(self.request(Method::GET, &[TRACES, &[trace]]))
            .await;
        let answer = match new {
            Ok(answer) => answer,
            Err(StoreError::NotFound { .. }) => return Ok(TraceLink::NoTrace),
            Err(error) if error.is_transient() => return Err(error),
            Err(_) => {
                let old = self.request(Method::GET, &[OLD_TRACES, &[trace, "info"]]);
                match self.call(old).await {
                    Ok(answer) => answer,
                    Err(StoreError::NotFound { .. }) => return Ok(TraceLink::NoTrace),
                    Err(error) => return Err(error),
                }
            }
        };
        Ok(TraceLink::of(linked_model(&answer)))
    }

    pub(in super::super) async fn count_traces(
        &self,
        experiments: &[ExperimentId],
        models: &BTreeSet<ModelId>,
    ) -> Result<BTreeMap<ModelId, u64>, StoreError> {
        let mut counts = BTreeMap::new();
        for model in models {
            let mut count = 0;
            for some in experiments.chunks(TOGETHER) {
                count += self.count_traces_of(some, model).await?;
            }
            if count > 0 {
                counts.insert(model.clone(), count);
            }
        }
        Ok(counts)
    }

    pub(in super::super) async fn traced(
        &self,
        experiments: &[ExperimentId],
        models: &BTreeSet<ModelId>,
    ) -> Result<BTreeSet<ModelId>, StoreError> {
        let mut traced = BTreeSet::new();
        for model in models {
            for some in experiments.chunks(TOGETHER) {
                let found = self.search_traces(&traces_of(some, model, 1)).await?;
                // A page may be empty and not the last one.
                if !found.traces.is_empty() || found.next().is_some() {
                    traced.insert(model.clone());
                    break;
                }
            }
        }
        Ok(traced)
    }

    /// One page of the latest traces, which is the server's order (MLflow 3.17.2).
    pub(in super::super) async fn count_latest_traces(
        &self,
        experiments: &[ExperimentId],
        models: &BTreeSet<ModelId>,
    ) -> Result<TraceCounts, StoreError> {
        let some = experiments.get(..TOGETHER).unwrap_or(experiments);
        let body = json!({"locations": locations(some), "max_results": PAGE});
        let found = self.search_traces(&body).await?;
        let mut counts = BTreeMap::new();
        for model in found.traces.iter().filter_map(model_of_info) {
            if models.contains(&model) {
                *counts.entry(model).or_default() += 1;
            }
        }
        Ok(TraceCounts {
            are_all: found.next().is_none() && some.len() == experiments.len(),
            counts,
        })
    }

    async fn count_traces_of(
        &self,
        experiments: &[ExperimentId],
        model: &ModelId,
    ) -> Result<u64, StoreError> {
        let mut body = traces_of(experiments, model, PAGE);
        let mut count = 0;
        while count < TRACES_MAX {
            let found = self.search_traces(&body).await?;
            count += found.traces.len() as u64;
            match found.next() {
                Some(token) => insert(&mut body, "page_token", json!(token)),
                None => break,
            }
        }
        Ok(count)
    }

    async fn search_traces(&self, body: &Value) -> Result<wire::FoundTraces, StoreError> {
        let request = self.request(Method::POST, &[TRACES, &["search"]]);
        self.call(request.json(body)).await
    }

    pub(in super::super) async fn references(
        &self,
        since_ms: i64,
        known: &References,
    ) -> Result<References, StoreError> {
        let body = json!({"max_results": PAGE, "view_type": "ALL"});
        let found = self
            .pages(&[EXPERIMENTS, &["search"]], body, "experiments")
            .await?;
        let experiments: Vec<ExperimentId> = found
            .iter()
            .filter_map(|experiment| experiment.get("experiment_id")?.as_str()?.parse().ok())
            .collect();
        let mut references = References {
            runs: known.runs.clone(),
            counted: self.registered().await?,
            experiments,
        };
        for (id, ended_ms) in self.runs(&references.experiments, since_ms).await? {
            let is_known = references.runs.get(&id);
            if !is_known.is_some_and(|run| ended_ms.is_some() && run.ended_ms == ended_ms) {
                let models = self.models_of_run(&id).await?;
                references.runs.insert(id, Run { ended_ms, models });
            }
        }
        Ok(references)
    }

    /// Runs that were started or ended lately or have not ended, those in the trash included, with when they ended.
    async fn runs(
        &self,
        experiments: &[ExperimentId],
        since_ms: i64,
    ) -> Result<BTreeMap<String, Option<i64>>, StoreError> {
        let mut runs = BTreeMap::new();
        let filters = [
            format!("attributes.start_time >= {since_ms}"),
            format!("attributes.end_time >= {since_ms}"),
            "attributes.status = 'RUNNING'".to_owned(),
        ];
        for some in experiments.chunks(TOGETHER) {
            let ids: Vec<_> = some.iter().map(ExperimentId::as_str).collect();
            for filter in &filters {
                let body = json!({
                    "experiment_ids": ids,
                    "filter": filter,
                    "max_results": PAGE,
                    "run_view_type": "ALL",
                });
                let found = self.pages(&[RUNS, &["search"]], body, "runs").await?;
                runs.extend(found.iter().filter_map(run_in_list));
            }
            if runs.len() > RUNS_MAX {
                let message = format!("more than {RUNS_MAX} runs to look at");
                return Err(StoreError::InvalidAnswer(message));
            }
        }
        Ok(runs)
    }

    async fn models_of_run(&self, id: &str) -> Result<BTreeSet<ModelId>, StoreError> {
        let request = self.get_with(&[RUNS, &["get"]], &[("run_id", id.to_owned())]);
        let answer: Value = match self.call(request).await {
            Ok(answer) => answer,
            Err(StoreError::NotFound { .. }) => return Ok(BTreeSet::new()),
            Err(error) => return Err(error),
        };
        let lists = ["/run/inputs/model_inputs", "/run/outputs/model_outputs"];
        let models = lists
            .iter()
            .filter_map(|list| answer.pointer(list)?.as_array())
            .flatten();
        Ok(models
            .filter_map(|one| one.get("model_id")?.as_str()?.parse().ok())
            .collect())
    }

    /// A registered version names its LoggedModel by id, or in its source.
    async fn registered(&self) -> Result<BTreeMap<ModelId, u64>, StoreError> {
        let mut models: BTreeMap<ModelId, u64> = BTreeMap::new();
        let mut token: Option<String> = None;
        for _ in 0..PAGES_MAX {
            let mut query = vec![("max_results", PAGE.to_string())];
            query.extend(token.take().map(|token| ("page_token", token)));
            let request = self.get_with(&[VERSIONS, &["search"]], &query);
            let page: Value = self.call(request).await?;
            for version in page
                .get("model_versions")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
            {
                let text = |field: &str| version.get(field).and_then(Value::as_str);
                let by_id = text("model_id").and_then(|id| id.parse().ok());
                let by_source = || models_in(text("source").unwrap_or_default());
                let named: BTreeSet<ModelId> = match by_id {
                    Some(id) => BTreeSet::from([id]),
                    None => by_source().collect(),
                };
                for id in named {
                    *models.entry(id).or_default() += 1;
                }
            }
            token = next(&page);
            if token.is_none() {
                return Ok(models);
            }
        }
        Err(too_many("registered versions"))
    }

    pub(in super::super) async fn remove_unused(
        &self,
        rows: &[ModelRow],
        known: &References,
        since_ms: i64,
        removed: &mut Vec<ModelId>,
    ) -> Result<(), StoreError> {
        for row in rows {
            let now = self.references(since_ms, known).await?;
            if now.count(&row.id) == 0 && self.is_unused(row, &now).await? {
                self.delete(&row.id).await?;
                removed.push(row.id.clone());
            }
        }
        Ok(())
    }

    async fn is_unused(&self, row: &ModelRow, now: &References) -> Result<bool, StoreError> {
        let one = BTreeSet::from([row.id.clone()]);
        let found = self.model(&row.id).await?;
        Ok(found.as_ref() == Some(row)
            && row.use_by_itself().is_none()
            && self.traced(&now.experiments, &one).await?.is_empty())
    }

    fn get_with(&self, parts: &[&[&str]], query: &[(&str, String)]) -> RequestBuilder {
        let mut url = self.http.url(parts);
        url.query_pairs_mut().extend_pairs(query);
        self.http.request_to(Method::GET, url)
    }

    async fn pages(
        &self,
        parts: &[&[&str]],
        mut body: Value,
        list: &'static str,
    ) -> Result<Vec<Value>, StoreError> {
        let mut found = Vec::new();
        for _ in 0..PAGES_MAX {
            let request = self.request(Method::POST, parts).json(&body);
            let mut page: Value = self.call(request).await?;
            if let Some(Value::Array(some)) = page.get_mut(list).map(Value::take) {
                found.extend(some);
            }
            match next(&page) {
                Some(token) => insert(&mut body, "page_token", json!(token)),
                None => return Ok(found),
            }
        }
        Err(too_many(list))
    }
}

fn too_many(list: &str) -> StoreError {
    StoreError::InvalidAnswer(format!("more than {PAGES_MAX} pages of {list}"))
}

fn locations(experiments: &[ExperimentId]) -> Vec<Value> {
    let location = |id: &ExperimentId| json!({"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": id.as_str()}});
    experiments.iter().map(location).collect()
}

fn traces_of(experiments: &[ExperimentId], model: &ModelId, page: u64) -> Value {
    json!({
        "locations": locations(experiments),
        "filter": format!("request_metadata.`mlflow.modelId` = '{model}'"),
        "max_results": page,
    })
}

fn run_in_list(run: &Value) -> Option<(String, Option<i64>)> {
    let info = run.get("info")?;
    let is_running = info.get("status").and_then(Value::as_str) == Some("RUNNING");
    let ended = info.get("end_time").and_then(wire::int64);
    let id = info.get("run_id")?.as_str()?;
    Some((id.to_owned(), ended.filter(|_| !is_running)))
}

fn next(page: &Value) -> Option<String> {
    let token = page.get("next_page_token")?.as_str()?;
    (!token.is_empty()).then(|| token.to_owned())
}

fn insert(body: &mut Value, key: &str, value: Value) {
    if let Some(object) = body.as_object_mut() {
        object.insert(key.to_owned(), value);
    }
}

/// `trace_metadata` is a map in version 3 of the API, `request_metadata` a list of pairs in version 2.
fn linked_model(answer: &Value) -> Option<ModelId> {
    let info = answer
        .pointer("/trace/trace_info")
        .or_else(|| answer.get("trace_info"))?;
    model_of_info(info)
}

fn model_of_info(info: &Value) -> Option<ModelId> {
    let key = "mlflow.modelId";
    let in_map = info.get("trace_metadata").and_then(|map| map.get(key));
    let in_list = || {
        let list = info.get("request_metadata")?.as_array()?;
        list.iter()
            .find(|pair| pair.get("key").and_then(Value::as_str) == Some(key))?
            .get("value")
    };
    in_map.or_else(in_list)?.as_str()?.parse().ok()
}

/// Reads an answer as each of what is asked here.
#[cfg(any(test, fuzzing))]
pub(in super::super) fn read(answer: &Value) {
    drop(model_row(answer, "/model"));
    drop(linked_model(answer));
    drop(run_in_list(answer));
    drop(next(answer));
}

fn model_row(answer: &Value, at: &str) -> Result<ModelRow, StoreError> {
    let wrong = || StoreError::InvalidAnswer("a LoggedModel without what every one has".to_owned());
    let value = answer.pointer(at).ok_or_else(wrong)?;
    let text = |name: &str| {
        value
            .pointer(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let pairs = |name: &str| {
        let list = value.pointer(name).cloned().unwrap_or_else(|| json!([]));
        serde_json::from_value(list).map(map).map_err(|_| wrong())
    };
    let metrics = value.pointer("/data/metrics").and_then(Value::as_array);
    Ok(ModelRow {
        id: text("/info/model_id").parse().map_err(|_| wrong())?,
        experiment: text("/info/experiment_id").parse().map_err(|_| wrong())?,
        name: text("/info/name").to_owned(),
        created_ms: value
            .pointer("/info/creation_timestamp_ms")
            .and_then(wire::int64)
            .ok_or_else(wrong)?,
        tags: pairs("/info/tags")?,
        params: pairs("/data/params")?,
        metrics: metrics.map_or(0, |metrics| metrics.len() as u64),
        source_run: Some(text("/info/source_run_id"))
            .filter(|run| !run.is_empty())
            .map(str::to_owned),
    })
}
