//! One worktree's dealings with its store: from an observation to a LoggedModel that exists.
//!
//! Here the ledger and the store are asked, which beside it commands alone do. What `resolution` returns was in the store at
//! that moment; what was remembered is said to be that. This file says what a session is opened with and what it
//! remembers; the code that was seen and kept, what LoggedModels are told of it, debts, experiment and resolution have
//! files of their own. Knows no daemon: when to ask a store, and who waits for that, is for whoever calls.

mod code;
mod debts;
mod experiment;
mod kept;
mod resolution;
mod seen;
mod telling;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::SystemTime;

use crate::config::{ConfigError, Layer, Settings};
use crate::fs_util::FileId;
use crate::identity::reader::WorktreeReader;
use crate::identity::{Reading, sanitize_app};
use crate::ids::ModelId;
use crate::ledger::{Chapter, Ledger};
use crate::locks::lock;
use crate::mlflow::{
    Access, AccessError, ExperimentChoice, Keys, Store, StoreUri, StoreUriError, VariableError,
    truth,
};
use crate::paths::Paths;
use crate::repository::Worktree;
use crate::sightings::Sightings;
use crate::unix_time;
use crate::version::{ActiveModel, Observation};
use code::Code;
use debts::Debts;
use experiment::LastExperiment;
pub use kept::{Kept, Restorable};
pub use resolution::{ResolveError, Resolved, Review};
use seen::Seen;
use telling::Telling;

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
    Variable(#[from] VariableError),
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
    credentials_seen: Vec<String>,
    ledger: Arc<Ledger>,
    /// The store's file as it was when it last answered: what is remembered of another file counts for nothing.
    trusted_file: Mutex<Option<FileId>>,
    experiment: LastExperiment,
    /// A mutex as readings and resolutions run side by side; held for one look.
    sightings: Mutex<Sightings>,
    seen: Seen,
    code: Code,
    telling: Telling,
    debts: Debts,
}

/// Returns the app's name as MLflow accepts it: as it is set, else that of the repository.
pub fn app_name(settings: &Settings, worktree: &Worktree) -> String {
    let set = settings.app.clone();
    set.unwrap_or_else(|| sanitize_app(&worktree.default_app()))
}

/// Returns what reads a worktree.
pub fn reader_of(worktree: &Worktree) -> WorktreeReader {
    WorktreeReader::new(&worktree.root, &worktree.git_dir, &worktree.scratch_dir())
}

