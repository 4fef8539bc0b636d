//! How long a row is waited for that another machine made and may be about to delete, as an earlier one turned up.
//!
//! Waits for nothing itself and asks no store: whoever looks again does.

use std::time::{Duration, Instant};

use super::wanted::Row;
use crate::ids::ModelId;

/// How often such a row is looked at.
pub(super) const UNDECIDED_PAUSE: Duration = Duration::from_millis(250);
/// How long it is waited for; then its maker is taken to be gone.
pub(super) const UNDECIDED_PATIENCE: Duration = Duration::from_secs(10);

/// The row that is waited for, and since when.
#[derive(Debug, Default)]
pub(super) struct Patience(Option<(ModelId, Instant)>);

impl Patience {
    /// Returns whether `row`, the earliest now, is still to be waited for; each one is given its own time. `store_now_ms` is
    /// told by the store's clock.
    pub(super) fn is_with(&mut self, row: &Row, store_now_ms: Option<i64>) -> bool {
        !row.is_decided()
            && !row.is_abandoned(store_now_ms)
            && self.waited_for(&row.id) < UNDECIDED_PATIENCE
    }

    fn waited_for(&mut self, id: &ModelId) -> Duration {
        match &self.0 {
            Some((known, since)) if known == id => since.elapsed(),
            _ => {
                self.0 = Some((id.clone(), Instant::now()));
                Duration::ZERO
            }
        }
    }
}
