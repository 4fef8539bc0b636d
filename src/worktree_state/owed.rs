//! Versions that the code has moved on from, and that are owed their LoggedModel.
//!
//! Knows no ledger: effects have it written and asked, an input says what is in it. Holds no more of them than
//! `OWED_MAX`.

use std::time::Instant;

use super::{Effect, Progress, WorktreeState};
use crate::version::Observation;

/// How many owed versions are held here at a time; all of them are in the ledger.
pub const OWED_MAX: usize = 1000;

/// What is known of the debts in the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Recall {
    /// It is to be asked.
    Due,
    /// It was asked.
    Asked,
    /// All of them are held here, or settled.
    Done,
}

impl WorktreeState {
    /// A version that was asked for or committed is owed its LoggedModel, also when the code has moved on.
    pub(super) fn leave_behind(
        &mut self,
        before: Option<Observation>,
        now: Instant,
        effects: &mut Vec<Effect>,
    ) {
        let is_owed = std::mem::take(&mut self.last_is_owed);
        let Some(before) = before else { return };
        let due = matches!(self.progress, Progress::Due(at) if at <= now);
        let in_flight = self.resolving.as_ref() == Some(&before);
        if !self.may_owe(&before) {
            self.refused.remove(&before.version);
            return;
        }
        if !due || in_flight {
            return;
        }
        if !is_owed {
            effects.push(Effect::Owe(Box::new(before.clone())));
        }
        self.asked_for.insert(before.version.clone());
        self.hold_owed(before);
    }

    /// Versions that were asked for or committed are owed; those in between are not.
    pub(super) fn may_owe(&self, observation: &Observation) -> bool {
        observation.is_committed() || self.asked_for.contains(&observation.version)
    }

    pub(super) fn hold_owed(&mut self, observation: Observation) {
        let version = &observation.version;
        if self.owed.iter().any(|owed| owed.version == *version) {
            return;
        }
        if self.owed.len() < OWED_MAX {
            self.owed.push_back(observation);
        } else if self.recall == Recall::Done {
            self.recall = Recall::Due;
        }
    }

    /// What is on disk is no exception: it was asked for or committed before the daemon was started anew.
    pub(super) fn recalled(&mut self, owed: Vec<Observation>) {
        // More was written down meanwhile where it is due again.
        if self.recall == Recall::Asked && owed.len() < OWED_MAX {
            self.recall = Recall::Done;
        } else {
            self.recall = Recall::Due;
        }
        for observation in owed {
            let version = &observation.version;
            self.asked_for.insert(version.clone());
            let in_flight = self
                .resolving
                .as_ref()
                .is_some_and(|resolving| resolving.version == *version);
            if !in_flight {
                self.hold_owed(observation);
            }
        }
    }

    /// What is due and owed and cannot be created at once is written down at once.
    pub(super) fn write_down(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let due = matches!(self.progress, Progress::Due(at) if at <= now);
        let Some(last) = self.last.as_ref().filter(|_| due && !self.last_is_owed) else {
            return;
        };
        if self.may_owe(last) {
            let last = last.clone();
            self.last_is_owed = true;
            self.asked_for.insert(last.version.clone());
            effects.push(Effect::Owe(Box::new(last)));
        }
    }

    /// When a version that the code has moved on from is next tried; `None` where there is none.
    pub(super) fn next_owed_at(&self) -> Option<Instant> {
        let rest = self.store_rests_until.max(self.owed_rest_until);
        let ends = self
            .owed
            .iter()
            .map(|owed| self.refusal_ends(&owed.version));
        ends.map(|end| end.max(rest)).min().flatten()
    }

    pub(super) fn holds_only_refused(&self) -> bool {
        let mut owed = self.owed.iter();
        self.owed.len() < OWED_MAX && owed.all(|owed| self.refused.contains_key(&owed.version))
    }

    pub(super) fn take_owed(&mut self, now: Instant) -> Option<Observation> {
        let mut owed = self.owed.iter();
        let next = owed.position(|owed| {
            let ends = self.refusal_ends(&owed.version);
            ends.is_none_or(|until| until <= now)
        })?;
        self.owed.remove(next)
    }

    /// What is on disk comes first, also when it has not been read yet.
    pub(super) fn may_pay(&self) -> bool {
        self.last.is_some() || self.broken.is_some()
    }
}
