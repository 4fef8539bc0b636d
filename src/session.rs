//! One worktree's dealings with its store: from an observation to a LoggedModel that exists.
//!
//! The only module that brings ledger and MLflow together. What it returns was in the store at that moment.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::config::{ConfigError, Layer, Settings};
use crate::identity::reader::WorktreeReader;
use crate::identity::{Reading, sanitize_app};
use crate::ids::{ExperimentId, ModelId};
use crate::ledger::{Ledger, VersionKey};
use crate::mlflow::{
    Access, AccessError, Experiment, ExperimentChoice, Found, Keys, ModelFile, RetriesError, Store,
    StoreError, StoreUri, StoreUriError, truth,
};
use crate::paths::Paths;
use crate::repository::Worktree;
use crate::version::{ActiveModel, Observation, Surroundings, wanted};

/// Why a worktree cannot be tracked as it is configured.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// Its settings are wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Its tracking URI is none that works here.
    #[error(transparent)]
    Uri(#[from] StoreUriError),
    /// Its server cannot be talked to as it is configured.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// A variable that MLflow would refuse too.
    #[error(transparent)]
    Variable(#[from] RetriesError),
}

/// What it takes to read and resolve one worktree.
#[derive(Debug)]
pub struct Session {
    /// The worktree.
    pub worktree: Worktree,
    /// Its settings.
    pub settings: Settings,
    /// Its store.
    pub uri: StoreUri,
    app: String,
    private: Layer,
    user_config: PathBuf,
    store: Store,
    /// What the ledger knows the store by.
    store_key: String,
    ledger: Arc<Ledger>,
    /// The store's file as it was when it last answered: what is remembered of another file counts for nothing.
    trusted_file: Mutex<Option<FileIdentity>>,
    /// A mutex because readings and resolutions run side by side; held for a copy.
    experiment: Mutex<Option<Experiment>>,
}

/// Which file lies at a path: device and inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileIdentity(u64, u64);

impl FileIdentity {
    fn of(path: &Path) -> Option<Self> {
        let metadata = path.metadata().ok()?;
        Some(Self(metadata.dev(), metadata.ino()))
    }
}

/// Returns what reads a worktree.
pub fn reader_of(worktree: &Worktree) -> WorktreeReader {
    WorktreeReader::new(&worktree.root, &worktree.git_dir, &worktree.private_dir())
}

/// A LoggedModel that was found or created just now.
#[derive(Debug)]
pub struct Resolved {
    /// What to publish.
    pub model: ActiveModel,
    version: VersionKey,
    experiment: Experiment,
    found: Found,
}

impl Session {
    /// Opens a session from the settings of a worktree. Nothing is asked of the store yet.
    ///
    /// # Errors
    /// [`SessionError`] naming what is wrong in the settings.
    pub fn open(
        worktree: &Worktree,
        private: &Layer,
        paths: &Paths,
        ledger: Arc<Ledger>,
    ) -> Result<Self, SessionError> {
        let settings = Settings::load(private, &worktree.root, &paths.user_config())?;
        let uri = match &settings.store_uri {
            Some(text) => StoreUri::parse(text, &worktree.root)?,
            None => StoreUri::default_for(&worktree.root)?,
        };
        let access = Access {
            connection: settings.connection.clone(),
            keys: keys_for(&uri, &worktree.root, paths)?,
        };
        let store = Store::open(&uri, &access)?;
        let store_key = store.identity(&uri);
        let app = settings
            .app
            .clone()
            .unwrap_or_else(|| sanitize_app(&worktree.default_app()));
        Ok(Self {
            worktree: worktree.clone(),
            settings,
            uri,
            app,
            private: private.clone(),
            user_config: paths.user_config(),
            store_key,
            store,
            ledger,
            trusted_file: Mutex::new(None),
            experiment: Mutex::new(None),
        })
    }

    /// True when `other` would name, place and create every version as this one does.
    pub fn is_like(&self, other: &Self) -> bool {
        self.settings == other.settings
            && self.uri == other.uri
            && self.app == other.app
            && self.private == other.private
            && self.store_key == other.store_key
    }

    /// Returns the app's name.
    pub fn app(&self) -> &str {
        &self.app
    }

    /// Names what was read, and remembers that its content was seen.
    pub fn observed(&self, reading: Reading) -> Observation {
        if let Err(error) = self.first_seen(reading.content.as_str()) {
            tracing::warn!(%error, "the ledger cannot be written");
        }
        Observation::of(reading, &self.settings, &self.app)
    }

    /// True while the settings files say what this session was opened with.
    pub fn has_current_settings(&self) -> bool {
        Settings::load(&self.private, &self.worktree.root, &self.user_config)
            .is_ok_and(|settings| settings == self.settings)
    }

    /// True while the store is the one that last answered: its file was neither replaced nor removed.
    pub fn trusts_store(&self) -> bool {
        let Some(file) = self.store_file() else {
            return true;
        };
        let trusted = *self.trusted();
        trusted.is_some() && trusted == FileIdentity::of(file)
    }

    fn trusted(&self) -> MutexGuard<'_, Option<FileIdentity>> {
        self.trusted_file
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the LoggedModel that the ledger remembers for an observation, without asking the store.
    pub fn remembered(&self, observation: &Observation) -> Option<ActiveModel> {
        let store = &self.store_key;
        let experiment_id = self.remembered_experiment(store)?;
        let found = self
            .ledger
            .model_of(store, &experiment_id, &observation.version);
        match found {
            Ok(model_id) => model_id.map(|model_id| ActiveModel {
                model_id,
                experiment_id,
            }),
            Err(error) => {
                tracing::warn!(%error, "the ledger cannot be read");
                None
            }
        }
    }

    fn remembered_experiment(&self, store: &str) -> Option<ExperimentId> {
        let known = self
            .experiment
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .as_ref()
            .map(|experiment| experiment.id.clone());
        known.or_else(|| {
            self.ledger
                .experiment_of(store, &choice_text(&self.settings.experiment))
                .ok()
                .flatten()
        })
    }

    /// Asks the store for the experiment, which is created if it was chosen by name and is absent, and whether it has
    /// LoggedModels at all.
    ///
    /// # Errors
    /// [`StoreError`] with the cause.
    pub async fn check(&self) -> Result<(), StoreError> {
        let experiment = self.experiment().await?;
        self.store.probe(&experiment).await
    }

    async fn experiment(&self) -> Result<Experiment, StoreError> {
        let experiment = self.store.experiment(&self.settings.experiment).await?;
        if let Some(wanted) = &self.settings.experiment_id
            && *wanted != experiment.id
        {
            return Err(StoreError::ExperimentMismatch {
                name: choice_text(&self.settings.experiment).replacen("name:", "", 1),
                found: experiment.id.to_string(),
                wanted: wanted.to_string(),
            });
        }
        self.keep_experiment(&experiment);
        Ok(experiment)
    }

    /// Finds or creates the LoggedModel of an observation. It exists when this returns, and can be published;
    /// [`Session::finish`] then completes it.
    ///
    /// # Errors
    /// [`StoreError`] with the cause; nothing is created twice when it is called again.
    pub async fn resolve(&self, observation: &Observation) -> Result<Resolved, StoreError> {
        let experiment = self.experiment().await?;
        let around = self.surroundings();
        let nonce = uuid::Uuid::new_v4().simple().to_string();
        let first_seen = self
            .first_seen(observation.reading.content.as_str())
            .unwrap_or_else(|_| now_ms());
        let wanted = wanted(observation, &self.settings, &around, &nonce, first_seen);
        let file = self.store_file().and_then(FileIdentity::of);
        let found = self.store.find_or_create(&experiment, &wanted).await?;
        *self.trusted() = file;
        let model = ActiveModel {
            model_id: found.model_id.clone(),
            experiment_id: experiment.id.clone(),
        };
        Ok(Resolved {
            version: observation.version.clone(),
            model,
            experiment,
            found,
        })
    }

    /// Marks a new LoggedModel READY, gives it its `MLmodel` file and remembers it. A failure is logged: traces,
    /// evaluations and searches work without, and what is not remembered is found and finished the next time.
    pub async fn finish(&self, resolved: &Resolved) {
        let model_id = &resolved.model.model_id;
        match self
            .store
            .finish(&resolved.experiment, &resolved.found)
            .await
        {
            Ok(ModelFile::Failed(cause)) => {
                tracing::warn!(cause, %model_id, "the MLmodel file is not written");
            }
            Ok(ModelFile::Written | ModelFile::Skipped) => {}
            Err(error) => {
                tracing::warn!(%error, %model_id, "cannot finish the LoggedModel");
                return;
            }
        }
        let kept = self.ledger.remember(
            &self.store_key,
            &resolved.experiment.id,
            &resolved.version,
            model_id,
        );
        if let Err(error) = kept {
            tracing::warn!(%error, "the ledger cannot be written");
        }
    }

    fn keep_experiment(&self, experiment: &Experiment) {
        let mut kept = self
            .experiment
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if kept.as_ref().is_none_or(|kept| kept.id != experiment.id) {
            *kept = Some(experiment.clone());
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

    /// Returns whether a remembered LoggedModel still exists; one that does not is forgotten.
    ///
    /// # Errors
    /// [`StoreError`] when the store gives no answer.
    pub async fn still_exists(&self, model: &ModelId) -> Result<bool, StoreError> {
        let exists = self.store.exists(model).await?;
        if !exists && let Err(error) = self.ledger.forget(&self.store_key, model) {
            tracing::warn!(%error, "the ledger cannot be written");
        }
        Ok(exists)
    }

    /// Returns the file that the store waits for, where it is a file.
    pub fn store_file(&self) -> Option<&Path> {
        match &self.uri {
            StoreUri::Sqlite(path) => Some(path),
            StoreUri::Rest(_) | StoreUri::Databricks { .. } => None,
        }
    }

    fn first_seen(&self, content: &str) -> Result<i64, crate::ledger::LedgerError> {
        self.ledger.first_seen(content, now_ms())
    }

    fn surroundings(&self) -> Surroundings {
        Surroundings {
            app: self.app.clone(),
            user: user_name(),
            branch: self.worktree.branch(),
            origin: self.worktree.origin(),
        }
    }
}

/// Returns where credentials for a store are looked for. Those of the environment count unless its tracking URI names
/// another store: a token goes to no server that it was not set for.
fn keys_for(uri: &StoreUri, root: &Path, paths: &Paths) -> Result<Keys, SessionError> {
    let var = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let is_for_this = var("MLFLOW_TRACKING_URI")
        .is_none_or(|theirs| StoreUri::parse(&theirs, root).as_ref() == Ok(uri));
    if is_for_this && matches!(uri, StoreUri::Rest(_)) {
        let sigv4 = "MLFLOW_TRACKING_AWS_SIGV4";
        if truth(sigv4, var(sigv4))? == Some(true) {
            return Err(AccessError::Unsupported { variable: sigv4 }.into());
        }
        let plugin = "MLFLOW_TRACKING_AUTH";
        if var(plugin).is_some() {
            return Err(AccessError::Unsupported { variable: plugin }.into());
        }
    }
    let in_environment = |name: &str| var(name).filter(|_| is_for_this);
    Ok(Keys::new(in_environment, &paths.home, paths.credentials()))
}

/// Returns the names of the variables of this shell that hold a password or token for a session's store.
///
/// # Errors
/// As [`Session::open`].
pub fn credentials_seen(session: &Session, paths: &Paths) -> Result<Vec<String>, SessionError> {
    let keys = keys_for(&session.uri, &session.worktree.root, paths)?;
    Ok(match &session.uri {
        StoreUri::Rest(_) => keys.seen(false),
        StoreUri::Databricks { .. } => keys.seen(true),
        StoreUri::Sqlite(_) => Vec::new(),
    })
}

/// Returns the text by which an experiment's choice is remembered and shown.
pub fn choice_text(choice: &ExperimentChoice) -> String {
    match choice {
        ExperimentChoice::Name(name) => format!("name:{name}"),
        ExperimentChoice::Id(id) => format!("id:{id}"),
        ExperimentChoice::Default => "default".to_owned(),
    }
}

fn user_name() -> String {
    ["USER", "LOGNAME"]
        .iter()
        .find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
        .unwrap_or_else(|| rustix::process::geteuid().as_raw().to_string())
}

fn now_ms() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|since| i64::try_from(since.as_millis()).ok())
        .unwrap_or(0)
}
