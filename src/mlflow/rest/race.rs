//! The race for the one row of a version: several machines may create it at once, and one row stands for it in the end.
//!
//! Pure, but for the clock by which it says how long to wait.

use std::collections::BTreeSet;
use std::time::{Duration, Instant, SystemTime};

use crate::ids::ModelId;
use crate::mlflow::patience::{Patience, UNDECIDED_PAUSE};
use crate::mlflow::tags;
use crate::mlflow::wanted::{Row, Wanted};
use crate::unix_time;

/// After this, whoever created a row at the same moment is seen too.
const SECOND_LOOK: Duration = Duration::from_millis(500);
/// The second look comes later where the server is slow: what it was told before may still be on its way.
const SECOND_LOOK_MAX: Duration = Duration::from_secs(5);
/// Clocks that differ by no more count as one: the server's is told in whole seconds, and on the way for a while.
const CLOCK_TOLERANCE_MS: i64 = 5_000;

/// How far one search for the one row of a version is.
pub(super) struct Race {
    /// The row that was created here, while it has not lost.
    pub(super) own: Option<Row>,
    /// When the request to create it was sent.
    pub(super) created_at: Instant,
    /// Rows that were created here and lost.
    pub(super) lost: BTreeSet<ModelId>,
    /// Rows that an earlier try, which failed half-way, created and did not publish.
    pub(super) left_behind: BTreeSet<ModelId>,
    /// When the rows were last looked at, by the server's clock.
    pub(super) seen_ms: Option<i64>,
    looks_left: u32,
    /// With the row of another maker that may still lose.
    patience: Patience,
    /// The longest that a step has taken.
    pub(super) slowest: Duration,
}

impl Race {
    pub(super) fn new(look_twice: bool) -> Self {
        let now = Instant::now();
        Self {
            own: None,
            created_at: now,
            lost: BTreeSet::new(),
            left_behind: BTreeSet::new(),
            seen_ms: None,
            looks_left: if look_twice { 2 } else { 1 },
            patience: Patience::default(),
            slowest: Duration::ZERO,
        }
    }

    /// A nonce is kept until its version is settled: rows that carry it were made by earlier tries.
    pub(super) fn recognise(&mut self, rows: &[Row], wanted: &Wanted) {
        let nonce = wanted.tags.get(tags::NONCE);
        let own = self.own.as_ref().map(|own| &own.id);
        let made_before = rows
            .iter()
            .filter(|row| nonce.is_some() && row.tags.get(tags::NONCE) == nonce)
            .filter(|row| !row.tags.contains_key(tags::DUPLICATE_OF))
            .map(|row| &row.id)
            .filter(|id| Some(*id) != own && !self.lost.contains(*id));
        self.left_behind = made_before.cloned().collect();
    }

    /// How long to wait before the next look, `None` when the winner can be handed out.
    pub(super) fn pause_before(&mut self, winner: &Row) -> Option<Duration> {
        let is_own = self.own.is_some() || self.left_behind.contains(&winner.id);
        if !is_own && self.patience.is_with(winner, self.seen_ms) {
            return Some(UNDECIDED_PAUSE);
        }
        self.looks_left = self.looks_left.saturating_sub(1);
        (self.looks_left > 0).then(|| (self.slowest * 2).clamp(SECOND_LOOK, SECOND_LOOK_MAX))
    }
}

/// When a content was first seen here was told by the clock of this machine, when a row was made by the server's.
pub(super) fn by_server_clock(wanted: &Wanted, seen_ms: Option<i64>) -> Wanted {
    let ahead = seen_ms.map_or(0, |seen| {
        seen.saturating_sub(unix_time::ms(SystemTime::now()))
    });
    let ahead = if ahead.abs() > CLOCK_TOLERANCE_MS {
        ahead
    } else {
        0
    };
    Wanted {
        first_seen_ms: wanted.first_seen_ms.saturating_add(ahead),
        ..wanted.clone()
    }
}
