//! From a version to its LoggedModel: found or created, completed, looked at again.
//!
//! What is handed out was in the store at that moment, and what was owed is settled before. Publishes nothing, and
//! never waits to try again: whoever calls does.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinHandle;

use super::{Kept, Restorable, Session};
use crate::fs_util::FileId;
use crate::ids::VersionKey;
use crate::ledger::Chapter;
use crate::locks::lock;
use crate::mlflow::{Experiment, Found, ModelFile, Standing, StoreError, Wanted, tags};
use crate::version::{ActiveModel, Observation, sought};

/// How a LoggedModel that was handed out stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Review {
    /// It stands for its version.
    Stands {
        /// The params that it had when it was looked at.
        params: BTreeMap<String, String>,
    },
    /// An earlier one stands for the version, and from now on counts here.
    Later(ActiveModel),
    /// The store no longer has it, or it stands for something else now.
    Gone,
}

/// Why a version has no LoggedModel yet.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct ResolveError {
    /// What the store said.
    pub error: StoreError,
    /// The store refuses this version: it answered for the experiment.
    pub of_version: bool,
}

impl From<StoreError> for ResolveError {
    fn from(error: StoreError) -> Self {
        let of_version = false;
        Self { error, of_version }
    }
}

impl From<ResolveError> for StoreError {
    fn from(error: ResolveError) -> Self {
        error.error
    }
}

impl ResolveError {
    fn of_version(error: StoreError) -> Self {
        let of_version = error.is_rejection();
        Self { error, of_version }
    }
}

/// A LoggedModel that was found or created just now.
#[derive(Debug)]
pub struct Resolved {
    /// What to publish.
    pub model: ActiveModel,
    version: VersionKey,
    experiment: Experiment,
    found: Found,
    /// Other machines may have raced for it.
    raced: bool,
    /// What the row says of its code being kept.
    said: Restorable,
    /// A mutex as whoever finishes takes it.
    keeping: Mutex<Keeping>,
}

/// How far the keeping of code was when a row was found or made.
#[derive(Debug)]
enum Keeping {
    Under(JoinHandle<Kept>),
    Done(Kept),
    /// There is nothing more to say of it.
    Told,
}

/// How long the creation of a LoggedModel waits for its code to be kept, so that its tag says so from the beginning.
const KEEP_PATIENCE: Duration = Duration::from_millis(100);

impl Session {
    /// Finds or creates the LoggedModel of an observation, which is owed from the first moment on where `keep` says so.
    /// It exists when this returns, is remembered, and can be published; [`Session::finish`] then completes it.
    ///
    /// # Errors
    /// [`ResolveError`] with the cause; nothing is created twice when it is called again.
    pub async fn resolve(
        self: &Arc<Self>,
        observation: &Observation,
        keep: bool,
    ) -> Result<Resolved, ResolveError> {
        let (session, seen) = (Arc::clone(self), observation.clone());
        let mut keeping = tokio::task::spawn_blocking(move || session.keep_and_say(&seen));
        let mut wanted = self.debt_aside(observation, keep).await.wanted;
        let kept = tokio::time::timeout(KEEP_PATIENCE, &mut keeping).await;
        let (said, keeping) = match kept {
            Ok(Ok(kept)) => (kept.restorable, Keeping::Done(kept)),
            Ok(Err(_)) => (Restorable::No, Keeping::Told),
            Err(_) => (Restorable::No, Keeping::Under(keeping)),
        };
        wanted
            .tags
            .insert(tags::RESTORABLE.to_owned(), said.as_str().to_owned());
        wanted.made_here = self.made_here(&observation.version);
        let file = self.store_file().and_then(|file| FileId::behind(file).ok());
        let (experiment, found) = self.find_or_create(&wanted).await?;
        self.refuse_shared(&experiment, &found, &observation.version)
            .await?;
        *self.trusted() = file;
        let model = ActiveModel {
            model_id: found.model_id.clone(),
            experiment_id: experiment.id.clone(),
        };
        let tag = |name: &str| wanted.tags.get(name).cloned();
        let nonce = tag(tags::NONCE).unwrap_or_default();
        let branch = tag(tags::GIT_BRANCH);
        let chapter = self.chapter(observation, branch, nonce, &model);
        let resolved = Resolved {
            version: observation.version.clone(),
            model,
            experiment,
            found,
            raced: wanted.look_twice && self.store_file().is_none(),
            said,
            keeping: Mutex::new(keeping),
        };
        self.settle(&resolved, chapter).await;
        Ok(resolved)
    }

