//! The ledger: which LoggedModel stands for which version, per store and experiment, so that going back to known code
//! costs no request and works off line.
//!
//! A SQLite file in the state directory. What it says is a memory, not a proof: the store decides whether a row lives.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension as _, params};

use crate::ids::{ExperimentId, ModelId};

/// The version of the file's layout, kept in `user_version`.
const SCHEMA: i64 = 1;
/// How long a write waits for another process.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Why the ledger cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// SQLite refused.
    #[error("the ledger: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// The state directory cannot be written.
    #[error(transparent)]
    Path(#[from] crate::fs_util::PathError),
}

impl LedgerError {
    /// True when the file itself is wrong, as against a directory or a lock that is in the way for now.
    fn is_unusable_file(&self) -> bool {
        let Self::Sqlite(error) = self else {
            return false;
        };
        matches!(error, rusqlite::Error::InvalidQuery)
            || matches!(
                error.sqlite_error_code(),
                Some(rusqlite::ErrorCode::NotADatabase | rusqlite::ErrorCode::DatabaseCorrupt)
            )
    }
}

/// What a version is remembered by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct VersionKey {
    /// The LoggedModel's name.
    pub name: String,
    /// The content id, or `commit:` and the full HEAD under the naming `commit`.
    pub key: String,
}

/// An open ledger.
#[derive(Debug)]
pub struct Ledger {
    connection: Mutex<Connection>,
}

impl Ledger {
    /// Opens the ledger and makes it when there is none. A file that is no ledger of this version is set aside as
    /// `*.unusable` and begun anew: the store still has every row.
    ///
    /// # Errors
    /// [`LedgerError`] when the directory cannot be written.
    pub fn open(path: &Path) -> Result<Self, LedgerError> {
        if let Some(dir) = path.parent() {
            crate::fs_util::create_private_dir(dir)?;
        }
        let connection = connect(path).or_else(|error| {
            if !error.is_unusable_file() {
                return Err(error);
            }
            tracing::warn!(%error, path = %path.display(), "the ledger is unusable and set aside");
            std::fs::rename(path, path.with_extension("unusable"))
                .map_err(crate::fs_util::PathError::of("set aside", path))?;
            connect(path)
        })?;
        Ok(Self {
            connection: Mutex::new(connection),
        })
    }

    /// A mutex because rusqlite's connection is not `Sync`; held for one statement.
    fn lock(&self) -> MutexGuard<'_, Connection> {
        self.connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the LoggedModel that stands for a version.
    ///
    /// # Errors
    /// [`LedgerError`] when SQLite refuses.
    pub fn model_of(
        &self,
        store: &str,
        experiment: &ExperimentId,
        version: &VersionKey,
    ) -> Result<Option<ModelId>, LedgerError> {
        let text: Option<String> = self
            .lock()
            .query_row(
                "SELECT model_id FROM versions WHERE store = ?1 AND experiment_id = ?2 AND name = ?3 AND key = ?4",
                params![store, experiment.as_str(), version.name, version.key],
                |row| row.get(0),
            )
            .optional()?;
        Ok(text.and_then(|text| text.parse().ok()))
    }

    /// Remembers the LoggedModel that stands for a version.
    ///
    /// # Errors
    /// [`LedgerError`] when SQLite refuses.
    pub fn remember(
        &self,
        store: &str,
        experiment: &ExperimentId,
        version: &VersionKey,
        model: &ModelId,
    ) -> Result<(), LedgerError> {
        self.lock().execute(
            "INSERT OR REPLACE INTO versions (store, experiment_id, name, key, model_id) VALUES (?1, ?2, ?3, ?4, ?5)",
            params![store, experiment.as_str(), version.name, version.key, model.as_str()],
        )?;
        Ok(())
    }

    /// Forgets a LoggedModel that the store no longer has.
    ///
    /// # Errors
    /// [`LedgerError`] when SQLite refuses.
    pub fn forget(&self, store: &str, model: &ModelId) -> Result<(), LedgerError> {
        self.lock().execute(
            "DELETE FROM versions WHERE store = ?1 AND model_id = ?2",
            params![store, model.as_str()],
        )?;
        Ok(())
    }

