//! The blobs that trees of the store name and that are not in it, and why: one line of JSON each, all replaced together.
//!
//! Takes no lock: whoever writes holds it.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::SnapshotError;
use super::index::Why;
use crate::fs_util::{read_if_exists, replace_durably};
use crate::identity::object::RawId;

/// Blobs that trees of the store name and that are not in it, and why.
#[derive(Debug, Default)]
pub(super) struct Absent {
    pub(super) blobs: BTreeMap<RawId, Why>,
}

#[derive(Serialize, Deserialize)]
struct AbsentLine {
    id: String,
    why: Why,
}

impl Absent {
    pub(super) fn read(path: &Path) -> Result<Self, SnapshotError> {
        let bytes = read_if_exists(path)?.unwrap_or_default();
        let blobs = bytes
            .split(|byte| *byte == b'\n')
            .filter_map(|line| serde_json::from_slice::<AbsentLine>(line).ok())
            .filter_map(|line| Some((RawId::from_hex(line.id.as_bytes())?, line.why)))
            .collect();
        Ok(Self { blobs })
    }

    pub(super) fn write(&self, path: &Path) -> Result<(), SnapshotError> {
        let mut text = Vec::new();
        for (id, why) in &self.blobs {
            let line = AbsentLine {
                id: id.to_hex(),
                why: *why,
            };
            text.extend(serde_json::to_vec(&line).unwrap_or_default());
            text.push(b'\n');
        }
        Ok(replace_durably(path, &text)?)
    }
}
