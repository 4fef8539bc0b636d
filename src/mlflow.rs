//! Finds or creates the LoggedModel of a version, on a tracking server over REST or in MLflow's SQLite file.
//!
//! Knows nothing of worktrees, of what was published, or of when to try a store again that failed: each call says what it
//! found.

mod connection;
mod credentials;
mod databricks;
mod error;
mod exchange;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod http;
mod ini;
mod mlmodel;
mod netrc;
mod past;
mod patience;
mod rest;
mod retries;
mod scrub;
mod secret;
mod sqlite;
pub mod tags;
mod uri;
mod variable;
mod wanted;
mod wire;

use std::collections::BTreeMap;

use crate::ids::{ExperimentId, ModelId, is_refused_in_name};

pub use connection::{Access, AccessError, Connection, DatabricksPlace};
pub use credentials::{Keys, SECRET_VARIABLES};
pub use databricks::workspace_address;
pub use error::StoreError;
pub use past::{ModelRow, References, TraceCounts, TraceLink};
pub use retries::Retries;
pub use secret::Secret;
pub use sqlite::stop_waiting;
pub use uri::{StoreUri, StoreUriError};
pub use variable::{VariableError, truth};
pub use wanted::{Key, Wanted};

/// Which experiment the `LoggedModels` belong to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExperimentChoice {
    /// The experiment of this name, created if absent.
    Name(String),
    /// The experiment of this id, which must exist.
    Id(ExperimentId),
    /// MLflow's own default, the experiment with id `0`.
    Default,
}

/// An experiment as the store describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Experiment {
    /// Its id.
    pub id: ExperimentId,
    /// Its name.
    pub name: String,
    /// Where MLflow keeps its artifacts.
    pub artifact_location: Option<String>,
}

/// The LoggedModel of a version, as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its id; the row exists.
    pub model_id: ModelId,
    /// Whether this call made the row.
    pub created: bool,
    /// Where MLflow keeps its artifacts.
    pub artifact_location: Option<String>,
    /// Whether [`Store::finish`] still has something to do.
    pub needs_finish: bool,
    /// The row was made by this program and is not finalized, or lacks its `MLmodel` file.
    finalize: bool,
    /// The row of another machine is not marked as used here.
    unmarked: bool,
    missing_params: BTreeMap<String, String>,
    /// The params that the row has; one of another value than wanted stays as it is.
    pub params: BTreeMap<String, String>,
}

/// How a LoggedModel that stood for a version stands now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It still stands for the version.
    Stands(Found),
    /// An earlier row stands for the version; this one was tagged as its duplicate.
    Later(Found),
    /// It was deleted, or stands for something else now.
    Gone,
}

/// What became of the small `MLmodel` file, without which all but loading the model works (observed with
/// MLflow 3.17.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelFile {
    /// It is there.
    Written,
    /// The artifacts are in a place that this program does not write to, or nothing was left to do.
    Skipped,
    /// It could not be written; the cause. The LoggedModel is finalized all the same.
    Failed(String),
}

/// The place where `LoggedModels` live. Clones share one connection pool.
#[derive(Debug, Clone)]
pub struct Store(Backend);

#[derive(Debug, Clone)]
enum Backend {
    Rest(rest::Rest),
    Sqlite(sqlite::Sqlite),
}

impl Store {
    /// Returns how many requests were sent to the server so far; none for a file.
    pub fn requests(&self) -> u64 {
        match &self.0 {
            Backend::Rest(rest) => rest.requests(),
            Backend::Sqlite(_) => 0,
        }
    }

    /// Returns by how many seconds the server's clock was ahead of this machine's in its last answer, where it said.
    pub fn clock_skew(&self) -> Option<i64> {
        match &self.0 {
            Backend::Rest(rest) => rest.clock_skew(),
            Backend::Sqlite(_) => None,
        }
    }

    /// Returns the store at `uri`, without asking it anything. SQLite needs no access.
    ///
    /// # Errors
    /// [`AccessError`] where a certificate, a proxy or a Databricks profile cannot be used.
    pub fn open(uri: &StoreUri, access: &Access) -> Result<Self, AccessError> {
        let backend = match (rest::Rest::open(uri, access)?, uri) {
            (None, StoreUri::Sqlite(path)) => Backend::Sqlite(sqlite::Sqlite::new(path.clone())),
            (Some(rest), _) => Backend::Rest(rest),
            (None, _) => {
                return Err(AccessError::Client {
                    cause: "no such kind of store".to_owned(),
                });
            }
        };
        Ok(Self(backend))
    }

    /// Returns the text that tells this store from every other, also where the same tracking URI may mean several
    /// (Databricks profiles, MLflow workspaces). Holds no secret.
    pub fn identity(&self, uri: &StoreUri) -> String {
        match &self.0 {
            Backend::Rest(rest) => rest.identity(),
            Backend::Sqlite(_) => uri.to_tracking_uri(),
        }
    }

