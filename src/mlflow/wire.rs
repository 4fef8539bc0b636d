//! The JSON of MLflow's REST API, exactly as MLflow names it. Nothing here leaves the folder.
//!
//! Shapes observed with MLflow 3.17.2: empty lists and maps are absent, a search without a hit answers `{}`, and
//! 64-bit numbers, plain in MLflow's own server, are text where protobuf's JSON mapping is followed to the letter.

use serde::{Deserialize, Serialize};
use serde_json::Value;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Pair {
    #[serde(default)]
    pub(super) key: String,
    #[serde(default)]
    pub(super) value: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct ErrorBody {
    pub(super) error_code: String,
    #[serde(default)]
    pub(super) message: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct ServerInfo {
    #[serde(default)]
    pub(super) workspaces_enabled: bool,
}

#[derive(Debug, Deserialize)]
pub(super) struct ExperimentAnswer {
    pub(super) experiment: ExperimentBody,
}

#[derive(Debug, Deserialize)]
pub(super) struct ExperimentBody {
    pub(super) experiment_id: String,
    #[serde(default)]
    pub(super) name: String,
    #[serde(default)]
    pub(super) artifact_location: Option<String>,
    #[serde(default)]
    pub(super) lifecycle_stage: String,
}

#[derive(Debug, Serialize)]
pub(super) struct CreateExperiment<'a> {
    pub(super) name: &'a str,
}

#[derive(Debug, Deserialize)]
pub(super) struct CreatedExperiment {
    pub(super) experiment_id: String,
}

#[derive(Debug, Serialize)]
pub(super) struct CreateModel<'a> {
    pub(super) experiment_id: &'a str,
    pub(super) name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) model_type: Option<&'a str>,
    pub(super) tags: Vec<Pair>,
    pub(super) params: Vec<Pair>,
}

#[derive(Debug, Deserialize)]
pub(super) struct ModelAnswer {
    pub(super) model: Model,
}

#[derive(Debug, Deserialize)]
pub(super) struct Model {
    pub(super) info: ModelInfo,
    #[serde(default)]
    pub(super) data: ModelData,
}

#[derive(Debug, Deserialize)]
pub(super) struct ModelInfo {
    pub(super) model_id: String,
    #[serde(default)]
    pub(super) experiment_id: String,
    #[serde(default)]
    pub(super) name: String,
    #[serde(default)]
    pub(super) creation_timestamp_ms: Value,
    #[serde(default)]
    pub(super) artifact_uri: Option<String>,
    #[serde(default)]
    pub(super) status: Value,
    #[serde(default)]
    pub(super) tags: Vec<Pair>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct ModelData {
    #[serde(default)]
    pub(super) params: Vec<Pair>,
}

#[derive(Debug, Serialize)]
pub(super) struct SearchModels<'a> {
    pub(super) experiment_ids: [&'a str; 1],
    pub(super) filter: &'a str,
    pub(super) max_results: u32,
    pub(super) order_by: [OrderBy<'a>; 1],
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) page_token: Option<&'a str>,
}

#[derive(Debug, Serialize)]
pub(super) struct OrderBy<'a> {
    pub(super) field_name: &'a str,
    pub(super) ascending: bool,
}

#[derive(Debug, Deserialize)]
pub(super) struct FoundModels {
    #[serde(default)]
    pub(super) models: Vec<Model>,
    #[serde(default)]
    pub(super) next_page_token: Option<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct SetTags {
    pub(super) tags: Vec<Pair>,
}

#[derive(Debug, Serialize)]
pub(super) struct LogParams<'a> {
    pub(super) model_id: &'a str,
    pub(super) params: Vec<Pair>,
}

#[derive(Debug, Serialize)]
pub(super) struct SetStatus<'a> {
    pub(super) model_id: &'a str,
    pub(super) status: &'a str,
}

#[derive(Debug, Serialize)]
pub(super) struct SearchTraces<'a> {
    pub(super) locations: [TraceLocation<'a>; 1],
    pub(super) filter: &'a str,
    pub(super) max_results: u32,
}

#[derive(Debug, Serialize)]
pub(super) struct TraceLocation<'a> {
    #[serde(rename = "type")]
    pub(super) kind: &'a str,
    pub(super) mlflow_experiment: TraceExperiment<'a>,
}

#[derive(Debug, Serialize)]
pub(super) struct TraceExperiment<'a> {
    pub(super) experiment_id: &'a str,
}

#[derive(Debug, Deserialize)]
pub(super) struct FoundTraces {
    #[serde(default)]
    pub(super) traces: Vec<Value>,
    #[serde(default)]
    pub(super) next_page_token: Option<String>,
}

impl FoundTraces {
    /// Returns the token of the next page.
    pub(super) fn next(&self) -> Option<&str> {
        self.next_page_token
            .as_deref()
            .filter(|token| !token.is_empty())
    }
}

/// Returns a 64-bit number written as a JSON number or as text.
pub(super) fn int64(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.parse().ok())
}

/// Returns whether a status says READY, by name or by number (MLflow 3.17.2, `LoggedModelStatus`).
pub(super) fn is_ready(status: &Value) -> bool {
    status.as_str() == Some("LOGGED_MODEL_READY") || int64(status) == Some(2)
}
