//! Pauses that double with each failure.
//!
//! Pure: what failed, and how often, others know.

use std::time::Duration;

/// Returns the pause after so many failures since it first failed, from `first` on and never longer than `longest`.
pub fn doubled(first: Duration, longest: Duration, failures: u32) -> Duration {
    first.saturating_mul(1 << failures.min(16)).min(longest)
}
