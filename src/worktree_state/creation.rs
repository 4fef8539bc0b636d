//! Which version gets its LoggedModel now, and what happens where it gets none.
//!
//! Creates nothing and asks no store: an effect has that done.

use std::time::Instant;

use super::{Effect, Progress, Resolving, Scope, StoreFailure, WorktreeState};
use crate::version::{ActiveModel, Observation};

impl WorktreeState {
    /// More changes: an uncommitted version that is due waits for quiet again, up to its limit.
    pub(super) fn put_off_creation(&mut self, now: Instant) {
        let uncommitted = self.last.as_ref().is_some_and(|last| last.reading.dirty);
        let at = self.unrest.after_quiet(self.policy.settle, now);
        if let Progress::Due(due) = &mut self.progress
            && uncommitted
            && *due > now
        {
            *due = at.max(*due);
        }
    }

    /// When the store is next asked for a LoggedModel; `None` while it is.
    pub(super) fn creation_at(&self) -> Option<Instant> {
        if self.resolving.is_some() {
            return None;
        }
        let of_last = match self.progress {
            Progress::Due(at) if !self.passes.is_overdue() => Some(
                at.max(self.store.until().unwrap_or(at))
                    .max(self.last_rests_until().unwrap_or(at)),
            ),
            _ => None,
        };
        let owed = self.owed.next_at(&self.store).filter(|_| self.may_pay());
        [of_last, owed].into_iter().flatten().min()
    }

    pub(super) fn begin_resolve(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        if self.resolving.is_some() || self.store.is_resting(now) {
            return;
        }
        let is_due = self.is_last_due(now);
        let next = match &self.last {
            Some(last) if is_due => {
                let asked = self.owed.was_asked_for(&last.version);
                let is_unasked = !asked && self.failure.is_none();
                self.unrest.creates(!last.reading.dirty, is_unasked, now);
                Some(last.clone())
            }
            _ if !self.may_pay() => None,
            _ => self.owed.take(&self.store, now),
        };
        let Some(observation) = next else { return };
        let owed = self.owed.may_owe(&observation);
        if owed {
            self.owed.ask_for(&observation.version);
            if is_due {
                self.owed.note_last(true);
            }
        }
        self.resolving = Some(Resolving {
            observation: observation.clone(),
            since: now,
        });
        effects.push(Effect::Resolve {
            observation: Box::new(observation),
            owed,
        });
    }

    /// Whether the version on disk is to be created now, as far as the store takes it.
    fn is_last_due(&self, now: Instant) -> bool {
        let is_refused = self.last_rests_until().is_some_and(|until| until > now);
        self.progress.is_due(now) && !self.passes.is_overdue() && !is_refused
    }

    pub(super) fn resolved(
        &mut self,
        observation: Observation,
        outcome: Result<ActiveModel, StoreFailure>,
        now: Instant,
    ) {
        self.resolving = None;
        let last = self.last.as_ref();
        let is_last = last.is_some_and(|last| last.version == observation.version);
        match outcome {
            Ok(model) => self.made(&observation, model, is_last, now),
            Err(failure) => self.not_made(observation, failure, is_last, now),
        }
    }

    fn made(&mut self, made: &Observation, model: ActiveModel, is_last: bool, now: Instant) {
        self.store.answered();
        self.store.forget_refusal(&made.version);
        self.owed.settle(&made.version);
        self.proofs.made(&model.model_id, now);
        if is_last {
            self.failure = None;
            self.owed.note_last(false);
            self.progress = Progress::Known(model);
        } else {
            self.owed.pause(now);
        }
    }

    fn not_made(
        &mut self,
        observation: Observation,
        failure: StoreFailure,
        is_last: bool,
        now: Instant,
    ) {
        match failure.scope {
            Scope::Version => {
                self.store
                    .refuse(&observation.version, &failure.reason, now);
                self.owed.pause(now);
            }
            Scope::Store => self.store.failed(&failure, self.policy.seed, now),
        }
        if is_last {
            self.waiters.store_failed();
            self.failure = Some(failure);
            self.progress = Progress::Due(now);
        } else if self.owed.may_owe(&observation) {
            self.owed.hold(observation);
        }
    }

    fn last_rests_until(&self) -> Option<Instant> {
        let last = self.last.as_ref()?;
        self.store.refusal_ends(&last.version)
    }
}
