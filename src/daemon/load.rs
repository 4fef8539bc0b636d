//! From records to worktrees that can be tracked: blocking work at the start and when something new is asked about.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use crate::env_file;
use crate::fs_util::PathError;
use crate::ledger::Ledger;
use crate::paths::Paths;
use crate::registry::{Record, Registry};
use crate::repository::Worktree;
use crate::session::{Session, SessionError};
use crate::written::{self, Entry, Written};

/// A worktree under a record, with its session or in one line why there is none.
pub(super) struct Loaded {
    pub(super) worktree: Worktree,
    pub(super) session: Result<Arc<Session>, String>,
    /// Whether a settings file is the reason.
    pub(super) has_wrong_settings: bool,
}

/// Where records, settings and the ledger are.
pub(super) struct Catalog {
    pub(super) paths: Paths,
    pub(super) registry: Registry,
    pub(super) ledger: Arc<Ledger>,
}

impl Catalog {
    /// Returns every worktree of every record.
    pub(super) fn everything(&self) -> Vec<Loaded> {
        let records = self.registry.all().unwrap_or_else(|error| {
            tracing::error!(%error, "no record of tracked repositories can be read");
            Vec::new()
        });
        records
            .iter()
            .flat_map(|record| self.under(record))
            .collect()
    }

    /// Returns every tracked worktree of the repository around `path`, none when no record covers it.
    pub(super) fn around(&self, path: &Path) -> Vec<Loaded> {
        let Ok(worktree) = Worktree::discover(path) else {
            return Vec::new();
        };
        match self.registry.find(&worktree.common_dir) {
            Ok(record) => record.map_or_else(Vec::new, |record| self.under(&record)),
            Err(error) => {
                tracing::error!(%error, "a record cannot be read");
                Vec::new()
            }
        }
    }

    /// True while a record covers the worktree.
    pub(super) fn covers(&self, worktree: &Worktree) -> bool {
        self.registry
            .find(&worktree.common_dir)
            .ok()
            .flatten()
            .is_some_and(|record| record.covers(worktree))
    }

    fn under(&self, record: &Record) -> Vec<Loaded> {
        let worktrees = record.worktrees().unwrap_or_else(|error| {
            tracing::warn!(%error, repository = %record.common_dir.display(), "a tracked repository cannot be read");
            Vec::new()
        });
        worktrees
            .into_iter()
            .map(|worktree| self.load(worktree, record))
            .collect()
    }

    /// Returns a worktree with its session under a record.
    pub(super) fn load(&self, worktree: Worktree, record: &Record) -> Loaded {
        let ledger = Arc::clone(&self.ledger);
        let session = Session::open(&worktree, &record.settings, &self.paths, ledger).map(Arc::new);
        Loaded {
            worktree,
            has_wrong_settings: matches!(session, Err(SessionError::Config(_))),
            session: session.map_err(|error| error.to_string()),
        }
    }
}

/// Removes what a killed daemon left in the middle of a pass.
pub(super) fn sweep(worktree: &Worktree) {
    let Ok(entries) = std::fs::read_dir(worktree.scratch_dir()) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let is_scratch = name.as_encoded_bytes().starts_with(b"tracemark-");
        if is_scratch && let Err(error) = std::fs::remove_dir_all(entry.path()) {
            tracing::warn!(%error, path = %entry.path().display(), "a scratch directory stays behind");
        }
    }
}

/// Leaves no env file with an id where a daemon of this instance may have written one, also of repositories whose record
/// cannot be used. Asks git nothing, so that it works for a repository that git refuses.
pub(super) fn empty_all_env(registry: &Registry, paths: &Paths) {
    let entries = Written::of(paths).entries(registry).into_iter();
    let is_ours = |entry: &Entry| {
        let carried = Entry::carried(&entry.common_dir);
        carried.is_none_or(|carried| carried.other_instance(paths).is_none())
    };
    let ours = entries.filter(|entry| entry.is_at(&entry.common_dir));
    for entry in ours.filter(is_ours) {
        for dir in written::private_dirs(&entry.common_dir) {
            tell(env_file::empty(&dir));
        }
        let roots = written::roots_on_disk(&entry.common_dir);
        for root in entry.roots.iter().chain(&roots).collect::<BTreeSet<_>>() {
            tell(env_file::empty_copy(root));
        }
    }
}

/// Leaves env files that name no model: nobody watches over them for now.
pub(super) fn empty_env(worktree: &Worktree) {
    tell(env_file::empty(&worktree.private_dir()));
    tell(env_file::empty_copy(&worktree.root));
}

fn tell(emptied: Result<(), PathError>) {
    if let Err(error) = emptied {
        tracing::error!(%error, "an env file is not emptied");
    }
}
