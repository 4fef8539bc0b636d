//! Versions that the code has moved on from, and that are owed their LoggedModel.
//!
//! Knows no ledger: effects have it written and asked, an input says what is in it. Holds no more of them than
//! `OWED_MAX`.

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use super::store_rest::StoreRest;
use super::{Effect, WorktreeState};
use crate::ids::VersionKey;
use crate::version::Observation;

/// How many owed versions are held here at a time; all of them are in the ledger.
pub const OWED_MAX: usize = 1000;
/// The pause between owed versions that the code has moved on from: two a second at most.
const PAUSE: Duration = Duration::from_millis(500);

/// What is known of the debts in the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Recall {
    /// It is to be asked.
    Due,
    /// It was asked.
    Asked,
    /// All of them are held here, or settled.
    Done,
}

/// The debts of one worktree.
#[derive(Debug)]
pub(super) struct Owed {
    /// Versions that the code has moved on from.
    versions: VecDeque<Observation>,
    rest_until: Option<Instant>,
    /// The ledger may hold more.
    recall: Recall,
    /// The version of the last observation is in the ledger as owed.
    is_last_noted: bool,
    /// Versions that were asked for, and those that are in the ledger as owed: they stay owed, also where the same version is seen
    /// once more without being committed.
    asked_for: BTreeSet<VersionKey>,
}

impl Owed {
    pub(super) fn new() -> Self {
        Self {
            versions: VecDeque::new(),
            rest_until: None,
            recall: Recall::Due,
            is_last_noted: false,
            asked_for: BTreeSet::new(),
        }
    }

    /// Versions that were asked for or committed are owed; those in between are not.
    pub(super) fn may_owe(&self, observation: &Observation) -> bool {
        observation.is_committed() || self.was_asked_for(&observation.version)
    }

    pub(super) fn was_asked_for(&self, version: &VersionKey) -> bool {
        self.asked_for.contains(version)
    }

    pub(super) fn ask_for(&mut self, version: &VersionKey) {
        self.asked_for.insert(version.clone());
    }

    /// The ledger holds more than it did.
    pub(super) fn want_recall(&mut self) {
        self.recall = Recall::Due;
    }

    /// Returns whether the ledger is to be asked what it holds, as the store refuses all that is held here.
    fn begin_recall(&mut self, store: &StoreRest) -> bool {
        let mut held = self.versions.iter();
        let is_due = self.recall == Recall::Due
            && self.versions.len() < OWED_MAX
            && held.all(|owed| store.refuses(&owed.version));
        if is_due {
            self.recall = Recall::Asked;
        }
        is_due
    }

    /// More was written down meanwhile where it is due again.
    fn end_recall(&mut self, count: usize) {
        self.recall = if self.recall == Recall::Asked && count < OWED_MAX {
            Recall::Done
        } else {
            Recall::Due
        };
    }

    pub(super) fn hold(&mut self, observation: Observation) {
        let version = &observation.version;
        if self.versions.iter().any(|owed| owed.version == *version) {
            return;
        }
        if self.versions.len() < OWED_MAX {
            self.versions.push_back(observation);
        } else if self.recall == Recall::Done {
            self.recall = Recall::Due;
        }
    }

    /// The version has its LoggedModel.
    pub(super) fn settle(&mut self, version: &VersionKey) {
        self.asked_for.remove(version);
        self.versions.retain(|owed| owed.version != *version);
    }

    /// Says whether the version on disk is in the ledger as owed.
    pub(super) fn note_last(&mut self, is_owed: bool) {
        self.is_last_noted = is_owed;
    }

    pub(super) fn pause(&mut self, now: Instant) {
        self.rest_until = Some(now + PAUSE);
    }

    /// When a version that the code has moved on from is next tried; `None` where there is none.
    pub(super) fn next_at(&self, store: &StoreRest) -> Option<Instant> {
        let rest = store.until().max(self.rest_until);
        let held = self.versions.iter();
        let ends = held.map(|owed| store.refusal_ends(&owed.version));
        ends.map(|end| end.max(rest)).min().flatten()
    }

    pub(super) fn take(&mut self, store: &StoreRest, now: Instant) -> Option<Observation> {
        if self.rest_until.is_some_and(|until| until > now) {
            return None;
        }
        let next = self.versions.iter().position(|owed| {
            let ends = store.refusal_ends(&owed.version);
            ends.is_none_or(|until| until <= now)
        })?;
        self.versions.remove(next)
    }
}

impl WorktreeState {
    /// A version that was asked for or committed is owed its LoggedModel, also when the code has moved on.
    pub(super) fn leave_behind(
        &mut self,
        before: Option<Observation>,
        now: Instant,
        effects: &mut Vec<Effect>,
    ) {
        let is_owed = std::mem::take(&mut self.owed.is_last_noted);
        let Some(before) = before else { return };
        if !self.owed.may_owe(&before) {
            self.store.forget_refusal(&before.version);
            return;
        }
        if !self.progress.is_due(now) || self.is_resolving(&before) {
            return;
        }
        if !is_owed {
            effects.push(Effect::Owe(Box::new(before.clone())));
        }
        self.owed.ask_for(&before.version);
        self.owed.hold(before);
    }

    /// What the ledger holds is asked for once what is held here leads nowhere.
    pub(super) fn recall(&mut self, effects: &mut Vec<Effect>) {
        if self.owed.begin_recall(&self.store) {
            effects.push(Effect::Recall);
        }
    }

    /// What is on disk is no exception: it was asked for or committed before the daemon was started anew.
    pub(super) fn recalled(&mut self, owed: Vec<Observation>) {
        self.owed.end_recall(owed.len());
        let in_flight = self.resolving.as_ref();
        let in_flight = in_flight.map(|resolving| resolving.observation.version.clone());
        for observation in owed {
            self.owed.ask_for(&observation.version);
            if in_flight.as_ref() != Some(&observation.version) {
                self.owed.hold(observation);
            }
        }
    }

    /// What is due and owed and cannot be created at once is written down at once.
    pub(super) fn write_down(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let is_due = self.progress.is_due(now) && !self.owed.is_last_noted;
        let Some(last) = self.last.as_ref().filter(|_| is_due) else {
            return;
        };
        if self.owed.may_owe(last) {
            self.owed.is_last_noted = true;
            self.owed.ask_for(&last.version);
            effects.push(Effect::Owe(Box::new(last.clone())));
        }
    }

    /// What is on disk comes first, also when it has not been read yet.
    pub(super) fn may_pay(&self) -> bool {
        self.last.is_some() || self.broken.is_some()
    }
}
