//! When the worktree is read, and how much of it.
//!
//! Reads nothing, and knows no path and no event, only that something was touched; what was seen is for others.

use std::time::{Duration, Instant};

use super::{BACKOFF, Depth};
use crate::backoff::doubled;

/// After the first change, everything is read again this much later, in case an event was lost.
const SAFETY_PASS: Duration = Duration::from_mins(5);
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

/// The pass under way, and the next one.
#[derive(Debug)]
pub(super) struct Passes {
    /// When the one under way began.
    began: Option<Instant>,
    /// How much it reads.
    depth: Depth,
    /// Its outcome is not looked at.
    is_void: bool,
    /// The first change that it is to tell, and the first after it began.
    reading_touch: Option<Instant>,
    unread_touch: Option<Instant>,
    /// A change takes too long to read: until it has been, what was read last is not published.
    is_overdue: bool,
    /// When the next one is to begin, and how much it is to read.
    due: Option<Instant>,
    everything: bool,
    synced: bool,
    rest_until: Option<Instant>,
    safety_due: Option<Instant>,
    polling: bool,
    was_torn: bool,
    /// How many in a row could not read the worktree.
    failed: u32,
}

impl Passes {
    /// Wants a first one at once.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            began: None,
            depth: Depth::Everything,
            is_void: false,
            reading_touch: None,
            unread_touch: None,
            is_overdue: false,
            due: Some(now),
            everything: true,
            synced: false,
            rest_until: None,
            safety_due: None,
            polling: false,
            was_torn: false,
            failed: 0,
        }
    }

    /// Begins anew; the outcome of a pass that runs is not looked at.
    pub(super) fn restarted(&self, now: Instant) -> Self {
        Self {
            began: self.began,
            is_void: self.began.is_some(),
            polling: self.polling,
            ..Self::new(now)
        }
    }

    pub(super) fn set_polling(&mut self, polling: bool) {
        self.polling = polling;
    }

    pub(super) fn touched(&mut self, now: Instant) {
        self.unread_touch.get_or_insert(now);
        self.safety_due.get_or_insert(now + SAFETY_PASS);
        self.want(self.rest_until.map_or(now, |rest| rest.max(now)));
    }

    /// Somebody asks, and wants every file looked at if `full`.
    pub(super) fn asked(&mut self, full: bool, now: Instant) {
        self.synced = true;
        self.everything |= full;
        self.want(now);
    }

    pub(super) fn want_everything(&mut self, at: Instant) {
        self.everything = true;
        self.want(at);
    }

    fn want(&mut self, at: Instant) {
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }

    /// An event may have been lost a while ago.
    pub(super) fn look_for_safety(&mut self, now: Instant) {
        if self.safety_due.take_if(|due| *due <= now).is_some() {
            self.want_everything(now);
        }
    }

    /// Begins the next one if it is due and none runs; returns how much it reads.
    pub(super) fn begin(&mut self, now: Instant) -> Option<Depth> {
        if self.began.is_some() || self.due.is_none_or(|due| due > now) {
            return None;
        }
        self.due = None;
        self.began = Some(now);
        self.reading_touch = self.unread_touch.take();
        let synced = std::mem::take(&mut self.synced);
        self.depth = match (std::mem::take(&mut self.everything), synced) {
            (true, _) => Depth::Everything,
            (false, true) => Depth::Synced,
            (false, false) => Depth::Touched,
        };
        Some(self.depth)
    }

    /// Ends the one under way; returns the first change that it was to tell.
    pub(super) fn end(&mut self, now: Instant) -> Option<Instant> {
        let began = self.began.take();
        let cost = began.map_or(Duration::ZERO, |began| now.saturating_duration_since(began));
        self.rest_until = Some(now + cost.min(PASS_PAUSE_MAX));
        if self.polling {
            self.want_everything(now + POLL.max(cost * POLL_SHARE));
        }
        self.reading_touch.take()
    }

    /// True once for a pass whose outcome counts for nothing: another one is wanted.
    pub(super) fn take_void(&mut self, now: Instant) -> bool {
        let is_void = std::mem::take(&mut self.is_void);
        if is_void {
            self.want_everything(now);
        }
        is_void
    }

    /// What changed has been read, and was nothing.
    pub(super) fn saw_the_same(&mut self) {
        self.is_overdue = false;
    }

    /// The worktree has been read.
    pub(super) fn saw(&mut self) {
        self.failed = 0;
        self.was_torn = false;
        self.is_overdue = false;
    }

    /// While git changes the worktree, what was read last is not what is there. The pass is to come, with the change that it was to
    /// tell.
    pub(super) fn put_off(&mut self, touch: Option<Instant>, now: Instant) {
        self.is_overdue = true;
        self.unread_touch = touch.or(self.unread_touch);
        self.everything |= self.depth == Depth::Everything;
        self.synced |= self.depth == Depth::Synced;
        self.want(now + BUSY_PAUSE);
    }

    /// Files did not hold still. Returns whether that is the second time in a row.
    pub(super) fn torn(&mut self, now: Instant) -> bool {
        self.want_everything(now + TORN_PAUSE);
        std::mem::replace(&mut self.was_torn, true)
    }

    pub(super) fn has_failed(&self) -> bool {
        self.failed > 0
    }

    /// Git fails on files that come and go as it does on what it cannot read: only the second time counts.
    pub(super) fn failed_once(&mut self) {
        self.failed = 1;
    }

    /// The worktree cannot be read: it is tried again, later each time.
    pub(super) fn broke(&mut self, now: Instant) {
        let pause = doubled(BACKOFF.0, BACKOFF.1, self.failed);
        self.failed = self.failed.saturating_add(1);
        self.want_everything(now + pause);
    }

    /// When the change that is being read takes the id away.
    pub(super) fn overdue_at(&self) -> Option<Instant> {
        self.began?;
        let touch = self.reading_touch.or(self.unread_touch)?;
        Some(touch + UNREAD_MAX)
    }

    pub(super) fn is_overdue(&self) -> bool {
        self.is_overdue
    }

    pub(super) fn set_overdue(&mut self) {
        self.is_overdue = true;
    }

    /// Returns when the next one is to begin, or is to be wanted.
    pub(super) fn wake_at(&self) -> Option<Instant> {
        let due = self.due.filter(|_| self.began.is_none());
        [due, self.safety_due].into_iter().flatten().min()
    }
}