    /// Returns when a content was first seen here, in Unix milliseconds, which is `now_ms` the first time.
    ///
    /// # Errors
    /// [`LedgerError`] when SQLite refuses.
    pub fn first_seen(&self, content: &str, now_ms: i64) -> Result<i64, LedgerError> {
        let connection = self.lock();
        connection.execute(
            "INSERT OR IGNORE INTO contents (content, first_seen_ms) VALUES (?1, ?2)",
            params![content, now_ms],
        )?;
        Ok(connection.query_row(
            "SELECT first_seen_ms FROM contents WHERE content = ?1",
            [content],
            |row| row.get(0),
        )?)
    }

    /// Returns the experiment that a choice led to the last time.
    ///
    /// # Errors
    /// [`LedgerError`] when SQLite refuses.
    pub fn experiment_of(
        &self,
        store: &str,
        choice: &str,
    ) -> Result<Option<ExperimentId>, LedgerError> {
        let text: Option<String> = self
            .lock()
            .query_row(
                "SELECT experiment_id FROM experiments WHERE store = ?1 AND choice = ?2",
                params![store, choice],
                |row| row.get(0),
            )
            .optional()?;
        Ok(text.and_then(|text| text.parse().ok()))
    }

    /// Remembers the experiment that a choice led to.
    ///
    /// # Errors
    /// [`LedgerError`] when SQLite refuses.
    pub fn remember_experiment(
        &self,
        store: &str,
        choice: &str,
        experiment: &ExperimentId,
    ) -> Result<(), LedgerError> {
        self.lock().execute(
            "INSERT OR REPLACE INTO experiments (store, choice, experiment_id) VALUES (?1, ?2, ?3)",
            params![store, choice, experiment.as_str()],
        )?;
        Ok(())
    }
}

fn connect(path: &Path) -> Result<Connection, LedgerError> {
    let mut connection = Connection::open(path)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    let _mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    let transaction =
        connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let schema: i64 = transaction.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    match schema {
        0 => transaction.execute_batch(
            "CREATE TABLE versions (
                 store TEXT NOT NULL, experiment_id TEXT NOT NULL, name TEXT NOT NULL, key TEXT NOT NULL,
                 model_id TEXT NOT NULL, PRIMARY KEY (store, experiment_id, name, key)) STRICT;
             CREATE TABLE contents (content TEXT PRIMARY KEY, first_seen_ms INTEGER NOT NULL) STRICT;
             CREATE TABLE experiments (
                 store TEXT NOT NULL, choice TEXT NOT NULL, experiment_id TEXT NOT NULL,
                 PRIMARY KEY (store, choice)) STRICT;
             PRAGMA user_version = 1;",
        )?,
        SCHEMA => {}
        _ => return Err(rusqlite::Error::InvalidQuery.into()),
    }
    transaction.commit()?;
    Ok(connection)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_known_again_after_the_ledger_was_closed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.sqlite");
        let (experiment, model) = ("0".parse().unwrap(), "m-1".parse().unwrap());
        let version = VersionKey {
            name: "n".into(),
            key: "c".into(),
        };
        Ledger::open(&path)
            .unwrap()
            .remember("s", &experiment, &version, &model)
            .unwrap();
        let ledger = Ledger::open(&path).unwrap();
        assert_eq!(
            ledger.model_of("s", &experiment, &version).unwrap(),
            Some(model)
        );
        assert_eq!(ledger.model_of("t", &experiment, &version).unwrap(), None);
    }

    #[test]
    fn a_file_that_is_no_ledger_is_set_aside() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.sqlite");
        std::fs::write(&path, "not a database, not even a short one").unwrap();
        assert_eq!(Ledger::open(&path).unwrap().first_seen("c", 7).unwrap(), 7);
        assert!(path.with_extension("unusable").exists());
    }

    #[test]
    fn the_first_sight_of_a_content_stays() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(&dir.path().join("ledger.sqlite")).unwrap();
        assert_eq!(ledger.first_seen("c", 7).unwrap(), 7);
        assert_eq!(ledger.first_seen("c", 9).unwrap(), 7);
    }
}
