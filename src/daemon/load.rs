//! From records to worktrees that can be tracked: blocking work at the start and when something new is asked about.
//!
//! Writes no record, watches nothing, and asks no store.

use std::path::Path;
use std::sync::Arc;

use crate::ledger::Ledger;
use crate::paths::Paths;
use crate::registry::{Record, Registry};
use crate::repository::Worktree;
use crate::session::{Session, SessionError};

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
