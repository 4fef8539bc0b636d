//! `tracemark gc`: removes versions that nothing refers to, and snapshots by age and room.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::versions::{Store, Versions, when};
use super::{Context, answer, load_settings, warn};
use crate::cli::GcArgs;
use crate::error::{Failure, FailureKind};
use crate::fs_util::printable;
use crate::ledger::{Chapter, Ledger};
use crate::mlflow::{ModelRow, References, StoreError};
use crate::retention::{Retention, age};
use crate::snapshot::{Pruned, Reason};

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
        active: active(context),
        store: versions.store(context)?,
        ledger: Ledger::open(&context.paths.ledger())?,
        versions,
        retention,
        now_ms: now_ms(),
    };
    let (models, references, trouble) = match sweep.models() {
        Ok((models, references)) => (models, references, None),
        Err(failure) => (Vec::new(), References::default(), Some(failure)),
    };
    let snapshots = sweep.snapshots()?;
    answer(&list(&models, &snapshots, arguments.yes))?;
    if arguments.yes {
        let removed = sweep.remove_models(&models, &references)?;
        sweep.versions.snapshots.prune(&snapshots)?;
        answer(&format!(
            "removed {removed} LoggedModels and {} snapshots\n",
            snapshots.len()
        ))?;
    } else if !models.is_empty() || !snapshots.is_empty() {
        answer("nothing was removed; tracemark gc --yes does\n")?;
    }
    match trouble {
        None => Ok(()),
        Some(failure) => {
            warn(
                &format!("LoggedModels stay: {}", failure.message),
                failure.hint.as_deref().unwrap_or("tracemark status"),
            );
            Err(failure)
        }
    }
}

/// A run that was started this long before the list was made is looked at again before each deletion.
const LONG_RUN_MS: i64 = 24 * 3_600_000;

/// A LoggedModel that goes, and what is known of it.
struct Candidate {
    row: ModelRow,
    chapter: Chapter,
}

struct Sweep<'a> {
    context: &'a Context,
    versions: Versions,
    store: Store,
    ledger: Ledger,
    retention: Retention,
    /// `None` where no daemon could be asked.
    active: Option<BTreeSet<String>>,
    now_ms: u64,
}

impl Sweep<'_> {
    /// Returns the LoggedModels that were made here, for what is not a commit, and that nothing refers to.
    fn models(&self) -> Result<(Vec<Candidate>, References), Failure> {
        let mut candidates = Vec::new();
        for chapter in self.made_here() {
            let row = self.ask(self.store.session.store().model(&chapter.model))?;
            let ours = row.filter(|row| is_ours(row, chapter) && row.use_by_itself().is_none());
            candidates.extend(ours.map(|row| Candidate {
                row,
                chapter: chapter.clone(),
            }));
        }
        let Some(since_ms) = candidates.iter().map(|one| one.row.created_ms).min() else {
            return Ok((candidates, References::default()));
        };
        let references = self.ask(self.store.session.store().references(since_ms))?;
        candidates.retain(|one| references.count(&one.row.id) == 0);
        let ids = candidates.iter().map(|one| one.row.id.clone()).collect();
        let traces = self.ask(
            self.store
                .session
                .store()
                .count_traces(references.experiments(), &ids),
        )?;
        candidates.retain(|one| !traces.contains_key(&one.row.id));
        Ok((candidates, references))
    }

    /// The oldest first; what stays whatever the store says is not among them.
    fn made_here(&self) -> impl Iterator<Item = &Chapter> {
        let newest = self
            .versions
            .chapters
            .iter()
            .map(|chapter| (&chapter.worktree, chapter.at_ms));
        let newest: std::collections::BTreeMap<_, _> = newest.collect();
        self.versions.chapters.iter().filter(move |chapter| {
            let age = Duration::from_millis(self.now_ms.saturating_sub(chapter.at_ms));
            let is_active = match &self.active {
                Some(active) => active.contains(chapter.model.as_str()),
                None => newest.get(&chapter.worktree) == Some(&chapter.at_ms),
            };
            let is_of_code =
                !chapter.version.key.starts_with("commit:") && chapter.version.key != "pin";
            chapter.store == self.store.session.store_key()
                && chapter.dirty
                && is_of_code
                && !is_active
                && age >= self.retention.model_age
        })
    }

    fn ask<T>(&self, question: impl Future<Output = Result<T, StoreError>>) -> Result<T, Failure> {
        Ok(self.store.runtime.block_on(question)?)
    }

    /// Asks again right before each deletion: an app may have begun to use it meanwhile. Runs that were started long
    /// before the list was made were looked at then.
    fn remove_models(
        &self,
        candidates: &[Candidate],
        known: &References,
    ) -> Result<usize, Failure> {
        let since_ms = i64::try_from(self.now_ms).unwrap_or(0) - LONG_RUN_MS;
        let (store, key) = (self.store.session.store(), self.store.session.store_key());
        let mut removed = 0;
        for one in candidates {
            let row = self.ask(store.model(&one.row.id))?;
            let is_ours = row.is_some_and(|row| is_ours(&row, &one.chapter));
            let became_active =
                active(self.context).is_some_and(|ids| ids.contains(one.row.id.as_str()));
            if !is_ours
                || became_active
                || self.ask(store.use_of(&one.row, known, since_ms))?.is_some()
            {
                continue;
            }
            // An id that the ledger still knows could be handed out while its row goes.
            self.ledger.forget(key, &one.row.id)?;
            self.ask(store.remove(&one.row.id))?;
            self.ledger.erase(key, &one.row.id)?;
            removed += 1;
        }
        Ok(removed)
    }

    /// A snapshot whose LoggedModel is active stays.
    fn snapshots(&self) -> Result<Vec<Pruned>, Failure> {
        let stays = |record: &crate::snapshot::Record| {
            let version = self.versions.of_record(record);
            let model = version.model().map(ToString::to_string);
            model.is_some_and(|model| {
                self.active
                    .as_ref()
                    .is_some_and(|active| active.contains(&model))
            })
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
        && row.tag("mlflow.source.git.dirty") != Some("false")
        && row.tag("tracemark.pinned").is_none()
}

fn active(context: &Context) -> Option<BTreeSet<String>> {
    let status = context.client().status().ok()?;
    Some(
        status
            .worktrees
            .into_iter()
            .filter_map(|one| one.model_id)
            .collect(),
    )
}

fn list(models: &[Candidate], snapshots: &[Pruned], yes: bool) -> String {
    let mut lines = Vec::new();
    for one in models {
        let at = u64::try_from(one.row.created_ms).unwrap_or(0);
        lines.push(format!(
            "LoggedModel {}  {}  {}  no trace, run, metric or prompt refers to it",
            one.row.id,
            when(at),
            one.row.name
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

fn now_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
