//! Which LoggedModels were seen in the store lately, and which turned out to be duplicates.
//!
//! Asks no store: the answers come in.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::{Effect, Progress, Verdict, WorktreeState};
use crate::ids::ModelId;
use crate::version::ActiveModel;

/// A model seen in the store is taken to be there for so long.
const VERIFIED_FOR: Duration = Duration::from_mins(1);

/// What is known to be in the store.
#[derive(Debug, Default)]
pub(super) struct Proofs {
    seen: BTreeMap<ModelId, Instant>,
    /// Of which the store was asked and has not answered.
    asked: BTreeSet<ModelId>,
    /// The last that was found to be a later duplicate, and the one that counts.
    duplicate: Option<(ModelId, ModelId)>,
}

impl Proofs {
    pub(super) fn is_recent(&self, model: &ModelId, now: Instant) -> bool {
        let seen = self.seen.get(model);
        seen.is_some_and(|seen| now <= *seen + VERIFIED_FOR)
    }

    /// Returns whether the store is to be asked: it was not seen there lately, and nobody asks already.
    pub(super) fn begin(&mut self, model: &ModelId, now: Instant) -> bool {
        !self.is_recent(model, now) && self.asked.insert(model.clone())
    }

    pub(super) fn end(&mut self, model: &ModelId) {
        self.asked.remove(model);
    }

    /// It was made or found. Forgets those that were seen too long ago.
    pub(super) fn made(&mut self, model: &ModelId, now: Instant) {
        self.seen.retain(|_, seen| now <= *seen + VERIFIED_FOR);
        self.saw(model, now);
    }

    pub(super) fn saw(&mut self, model: &ModelId, now: Instant) {
        self.seen.insert(model.clone(), now);
    }

    pub(super) fn saw_duplicate(&mut self, model: &ModelId, winner: &ModelId, now: Instant) {
        self.saw(winner, now);
        self.duplicate = Some((model.clone(), winner.clone()));
    }

    pub(super) fn missed(&mut self, model: &ModelId) {
        self.seen.remove(model);
    }

    pub(super) fn duplicate(&self) -> Option<&(ModelId, ModelId)> {
        self.duplicate.as_ref()
    }
}

impl WorktreeState {
    /// Asks the store about a model that was not seen there lately; the answer comes aside.
    pub(super) fn verify(&mut self, model: &ActiveModel, now: Instant, effects: &mut Vec<Effect>) {
        let Some(last) = &self.last else { return };
        if self.proofs.begin(&model.model_id, now) {
            effects.push(Effect::Verify {
                model: model.clone(),
                version: last.version.clone(),
            });
        }
    }

    pub(super) fn model_verified(&mut self, model: &ModelId, verdict: Verdict, now: Instant) {
        self.proofs.end(model);
        let is_published =
            matches!(&self.progress, Progress::Known(known) if known.model_id == *model);
        match verdict {
            Verdict::Stands => self.proofs.saw(model, now),
            Verdict::Later(winner) => {
                self.proofs.saw_duplicate(model, &winner.model_id, now);
                if is_published {
                    self.progress = Progress::Known(winner);
                }
            }
            Verdict::Gone => {
                self.proofs.missed(model);
                if is_published {
                    self.progress = Progress::Due(now);
                }
            }
        }
    }
}
