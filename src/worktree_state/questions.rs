//! Who asked, and when there is an answer.
//!
//! Knows nobody but by a number, and sends nothing: an effect does. Asks no store itself.

use std::time::{Duration, Instant};

use super::{Effect, Progress, Verdict, WaiterId, WorktreeState};
use crate::ids::ModelId;
use crate::version::ActiveModel;

/// A model seen in the store is taken to be there for so long.
pub(super) const VERIFIED_FOR: Duration = Duration::from_mins(1);

#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) id: WaiterId,
    pub(super) deadline: Instant,
    /// A pass that began after the question has ended.
    pub(super) covered: bool,
    /// The pass that is running began after the question.
    pub(super) in_pass: bool,
    /// The store failed since the question was asked.
    pub(super) store_failed: bool,
}

impl Waiter {
    pub(super) fn new(id: WaiterId, deadline: Instant) -> Self {
        Self {
            id,
            deadline,
            covered: false,
            in_pass: false,
            store_failed: false,
        }
    }
}

impl WorktreeState {
    pub(super) fn asked(&mut self, waiter: Waiter, full: bool, now: Instant) {
        if waiter.deadline > now {
            self.pass_synced = true;
            self.pass_everything |= full;
            self.want_pass(now);
        }
        self.waiters.push(waiter);
    }

    /// Whoever asked for code that has been read wants its version now.
    pub(super) fn hurry_for_waiters(&mut self, now: Instant) {
        let wanted = self
            .waiters
            .iter()
            .any(|waiter| waiter.covered && !waiter.store_failed);
        let Some(last) = self.last.as_ref().filter(|_| wanted) else {
            return;
        };
        match &mut self.progress {
            Progress::Unwanted => self.progress = Progress::Due(now),
            Progress::Due(at) => *at = (*at).min(now),
            Progress::Known(_) => return,
        }
        self.asked_for.insert(last.version.clone());
        if let Some(refusal) = self.refused.get_mut(&last.version) {
            refusal.rests_until = now;
        }
        let resting = self.store_rests_until.is_some_and(|until| until > now);
        if let Some(order) = self.ordered_rest.as_ref().filter(|_| resting) {
            self.failure = Some(order.clone());
            for waiter in &mut self.waiters {
                waiter.store_failed |= waiter.covered;
            }
        } else if self.resolving.is_none() {
            self.store_rests_until = None;
            self.ordered_rest = None;
        }
    }

    /// Whoever asks hears of no model that was not seen in the store lately.
    pub(super) fn verify_for_waiters(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let asked = self.waiters.iter().any(|waiter| waiter.covered);
        if let (true, Progress::Known(model)) = (asked, &self.progress) {
            let model = model.clone();
            self.verify(&model, now, effects);
        }
    }

    pub(super) fn answer(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let settled = match &self.progress {
            _ if self.broken.is_some() => true,
            _ if self.is_overdue => false,
            Progress::Known(model) => self.is_verified(&model.model_id, now),
            Progress::Unwanted | Progress::Due(_) => false,
        };
        let publication = self.publication_at(now);
        let broken = self.broken.is_some();
        self.waiters.retain(|waiter| {
            let answered = waiter.covered && (settled || waiter.store_failed);
            if !answered && waiter.deadline > now {
                return true;
            }
            effects.push(Effect::Answer {
                waiter: waiter.id,
                publication: publication.clone(),
                fresh: waiter.covered && !broken,
            });
            false
        });
    }

    /// Asks the store about a model that was not seen there lately; the answer comes aside.
    pub(super) fn verify(&mut self, model: &ActiveModel, now: Instant, effects: &mut Vec<Effect>) {
        if self.is_verified(&model.model_id, now) || !self.verifying.insert(model.model_id.clone())
        {
            return;
        }
        let Some(last) = &self.last else { return };
        effects.push(Effect::Verify {
            model: model.clone(),
            version: last.version.clone(),
        });
    }

    fn is_verified(&self, model: &ModelId, now: Instant) -> bool {
        let seen = self.verified.get(model);
        seen.is_some_and(|seen| now <= *seen + VERIFIED_FOR)
    }

    pub(super) fn model_verified(&mut self, model: &ModelId, verdict: Verdict, now: Instant) {
        self.verifying.remove(model);
        let is_published =
            matches!(&self.progress, Progress::Known(known) if known.model_id == *model);
        match verdict {
            Verdict::Stands => {
                self.verified.insert(model.clone(), now);
            }
            Verdict::Later(winner) => {
                self.verified.insert(winner.model_id.clone(), now);
                self.duplicate = Some((model.clone(), winner.model_id.clone()));
                if is_published {
                    self.progress = Progress::Known(winner);
                }
            }
            Verdict::Gone => {
                self.verified.remove(model);
                if is_published {
                    self.progress = Progress::Due(now);
                }
            }
        }
    }

    /// Returns the model that was last found to be a later duplicate, and the one that counts instead.
    pub fn duplicate(&self) -> Option<&(ModelId, ModelId)> {
        self.duplicate.as_ref()
    }
}
