//! `tracemark gc`: removes versions that nothing refers to, and snapshots by age and room.
//!
//! Removes nothing without `--yes`, and nothing of which it is not known whether it is in use: the daemon is started to
//! tell. Makes no LoggedModel.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use super::store::Store;
use super::versions::{Versions, when};
use super::{Context, answer, client_failure, daemon_start, load_settings, warn};
use crate::cli::GcArgs;
use crate::error::{Failure, FailureKind};
use crate::ids::ModelId;
use crate::ledger::{Chapter, Ledger};
use crate::mlflow::{ModelRow, References, StoreError, tags};
use crate::protocol::WorktreeStatus;
use crate::retention::{Retention, age};
use crate::session::Restorable;
use crate::snapshot::{Pruned, Reason, Record, SnapshotError, committed_trees};
use crate::text::printable;
use crate::unix_time;
use crate::version::is_of_content;

pub(super) fn run(context: &Context, arguments: &GcArgs) -> Result<(), Failure> {
    let (worktree, record) = context.tracked()?;
    let mut retention = load_settings(context, &worktree, &record)?.retention;
    if let Some(text) = &arguments.keep {
        retention.model_age = age(text).map_err(|message| {
            Failure::new(FailureKind::Usage, &message).hint("tracemark gc --keep 30d")
        })?;
    }
    let versions = Versions::here(context)?;
    let sweep = Sweep {
        context,
        active: active(context)?,
        store: versions.store(context)?,
        ledger: Ledger::open(&context.paths.ledger())?,
        versions,
        retention,
        now_ms: unix_time::unsigned_ms(SystemTime::now()),
    };
    let (models, references, mut trouble) = match sweep.models() {
        Ok((models, references)) => (models, references, None),
        Err(failure) => (Vec::new(), References::default(), Some(failure)),
    };
    let snapshots = sweep.snapshots()?;
    if trouble.is_none() || !snapshots.is_empty() {
        answer(&list(&models, &snapshots, arguments.yes))?;
    }
    if arguments.yes {
        let removed = sweep.remove_models(&models, &references)?;
        let (gone, untold) = sweep.prune(&snapshots)?;
        answer(&format!(
            "removed {removed} LoggedModels and {gone} snapshots\n"
        ))?;
        if let (None, Some(failure)) = (&trouble, untold) {
            trouble = Some(failure);
        }
    } else if !models.is_empty() || !snapshots.is_empty() {
        answer("nothing was removed; tracemark gc --yes does\n")?;
    }
    match trouble {
        None => Ok(()),
        Some(failure) => {
            warn(
                &format!("LoggedModels and their snapshots stay: {}", failure.message),
                failure.hint.as_deref().unwrap_or("tracemark status"),
            );
            Err(failure)
        }
    }
}

/// A run that was started this long before the list was made is looked at again before each deletion.
const LONG_RUN_MS: i64 = 24 * 3_600_000;

/// How long the reading of a worktree is waited for, and how often it is looked whether it is done.
const READ_WITHIN: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(50);

/// So many are removed before the daemon is asked again which are active.
const TOGETHER: usize = 50;

struct Sweep<'a> {
    context: &'a Context,
    versions: Versions,
    store: Store,
    ledger: Ledger,
    retention: Retention,
    /// The LoggedModels that are active now in any worktree, and the names of their versions.
    active: BTreeSet<String>,
    now_ms: u64,
}