    /// Asks whether the store has LoggedModels at all, and whether a file may be written.
    ///
    /// # Errors
    /// [`StoreError::Unsuitable`] naming the server that has none, [`StoreError::ReadOnly`], and whatever keeps the store from answering.
    pub async fn probe(&self, experiment: &Experiment) -> Result<(), StoreError> {
        match &self.0 {
            Backend::Rest(rest) => rest.probe(experiment).await,
            Backend::Sqlite(sqlite) => sqlite.probe().await,
        }
    }

    /// Returns the experiment, resolved as MLflow's client does; one chosen by name is created if absent.
    ///
    /// # Errors
    /// [`StoreError::ExperimentNotFound`], [`StoreError::ExperimentDeleted`], and whatever keeps the store from
    /// answering.
    pub async fn experiment(&self, choice: &ExperimentChoice) -> Result<Experiment, StoreError> {
        match &self.0 {
            Backend::Rest(rest) => rest.experiment(choice).await,
            Backend::Sqlite(sqlite) => sqlite.experiment(choice).await,
        }
    }

    /// Returns the one LoggedModel of a version: found by its key, else a row that MLflow made for it, else created.
    ///
    /// The earliest row that carries the key wins. A row of the same name without the key is taken over where it
    /// can only stand for this version; tags that it has are kept. A future that is dropped may leave a row behind,
    /// which the next call finds by its key.
    ///
    /// # Errors
    /// [`StoreError::UnusableName`], and whatever keeps the store from answering. After an error that
    /// [`StoreError::is_transient`], the same call may be repeated: a row whose creation was not answered is found
    /// by its key.
    pub async fn find_or_create(
        &self,
        experiment: &Experiment,
        wanted: &Wanted,
    ) -> Result<Found, StoreError> {
        check_name(&wanted.name)?;
        match &self.0 {
            Backend::Rest(rest) => rest.find_or_create(experiment, wanted).await,
            Backend::Sqlite(sqlite) => sqlite.find_or_create(experiment, wanted).await,
        }
    }

    /// Sends missing params, writes the small `MLmodel` file and sets the status READY, as `create_external_model`
    /// of MLflow 3.17.2 leaves a LoggedModel. May be repeated.
    ///
    /// # Errors
    /// Whatever keeps the store from answering. A file that cannot be written is no error but a [`ModelFile::Failed`].
    pub async fn finish(&self, found: &Found) -> Result<ModelFile, StoreError> {
        if !found.needs_finish {
            return Ok(ModelFile::Skipped);
        }
        match &self.0 {
            Backend::Rest(rest) => rest.finish(found).await,
            Backend::Sqlite(sqlite) => sqlite.finish(found).await,
        }
    }

    /// Returns how a row that stood for a version stands now. Later duplicates that this program made are tagged
    /// `tracemark.duplicate_of`; nothing is deleted.
    ///
    /// # Errors
    /// Whatever keeps the store from answering.
    pub async fn review(
        &self,
        experiment: &Experiment,
        wanted: &Wanted,
        id: &ModelId,
    ) -> Result<Standing, StoreError> {
        match &self.0 {
            Backend::Rest(rest) => rest.review(experiment, wanted, id).await,
            Backend::Sqlite(sqlite) => sqlite.review(experiment, wanted, id).await,
        }
    }

    /// Sets tags of a LoggedModel, whatever they were.
    ///
    /// # Errors
    /// Whatever keeps the store from answering.
    pub async fn set_tags(
        &self,
        id: &ModelId,
        tags: &BTreeMap<String, String>,
    ) -> Result<(), StoreError> {
        match &self.0 {
            Backend::Rest(rest) => rest.set_tags(id, tags).await,
            Backend::Sqlite(sqlite) => sqlite.set_tags(id, tags).await,
        }
    }
}

/// Returns whether MLflow takes a name for a LoggedModel: 3.17.2 refuses these characters
/// (`_validate_logged_model_name`), invents a name for an empty one, and keeps 500 characters.
pub fn is_usable_name(name: &str) -> bool {
    (1..=500).contains(&name.chars().count()) && !name.contains(is_refused_in_name)
}

fn check_name(name: &str) -> Result<(), StoreError> {
    if is_usable_name(name) {
        Ok(())
    } else {
        Err(StoreError::UnusableName {
            name: name.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_mlflow_refuses_are_refused() {
        for name in ["", "a/b", "v1.2", "it's", "a\"b", "a:b", "50%"] {
            assert!(check_name(name).is_err(), "{name}");
        }
        assert!(check_name("app-git-0123abcd ü").is_ok());
    }
}
