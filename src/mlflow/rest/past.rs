//! What is asked of LoggedModels that exist, over REST.

use std::collections::{BTreeMap, BTreeSet};

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use super::super::StoreError;
use super::super::past::{ModelRow, References, TraceLink};
use super::{EXPERIMENTS, MODELS, Rest, TRACES, map, wire};
use crate::ids::{ExperimentId, ModelId};

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

    async fn count_traces_of(
        &self,
        experiments: &[ExperimentId],
        model: &ModelId,
    ) -> Result<u64, StoreError> {
        let locations: Vec<_> = experiments
            .iter()
            .map(|id| json!({"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": id.as_str()}}))
            .collect();
        let mut body = json!({
            "locations": locations,
            "filter": format!("request_metadata.`mlflow.modelId` = '{model}'"),
            "max_results": 500,
        });
        let mut count = 0;
        while count < TRACES_MAX {
            let request = self
                .request(Method::POST, &[TRACES, &["search"]])
                .json(&body);
            let found: wire::FoundTraces = self.call(request).await?;
            count += found.traces.len() as u64;
            match found.next_page_token.filter(|token| !token.is_empty()) {
                Some(token) => insert(&mut body, "page_token", json!(token)),
                None => break,
            }
        }
        Ok(count)
    }

    pub(in super::super) async fn references(
        &self,
        since_ms: i64,
    ) -> Result<References, StoreError> {
        let body = json!({"max_results": 1000});
        let found = self
            .pages(&[EXPERIMENTS, &["search"]], body, "experiments")
            .await?;
        let experiments: Vec<ExperimentId> = found
            .iter()
            .filter_map(|experiment| experiment.get("experiment_id")?.as_str()?.parse().ok())
            .collect();
        let mut references = References {
            experiments,
            models: BTreeMap::new(),
        };
        for some in references.experiments.clone().chunks(TOGETHER) {
            let ids: Vec<_> = some.iter().map(ExperimentId::as_str).collect();
            let body = json!({
                "experiment_ids": ids,
                "filter": format!("attributes.start_time >= {since_ms}"),
                "max_results": 1000,
            });
            let runs = self.pages(&[RUNS, &["search"]], body, "runs").await?;
            if runs.len() > RUNS_MAX {
                return Err(StoreError::InvalidAnswer(format!(
                    "more than {RUNS_MAX} runs to look at"
                )));
            }
            for run in &runs {
                self.add_run(run, &mut references.models).await?;
            }
        }
        self.add_registered(&mut references.models).await?;
        Ok(references)
    }

    async fn add_run(
        &self,
        run: &Value,
        models: &mut BTreeMap<ModelId, u64>,
    ) -> Result<(), StoreError> {
        let Some(id) = run.pointer("/info/run_id").and_then(Value::as_str) else {
            return Ok(());
        };
        let request = self.get_with(&[RUNS, &["get"]], &[("run_id", id.to_owned())]);
        let answer: Value = match self.call(request).await {
            Ok(answer) => answer,
            Err(StoreError::NotFound { .. }) => return Ok(()),
            Err(error) => return Err(error),
        };
        let lists = ["/run/inputs/model_inputs", "/run/outputs/model_outputs"];
        let used: BTreeSet<ModelId> = lists
            .iter()
            .filter_map(|list| answer.pointer(list)?.as_array())
            .flatten()
            .filter_map(|one| one.get("model_id")?.as_str()?.parse().ok())
            .collect();
        for model in used {
            *models.entry(model).or_default() += 1;
        }
        Ok(())
    }

    /// A registered version names its LoggedModel by id, or as its source.
    async fn add_registered(&self, models: &mut BTreeMap<ModelId, u64>) -> Result<(), StoreError> {
        let mut token: Option<String> = None;
        for _ in 0..PAGES_MAX {
            let mut query = vec![("max_results", "1000".to_owned())];
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
                let by_source = || text("source")?.strip_prefix("models:/");
                let named = text("model_id")
                    .filter(|id| !id.is_empty())
                    .or_else(by_source);
                if let Some(id) = named.and_then(|id| id.parse().ok()) {
                    *models.entry(id).or_default() += 1;
                }
            }
            token = next(&page);
            if token.is_none() {
                return Ok(());
            }
        }
        Err(too_many("registered versions"))
    }

    pub(in super::super) async fn remove(&self, id: &ModelId) -> Result<(), StoreError> {
        self.delete(id).await
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
    let key = "mlflow.modelId";
    let info = answer
        .pointer("/trace/trace_info")
        .or_else(|| answer.get("trace_info"))?;
    let in_map = info.get("trace_metadata").and_then(|map| map.get(key));
    let in_list = || {
        let list = info.get("request_metadata")?.as_array()?;
        list.iter()
            .find(|pair| pair.get("key").and_then(Value::as_str) == Some(key))?
            .get("value")
    };
    in_map.or_else(in_list)?.as_str()?.parse().ok()
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
