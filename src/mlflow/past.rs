//! What a store says of `LoggedModels` that exist: their rows, what refers to them, which one a trace belongs to.
//!
//! Changes nothing, but that `remove_unused` deletes what it was told to where nothing refers to it by then.

use std::collections::{BTreeMap, BTreeSet};

use super::{Backend, Store, StoreError, tags};
use crate::ids::{ExperimentId, ModelId};

/// MLflow 3.17.2, `mlflow/utils/mlflow_tags.py`: the registered versions of a LoggedModel, as JSON.
const TAG_REGISTERED: &str = "mlflow.modelVersions";
/// Set by `mlflow.genai.load_prompt` of MLflow 3.17.2, as JSON.
const TAG_PROMPTS: &str = "mlflow.linkedPrompts";

/// A LoggedModel as the store has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelRow {
    /// Its id.
    pub id: ModelId,
    /// Its experiment.
    pub experiment: ExperimentId,
    /// Its name.
    pub name: String,
    /// When it was made, in Unix milliseconds.
    pub created_ms: i64,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// Its params.
    pub params: BTreeMap<String, String>,
    /// How many metrics were logged for it.
    pub metrics: u64,
    /// The run that made it, where one did.
    pub source_run: Option<String>,
}

impl ModelRow {
    /// Returns the value of a tag.
    pub fn tag(&self, name: &str) -> Option<&str> {
        self.tags.get(name).map(String::as_str)
    }

    /// Returns the nonce of a row that this program made.
    pub fn nonce(&self) -> Option<&str> {
        self.tag(tags::NONCE)
    }

    /// Returns what the row itself tells of its use, `None` where it tells of none.
    pub fn use_by_itself(&self) -> Option<&'static str> {
        let has_list = |tag| {
            self.tag(tag)
                .is_some_and(|list| !list.is_empty() && list != "[]")
        };
        if has_list(TAG_REGISTERED) {
            Some("a registered model refers to it")
        } else if has_list(TAG_PROMPTS) {
            Some("prompts are linked to it")
        } else if self.metrics > 0 {
            Some("it has metrics")
        } else if self.source_run.is_some() {
            Some("a run made it")
        } else if self.tag(tags::SHARED).is_some() {
            Some("another machine uses it")
        } else if self.tags.keys().any(|tag| is_of_somebody(tag)) {
            Some("somebody tagged it")
        } else {
            None
        }
    }
}

/// A tag that is neither ours nor one of MLflow's own, or the description that MLflow's UI writes (`mlflow/utils/mlflow_tags.py`,
/// MLflow 3.17.2).
fn is_of_somebody(tag: &str) -> bool {
    let of_programs = ["tracemark.", "mlflow."]
        .iter()
        .any(|start| tag.starts_with(start));
    !of_programs || tag == "mlflow.note.content"
}

/// Returns the LoggedModels that the source of a registered version may be about: `models:/m-…`, or the place of their files.
pub(super) fn models_in(source: &str) -> impl Iterator<Item = ModelId> {
    let parts = source.split(['/', ':']);
    parts.filter_map(|part| part.starts_with("m-").then(|| part.parse().ok())?)
}

/// What a trace is linked to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TraceLink {
    /// There is no such trace.
    NoTrace,
    /// It is linked to no LoggedModel.
    Unlinked,
    /// It is linked to that one.
    Model(ModelId),
}

impl TraceLink {
    /// Returns the link of a trace that exists.
    pub(super) fn of(model: Option<ModelId>) -> Self {
        model.map_or(Self::Unlinked, Self::Model)
    }
}

/// How many traces are linked to LoggedModels.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TraceCounts {
    /// Those without any are left out.
    pub counts: BTreeMap<ModelId, u64>,
    /// False where there may be more.
    pub are_all: bool,
}

/// What refers to LoggedModels beside themselves and their traces.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct References {
    /// The experiments that the store has, where traces may lie.
    pub(super) experiments: Vec<ExperimentId>,
    /// Runs that were looked at one by one.
    pub(super) runs: BTreeMap<String, Run>,
    /// How many registered versions refer to LoggedModels, and runs that were not looked at one by one.
    pub(super) counted: BTreeMap<ModelId, u64>,
}

/// A run as it was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Run {
    /// When it ended, `None` while it runs.
    pub(super) ended_ms: Option<i64>,
    /// The LoggedModels that it used or made.
    pub(super) models: BTreeSet<ModelId>,
}

impl References {
    /// Returns every experiment of the store; none where traces are counted without.
    pub fn experiments(&self) -> &[ExperimentId] {
        &self.experiments
    }

    /// Returns how many runs and registered versions refer to a LoggedModel.
    pub fn count(&self, id: &ModelId) -> u64 {
        let by_runs = self.runs.values().filter(|run| run.models.contains(id));
        self.counted.get(id).copied().unwrap_or(0) + by_runs.count() as u64
    }
}

