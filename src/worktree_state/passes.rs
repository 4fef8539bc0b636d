//! When the worktree is read, and what follows from what was seen.
//!
//! Reads nothing: an effect asks for it. Knows no path and no event, only that something was touched.

use std::time::{Duration, Instant};

use super::creation::{Moment, moment};
use super::{
    BACKOFF, Depth, Effect, LastHead, Memory, PassFailure, Progress, SAFETY_PASS, Seen, Series,
    WorktreeState,
};
use crate::config::Create;
use crate::version::Observation;

/// A torn pass is repeated after this.
const TORN_PAUSE: Duration = Duration::from_millis(20);
/// A pass that git's lock of the index kept from reading is tried again after this.
const BUSY_PAUSE: Duration = Duration::from_millis(20);
/// A change that is still being read after this (a filter that hangs, a file system that does not answer) takes the id away: nobody
/// knows whether it is still the one of the code.
const UNREAD_MAX: Duration = Duration::from_secs(2);
/// How often a worktree that sends no events is read.
const POLL: Duration = Duration::from_secs(2);
/// How many times longer the pause is than the reading before it, which has two programs work side by side: 2 % of a core at most.
const POLL_SHARE: u32 = 100;
/// The longest pause that follows a pass, which takes at most half of a core while files keep changing.
const PASS_PAUSE_MAX: Duration = Duration::from_secs(1);

impl WorktreeState {
    pub(super) fn touched(&mut self, now: Instant) {
        let was_quiet = self
            .last_touch
            .is_none_or(|last| now > last + self.policy.settle);
        if was_quiet || self.first_touch.is_none() {
            self.first_touch = Some(now);
        }
        self.last_touch = Some(now);
        self.unread_touch.get_or_insert(now);
        self.safety_due.get_or_insert(now + SAFETY_PASS);
        self.want_pass(self.pass_rest_until.map_or(now, |rest| rest.max(now)));
        self.put_off_creation(now);
    }

    pub(super) fn want_pass(&mut self, at: Instant) {
        self.pass_due = Some(self.pass_due.map_or(at, |due| due.min(at)));
    }

    pub(super) fn begin_pass(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        if self.pass_began.is_some() || self.pass_due.is_none_or(|due| due > now) {
            return;
        }
        self.pass_due = None;
        self.pass_began = Some(now);
        self.reading_touch = self.unread_touch.take();
        for waiter in &mut self.waiters {
            waiter.in_pass = true;
        }
        let synced = std::mem::take(&mut self.pass_synced);
        self.pass_depth = match (std::mem::take(&mut self.pass_everything), synced) {
            (true, _) => Depth::Everything,
            (false, true) => Depth::Synced,
            (false, false) => Depth::Touched,
        };
        effects.push(Effect::Read(self.pass_depth));
    }

    pub(super) fn read(
        &mut self,
        outcome: Result<Seen, PassFailure>,
        now: Instant,
        effects: &mut Vec<Effect>,
    ) {
        let cost = self
            .pass_began
            .take()
            .map_or(Duration::ZERO, |began| now.saturating_duration_since(began));
        let touch = self.reading_touch.take();
        self.pass_rest_until = Some(now + cost.min(PASS_PAUSE_MAX));
        if self.polling {
            self.pass_everything = true;
            self.want_pass(now + POLL.max(cost * POLL_SHARE));
        }
        match outcome {
            _ if std::mem::take(&mut self.pass_is_void) => {
                self.pass_everything = true;
                self.want_pass(now);
            }
            Ok(Seen::Same) => self.is_overdue = false,
            Ok(Seen::Observed(observation, memory, series)) => {
                self.cover_those_in_pass();
                self.broken = None;
                self.broken_tries = 0;
                self.was_torn = false;
                self.is_overdue = false;
                self.observed(*observation, memory, series, now, effects);
            }
            Err(PassFailure::Torn) => self.torn(now, effects),
            Err(PassFailure::Busy) => self.put_off(touch, now),
            // Git fails on files that come and go as it does on what it cannot read: only the second time counts.
            Err(PassFailure::Broken(_)) if self.broken.is_none() && self.broken_tries == 0 => {
                self.broken_tries = 1;
                self.torn(now, effects);
            }
            Err(PassFailure::Broken(reason)) => self.broke(reason, now, effects),
        }
        for waiter in &mut self.waiters {
            waiter.in_pass = false;
        }
    }

    fn broke(&mut self, reason: String, now: Instant, effects: &mut Vec<Effect>) {
        self.broken = Some(reason);
        self.forget_last(now, effects);
        self.pass_everything = true;
        let pause = BACKOFF.0.saturating_mul(1 << self.broken_tries.min(5));
        self.broken_tries = self.broken_tries.saturating_add(1);
        self.want_pass(now + pause.min(BACKOFF.1));
        self.cover_those_in_pass();
    }

    fn cover_those_in_pass(&mut self) {
        for waiter in &mut self.waiters {
            waiter.covered |= waiter.in_pass;
        }
    }

    /// While git changes the worktree, what was read last is not what is there. The pass is to come.
    fn put_off(&mut self, touch: Option<Instant>, now: Instant) {
        self.is_overdue = true;
        self.unread_touch = touch.or(self.unread_touch);
        self.pass_everything |= self.pass_depth == Depth::Everything;
        self.pass_synced |= self.pass_depth == Depth::Synced;
        self.want_pass(now + BUSY_PAUSE);
    }

    /// Files that do not hold still may be others than those whose model is published: it is withdrawn.
    fn torn(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        self.pass_everything = true;
        self.want_pass(now + TORN_PAUSE);
        if std::mem::replace(&mut self.was_torn, true) {
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
        self.series = series;
        if head_moved {
            self.head_moved(now);
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
                self.failure = None;
                let moment = moment(!self.has_begun, head_moved);
                let unasked = moment == Moment::Edit && self.policy.create == Create::Settled;
                self.flooded |= unasked && self.is_flooded(now);
                let at = self.unasked_creation(moment, now);
                self.progress = at.map_or(Progress::Unwanted, Progress::Due);
            }
        }
        self.has_begun = true;
    }

    /// When the change that is being read takes the id away.
    pub(super) fn overdue_at(&self) -> Option<Instant> {
        self.pass_began.and(self.told())?;
        let touch = self.reading_touch.or(self.unread_touch)?;
        Some(touch + UNREAD_MAX)
    }

    /// What was read last, while it can be told to be what is there.
    pub(super) fn told(&self) -> Option<&Observation> {
        self.last.as_ref().filter(|_| !self.is_overdue)
    }
}
