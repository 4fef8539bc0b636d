//! What a store says of `LoggedModels` that exist: their rows, what refers to them, which one a trace belongs to.

use std::collections::{BTreeMap, BTreeSet};

use super::{Backend, Store, StoreError, TAG_NONCE};
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
        self.tag(TAG_NONCE)
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
        } else {
            None
        }
    }
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

/// What refers to LoggedModels beside themselves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct References {
    /// The experiments that the store has, where traces may lie.
    pub(super) experiments: Vec<ExperimentId>,
    /// LoggedModels that runs or registered versions refer to.
    pub(super) models: BTreeMap<ModelId, u64>,
}

impl References {
    /// Returns every experiment of the store; none where traces are counted without.
    pub fn experiments(&self) -> &[ExperimentId] {
        &self.experiments
    }

    /// Returns how many runs and registered versions refer to a LoggedModel.
    pub fn count(&self, id: &ModelId) -> u64 {
        self.models.get(id).copied().unwrap_or(0)
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

    /// Returns which LoggedModels runs and registered versions refer to, of runs that were started at `since_ms` or later.
    ///
    /// # Errors
    /// Whatever keeps the store from answering, and [`StoreError::InvalidAnswer`] for more runs than can be looked at.
    pub async fn references(&self, since_ms: i64) -> Result<References, StoreError> {
        match &self.0 {
            Backend::Rest(rest) => rest.references(since_ms).await,
            Backend::Sqlite(sqlite) => sqlite.references().await,
        }
    }

    /// Returns whether anything refers to a LoggedModel now, `None` where nothing does. `known` is what
    /// [`Store::references`] said a moment ago.
    ///
    /// # Errors
    /// Whatever keeps the store from answering.
    pub async fn use_of(
        &self,
        row: &ModelRow,
        known: &References,
        asked_ms: i64,
    ) -> Result<Option<String>, StoreError> {
        let Some(now) = self.model(&row.id).await? else {
            return Ok(Some("it is gone".to_owned()));
        };
        if let Some(why) = now.use_by_itself() {
            return Ok(Some(why.to_owned()));
        }
        let new = self.references(asked_ms).await?;
        let runs = known.count(&row.id).max(new.count(&row.id));
        if runs > 0 {
            return Ok(Some(format!(
                "{runs} runs or registered versions refer to it"
            )));
        }
        let one = BTreeSet::from([row.id.clone()]);
        let traces = self.count_traces(&new.experiments, &one).await?;
        Ok(traces
            .get(&row.id)
            .map(|count| format!("{count} traces are linked to it")))
    }

    /// Deletes a LoggedModel.
    ///
    /// # Errors
    /// Whatever keeps the store from answering.
    pub async fn remove(&self, id: &ModelId) -> Result<(), StoreError> {
        match &self.0 {
            Backend::Rest(rest) => rest.remove(id).await,
            Backend::Sqlite(sqlite) => sqlite.remove(id).await,
        }
    }
}
