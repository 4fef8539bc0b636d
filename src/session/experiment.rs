//! The experiment of a worktree: as its store describes it, and as it did before.
//!
//! Knows no version.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::{Session, choice_text};
use crate::ids::ExperimentId;
use crate::locks::lock;
use crate::mlflow::{Experiment, ExperimentChoice, StoreError, StoreUri};

/// How long an experiment is taken to be what its server said it was.
const EXPERIMENT_TRUSTED_FOR: Duration = Duration::from_mins(1);

/// The experiment that the store described last, and when. A mutex because readings and resolutions run side by side; held for a
/// copy.
#[derive(Debug, Default)]
pub(super) struct LastExperiment(Mutex<Option<(Experiment, Instant)>>);

impl Session {
    /// Asks the store for the experiment, which is created if it was chosen by name and is absent, and whether it has
    /// LoggedModels at all.
    ///
    /// # Errors
    /// [`StoreError`] with the cause.
    pub async fn check(&self) -> Result<(), StoreError> {
        let experiment = self.ask_experiment().await?;
        self.store.probe(&experiment).await
    }

    async fn both(&self, name: &str, id: &ExperimentId) -> Result<Experiment, StoreError> {
        let by_id = ExperimentChoice::Id(id.clone());
        let experiment = self.store.experiment(&by_id).await?;
        if experiment.name == name {
            return Ok(experiment);
        }
        Err(StoreError::ExperimentMismatch {
            wanted: name.to_owned(),
            id: id.to_string(),
            name: experiment.name,
        })
    }

    /// Of an experiment whose id is given too none is made that could have another.
    pub(super) async fn ask_experiment(&self) -> Result<Experiment, StoreError> {
        let choice = &self.settings.experiment;
        let experiment = match (choice, &self.settings.experiment_id) {
            (ExperimentChoice::Name(name), Some(id)) => self.both(name, id).await?,
            _ => self.store.experiment(choice).await?,
        };
        self.keep_experiment(&experiment);
        Ok(experiment)
    }

    /// The experiment as the server last described it, and whether that was lately. A file is asked again each time: it may be
    /// another one now.
    pub(super) fn known_experiment(&self) -> Option<(Experiment, bool)> {
        if self.store_file().is_some() {
            return None;
        }
        let (experiment, seen_at) = lock(&self.experiment.0).clone()?;
        Some((experiment, seen_at.elapsed() < EXPERIMENT_TRUSTED_FOR))
    }

    fn keep_experiment(&self, experiment: &Experiment) {
        let mut kept = lock(&self.experiment.0);
        let is_new = kept
            .as_ref()
            .is_none_or(|(kept, _)| kept.id != experiment.id);
        *kept = Some((experiment.clone(), Instant::now()));
        if is_new {
            let remembered = self.ledger.remember_experiment(
                &self.store_key,
                &choice_text(&self.settings.experiment),
                &experiment.id,
            );
            if let Err(error) = remembered {
                tracing::warn!(%error, "the ledger cannot be written");
            }
        }
    }

    pub(super) fn remembered_experiment(&self, store: &str) -> Option<ExperimentId> {
        let known = lock(&self.experiment.0)
            .as_ref()
            .map(|(experiment, _)| experiment.id.clone());
        known.or_else(|| {
            self.ledger
                .experiment_of(store, &choice_text(&self.settings.experiment))
                .ok()
                .flatten()
        })
    }

    /// Returns the id of the experiment, as far as it is known without asking.
    pub fn experiment_id(&self) -> Option<ExperimentId> {
        self.remembered_experiment(&self.store_key)
    }

    /// Returns the page of an experiment in the MLflow UI, for a store that has one.
    pub fn experiment_page(&self, id: &ExperimentId) -> Option<String> {
        match &self.uri {
            StoreUri::Rest(base) => Some(format!(
                "{}/#/experiments/{id}",
                base.as_str().trim_end_matches('/')
            )),
            StoreUri::Databricks { .. } => Some(format!("{}/ml/experiments/{id}", self.store_key)),
            StoreUri::Sqlite(_) => None,
        }
    }
}