impl Session {
    /// Returns how many requests this session sent to its server.
    pub fn store_requests(&self) -> u64 {
        self.store.requests()
    }

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
        Self::open_named(worktree, private, None, paths, ledger)
    }

    /// The same where `named` is the tracking URI that the command line gave: what this shell holds of passwords and tokens is
    /// for that store, unless a variable names another.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_named(
        worktree: &Worktree,
        private: &Layer,
        named: Option<&str>,
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
            keys: keys_for(&uri, named, &worktree.root, paths)?,
        };
        let credentials_seen = match &uri {
            StoreUri::Rest(_) => access.keys.seen(false),
            StoreUri::Databricks { .. } => access.keys.seen(true),
            StoreUri::Sqlite(_) => Vec::new(),
        };
        let store = Store::open(&uri, &access)?;
        let store_key = store.identity(&uri);
        let app = app_name(&settings, worktree);
        Ok(Self {
            worktree: worktree.clone(),
            settings,
            uri,
            app,
            private: private.clone(),
            user_config: paths.user_config(),
            store_key,
            store,
            credentials_seen,
            ledger,
            trusted_file: Mutex::new(None),
            experiment: LastExperiment::default(),
            sightings: Mutex::default(),
            seen: Seen::default(),
            telling: Telling::default(),
            code: Code::of(worktree),
            debts: Debts::default(),
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

    /// Returns the store.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Returns the names of the variables of this shell that hold a password or token for the store.
    pub fn credentials_seen(&self) -> &[String] {
        &self.credentials_seen
    }

    /// Returns what the ledger knows the store by.
    pub fn store_key(&self) -> &str {
        &self.store_key
    }

    /// Names what was read, and remembers that its content was seen; the ledger hears of it when a version is wanted.
    pub fn observed(&self, reading: Reading) -> Observation {
        self.sightings().note(&reading.content, now_ms());
        Observation::of(reading, &self.settings, &self.app)
    }

    /// Writes down that LoggedModels were handed out now.
    pub fn note_uses(&self, models: &[ModelId]) {
        for model in models {
            if let Err(error) = self.ledger.used(&self.store_key, model, now_ms()) {
                tracing::warn!(%error, "the ledger cannot be written");
            }
        }
    }

    /// What the ledger knows may have got its LoggedModel in another clone on this machine.
    fn note_known(&self, observation: &Observation, model: &ActiveModel) {
        let repository = self.repository();
        let known = self
            .ledger
            .repositories_of(&self.store_key, &model.model_id);
        let noted = known.and_then(|known| {
            if known.contains(&repository) {
                return self.ledger.used(&self.store_key, &model.model_id, now_ms());
            }
            let branch = self.worktree.branch();
            self.ledger
                .chronicle(&self.chapter(observation, branch, String::new(), model))
        });
        if let Err(error) = noted {
            tracing::warn!(%error, "the ledger cannot be written");
        }
    }

    fn repository(&self) -> String {
        self.worktree.common_dir.to_string_lossy().into_owned()
    }

    fn sightings(&self) -> MutexGuard<'_, Sightings> {
        lock(&self.sightings)
    }

    /// Returns whether the settings files say what this session was opened with.
    ///
    /// # Errors
    /// [`ConfigError`] where they say nothing that can be used.
    pub fn has_current_settings(&self) -> Result<bool, ConfigError> {
        let now = Settings::load(&self.private, &self.worktree.root, &self.user_config)?;
        Ok(now == self.settings)
    }

    /// True while the store is the one that last answered: its file was neither replaced nor removed.
    pub fn trusts_store(&self) -> bool {
        let Some(file) = self.store_file() else {
            return true;
        };
        let trusted = *self.trusted();
        trusted.is_some() && trusted == FileId::behind(file).ok()
    }

    fn trusted(&self) -> MutexGuard<'_, Option<FileId>> {
        lock(&self.trusted_file)
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

    fn chapter(
        &self,
        observation: &Observation,
        branch: Option<String>,
        nonce: String,
        model: &ActiveModel,
    ) -> Chapter {
        let reading = &observation.reading;
        Chapter {
            repository: self.repository(),
            worktree: self.worktree.root.to_string_lossy().into_owned(),
            store: self.store_key.clone(),
            experiment: model.experiment_id.clone(),
            model: model.model_id.clone(),
            version: observation.version.clone(),
            content: reading.content.to_string(),
            head: reading.head.as_ref().map(ToString::to_string),
            branch,
            dirty: reading.dirty,
            at_ms: unix_time::unsigned_ms(SystemTime::now()),
            nonce,
        }
    }

    /// True when certificates matter on the way to the store.
    pub fn uses_tls(&self) -> bool {
        self.store_file().is_none() && self.store_key.starts_with("https://")
    }

    /// Returns the file that the store waits for, where it is a file.
    pub fn store_file(&self) -> Option<&Path> {
        match &self.uri {
            StoreUri::Sqlite(path) => Some(path),
            StoreUri::Rest(_) | StoreUri::Databricks { .. } => None,
        }
    }
}

/// Returns where credentials for a store are looked for. Those of the environment count where its tracking URI, or else `named`
/// on the command line, names that store: a token goes to no server that it was not set for.
fn keys_for(
    uri: &StoreUri,
    named: Option<&str>,
    root: &Path,
    paths: &Paths,
) -> Result<Keys, SessionError> {
    let var = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let theirs = var("MLFLOW_TRACKING_URI").or_else(|| named.map(str::to_owned));
    let is_this = |theirs: &String| StoreUri::parse(theirs, root).as_ref() == Ok(uri);
    if theirs.as_ref().is_none_or(is_this) && matches!(uri, StoreUri::Rest(_)) {
        let sigv4 = "MLFLOW_TRACKING_AWS_SIGV4";
        if truth(sigv4, var(sigv4))? == Some(true) {
            return Err(AccessError::Unsupported { variable: sigv4 }.into());
        }
        let plugin = "MLFLOW_TRACKING_AUTH";
        if var(plugin).is_some() {
            return Err(AccessError::Unsupported { variable: plugin }.into());
        }
    }
    let is_for_this = theirs.as_ref().is_some_and(is_this);
    let in_environment = |name: &str| match name {
        "MLFLOW_TRACKING_URI" => theirs.clone(),
        // Whom Databricks' are for is seen where its workspace is known.
        _ if !name.starts_with("MLFLOW_") => var(name),
        _ => var(name).filter(|_| is_for_this),
    };
    Ok(Keys::new(in_environment, &paths.home, paths.credentials()))
}

/// Returns the text by which an experiment's choice is remembered and shown.
pub fn choice_text(choice: &ExperimentChoice) -> String {
    match choice {
        ExperimentChoice::Name(name) => format!("name:{name}"),
        ExperimentChoice::Id(id) => format!("id:{id}"),
        ExperimentChoice::Default => "default".to_owned(),
    }
}

fn now_ms() -> i64 {
    unix_time::ms(SystemTime::now())
}
