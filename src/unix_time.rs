//! Times as MLflow, the ledger and people are told them.
//!
//! Pure: what the time is comes from outside.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Returns milliseconds since 1970-01-01; 0 for times before.
pub fn ms(at: SystemTime) -> i64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// As [`ms`], without a sign.
pub fn unsigned_ms(at: SystemTime) -> u64 {
    ms(at).unsigned_abs()
}

/// Returns `YYYY-MM-DD HH:MM:SS.ffffff` in UTC, as Python's `str(datetime)`.
pub fn utc(now: SystemTime) -> String {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let (days, seconds) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!(
        "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{:06}",
        since.subsec_micros()
    )
}

/// The Gregorian date of a day counted from 1970-01-01 (Howard Hinnant, "chrono-Compatible Low-Level Date
/// Algorithms", `civil_from_days`).
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_date_is_right_around_leap_days() {
        for (days, date) in [
            (0, (1970, 1, 1)),
            (11_016, (2000, 2, 29)),
            (19_782, (2024, 2, 29)),
            (20_780, (2026, 11, 23)),
        ] {
            assert_eq!(civil(days), date);
        }
        let now = UNIX_EPOCH + Duration::from_micros(20_780 * 86_400_000_000 + 43_658_472_506);
        assert_eq!(utc(now), "2026-11-23 12:07:38.472506");
    }
}
