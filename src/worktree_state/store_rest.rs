//! When the store is left alone: all of it after a failure, one version after a refusal.
//!
//! Asks no store, and does not know what is wanted of it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::{BACKOFF, StoreFailure};
use crate::backoff::doubled;
use crate::ids::VersionKey;

/// The first and the longest pause between tries of a version that the store refuses while it answers.
const REFUSED_PAUSE: (Duration, Duration) = (Duration::from_secs(30), Duration::from_hours(1));

/// A version that the store refuses.
#[derive(Debug)]
struct Refusal {
    reason: String,
    tries: u32,
    rests_until: Instant,
}

/// The store's rests.
#[derive(Debug, Default)]
pub(super) struct StoreRest {
    /// How often it failed since it answered.
    tries: u32,
    until: Option<Instant>,
    failed_at: Option<Instant>,
    /// It asked for the rest itself, with this: no question cuts it short, whatever the version.
    ordered: Option<StoreFailure>,
    /// What it refuses while it takes others.
    refused: BTreeMap<VersionKey, Refusal>,
}

impl StoreRest {
    pub(super) fn until(&self) -> Option<Instant> {
        self.until
    }

    pub(super) fn is_resting(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| until > now)
    }

    /// Returns what the store asked for, while it rests for that.
    pub(super) fn ordered(&self, now: Instant) -> Option<&StoreFailure> {
        self.ordered.as_ref().filter(|_| self.is_resting(now))
    }

    pub(super) fn cut_short(&mut self) {
        self.until = None;
        self.ordered = None;
    }

    /// The store answered.
    pub(super) fn answered(&mut self) {
        self.tries = 0;
        self.cut_short();
    }

    /// The store failed. `seed` is any number, by which machines do not try again all at once.
    pub(super) fn failed(&mut self, failure: &StoreFailure, seed: u64, now: Instant) {
        let pause = self.pause(seed, failure.retry_after);
        self.ordered = failure.retry_after.map(|_| failure.clone());
        self.tries = self.tries.saturating_add(1);
        self.until = Some(now + pause);
        self.failed_at = Some(now);
    }

    /// Between half and the whole of a time that doubles with each failure, longer where the store asks for it, never
    /// longer than the longest pause.
    fn pause(&self, seed: u64, retry_after: Option<Duration>) -> Duration {
        let whole = doubled(BACKOFF.0, BACKOFF.1, self.tries);
        let part = spread(seed.wrapping_add(u64::from(self.tries)));
        let pause = whole / 2 + whole.mul_f64(part / 2.0);
        pause.max(retry_after.unwrap_or_default()).min(BACKOFF.1)
    }

    /// An app may write to the store's file all the time: it is tried once a second for that, no more.
    pub(super) fn may_be_over(&mut self) {
        let soon = self.failed_at.map(|at| at + BACKOFF.0);
        self.until = self.until.min(soon);
    }

    /// The store answers: only this version rests, longer each time.
    pub(super) fn refuse(&mut self, version: &VersionKey, reason: &str, now: Instant) {
        self.answered();
        let tries = self.refused.get(version).map_or(0, |known| known.tries);
        let pause = doubled(REFUSED_PAUSE.0, REFUSED_PAUSE.1, tries);
        let refusal = Refusal {
            reason: reason.to_owned(),
            tries: tries.saturating_add(1),
            rests_until: now + pause,
        };
        self.refused.insert(version.clone(), refusal);
    }

    /// Nobody wants the version any more, or the store took it.
    pub(super) fn forget_refusal(&mut self, version: &VersionKey) {
        self.refused.remove(version);
    }

    /// Somebody asks for the version: it is tried at once.
    pub(super) fn end_refusal(&mut self, version: &VersionKey, now: Instant) {
        if let Some(refusal) = self.refused.get_mut(version) {
            refusal.rests_until = now;
        }
    }

    pub(super) fn refuses(&self, version: &VersionKey) -> bool {
        self.refused.contains_key(version)
    }

    pub(super) fn refusal_ends(&self, version: &VersionKey) -> Option<Instant> {
        self.refused.get(version).map(|refusal| refusal.rests_until)
    }

    /// Returns how many versions are refused, and why one of them is.
    pub(super) fn refused(&self) -> Option<(usize, &str)> {
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
