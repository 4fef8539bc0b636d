//! Which snapshots go, by age and by the room that they take; and letting them go.
//!
//! Holds the lock of the store while it works. Knows no LoggedModel: what must stay is told.

use std::collections::BTreeSet;
use std::time::Duration;

use super::index::{self, Record};
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
        let format = records.first().and_then(|record| format_of(&record.tree));
        let Some(format) = format else {
            return Ok(());
        };
        let mut objects = super::objects::Objects::open(&self.git_dir(), format)?;
        index::write(&self.index_file(), &staying)?;
        let mut roots = BTreeSet::new();
        let mut commits = BTreeSet::new();
        for record in &staying {
            roots.extend([record.tree.clone(), record.disk().to_owned()]);
            let inside = record
                .inside
                .iter()
                .filter_map(|inside| inside.head.as_ref());
            for head in record.head.iter().chain(inside) {
                if let Some(id) =
                    RawId::from_hex(head.as_bytes()).filter(|id| objects.known.has(id))
                {
                    commits.insert(id);
                    roots.insert(format!("{head}^{{tree}}"));
                }
            }
        }
        let mut needed = commits;
        if !roots.is_empty() {
            let input = roots
                .iter()
                .flat_map(|root| format!("{root}\n").into_bytes())
                .collect();
            let arguments = [
                "rev-list",
                "--objects",
                "--no-object-names",
                "--missing=allow-any",
                "--stdin",
            ];
            let listed = objects
                .git()
                .run_with_input(&arguments, Some(input))?
                .stdout;
            let ids = listed
                .split(|byte| *byte == b'\n')
                .filter_map(RawId::from_hex);
            needed.extend(ids.filter(|id| objects.known.has(id)));
        }
        objects.keep_only(&needed)?;
        drop(lock);
        Ok(())
    }
}

fn newest(records: &[Record]) -> BTreeSet<usize> {
    let mut worktrees = BTreeSet::new();
    let places = records.iter().enumerate().rev();
    places
        .filter(|(_, record)| worktrees.insert(record.worktree.clone()))
        .map(|(place, _)| place)
        .collect()
}

pub(super) fn format_of(tree: &str) -> Option<Format> {
    Format::of(tree)
}
