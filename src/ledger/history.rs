//! Which LoggedModels versions had on this machine, and when they were used last.
//!
//! Does not know whether the store still has them, and decides nothing of what stays.

use std::collections::BTreeSet;

use rusqlite::params;

use super::{Ledger, LedgerError, connect_uncertain};
use crate::ids::VersionKey;
use crate::ids::{ExperimentId, ModelId};
use crate::locks::lock;

/// A version that got its LoggedModel: what a person wants to know of it afterwards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chapter {
    /// The common git directory.
    pub repository: String,
    /// The top of the worktree.
    pub worktree: String,
    /// The store, as the ledger knows it.
    pub store: String,
    /// The experiment.
    pub experiment: ExperimentId,
    /// The LoggedModel.
    pub model: ModelId,
    /// The version.
    pub version: VersionKey,
    /// The content id.
    pub content: String,
    /// The full HEAD.
    pub head: Option<String>,
    /// The branch that was checked out.
    pub branch: Option<String>,
    /// False when it was exactly what HEAD holds.
    pub dirty: bool,
    /// When, in Unix milliseconds.
    pub at_ms: u64,
    /// What a row carries that was made here for it.
    pub nonce: String,
}

impl Ledger {
    /// Writes down that a version of a repository has its LoggedModel; the first time counts. The nonce is the first that this machine
    /// asked for it by, in whichever repository.
    ///
    /// # Errors
    /// [`LedgerError`] when SQLite refuses.
    pub fn chronicle(&self, chapter: &Chapter) -> Result<(), LedgerError> {
        self.lock().execute(
            "INSERT OR IGNORE INTO history (repository, worktree, store, experiment_id, model_id, name, key, content, \
             head, branch, dirty, at_ms, nonce) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, \
             coalesce((SELECT nonce FROM history WHERE store = ?3 AND model_id = ?5 ORDER BY id LIMIT 1), ?13))",
            params![
                chapter.repository,
                chapter.worktree,
                chapter.store,
                chapter.experiment.as_str(),
                chapter.model.as_str(),
                chapter.version.name,
                chapter.version.key,
                chapter.content,
                chapter.head,
                chapter.branch,
                chapter.dirty,
                i64::try_from(chapter.at_ms).unwrap_or(i64::MAX),
                chapter.nonce,
            ],
        )?;
        Ok(())
    }

    /// Returns the versions of a repository that got their LoggedModels, the oldest first.
    ///
    /// # Errors
    /// [`LedgerError`] when SQLite refuses.
    pub fn history(&self, repository: &str) -> Result<Vec<Chapter>, LedgerError> {
        let connection = self.lock();
        let mut statement = connection.prepare(
            "SELECT repository, worktree, store, experiment_id, model_id, name, key, content, head, branch, dirty, \
             at_ms, nonce FROM history WHERE repository = ?1 ORDER BY id",
        )?;
        let rows = statement.query_map([repository], |row| Ok(chapter(row)))?;
        let mut history = Vec::new();
        for row in rows {
            history.extend(row??);
        }
        Ok(history)
    }

    /// Returns the repositories on this machine in which a LoggedModel stands for a version, by their common git directories.
    ///
    /// # Errors
    /// [`LedgerError`] when SQLite refuses.
    pub fn repositories_of(
        &self,
        store: &str,
        model: &ModelId,
    ) -> Result<BTreeSet<String>, LedgerError> {
        let connection = self.lock();
        let mut statement = connection
            .prepare_cached("SELECT repository FROM history WHERE store = ?1 AND model_id = ?2")?;
        let rows = statement.query_map([store, model.as_str()], |row| row.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Writes down that a LoggedModel was handed out again.
    ///
    /// # Errors
    /// [`LedgerError`] when SQLite refuses.
    pub fn used(&self, store: &str, model: &ModelId, at_ms: i64) -> Result<(), LedgerError> {
        let query = "UPDATE history SET used_ms = ?3 WHERE store = ?1 AND model_id = ?2";
        let mut uncertain = lock(&self.uncertain);
        let is_in_memory = self
            .path
            .parent()
            .is_none_or(|dir| dir.as_os_str().is_empty());
        if uncertain.is_none() && !is_in_memory {
            *uncertain = Some(connect_uncertain(&self.path)?);
        }
        let values = params![store, model.as_str(), at_ms];
        match uncertain.as_ref() {
            Some(connection) => connection.execute(query, values)?,
            None => self.lock().execute(query, values)?,
        };
        Ok(())
    }

    /// Returns when a LoggedModel was handed out last on this machine, in Unix milliseconds; 0 where that is not known.
    ///
    /// # Errors
    /// [`LedgerError`] when SQLite refuses.
    pub fn last_used(&self, store: &str, model: &ModelId) -> Result<u64, LedgerError> {
        let query = "SELECT coalesce(max(max(at_ms, used_ms)), 0) FROM history WHERE store = ?1 AND model_id = ?2";
        let connection = self.lock();
        let mut statement = connection.prepare_cached(query)?;
        let at_ms: i64 = statement.query_row([store, model.as_str()], |row| row.get(0))?;
        Ok(u64::try_from(at_ms).unwrap_or(0))
    }

    /// Returns the nonces of the LoggedModels of a name that this machine asked a store for.
    ///
    /// # Errors
    /// [`LedgerError`] when SQLite refuses.
    pub fn nonces(&self, store: &str, name: &str) -> Result<BTreeSet<String>, LedgerError> {
        let connection = self.lock();
        let mut statement =
            connection.prepare("SELECT nonce FROM history WHERE store = ?1 AND name = ?2")?;
        let rows = statement.query_map([store, name], |row| row.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

/// `None` for ids that this program never writes.
fn chapter(row: &rusqlite::Row<'_>) -> rusqlite::Result<Option<Chapter>> {
    let (experiment, model): (String, String) = (row.get(3)?, row.get(4)?);
    let (Ok(experiment), Ok(model)) = (experiment.parse(), model.parse()) else {
        return Ok(None);
    };
    let at_ms: i64 = row.get(11)?;
    Ok(Some(Chapter {
        repository: row.get(0)?,
        worktree: row.get(1)?,
        store: row.get(2)?,
        experiment,
        model,
        version: VersionKey {
            name: row.get(5)?,
            key: row.get(6)?,
        },
        content: row.get(7)?,
        head: row.get(8)?,
        branch: row.get(9)?,
        dirty: row.get(10)?,
        at_ms: u64::try_from(at_ms).unwrap_or(0),
        nonce: row.get(12)?,
    }))
}
