//! What follows from a touch, and from what a pass saw.
//!
//! Reads nothing, and does not say when to read: `passes` does.

use std::time::Instant;

use super::unrest::Moment;
use super::{Effect, LastHead, Memory, PassFailure, Progress, Seen, Series, WorktreeState};
use crate::config::Create;
use crate::version::Observation;

impl WorktreeState {
    pub(super) fn touched(&mut self, now: Instant) {
        self.unrest.touched(self.policy.settle, now);
        self.passes.touched(now);
        self.put_off_creation(now);
    }

    pub(super) fn begin_pass(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        if let Some(depth) = self.passes.begin(now) {
            self.waiters.pass_begins();
            effects.push(Effect::Read(depth));
        }
    }

    pub(super) fn read(
        &mut self,
        outcome: Result<Seen, PassFailure>,
        now: Instant,
        effects: &mut Vec<Effect>,
    ) {
        let touch = self.passes.end(now);
        match outcome {
            _ if self.passes.take_void(now) => {}
            Ok(Seen::Same) => self.passes.saw_the_same(),
            Ok(Seen::Observed(observation, memory, series)) => {
                self.waiters.cover_those_in_pass();
                self.broken = None;
                self.passes.saw();
                self.observed(*observation, memory, series, now, effects);
            }
            Err(PassFailure::Torn) => self.torn(now, effects),
            Err(PassFailure::Busy) => self.passes.put_off(touch, now),
            Err(PassFailure::Broken(_)) if self.broken.is_none() && !self.passes.has_failed() => {
                self.passes.failed_once();
                self.torn(now, effects);
            }
            Err(PassFailure::Broken(reason)) => self.broke(reason, now, effects),
        }
        self.waiters.pass_ends();
    }

    fn broke(&mut self, reason: String, now: Instant, effects: &mut Vec<Effect>) {
        self.broken = Some(reason);
        self.forget_last(now, effects);
        self.passes.broke(now);
        self.waiters.cover_those_in_pass();
    }

    /// Files that do not hold still may be others than those whose model is published: it is withdrawn.
    fn torn(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        if self.passes.torn(now) {
            self.forget_last(now, effects);
        }
    }

    fn forget_last(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let before = self.last.take();
        self.leave_behind(before, now, effects);
        self.progress = Progress::Unwanted;
        self.failure = None;
    }

    fn observed(
        &mut self,
        observation: Observation,
        memory: Memory,
        series: Series,
        now: Instant,
        effects: &mut Vec<Effect>,
    ) {
        let before = self.last.take();
        let same_version = before
            .as_ref()
            .is_some_and(|before| before.version == observation.version);
        let head = &observation.reading.head;
        let head_moved = matches!(&self.last_head, LastHead::Read(last) if last != head);
        self.last_head = LastHead::Read(head.clone());
        self.last = Some(observation);
        self.unrest.set_series(series);
        if head_moved {
            self.unrest.head_moved(now);
        }
        let was_known = matches!(self.progress, Progress::Known(_));
        if !same_version {
            self.leave_behind(before, now, effects);
        }
        match memory {
            Memory::Model(model) => {
                self.verify(&model, now, effects);
                self.progress = Progress::Known(model);
            }
            Memory::Distrusted if same_version && was_known => self.progress = Progress::Due(now),
            Memory::Nothing | Memory::Distrusted if same_version => {}
            Memory::Nothing | Memory::Distrusted => {
                let moment = Moment::of(!self.has_begun, head_moved);
                self.met_new_version(moment, now);
            }
        }
        self.has_begun = true;
    }

    /// A version that nothing is remembered of.
    fn met_new_version(&mut self, moment: Moment, now: Instant) {
        self.failure = None;
        if moment == Moment::Edit && self.policy.create == Create::Settled {
            self.unrest.look_for_flood(now);
        }
        let at = self.unrest.unasked_creation(&self.policy, moment, now);
        self.progress = at.map_or(Progress::Unwanted, Progress::Due);
    }

    /// The same as that of the passes, while there is anything to take away.
    pub(super) fn overdue_at(&self) -> Option<Instant> {
        self.told()?;
        self.passes.overdue_at()
    }

    /// What was read last, while it can be told to be what is there.
    pub(super) fn told(&self) -> Option<&Observation> {
        self.last.as_ref().filter(|_| !self.passes.is_overdue())
    }
}
