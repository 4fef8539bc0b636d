//! How the code of a version is kept, and what is said of that.
//!
//! Pure.

use crate::ids::VersionKey;
use crate::snapshot::Record;

/// How the code of a version is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The version.
    pub version: VersionKey,
    /// Whether it can be brought back.
    pub restorable: Restorable,
    /// What is missing and why, where it is not all kept.
    pub why: Option<String>,
    /// A snapshot was made just now, of a version that may long have its LoggedModel.
    pub(super) is_new: bool,
}

impl Kept {
    pub(super) fn of(version: &VersionKey, record: &Record, at_ms: u64) -> Self {
        let first = record.left_out.first();
        let why = first.map(|first| {
            let count = match record.left_out.len() {
                1 => "1 file is not kept".to_owned(),
                many => format!("{many} files are not kept"),
            };
            format!("{count}: {} ({})", first.path, first.why.as_str())
        });
        Self {
            version: version.clone(),
            restorable: Restorable::of(Some(record)),
            why,
            is_new: record.at_ms == at_ms,
        }
    }

    pub(super) fn not(version: &VersionKey, why: String) -> Self {
        Self {
            version: version.clone(),
            restorable: Restorable::No,
            why: Some(why),
            is_new: false,
        }
    }
}

/// Whether the code of a version can be brought back on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restorable {
    /// Every file.
    Whole,
    /// Some files are not kept; `tracemark show` names them.
    Partly,
    /// Not at all.
    No,
}

impl Restorable {
    /// Returns how the code of a version can be brought back of which this snapshot is kept, if any.
    pub fn of(record: Option<&Record>) -> Self {
        match record {
            Some(record) if record.is_whole() => Self::Whole,
            Some(_) => Self::Partly,
            None => Self::No,
        }
    }

    /// Returns the value of the tag `tracemark.restorable`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Whole => "true",
            Self::Partly => "partial",
            Self::No => "false",
        }
    }
}
