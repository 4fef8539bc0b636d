//! `tracemark log`: the versions of this repository, newest first.
//!
//! Lists what is known here: the store is waited for a second at most, and only to count traces. Needs no daemon:
//! without one no version is marked as active.

use std::collections::{BTreeMap, BTreeSet};

use super::versions::{Version, Versions, when};
use super::{Context, answer, json};
use crate::cli::LogArgs;
use crate::error::Failure;
use crate::ids::ModelId;
use crate::mlflow::TraceCounts;
use crate::session::Restorable;
use crate::snapshot::Changes;
use crate::text::printable;

/// So many paths of a change are named.
const NAMED_MAX: usize = 3;

pub(super) fn run(context: &Context, arguments: &LogArgs) -> Result<(), Failure> {
    let versions = Versions::here(context)?;
    let mut all = versions.all();
    all.truncate(arguments.limit.unwrap_or(usize::MAX));
    let active = active(context, &versions);
    let traces = Traces::of(context, &versions, &all);
    if arguments.json {
        let list: Vec<_> = all
            .iter()
            .map(|one| document(one, &active, &traces))
            .collect();
        return answer(&json(&serde_json::json!({"schema": 1, "versions": list}))?);
    }
    if all.is_empty() && arguments.limit != Some(0) {
        let cure = if context.tracked().is_ok() {
            "active"
        } else {
            "up"
        };
        return answer(&format!("no versions yet\n  try: tracemark {cure}\n"));
    }
    let mut text = String::new();
    let commits = all
        .iter()
        .filter(|version| !version.is_dirty())
        .filter_map(Version::head)
        .collect();
    let subjects = versions.subjects(&commits);
    for version in &all {
        text += &line(&subjects, version, &active, &traces);
    }
    answer(&text)
}

/// The LoggedModels that are active now in any worktree of this repository; none where no daemon runs.
fn active(context: &Context, versions: &Versions) -> BTreeSet<String> {
    let Ok(status) = context.client().status() else {
        return BTreeSet::new();
    };
    let roots: BTreeSet<_> = versions
        .records
        .iter()
        .map(|record| record.worktree.as_str())
        .collect();
    let here = versions.worktree.root.to_string_lossy();
    let own = status
        .worktrees
        .into_iter()
        .filter(|one| roots.contains(one.path.as_str()) || one.path == here);
    own.filter_map(|one| one.model_id).collect()
}

/// How many traces versions have.
#[derive(Default)]
struct Traces {
    /// The LoggedModels of the store that was asked: of those of another one nothing is said.
    asked: BTreeSet<ModelId>,
    counts: TraceCounts,
}

impl Traces {
    /// Counts as far as the store says so quickly.
    fn of(context: &Context, versions: &Versions, all: &[Version]) -> Self {
        let counted = versions.store(context).and_then(|store| {
            let key = store.session.store_key();
            let chapters = all.iter().filter_map(|version| version.chapter.as_ref());
            let here: Vec<_> = chapters.filter(|chapter| chapter.store == key).collect();
            let asked: BTreeSet<_> = here.iter().map(|chapter| chapter.model.clone()).collect();
            let experiments = here.iter().map(|chapter| chapter.experiment.clone());
            let counts = if asked.is_empty() {
                TraceCounts::default()
            } else {
                store.traces_quickly(&experiments.collect(), &asked)?
            };
            Ok(Self { asked, counts })
        });
        counted.unwrap_or_else(|failure| {
            tracing::debug!(message = failure.message, "traces are not counted");
            Self::default()
        })
    }

    /// Returns how many a LoggedModel has, `None` where that is not known.
    fn count(&self, model: &ModelId) -> Option<u64> {
        let none = (self.counts.are_all && self.asked.contains(model)).then_some(0);
        self.counts.counts.get(model).copied().or(none)
    }
}

fn line(
    subjects: &BTreeMap<String, String>,
    version: &Version,
    active: &BTreeSet<String>,
    traces: &Traces,
) -> String {
    let model = version.model();
    let mark = if model.is_some_and(|id| active.contains(id.as_str())) {
        "*"
    } else {
        " "
    };
    let short = model.map_or("-", |id| id.as_str());
    let short = short.get(..10).unwrap_or(short);
    let at = version.at_ms(None).map(when).unwrap_or_default();
    let mut parts = Vec::new();
    if let Some(head) = version.head().filter(|_| !version.is_dirty()) {
        let subject = subjects.get(head).map_or("", String::as_str);
        parts.push(
            format!("commit {} {subject}", head.get(..8).unwrap_or(head))
                .trim_end()
                .to_owned(),
        );
    }
    if let Some(record) = &version.record {
        parts.extend(record.changes.as_ref().and_then(change));
    }
    let count = model.and_then(|id| traces.count(id));
    let count = count.filter(|count| *count > 0);
    parts.extend(count.map(|count| match (count, traces.counts.are_all) {
        (1, true) => "1 trace".to_owned(),
        (count, true) => format!("{count} traces"),
        (count, false) => format!("{count}+ traces"),
    }));
    let kept = match &version.record {
        None => Some("not kept"),
        Some(record) if !record.is_whole() => Some("partly kept"),
        Some(_) => None,
    };
    parts.extend(kept.map(str::to_owned));
    printable(format!("{mark} {short:<10}  {at}  {}", parts.join(" · ")).trim_end()) + "\n"
}

/// `+12 −3 app.py, prompts/x.md`
fn change(changes: &Changes) -> Option<String> {
    if changes.files == 0 {
        return None;
    }
    let named: Vec<_> = changes
        .first
        .iter()
        .take(NAMED_MAX)
        .map(|change| change.path.as_str())
        .collect();
    let more = changes.files.saturating_sub(named.len() as u64);
    let more = if more > 0 {
        format!(", {more} more")
    } else {
        String::new()
    };
    // Binary files, modes and what is not kept have no lines to count.
    let lines = match (changes.added, changes.removed) {
        (0, 0) => "changed".to_owned(),
        (added, removed) => format!("+{added} \u{2212}{removed}"),
    };
    Some(format!("{lines} {}{more}", named.join(", ")))
}

fn document(version: &Version, active: &BTreeSet<String>, traces: &Traces) -> serde_json::Value {
    let model = version.model();
    let record = version.record.as_ref();
    let restorable = Restorable::of(record).as_str();
    serde_json::json!({
        "model_id": model.map(ToString::to_string),
        "name": version.name(None),
        "content": version.content(None),
        "head": version.head(),
        "branch": version.branch(),
        "dirty": version.is_dirty(),
        "at_ms": version.at_ms(None),
        "active": model.is_some_and(|id| active.contains(id.as_str())),
        "changes": record.and_then(|record| record.changes.as_ref()),
        "traces": model.and_then(|id| traces.count(id)),
        "traces_are_all": traces.counts.are_all,
        "restorable": restorable,
    })
}
