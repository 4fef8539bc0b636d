//! How much of the past is kept: the settings of snapshots and of `gc`, and how sizes and ages are written.
//!
//! Pure.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::text::with_unit;

/// The largest file that a snapshot keeps.
const FILE_LIMIT: u64 = 64 << 20;
/// How much room the snapshots of a repository may take.
const QUOTA: u64 = 4 << 30;
/// How long a snapshot is kept.
const SNAPSHOT_AGE: Duration = Duration::from_hours(24 * 365);
/// How old a LoggedModel must be before `gc` removes it.
const MODEL_AGE: Duration = Duration::from_hours(24 * 30);

/// What a layer of settings says of snapshots.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SnapshotLayer {
    /// Whether versions are kept at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// The largest file that is kept: `64MiB`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_limit: Option<String>,
    /// How much room all of them may take: `4GiB`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quota: Option<String>,
    /// How long they are kept: `365d`, or `always`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep: Option<String>,
}

/// What a layer of settings says of `gc`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GcLayer {
    /// How old a LoggedModel must be that nothing refers to: `30d`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep: Option<String>,
}

impl SnapshotLayer {
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Returns what this layer says, and what `lower` says where this one says nothing.
    #[must_use]
    pub fn or(self, lower: Self) -> Self {
        Self {
            enabled: self.enabled.or(lower.enabled),
            file_limit: self.file_limit.or(lower.file_limit),
            quota: self.quota.or(lower.quota),
            keep: self.keep.or(lower.keep),
        }
    }
}

impl GcLayer {
    /// Returns what this layer says, and what `lower` says where this one says nothing.
    pub(crate) fn or(self, lower: Self) -> Self {
        Self {
            keep: self.keep.or(lower.keep),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// How much of the past is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retention {
    /// Whether versions are kept at all.
    pub snapshots: bool,
    /// The largest file that is kept, in bytes.
    pub file_limit: u64,
    /// How many bytes all snapshots may take.
    pub quota: u64,
    /// How long snapshots are kept; `None` for always.
    pub snapshot_age: Option<Duration>,
    /// How old a LoggedModel must be before `gc` removes it.
    pub model_age: Duration,
}

impl Retention {
    /// Reads what the layers say, merged.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn of(snapshots: &SnapshotLayer, gc: &GcLayer) -> Result<Self, String> {
        let named = |key: &'static str| move |message| format!("{key}: {message}");
        let size_of = |key, text: &Option<String>, default| {
            text.as_deref()
                .map_or(Ok(default), size)
                .map_err(named(key))
        };
        let snapshot_age = match snapshots.keep.as_deref() {
            Some("always") => Ok(None),
            Some(text) => age(text).map(Some),
            None => Ok(Some(SNAPSHOT_AGE)),
        };
        let model_age = gc.keep.as_deref().map_or(Ok(MODEL_AGE), age);
        Ok(Self {
            snapshots: snapshots.enabled.unwrap_or(true),
            file_limit: size_of("snapshots.file_limit", &snapshots.file_limit, FILE_LIMIT)?,
            quota: size_of("snapshots.quota", &snapshots.quota, QUOTA)?,
            snapshot_age: snapshot_age.map_err(named("snapshots.keep"))?,
            model_age: model_age.map_err(named("gc.keep"))?,
        })
    }
}

/// Reads `12d`, `36h`, `10m`, `0s`.
///
/// # Errors
/// That it is none, in words.
pub fn age(text: &str) -> Result<Duration, String> {
    let units = [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)];
    with_unit(text, &units)
        .map(Duration::from_secs)
        .ok_or_else(|| format!("{text:?} is not an age such as 30d, 12h or 45m"))
}

fn size(text: &str) -> Result<u64, String> {
    let units = [
        ("GiB", 1 << 30),
        ("MiB", 1 << 20),
        ("KiB", 1 << 10),
        ("B", 1),
    ];
    with_unit(text, &units).ok_or_else(|| format!("{text:?} is not a size such as 64MiB or 4GiB"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_ages_are_written_with_their_units() {
        assert_eq!(size("64MiB"), Ok(64 << 20));
        assert_eq!(size("0 B"), Ok(0));
        assert_eq!(age("30d"), Ok(Duration::from_hours(720)));
        for wrong in [
            "64",
            "MiB",
            "-1GiB",
            "1.5GiB",
            "30",
            "99999999999999999999d",
        ] {
            assert!(size(wrong).is_err() && age(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_not_said_has_its_default_and_always_is_an_age() {
        let mut layer = SnapshotLayer::default();
        let said = Retention::of(&layer, &GcLayer::default()).unwrap();
        assert_eq!((said.snapshots, said.file_limit), (true, FILE_LIMIT));
        assert_eq!(said.snapshot_age, Some(SNAPSHOT_AGE));
        layer.keep = Some("always".into());
        let said = Retention::of(&layer, &GcLayer::default()).unwrap();
        assert_eq!(said.snapshot_age, None);
    }
}
