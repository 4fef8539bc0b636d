//! Having LoggedModels say how their code is kept on this machine, now or as soon as the store answers.
//!
//! Keeps no code, and speaks of no row that was not made here.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Mutex, MutexGuard};

use super::Session;
use super::kept::Restorable;
use crate::ids::{ModelId, VersionKey};
use crate::ledger::Chapter;
use crate::locks::lock;
use crate::mlflow::{ModelRow, StoreError, tags};

/// So many versions that were kept may wait for a LoggedModel to say so.
const NEWLY_KEPT_MAX: usize = 100;

/// Of which LoggedModels it is known whether they say it.
#[derive(Debug, Default)]
pub(super) struct Telling {
    /// Versions that were kept just now, until their LoggedModels are to say so: several threads keep code, and only one of them
    /// speaks of it. A mutex for that reason; held for a move.
    newly_kept: Mutex<VecDeque<VersionKey>>,
    /// LoggedModels that do not say yet how their code is kept. A mutex as telling runs side by side; held for a copy.
    untold: Mutex<BTreeMap<ModelId, Restorable>>,
    /// LoggedModels that were asked since the start whether they say it: a crash may have come before it was told. A mutex as
    /// code is kept side by side; held for one insertion.
    asked: Mutex<BTreeSet<ModelId>>,
}

impl Session {
    /// Takes note that a snapshot was made just now.
    pub(super) fn note_newly_kept(&self, version: &VersionKey) {
        let mut new = self.newly_kept();
        new.push_back(version.clone());
        let too_many = new.len().saturating_sub(NEWLY_KEPT_MAX);
        new.drain(..too_many);
    }

    /// True once for a version that was kept.
    pub(super) fn is_newly_kept(&self, version: &VersionKey) -> bool {
        let mut new = self.newly_kept();
        let before = new.len();
        new.retain(|kept| kept != version);
        new.len() < before
    }

    fn newly_kept(&self) -> MutexGuard<'_, VecDeque<VersionKey>> {
        lock(&self.telling.newly_kept)
    }

    pub(super) fn is_first_asked(&self, model: &ModelId) -> bool {
        let mut asked = lock(&self.telling.asked);
        asked.insert(model.clone())
    }

    fn untold(&self) -> MutexGuard<'_, BTreeMap<ModelId, Restorable>> {
        lock(&self.telling.untold)
    }

    /// Has a LoggedModel say how its code is kept, now or later.
    pub(super) async fn tell_of(&self, model: ModelId, restorable: Restorable) {
        self.untold().insert(model, restorable);
        self.tell_restorable().await;
    }

    /// Has LoggedModels that were made here say how their code is kept by now; those that cannot be told are told later.
    pub(super) async fn tell_restorable(&self) {
        let untold = self.untold().clone();
        if untold.is_empty() {
            return;
        }
        let repository = self.worktree.common_dir.to_string_lossy();
        let history = self.ledger.history(&repository).unwrap_or_default();
        for (model_id, restorable) in untold {
            let chapter = history.iter().find(|chapter| chapter.model == model_id);
            let told = match chapter {
                Some(chapter) => self.say_kept(chapter, restorable).await,
                None => Ok(()),
            };
            match told {
                Ok(()) => {
                    tracing::debug!(%model_id, restorable = restorable.as_str(), "told");
                    self.untold().remove(&model_id);
                }
                Err(error) => {
                    tracing::debug!(%error, %model_id, "the LoggedModel does not say yet how its code is kept");
                }
            }
        }
    }

    /// Has a LoggedModel say how its code is kept on this machine, if it was made here.
    ///
    /// # Errors
    /// [`StoreError`] when the store gives no answer.
    pub async fn say_kept(
        &self,
        chapter: &Chapter,
        restorable: Restorable,
    ) -> Result<(), StoreError> {
        let row = self.store.model(&chapter.model).await?;
        let is_ours = |row: &ModelRow| row.nonce() == Some(chapter.nonce.as_str());
        let differs = |row: &ModelRow| row.tag(tags::RESTORABLE) != Some(restorable.as_str());
        if !row.is_some_and(|row| is_ours(&row) && differs(&row)) {
            return Ok(());
        }
        let tags = BTreeMap::from([(tags::RESTORABLE.to_owned(), restorable.as_str().to_owned())]);
        self.store.set_tags(&chapter.model, &tags).await
    }
}
