//! Which snapshots go, by age and by the room that they take; and letting them go.
//!
//! Holds the lock of the store while it works. Knows no LoggedModel: what must stay is told.

use std::collections::BTreeSet;
use std::time::Duration;

use super::index::{self, Record};
use super::objects::Objects;
use super::{SnapshotError, Snapshots};
use crate::identity::object::{Format, RawId};

/// Why a snapshot goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// It is older than `snapshots.keep`.
    Old,
    /// All together take more room than `snapshots.quota`.
    Quota,
}

/// A snapshot that goes, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pruned {
    /// The version.
    pub record: Record,
    /// Why.
    pub reason: Reason,
}

impl Snapshots {
    /// Returns the snapshots that would go, the oldest first. The newest of each worktree stays, and what `stays` says.
    ///
    /// # Errors
    /// [`SnapshotError::Path`] when the index cannot be read.
    pub fn prunable(
        &self,
        now_ms: u64,
        keep: Option<Duration>,
        quota: u64,
        stays: impl Fn(&Record) -> bool,
    ) -> Result<Vec<Pruned>, SnapshotError> {
        let records = self.records()?;
        let newest = newest(&records);
        let bytes = self.bytes();
        let mut over = if bytes > quota && bytes > 0 {
            let share = (bytes - quota).saturating_mul(records.len() as u64) / bytes;
            usize::try_from(share).unwrap_or(usize::MAX).max(1)
        } else {
            0
        };
        let mut pruned = Vec::new();
        for (place, record) in records.iter().enumerate() {
            if newest.contains(&place) || stays(record) {
                continue;
            }
            let age = Duration::from_millis(now_ms.saturating_sub(record.at_ms));
            let reason = if keep.is_some_and(|keep| age > keep) {
                Reason::Old
            } else if over > 0 {
                Reason::Quota
            } else {
                continue;
            };
            over = over.saturating_sub(1);
            pruned.push(Pruned {
                record: record.clone(),
                reason,
            });
        }
        Ok(pruned)
    }

    /// Lets snapshots go, and every object that only they need. Those that were kept meanwhile stay.
    ///
    /// # Errors
    /// [`SnapshotError`] when the store cannot be written; nothing is lost then.
    pub fn prune(&self, pruned: &[Pruned]) -> Result<(), SnapshotError> {
        let lock = self.lock()?;
        let records = self.records()?;
        let goes = |record: &Record| pruned.iter().any(|pruned| pruned.record == *record);
        let staying: Vec<_> = records
            .iter()
            .filter(|record| !goes(record))
            .cloned()
            .collect();
        let format = records.first().and_then(|record| Format::of(&record.tree));
        let Some(format) = format else {
            return Ok(());
        };
        let mut objects = Objects::open(&self.git_dir(), format)?;
        index::write(&self.index_file(), &staying)?;
        let needed = needed_by(&staying, &objects)?;
        objects.keep_only(&needed)?;
        drop(lock);
        Ok(())
    }
}

/// Returns the objects of the store that versions need: their trees and what these hold, and the commits that they are of.
fn needed_by(staying: &[Record], objects: &Objects) -> Result<BTreeSet<RawId>, SnapshotError> {
    let mut roots = BTreeSet::new();
    let mut needed = BTreeSet::new();
    for record in staying {
        roots.extend([record.tree.clone(), record.disk().to_owned()]);
        let inside = record.inside.iter();
        let heads = inside.filter_map(|inside| inside.head.as_ref());
        for head in record.head.iter().chain(heads) {
            let commit = RawId::from_hex(head.as_bytes());
            if let Some(id) = commit.filter(|id| objects.known.has(id)) {
                needed.insert(id);
                roots.insert(format!("{head}^{{tree}}"));
            }
        }
    }
    needed.extend(below(&roots, objects)?);
    Ok(needed)
}

/// Returns those objects of the store that are reached from `roots`.
fn below(roots: &BTreeSet<String>, objects: &Objects) -> Result<Vec<RawId>, SnapshotError> {
    if roots.is_empty() {
        return Ok(Vec::new());
    }
    let lines = roots.iter().map(|root| format!("{root}\n"));
    let input = lines.collect::<String>().into_bytes();
    let arguments = [
        "rev-list",
        "--objects",
        "--no-object-names",
        "--missing=allow-any",
        "--stdin",
    ];
    let listed = objects.git().run_with_input(&arguments, Some(input))?;
    let ids = listed.stdout.split(|byte| *byte == b'\n');
    let ids = ids.filter_map(RawId::from_hex);
    Ok(ids.filter(|id| objects.known.has(id)).collect())
}

fn newest(records: &[Record]) -> BTreeSet<usize> {
    let mut worktrees = BTreeSet::new();
    let places = records.iter().enumerate().rev();
    places
        .filter(|(_, record)| worktrees.insert(record.worktree.clone()))
        .map(|(place, _)| place)
        .collect()
}
