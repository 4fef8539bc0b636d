//! How the code has moved lately, and when a version that nobody asked for is worth its LoggedModel.
//!
//! Knows no version: when something was touched, when HEAD moved, whether git is in the middle of a series, and how many versions
//! nobody asked for.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::{Policy, Series};
use crate::config::Create;

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

/// What led to a version that is new here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moment {
    Start,
    Commit,
    Edit,
}

impl Moment {
    pub(super) fn of(first: bool, head_moved: bool) -> Self {
        match (first, head_moved) {
            (true, _) => Self::Start,
            (false, true) => Self::Commit,
            (false, false) => Self::Edit,
        }
    }
}

/// The last moves of the code.
#[derive(Debug)]
pub(super) struct Unrest {
    /// Since the worktree was quiet or a version was created.
    first_touch: Option<Instant>,
    last_touch: Option<Instant>,
    /// Of those that came one after another.
    first_head_move: Option<Instant>,
    last_head_move: Option<Instant>,
    series: Series,
    /// When versions were created that nobody asked for, since the last commit.
    unasked: VecDeque<Instant>,
    is_flooded: bool,
}

impl Unrest {
    pub(super) fn new() -> Self {
        Self {
            first_touch: None,
            last_touch: None,
            first_head_move: None,
            last_head_move: None,
            series: Series::No,
            unasked: VecDeque::new(),
            is_flooded: false,
        }
    }

    pub(super) fn touched(&mut self, settle: Duration, now: Instant) {
        let was_quiet = self.last_touch.is_none_or(|last| now > last + settle);
        if was_quiet || self.first_touch.is_none() {
            self.first_touch = Some(now);
        }
        self.last_touch = Some(now);
    }

    pub(super) fn set_series(&mut self, series: Series) {
        self.series = series;
    }

    pub(super) fn head_moved(&mut self, now: Instant) {
        let last = self.last_head_move;
        let in_series = last.is_some_and(|last| now < last + HEAD_QUIET);
        self.unasked.clear();
        self.is_flooded = false;
        if !in_series {
            self.first_head_move = Some(now);
        }
        self.last_head_move = Some(now);
    }

    /// Takes note that a version is about to be created.
    pub(super) fn creates(&mut self, is_committed: bool, is_unasked: bool, now: Instant) {
        self.first_touch = None;
        if is_committed {
            self.unasked.clear();
        } else if is_unasked {
            self.unasked.push_back(now);
            if self.unasked.len() > FLOOD_MAX {
                self.unasked.pop_front();
            }
        }
    }

    /// Finds out whether too many versions came lately that nobody asked for; it stays so until HEAD moves.
    pub(super) fn look_for_flood(&mut self, now: Instant) {
        let recent = self.unasked.iter().filter(|at| now <= **at + FLOOD_TIME);
        self.is_flooded |= recent.count() >= FLOOD_MAX;
    }

    pub(super) fn is_flooded(&self) -> bool {
        self.is_flooded
    }

    /// When the version just seen is created without anybody asking; `None` for never.
    pub(super) fn unasked_creation(
        &self,
        policy: &Policy,
        moment: Moment,
        now: Instant,
    ) -> Option<Instant> {
        match (moment, policy.create) {
            (_, Create::Asked) | (Moment::Edit, Create::Commit) => None,
            (Moment::Edit, _) if self.is_flooded => None,
            (Moment::Start, _) => Some(now),
            (Moment::Commit, _) => Some(self.after_head_moves(now)),
            (Moment::Edit, Create::Settled) => {
                let quiet = self.after_quiet(policy.settle, now);
                Some(quiet.max(self.after_series(now)))
            }
        }
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

    /// When the worktree will have been quiet for long enough, if nothing more is touched.
    pub(super) fn after_quiet(&self, settle: Duration, now: Instant) -> Instant {
        let last = self.last_touch.unwrap_or(now);
        let first = self.first_touch.unwrap_or(now);
        (last + settle).min(first + SETTLE_MAX.max(settle)).max(now)
    }
}