    /// A LoggedModel stands for one version: one that the store shows for another too is not handed out. What is only
    /// remembered, and no longer so in the store (its database was made anew), counts for nothing.
    async fn refuse_shared(
        &self,
        experiment: &Experiment,
        found: &Found,
        version: &VersionKey,
    ) -> Result<(), StoreError> {
        let id = &found.model_id;
        let known = self
            .ledger
            .other_version_of(&self.store_key, id, &experiment.id, version);
        let known = known.unwrap_or_else(|error| {
            tracing::warn!(%error, "the ledger cannot be read");
            None
        });
        let Some((elsewhere, other)) = known else {
            return Ok(());
        };
        let place = Experiment {
            id: elsewhere,
            name: String::new(),
            artifact_location: None,
        };
        if let Some(sought) = self.sought(&other)
            && self.store.review(&place, &sought, id).await? != Standing::Gone
        {
            let what = format!(
                "LoggedModel {id} already stands for the version {}",
                other.name
            );
            return Err(StoreError::InvalidAnswer(what));
        }
        if let Err(error) = self.ledger.forget(&self.store_key, id) {
            tracing::warn!(%error, "the ledger cannot be written");
        }
        Ok(())
    }

    fn sought(&self, version: &VersionKey) -> Option<Wanted> {
        let sought = sought(version, &self.settings)?;
        Some(Wanted {
            made_here: self.made_here(version),
            ..sought
        })
    }

    fn made_here(&self, version: &VersionKey) -> BTreeSet<String> {
        let known = self.ledger.nonces(&self.store_key, &version.name);
        known.unwrap_or_else(|error| {
            tracing::warn!(%error, "the ledger cannot be read");
            BTreeSet::new()
        })
    }

    /// Once published, an id is never deleted: what was owed is settled before anybody hears of it.
    async fn settle(self: &Arc<Self>, resolved: &Resolved, chapter: Chapter) {
        self.forget_passing();
        let session = Arc::clone(self);
        let (experiment, version, model) = (
            resolved.experiment.id.clone(),
            resolved.version.clone(),
            resolved.model.model_id.clone(),
        );
        let settled = tokio::task::spawn_blocking(move || {
            let account = session.account();
            session
                .ledger
                .settle(&account, &experiment, &version, &model)?;
            session.ledger.chronicle(&chapter)
        })
        .await;
        match settled {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the ledger cannot be written"),
            Err(error) => tracing::warn!(%error, "the ledger cannot be written"),
        }
    }

    /// An experiment that was seen lately is taken as it was. One that was seen longer ago is asked about while the
    /// version is looked for, so that no answer waits for another.
    async fn find_or_create(&self, wanted: &Wanted) -> Result<(Experiment, Found), ResolveError> {
        let Some((known, is_recent)) = self.known_experiment() else {
            return self.find_or_create_in(None, wanted).await;
        };
        if is_recent {
            return match self.store.find_or_create(&known, wanted).await {
                Ok(found) => Ok((known, found)),
                Err(error) if error.is_transient() => Err(error.into()),
                Err(_) => self.find_or_create_in(None, wanted).await,
            };
        }
        let (now, found) = tokio::join!(
            self.ask_experiment(),
            self.store.find_or_create(&known, wanted)
        );
        let now = now?;
        if now.id == known.id {
            return Ok((now, found.map_err(ResolveError::of_version)?));
        }
        self.find_or_create_in(Some(now), wanted).await
    }

    async fn find_or_create_in(
        &self,
        experiment: Option<Experiment>,
        wanted: &Wanted,
    ) -> Result<(Experiment, Found), ResolveError> {
        let experiment = match experiment {
            Some(experiment) => experiment,
            None => self.ask_experiment().await?,
        };
        let found = self.store.find_or_create(&experiment, wanted).await;
        Ok((experiment, found.map_err(ResolveError::of_version)?))
    }