impl Sweep<'_> {
    /// Returns the LoggedModels that were made here, for what is not a commit, and that nothing refers to.
    fn models(&self) -> Result<(Vec<ModelRow>, References), Failure> {
        let committed = self.committed()?;
        let is_committed = |chapter: &&Chapter| committed.contains(&chapter.content);
        let chapters: Vec<_> = self.made_here().filter(|one| !is_committed(one)).collect();
        let ids = chapters.iter().map(|chapter| chapter.model.clone());
        let experiments = chapters.iter().map(|chapter| chapter.experiment.clone());
        let store = self.store.session.store();
        let mut rows = self.ask(store.models(&experiments.collect(), &ids.collect()))?;
        let mut candidates: Vec<_> = chapters
            .into_iter()
            .filter_map(|chapter| {
                let row = rows.remove(&chapter.model)?;
                (is_ours(&row, chapter) && row.use_by_itself().is_none()).then_some(row)
            })
            .collect();
        let Some(since_ms) = candidates.iter().map(|row| row.created_ms).min() else {
            return Ok((candidates, References::default()));
        };
        let references = self.ask(store.references(since_ms, &References::default()))?;
        candidates.retain(|row| references.count(&row.id) == 0);
        let ids = candidates.iter().map(|row| row.id.clone()).collect();
        let traced = self.ask(store.traced(references.experiments(), &ids))?;
        candidates.retain(|row| !traced.contains(&row.id));
        Ok((candidates, references))
    }

    /// The oldest first; what stays whatever the store says is not among them.
    fn made_here(&self) -> impl Iterator<Item = &Chapter> {
        self.versions.chapters.iter().filter(move |chapter| {
            let age = Duration::from_millis(self.now_ms.saturating_sub(self.last_used(chapter)));
            let is_active = self.active.contains(chapter.model.as_str())
                || self.active.contains(&chapter.version.name);
            chapter.store == self.store.session.store_key()
                && chapter.dirty
                && is_of_content(&chapter.version)
                && !self.is_used_elsewhere(&chapter.model)
                && !is_active
                && age >= self.retention.model_age
        })
    }

    /// What an app runs with may have been made long ago.
    fn last_used(&self, chapter: &Chapter) -> u64 {
        let known = self.ledger.last_used(&chapter.store, &chapter.model);
        known.map_or(self.now_ms, |at_ms| at_ms.max(chapter.at_ms))
    }

    /// Another clone on this machine may hand it out, and have committed it.
    fn is_used_elsewhere(&self, model: &ModelId) -> bool {
        let here = self.versions.worktree.common_dir.to_string_lossy();
        let key = self.store.session.store_key();
        let used = self.ledger.repositories_of(key, model);
        let is_other = |one: &String| *one != here && Path::new(one).exists();
        // What is not known stays.
        used.map_or(true, |all| all.iter().any(is_other))
    }

    /// The contents of commits: what was made for uncommitted code may stand for one by now.
    fn committed(&self) -> Result<BTreeSet<String>, Failure> {
        let trees = committed_trees(&self.versions.worktree.root);
        Ok(trees.map_err(SnapshotError::Git)?)
    }

    fn ask<T>(&self, question: impl Future<Output = Result<T, StoreError>>) -> Result<T, Failure> {
        Ok(self.store.runtime.block_on(question)?)
    }

    /// Asks again right before each deletion: an app may have begun to use it meanwhile. Runs that ended long before the
    /// list was made were looked at then.
    fn remove_models(&self, candidates: &[ModelRow], known: &References) -> Result<usize, Failure> {
        let since_ms = i64::try_from(self.now_ms).unwrap_or(0) - LONG_RUN_MS;
        let (store, key) = (self.store.session.store(), self.store.session.store_key());
        let mut count = 0;
        for some in candidates.chunks(TOGETHER) {
            // An id that the ledger still knows could be handed out while its row goes.
            let ids: Vec<_> = some.iter().map(|row| row.id.clone()).collect();
            self.ledger.forget_all(key, &ids)?;
            let active = active(self.context)?;
            let committed = self.committed()?;
            let is_committed = |row: &ModelRow| {
                let content = row.tag(tags::CONTENT);
                content.is_some_and(|content| committed.contains(content))
            };
            let mut rows = some.to_vec();
            rows.retain(|row| {
                let is_active = active.contains(row.id.as_str()) || active.contains(&row.name);
                !is_active && !is_committed(row) && !self.is_used_elsewhere(&row.id)
            });
            let mut removed = Vec::new();
            let asked = self.ask(store.remove_unused(&rows, known, since_ms, &mut removed));
            self.ledger.erase(key, &removed)?;
            count += removed.len();
            asked?;
        }
        Ok(count)
    }

    /// Lets snapshots go once their LoggedModels say so; those stay whose LoggedModels cannot be told. Returns how many went.
    fn prune(&self, snapshots: &[Pruned]) -> Result<(usize, Option<Failure>), Failure> {
        let session = &self.store.session;
        let mut trouble = None;
        let mut goes = Vec::new();
        for pruned in snapshots {
            let chapter = self.versions.of_record(&pruned.record).chapter;
            let chapter = chapter.filter(|chapter| {
                let is_here = chapter.store == session.store_key();
                is_here && !self.has_another(&pruned.record, snapshots)
            });
            let told = match (&chapter, &trouble) {
                (None, _) => true,
                (Some(_), Some(_)) => false,
                (Some(chapter), None) => {
                    let told = self.ask(session.say_kept(chapter, Restorable::No));
                    trouble = told.err();
                    trouble.is_none()
                }
            };
            if told {
                goes.push(pruned.clone());
            }
        }
        self.versions.snapshots.prune(&goes)?;
        Ok((goes.len(), trouble))
    }

    /// Whether the version keeps another snapshot: that of a commit has one for each of its states.
    fn has_another(&self, record: &Record, going: &[Pruned]) -> bool {
        let records = self.versions.records.iter();
        let mut same = records.filter(|other| other.name == record.name && other.key == record.key);
        same.any(|other| going.iter().all(|going| going.record != *other))
    }

    /// A snapshot whose LoggedModel is active stays.
    fn snapshots(&self) -> Result<Vec<Pruned>, Failure> {
        let stays = |record: &Record| {
            let version = self.versions.of_record(record);
            let model = version.model().map(ToString::to_string);
            model.is_some_and(|model| self.active.contains(&model))
        };
        let retention = &self.retention;
        Ok(self.versions.snapshots.prunable(
            self.now_ms,
            retention.snapshot_age,
            retention.quota,
            stays,
        )?)
    }
}