impl Store {
    /// Returns a LoggedModel, `None` where the store does not have it.
    ///
    /// # Errors
    /// Whatever keeps the store from answering.
    pub async fn model(&self, id: &ModelId) -> Result<Option<ModelRow>, StoreError> {
        match &self.0 {
            Backend::Rest(rest) => rest.model(id).await,
            Backend::Sqlite(sqlite) => sqlite.model(id).await,
        }
    }

    /// Returns those of the LoggedModels in those experiments that the store has.
    ///
    /// # Errors
    /// Whatever keeps the store from answering.
    pub async fn models(
        &self,
        experiments: &BTreeSet<ExperimentId>,
        ids: &BTreeSet<ModelId>,
    ) -> Result<BTreeMap<ModelId, ModelRow>, StoreError> {
        match &self.0 {
            Backend::Rest(rest) => rest.models(experiments, ids).await,
            Backend::Sqlite(sqlite) => sqlite.models(ids).await,
        }
    }

    /// Returns what a trace is linked to.
    ///
    /// # Errors
    /// Whatever keeps the store from answering.
    pub async fn model_of_trace(&self, trace: &str) -> Result<TraceLink, StoreError> {
        match &self.0 {
            Backend::Rest(rest) => rest.model_of_trace(trace).await,
            Backend::Sqlite(sqlite) => sqlite.model_of_trace(trace).await,
        }
    }

    /// Counts traces of those LoggedModels in one question: on a server among the latest alone.
    ///
    /// # Errors
    /// Whatever keeps the store from answering.
    pub async fn count_traces_quickly(
        &self,
        experiments: &[ExperimentId],
        models: &BTreeSet<ModelId>,
    ) -> Result<TraceCounts, StoreError> {
        match &self.0 {
            Backend::Rest(rest) => rest.count_latest_traces(experiments, models).await,
            Backend::Sqlite(sqlite) => Ok(TraceCounts {
                counts: sqlite.count_traces(models).await?,
                are_all: true,
            }),
        }
    }

    /// Returns those of the LoggedModels that traces in those experiments are linked to.
    ///
    /// # Errors
    /// Whatever keeps the store from answering.
    pub async fn traced(
        &self,
        experiments: &[ExperimentId],
        models: &BTreeSet<ModelId>,
    ) -> Result<BTreeSet<ModelId>, StoreError> {
        match &self.0 {
            Backend::Rest(rest) => rest.traced(experiments, models).await,
            Backend::Sqlite(sqlite) => Ok(sqlite.count_traces(models).await?.into_keys().collect()),
        }
    }

    /// Returns how many traces are linked to each of those LoggedModels; those without any are left out.
    ///
    /// # Errors
    /// Whatever keeps the store from answering.
    pub async fn count_traces(
        &self,
        experiments: &[ExperimentId],
        models: &BTreeSet<ModelId>,
    ) -> Result<BTreeMap<ModelId, u64>, StoreError> {
        match &self.0 {
            Backend::Rest(rest) => rest.count_traces(experiments, models).await,
            Backend::Sqlite(sqlite) => sqlite.count_traces(models).await,
        }
    }

    /// Returns which LoggedModels runs and registered versions refer to. On a server of runs that were started or ended
    /// at `since_ms` or later or have not ended, and of those that `known` holds, which are not looked at again unless
    /// they ran since.
    ///
    /// # Errors
    /// Whatever keeps the store from answering, and [`StoreError::InvalidAnswer`] for more runs than can be looked at.
    pub async fn references(
        &self,
        since_ms: i64,
        known: &References,
    ) -> Result<References, StoreError> {
        match &self.0 {
            Backend::Rest(rest) => rest.references(since_ms, known).await,
            Backend::Sqlite(sqlite) => sqlite.references().await,
        }
    }

    /// Deletes those LoggedModels that are still as in `rows` and that nothing refers to now, and adds them to `removed`
    /// one by one. `known` is what [`Store::references`] said a moment ago.
    ///
    /// # Errors
    /// As [`Store::references`]; those in `removed` are gone all the same.
    pub async fn remove_unused(
        &self,
        rows: &[ModelRow],
        known: &References,
        since_ms: i64,
        removed: &mut Vec<ModelId>,
    ) -> Result<(), StoreError> {
        match &self.0 {
            Backend::Rest(rest) => rest.remove_unused(rows, known, since_ms, removed).await,
            Backend::Sqlite(sqlite) => {
                removed.extend(sqlite.remove_unused(rows).await?);
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registered_version_names_a_model_by_its_id_or_by_the_place_of_its_files() {
        for source in [
            "models:/m-1",
            "mlflow-artifacts:/7/models/m-1/artifacts",
            "/data/mlruns/7/models/m-1/artifacts",
            "s3://bucket/7/models/m-1/artifacts/model",
        ] {
            let models: Vec<_> = models_in(source).collect();
            assert_eq!(models, ["m-1".parse().unwrap()], "{source}");
        }
        assert_eq!(models_in("runs:/abc/model").count(), 0);
    }
}