    /// Marks a new LoggedModel READY, gives it its `MLmodel` file, and looks once more whether another machine's row
    /// came first. A failure is logged: traces, evaluations and searches work without, and the next review completes
    /// what is missing.
    pub async fn finish(&self, resolved: &Resolved) -> Review {
        let standing = Standing::Stands(resolved.found.clone());
        let review = self
            .after(&resolved.experiment, &resolved.version, &standing)
            .await;
        self.say_restorable(resolved).await;
        if !resolved.raced || !resolved.found.created {
            return review;
        }
        match self.review(&resolved.model, &resolved.version).await {
            Ok(review) => review,
            Err(error) => {
                tracing::debug!(%error, "the last look at a new LoggedModel failed");
                review
            }
        }
    }

    /// A row that was made before its code was kept says so once it is.
    async fn say_restorable(&self, resolved: &Resolved) {
        let keeping = {
            let mut keeping = lock(&resolved.keeping);
            std::mem::replace(&mut *keeping, Keeping::Told)
        };
        let kept = match keeping {
            Keeping::Under(keeping) => keeping.await.ok(),
            Keeping::Done(kept) => Some(kept),
            Keeping::Told => None,
        };
        let Some(kept) = kept else {
            return;
        };
        let is_new = self.is_newly_kept(&resolved.version);
        tracing::debug!(
            name = resolved.version.name,
            restorable = kept.restorable.as_str(),
            is_new,
            created = resolved.found.created,
            "to be told"
        );
        let is_said = if resolved.found.created {
            kept.restorable == resolved.said
        } else {
            !is_new && !self.is_first_asked(&resolved.model.model_id)
        };
        if !is_said {
            let model_id = resolved.model.model_id.clone();
            self.tell_of(model_id, kept.restorable).await;
        }
    }

    /// Asks the store how a remembered LoggedModel stands, and completes it: params that are missing, the `MLmodel`
    /// file, the status. One that is gone, or whose experiment is another one now, is forgotten.
    ///
    /// # Errors
    /// [`StoreError`] when the store gives no answer.
    pub async fn review(
        &self,
        model: &ActiveModel,
        version: &VersionKey,
    ) -> Result<Review, StoreError> {
        let experiment = match self.ask_experiment().await {
            Ok(experiment) => experiment,
            Err(StoreError::ExperimentNotFound { .. } | StoreError::ExperimentDeleted { .. }) => {
                return Ok(Review::Gone);
            }
            Err(error) => return Err(error),
        };
        let Some(sought) = self.sought(version) else {
            return Ok(Review::Gone);
        };
        if experiment.id != model.experiment_id {
            return Ok(Review::Gone);
        }
        let standing = self
            .store
            .review(&experiment, &sought, &model.model_id)
            .await?;
        if standing == Standing::Gone
            && let Err(error) = self.ledger.forget(&self.store_key, &model.model_id)
        {
            tracing::warn!(%error, "the ledger cannot be written");
        }
        self.tell_restorable().await;
        Ok(self.after(&experiment, version, &standing).await)
    }

    async fn after(
        &self,
        experiment: &Experiment,
        version: &VersionKey,
        standing: &Standing,
    ) -> Review {
        let (found, is_later) = match standing {
            Standing::Gone => return Review::Gone,
            Standing::Stands(found) => (found, false),
            Standing::Later(found) => (found, true),
        };
        let model_id = &found.model_id;
        match self.store.finish(found).await {
            Ok(ModelFile::Failed(cause)) => {
                tracing::warn!(cause, %model_id, "the MLmodel file is not written");
            }
            Ok(ModelFile::Written | ModelFile::Skipped) => {}
            Err(error) => tracing::warn!(%error, %model_id, "cannot finish the LoggedModel"),
        }
        if !is_later {
            return Review::Stands {
                params: found.params.clone(),
            };
        }
        if let Err(error) = self
            .ledger
            .remember(&self.store_key, &experiment.id, version, model_id)
        {
            tracing::warn!(%error, "the ledger cannot be written");
        }
        Review::Later(ActiveModel {
            model_id: model_id.clone(),
            experiment_id: experiment.id.clone(),
        })
    }
}