/// The nonce in the row is one that was made here, for this very row.
fn is_ours(row: &ModelRow, chapter: &Chapter) -> bool {
    !chapter.nonce.is_empty()
        && row.nonce() == Some(chapter.nonce.as_str())
        && row.experiment == chapter.experiment
        && row.tag(tags::GIT_DIRTY) != Some("false")
        && row.tag(tags::PINNED).is_none()
}

/// Asks the daemon, which is started where none runs: what is active is what is on disk, not what was made last. Returns ids, and
/// the names of versions whose id is not known yet. Makes none.
fn active(context: &Context) -> Result<BTreeSet<String>, Failure> {
    let client = daemon_start::ensure_soon(context)?;
    let began = Instant::now();
    loop {
        let status = client.status().map_err(|error| client_failure(&error))?;
        let is_unread = |one: &&WorktreeStatus| one.state == "pending" && one.name.is_none();
        let Some(unread) = status.worktrees.iter().find(is_unread) else {
            let known = status.worktrees.into_iter();
            return Ok(known
                .flat_map(|one| [one.model_id, one.name])
                .flatten()
                .collect());
        };
        if began.elapsed() > READ_WITHIN {
            let message = format!(
                "{} is still being read, so that it is not known what is active",
                unread.path
            );
            return Err(Failure::new(FailureKind::Negative, &message).hint("tracemark status"));
        }
        std::thread::sleep(PAUSE);
    }
}

fn list(models: &[ModelRow], snapshots: &[Pruned], yes: bool) -> String {
    let mut lines = Vec::new();
    for row in models {
        let at = u64::try_from(row.created_ms).unwrap_or(0);
        lines.push(format!(
            "LoggedModel {}  {}  {}  no trace, run, metric or prompt refers to it",
            row.id,
            when(at),
            row.name
        ));
    }
    for pruned in snapshots {
        let why = match pruned.reason {
            Reason::Old => "older than snapshots.keep",
            Reason::Quota => "over snapshots.quota",
        };
        lines.push(format!(
            "snapshot    {}  {}  {why}",
            when(pruned.record.at_ms),
            pruned.record.name
        ));
    }
    if lines.is_empty() && !yes {
        lines.push("nothing to remove".to_owned());
    }
    lines.iter().map(|line| printable(line) + "\n").collect()
}
