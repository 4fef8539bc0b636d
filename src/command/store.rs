//! The store, asked from a command: one question after the other, each with an end.
//!
//! Only reads: what `gc` removes, it removes itself.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::error::{Failure, FailureKind};
use crate::ids::{ExperimentId, ModelId};
use crate::mlflow::{ModelRow, References, StoreError, TraceCounts, TraceLink};
use crate::session::Session;

/// The store, asked from a command.
pub(super) struct Store {
    pub(super) session: Session,
    pub(super) runtime: tokio::runtime::Runtime,
}

/// What refers to a LoggedModel.
pub(super) struct Uses {
    pub(super) row: Option<ModelRow>,
    pub(super) traces: u64,
    /// `None` where the store cannot tell in reasonable time.
    pub(super) runs: Option<u64>,
}

/// How long a count beside a list may take.
const QUICKLY: Duration = Duration::from_secs(1);
/// How long looking at the runs of a server may take, which is one request a run.
const RUNS_WITHIN: Duration = Duration::from_secs(3);

impl Store {
    /// Returns a row; `None` where there is none.
    pub(super) fn model(&self, id: &ModelId) -> Result<Option<ModelRow>, Failure> {
        Ok(self.runtime.block_on(self.session.store().model(id))?)
    }

    /// Returns what a trace says of its LoggedModel.
    pub(super) fn model_of_trace(&self, trace: &str) -> Result<TraceLink, Failure> {
        Ok(self
            .runtime
            .block_on(self.session.store().model_of_trace(trace))?)
    }

    /// Returns the page of a LoggedModel in the MLflow UI.
    pub(super) fn link(&self, row: Option<&ModelRow>) -> Option<String> {
        let row = row?;
        let page = self.session.experiment_page(&row.experiment)?;
        Some(format!("{page}/models/{}", row.id))
    }

    /// Asks what refers to a LoggedModel.
    pub(super) fn uses(&self, id: &ModelId) -> Result<Uses, Failure> {
        let store = self.session.store();
        let asked = async {
            let Some(row) = store.model(id).await? else {
                return Ok(None);
            };
            let one = BTreeSet::from([id.clone()]);
            let known = References::default();
            let asked = store.references(row.created_ms, &known);
            let asked = tokio::time::timeout(RUNS_WITHIN, asked).await;
            let references = asked.ok().and_then(Result::ok);
            let experiments = match &references {
                Some(references) => references.experiments().to_vec(),
                None => vec![row.experiment.clone()],
            };
            let traces = store.count_traces(&experiments, &one).await?;
            Ok::<_, StoreError>(Some(Uses {
                traces: traces.get(id).copied().unwrap_or(0),
                runs: references.map(|references| references.count(id)),
                row: Some(row),
            }))
        };
        self.runtime.block_on(asked)?.ok_or_else(|| {
            Failure::new(
                FailureKind::Negative,
                &format!("{id} is no longer in the store"),
            )
            .hint("tracemark active")
        })
    }

    /// Counts traces as far as that is one question.
    pub(super) fn traces_quickly(
        &self,
        experiments: &BTreeSet<ExperimentId>,
        models: &BTreeSet<ModelId>,
    ) -> Result<TraceCounts, Failure> {
        let store = self.session.store();
        let experiments: Vec<_> = experiments.iter().cloned().collect();
        let counted = async {
            let asked = store.count_traces_quickly(&experiments, models);
            tokio::time::timeout(QUICKLY, asked).await
        };
        match self.runtime.block_on(counted) {
            Ok(counts) => Ok(counts?),
            Err(_) => Ok(TraceCounts::default()),
        }
    }
}
