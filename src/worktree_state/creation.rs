//! When a version gets its LoggedModel, and what happens where it gets none.
//!
//! Creates nothing and asks no store: an effect has that done.

use std::time::{Duration, Instant};

use super::questions::VERIFIED_FOR;
use super::{BACKOFF, Effect, Progress, Scope, Series, StoreFailure, WorktreeState};
use crate::config::Create;
use crate::ids::VersionKey;
use crate::version::{ActiveModel, Observation};

/// The longest that a busy worktree puts off a version that nobody asked for.
const SETTLE_MAX: Duration = Duration::from_secs(2);
/// While HEAD moves this often (a rebase), versions that nobody asked for wait for the last.
const HEAD_QUIET: Duration = Duration::from_secs(1);
/// The longest such wait, where git does not say that it is in the middle of a series.
const HEAD_QUIET_MAX: Duration = Duration::from_secs(5);
/// More versions that nobody asked for than this in [`FLOOD_TIME`] are a sign that the code is written by a program.
const FLOOD_MAX: usize = 60;
/// The time in which unasked versions are counted.
const FLOOD_TIME: Duration = Duration::from_hours(1);
/// The first and the longest pause between tries of a version that the store refuses while it answers.
const REFUSED_PAUSE: (Duration, Duration) = (Duration::from_secs(30), Duration::from_hours(1));
/// The pause between owed versions that the code has moved on from: two a second at most.
const OWED_PAUSE: Duration = Duration::from_millis(500);

/// A version that the store refuses.
#[derive(Debug)]
pub(super) struct Refusal {
    reason: String,
    tries: u32,
    pub(super) rests_until: Instant,
}

/// What led to a version that is new here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moment {
    Start,
    Commit,
    Edit,
}

pub(super) fn moment(first: bool, head_moved: bool) -> Moment {
    match (first, head_moved) {
        (true, _) => Moment::Start,
        (false, true) => Moment::Commit,
        (false, false) => Moment::Edit,
    }
}

impl WorktreeState {
    pub(super) fn head_moved(&mut self, now: Instant) {
        let in_series = self
            .last_head_move
            .is_some_and(|last| now < last + HEAD_QUIET);
        self.unasked.clear();
        self.flooded = false;
        if !in_series {
            self.first_head_move = Some(now);
        }
        self.last_head_move = Some(now);
    }

    /// When the version just seen is created without anybody asking; `None` for never.
    pub(super) fn unasked_creation(&self, moment: Moment, now: Instant) -> Option<Instant> {
        let create = self.policy.create;
        match (moment, create) {
            (_, Create::Asked) | (Moment::Edit, Create::Commit) => None,
            (Moment::Edit, _) if self.flooded => None,
            (Moment::Start, _) => Some(now),
            (Moment::Commit, _) => Some(self.after_head_moves(now)),
            (Moment::Edit, Create::Settled) => {
                Some(self.after_quiet(now).max(self.after_series(now)))
            }
        }
    }

    pub(super) fn is_flooded(&self, now: Instant) -> bool {
        let recent = self.unasked.iter().filter(|at| now <= **at + FLOOD_TIME);
        recent.count() >= FLOOD_MAX
    }

    fn after_head_moves(&self, now: Instant) -> Instant {
        match (self.first_head_move, self.last_head_move) {
            _ if self.series == Series::UnderWay => self.after_series(now).max(now),
            (Some(first), Some(last)) if last > first => {
                (last + HEAD_QUIET).min(first + HEAD_QUIET_MAX).max(now)
            }
            _ => now,
        }
    }

    /// What lies between two commits of a series is nobody's version.
    fn after_series(&self, now: Instant) -> Instant {
        let under_way = self.series == Series::UnderWay;
        let last = self.last_head_move.filter(|_| under_way);
        last.map_or(now, |last| last + HEAD_QUIET)
    }

    fn after_quiet(&self, now: Instant) -> Instant {
        let last = self.last_touch.unwrap_or(now);
        let first = self.first_touch.unwrap_or(now);
        (last + self.policy.settle)
            .min(first + SETTLE_MAX.max(self.policy.settle))
            .max(now)
    }

    /// More changes: an uncommitted version that is due waits for quiet again, up to its limit.
    pub(super) fn put_off_creation(&mut self, now: Instant) {
        let uncommitted = self.last.as_ref().is_some_and(|last| last.reading.dirty);
        let at = self.after_quiet(now);
        if let Progress::Due(due) = &mut self.progress
            && uncommitted
            && *due > now
        {
            *due = at.max(*due);
        }
    }

