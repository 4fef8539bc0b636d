//! Keeping the code of versions: what was held when it was read goes into the snapshots, once for each version.
//!
//! Sends nothing: `telling` has LoggedModels say how their code is kept.

use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use super::Session;
use super::kept::{Kept, Restorable};
use super::seen::SeenCode;
use crate::debt::Debt;
use crate::ids::VersionKey;
use crate::locks::lock;
use crate::mlflow::tags;
use crate::repository::Worktree;
use crate::snapshot::{Limits, Occasion, SnapshotError, Snapshots};
use crate::unix_time;
use crate::version::{ActiveModel, Observation};

/// What is known of the code that is kept.
#[derive(Debug)]
pub(super) struct Code {
    pub(super) snapshots: Snapshots,
    /// Held while code is kept: whoever comes second finds it done.
    keeping: Mutex<()>,
    /// How the code of the last version was kept. A mutex as several threads keep code; held for a copy.
    kept: Mutex<Option<Kept>>,
}

impl Code {
    /// Returns what is known of a worktree of which nothing was kept yet.
    pub(super) fn of(worktree: &Worktree) -> Self {
        Self {
            snapshots: Snapshots::of(&worktree.common_dir),
            keeping: Mutex::default(),
            kept: Mutex::default(),
        }
    }
}

impl Session {
    /// Keeps the code of an observation, if it was held when it was read, was kept before, or lies in the repository. Makes its caller wait for
    /// the disk.
    pub fn keep_code(&self, observation: &Observation) -> Restorable {
        self.keep_and_say(observation).restorable
    }

    /// Keeps the code of a version that has its LoggedModel, and has that say so where this was the first time that it
    /// could be kept, or the first time since the start.
    pub async fn keep_code_of(self: &Arc<Self>, observation: Box<Observation>, model: ActiveModel) {
        let (session, known) = (Arc::clone(self), model.clone());
        let kept = tokio::task::spawn_blocking(move || {
            session.note_known(&observation, &known);
            session.keep_and_say(&observation)
        });
        let Ok(kept) = kept.await else {
            return;
        };
        let is_new = self.is_newly_kept(&kept.version);
        if is_new || self.is_first_asked(&model.model_id) {
            self.tell_of(model.model_id, kept.restorable).await;
        }
    }

    /// Returns how the code of the last version was kept that was to be kept.
    pub fn kept(&self) -> Option<Kept> {
        let kept = lock(&self.code.kept);
        kept.clone()
    }

    pub(super) fn keep_and_say(&self, observation: &Observation) -> Kept {
        let version = &observation.version;
        if self.settings.pin.is_some() {
            return Kept::not(version, "a pinned version says nothing of code".to_owned());
        }
        let content = &observation.reading.content;
        let code = {
            let seen = self.seen_codes();
            seen.iter().find(|code| code.content == *content).cloned()
        };
        let _alone = lock(&self.code.keeping);
        let kept = if self.settings.retention.snapshots {
            self.keep_code_alone(observation, code)
        } else {
            Ok(Kept::not(version, "snapshots.enabled is false".to_owned()))
        };
        let kept = kept.unwrap_or_else(|error| {
            tracing::warn!(%error, name = version.name, "the code of this version is not kept");
            Kept::not(version, error.to_string())
        });
        *lock(&self.code.kept) = Some(kept.clone());
        tracing::debug!(name = version.name, restorable = kept.restorable.as_str(), why = ?kept.why, is_new = kept.is_new, "kept");
        if kept.is_new {
            self.note_newly_kept(version);
        }
        kept
    }

    fn keep_code_alone(
        &self,
        observation: &Observation,
        code: Option<SeenCode>,
    ) -> Result<Kept, SnapshotError> {
        let (reading, version) = (&observation.reading, &observation.version);
        let head = reading.head.as_ref().map(ToString::to_string);
        let Some(code) = code else {
            return self.keep_unseen(observation);
        };
        let branch = self.worktree.branch();
        let occasion = self.occasion(observation, head.as_deref(), branch.as_deref());
        let limits = self.limits();
        let record = match self
            .code
            .snapshots
            .keep_held(&occasion, &code.held, &limits)
        {
            Err(SnapshotError::Changed(_)) if !reading.dirty => {
                self.code.snapshots.keep_commit(&occasion, &limits)?
            }
            record => record?,
        };
        let kept = Kept::of(version, &record, occasion.at_ms);
        self.forget_seen(&code, kept.is_new);
        Ok(kept)
    }

    /// What is not on the disk any more may have been kept before, or be in the repository.
    fn keep_unseen(&self, observation: &Observation) -> Result<Kept, SnapshotError> {
        let (reading, version) = (&observation.reading, &observation.version);
        let head = reading.head.as_ref().map(ToString::to_string);
        let (name, key) = (&version.name, &version.key);
        if let Some(record) =
            self.code
                .snapshots
                .find(name, key, head.as_deref(), reading.content.as_str())?
        {
            return Ok(Kept::of(version, &record, u64::MAX));
        }
        if !reading.dirty && head.is_some() {
            let branch = self.branch_of_debt(version);
            let occasion = self.occasion(observation, head.as_deref(), branch.as_deref());
            let record = self.code.snapshots.keep_commit(&occasion, &self.limits())?;
            return Ok(Kept::of(version, &record, occasion.at_ms));
        }
        // Why it could not be kept when it was seen.
        let before = self.kept().filter(|kept| kept.version == *version);
        let gone = || Kept::not(version, "it changed before it was kept".to_owned());
        Ok(before.unwrap_or_else(gone))
    }

    /// The commits may go from the repository before the store answers.
    pub(super) fn keep_owed(&self, owed: &[Observation]) {
        if !self.settings.retention.snapshots {
            return;
        }
        for observation in owed {
            let _alone = lock(&self.code.keeping);
            if let Err(error) = self.keep_unseen(observation) {
                let name = &observation.version.name;
                tracing::warn!(%error, name, "the code of this version is not kept yet");
            }
        }
    }

    fn occasion<'a>(
        &'a self,
        observation: &'a Observation,
        head: Option<&'a str>,
        branch: Option<&'a str>,
    ) -> Occasion<'a> {
        Occasion {
            root: &self.worktree.root,
            name: &observation.version.name,
            key: &observation.version.key,
            content: observation.reading.content.as_str(),
            head,
            branch,
            dirty: observation.reading.dirty,
            at_ms: unix_time::unsigned_ms(SystemTime::now()),
        }
    }

    fn branch_of_debt(&self, version: &VersionKey) -> Option<String> {
        let owed = self.ledger.debt_for(&self.account(), version).ok()??;
        let debt = Debt::from_text(version, &owed)?;
        debt.wanted.tags.get(tags::GIT_BRANCH).cloned()
    }

    pub(super) fn limits(&self) -> Limits {
        Limits {
            file: self.settings.retention.file_limit,
            quota: self.settings.retention.quota,
        }
    }
}
