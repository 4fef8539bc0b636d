//! How the versions of an env file are dated: no two texts in the same whole second, as that is all that direnv compares.
//!
//! Pure.

use std::time::{Duration, SystemTime};

/// How far ahead of the clock a version may be dated.
const AHEAD_MAX: Duration = Duration::from_secs(5);
const SECOND: Duration = Duration::from_secs(1);

/// The dates of the versions so far: none before the first of these, none after the last.
#[derive(Debug, Clone, Copy, Default)]
pub struct Dates(Option<(SystemTime, SystemTime)>);

impl Dates {
    /// Returns the date of the next version, a whole second from all others: that of the clock, or a second after the last, or,
    /// where that would be too far ahead, a second before all others. `before` is that of the version that is there.
    pub(super) fn next(&mut self, before: Option<SystemTime>, now: SystemTime) -> SystemTime {
        let Some((first, last)) = self.0.or_else(|| before.map(|one| (one, one))) else {
            self.0 = Some((now, now));
            return now;
        };
        let earlier = first.checked_sub(SECOND).unwrap_or(now);
        let later = last.checked_add(SECOND).unwrap_or(now);
        let date = if now >= later || now <= earlier {
            now
        } else if later <= now + AHEAD_MAX {
            later
        } else {
            earlier
        };
        self.0 = Some((first.min(date), last.max(date)));
        date
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::UNIX_EPOCH;

    use super::*;

    fn at(second: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(second)
    }

    #[test]
    fn however_fast_versions_follow_each_other_no_second_is_used_twice_nor_is_far_ahead() {
        for pause in [0, 100, 250, 900, 1100] {
            let mut dates = Dates::default();
            let mut used = BTreeSet::new();
            for n in 0..200_u64 {
                let now = at(1_000_000_000) + Duration::from_millis(n * pause);
                let date = dates.next(Some(at(1_000_000_000)), now);
                let second = date.duration_since(UNIX_EPOCH).unwrap().as_secs();
                assert!(used.insert(second), "{pause} ms, {n}");
                assert!(date <= now + AHEAD_MAX, "{pause} ms, {n}");
            }
        }
    }

    #[test]
    fn a_version_after_a_while_has_the_time_of_the_clock_also_where_that_was_set_back() {
        let mut dates = Dates::default();
        for second in [1_000, 5_000, 500] {
            let now = at(second) + Duration::from_millis(7);
            assert_eq!(dates.next(None, now), now);
        }
    }
}