    pub(super) fn begin_resolve(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let resting = self.store_rests_until.is_some_and(|until| until > now);
        if self.resolving.is_some() || resting {
            return;
        }
        let due = matches!(self.progress, Progress::Due(at) if at <= now)
            && !self.is_overdue
            && self.last_rests_until().is_none_or(|until| until <= now);
        let next = match &self.last {
            Some(last) if due => {
                self.first_touch = None;
                let asked = self.asked_for.contains(&last.version);
                if last.reading.dirty && !asked && self.failure.is_none() {
                    self.unasked.push_back(now);
                    if self.unasked.len() > FLOOD_MAX {
                        self.unasked.pop_front();
                    }
                } else if !last.reading.dirty {
                    self.unasked.clear();
                }
                Some(last.clone())
            }
            _ if !self.may_pay() || self.owed_rest_until.is_some_and(|until| until > now) => None,
            _ => self.take_owed(now),
        };
        if let Some(observation) = next {
            let owed = self.may_owe(&observation);
            self.last_is_owed |= due && owed;
            if owed {
                self.asked_for.insert(observation.version.clone());
            }
            self.resolving = Some(observation.clone());
            self.resolving_since = Some(now);
            effects.push(Effect::Resolve {
                observation: Box::new(observation),
                owed,
            });
        }
    }

    pub(super) fn resolved(
        &mut self,
        observation: Observation,
        outcome: Result<ActiveModel, StoreFailure>,
        now: Instant,
    ) {
        self.resolving = None;
        self.resolving_since = None;
        let is_last = self
            .last
            .as_ref()
            .is_some_and(|last| last.version == observation.version);
        match outcome {
            Ok(model) => {
                self.tries = 0;
                self.store_rests_until = None;
                self.ordered_rest = None;
                self.refused.remove(&observation.version);
                self.asked_for.remove(&observation.version);
                self.owed.retain(|owed| owed.version != observation.version);
                self.verified.retain(|_, seen| now <= *seen + VERIFIED_FOR);
                self.verified.insert(model.model_id.clone(), now);
                if is_last {
                    self.failure = None;
                    self.last_is_owed = false;
                    self.progress = Progress::Known(model);
                } else {
                    self.owed_rest_until = Some(now + OWED_PAUSE);
                }
            }
            Err(failure) => {
                if failure.scope == Scope::Version {
                    self.refuse(&observation.version, &failure.reason, now);
                } else {
                    self.rest(&failure, now);
                }
                if is_last {
                    for waiter in &mut self.waiters {
                        waiter.store_failed |= waiter.covered;
                    }
                    self.failure = Some(failure);
                    self.progress = Progress::Due(now);
                } else if self.may_owe(&observation) {
                    self.hold_owed(observation);
                }
            }
        }
    }

    fn rest(&mut self, failure: &StoreFailure, now: Instant) {
        let pause = self.store_pause(failure.retry_after);
        self.ordered_rest = failure.retry_after.map(|_| failure.clone());
        self.tries = self.tries.saturating_add(1);
        self.store_rests_until = Some(now + pause);
        self.store_failed_at = Some(now);
    }

    /// The store answers: only this version rests, longer each time.
    fn refuse(&mut self, version: &VersionKey, reason: &str, now: Instant) {
        self.tries = 0;
        self.store_rests_until = None;
        self.ordered_rest = None;
        self.owed_rest_until = Some(now + OWED_PAUSE);
        let tries = self.refused.get(version).map_or(0, |known| known.tries);
        let pause = REFUSED_PAUSE.0.saturating_mul(1 << tries.min(7));
        let refusal = Refusal {
            reason: reason.to_owned(),
            tries: tries.saturating_add(1),
            rests_until: now + pause.min(REFUSED_PAUSE.1),
        };
        self.refused.insert(version.clone(), refusal);
    }

    /// Between half and the whole of a time that doubles with each failure, longer where the store asks for it, never
    /// longer than the longest pause.
    fn store_pause(&self, retry_after: Option<Duration>) -> Duration {
        let whole = BACKOFF
            .0
            .saturating_mul(1 << self.tries.min(5))
            .min(BACKOFF.1);
        let part = spread(self.policy.seed.wrapping_add(u64::from(self.tries)));
        let pause = whole / 2 + whole.mul_f64(part / 2.0);
        pause.max(retry_after.unwrap_or_default()).min(BACKOFF.1)
    }

    /// An app may write to the store's file all the time: it is tried once a second for that, no more.
    pub(super) fn store_may_be_back(&mut self) {
        let soon = self.store_failed_at.map(|at| at + BACKOFF.0);
        self.store_rests_until = self.store_rests_until.min(soon);
    }

    pub(super) fn refusal_ends(&self, version: &VersionKey) -> Option<Instant> {
        self.refused.get(version).map(|refusal| refusal.rests_until)
    }

    pub(super) fn last_rests_until(&self) -> Option<Instant> {
        let last = self.last.as_ref()?;
        self.refusal_ends(&last.version)
    }

    /// Returns how many versions the store refuses while it takes others, and why it refuses one of them.
    pub fn refused(&self) -> Option<(usize, &str)> {
        let reason = &self.refused.values().next()?.reason;
        Some((self.refused.len(), reason))
    }
}

/// Returns a number from 0 to 1 that looks random (the finalizer of splitmix64).
fn spread(seed: u64) -> f64 {
    let mixed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    let top = u16::try_from(mixed >> 48).unwrap_or_default();
    f64::from(top) / f64::from(u16::MAX)
}
