//! What versions are owed their LoggedModel, by worktree, and how far HEAD was followed there.
//!
//! Does not read what a debt or a mark says: both are texts of others.

use rusqlite::{OptionalExtension as _, params};

use super::{Ledger, LedgerError, remember};
use crate::ids::VersionKey;
use crate::ids::{ExperimentId, ModelId};

/// Who owes versions to whom: a worktree to an experiment of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The top of the worktree.
    pub worktree: String,
    /// The store, as the ledger knows it.
    pub store: String,
    /// The experiment as it was chosen.
    pub choice: String,
}

/// A version that is owed its LoggedModel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owed {
    /// The version.
    pub version: VersionKey,
    /// What is needed to create it, as it was handed to [`Ledger::owe`].
    pub debt: String,
}

impl Ledger {
    /// Writes down that a version is owed its LoggedModel, on the disk before it returns, and returns the debt that
    /// counts: the one that was written first.
    ///
    /// # Errors
    /// [`LedgerError`] when SQLite refuses.
    pub fn owe(
        &self,
        account: &Account,
        version: &VersionKey,
        debt: &str,
    ) -> Result<String, LedgerError> {
        let connection = self.lock();
        connection.execute(
            "INSERT OR IGNORE INTO owed (worktree, store, choice, name, key, debt) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![account.worktree, account.store, account.choice, version.name, version.key, debt],
        )?;
        Ok(connection.query_row(
            "SELECT debt FROM owed WHERE worktree = ?1 AND store = ?2 AND choice = ?3 AND name = ?4 AND key = ?5",
            params![account.worktree, account.store, account.choice, version.name, version.key],
            |row| row.get(0),
        )?)
    }

    /// Returns what is owed for a version.
    ///
    /// # Errors
    /// [`LedgerError`] when SQLite refuses.
    pub fn debt_for(
        &self,
        account: &Account,
        version: &VersionKey,
    ) -> Result<Option<String>, LedgerError> {
        Ok(self
            .lock()
            .query_row(
                "SELECT debt FROM owed WHERE worktree = ?1 AND store = ?2 AND choice = ?3 AND name = ?4 AND key = ?5",
                params![account.worktree, account.store, account.choice, version.name, version.key],
                |row| row.get(0),
            )
            .optional()?)
    }

    /// Returns the versions that are owed, the oldest first, at most `limit`.
    ///
    /// # Errors
    /// [`LedgerError`] when SQLite refuses.
    pub fn owed(&self, account: &Account, limit: usize) -> Result<Vec<Owed>, LedgerError> {
        let connection = self.lock();
        let mut statement = connection.prepare(
            "SELECT name, key, debt FROM owed WHERE worktree = ?1 AND store = ?2 AND choice = ?3 ORDER BY id LIMIT ?4",
        )?;
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows = statement.query_map(
            params![account.worktree, account.store, account.choice, limit],
            |row| {
                Ok(Owed {
                    version: VersionKey {
                        name: row.get(0)?,
                        key: row.get(1)?,
                    },
                    debt: row.get(2)?,
                })
            },
        )?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Returns how many versions a worktree owes to each experiment of each store, the one that waits longest first.
    ///
    /// # Errors
    /// [`LedgerError`] when SQLite refuses.
    pub fn count_owed(&self, worktree: &str) -> Result<Vec<(Account, u64)>, LedgerError> {
        let connection = self.lock();
        let mut statement = connection.prepare(
            "SELECT store, choice, count(*) FROM owed WHERE worktree = ?1 GROUP BY store, choice ORDER BY min(id)",
        )?;
        let rows = statement.query_map([worktree], |row| {
            let account = Account {
                worktree: worktree.to_owned(),
                store: row.get(0)?,
                choice: row.get(1)?,
            };
            let count: i64 = row.get(2)?;
            Ok((account, u64::try_from(count).unwrap_or(0)))
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Remembers the LoggedModel of a version, which is then owed no longer: both or neither.
    ///
    /// # Errors
    /// [`LedgerError`] when SQLite refuses.
    pub fn settle(
        &self,
        account: &Account,
        experiment: &ExperimentId,
        version: &VersionKey,
        model: &ModelId,
    ) -> Result<(), LedgerError> {
        let mut connection = self.lock();
        let transaction =
            connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        remember(&transaction, &account.store, experiment, version, model)?;
        transaction.execute(
            "DELETE FROM owed WHERE worktree = ?1 AND store = ?2 AND choice = ?3 AND name = ?4 AND key = ?5",
            params![account.worktree, account.store, account.choice, version.name, version.key],
        )?;
        Ok(transaction.commit()?)
    }

    /// Lets go of everything that a worktree owes, and of how far its HEAD was followed: it is no longer tracked.
    ///
    /// # Errors
    /// [`LedgerError`] when SQLite refuses.
    pub fn forgive(&self, worktree: &str) -> Result<(), LedgerError> {
        let connection = self.lock();
        connection.execute("DELETE FROM owed WHERE worktree = ?1", [worktree])?;
        connection.execute("DELETE FROM heads WHERE worktree = ?1", [worktree])?;
        Ok(())
    }

    /// Returns how far the moves of a worktree's HEAD were followed, as [`Ledger::follow`] was told.
    ///
    /// # Errors
    /// [`LedgerError`] when SQLite refuses.
    pub fn followed(&self, worktree: &str) -> Result<Option<String>, LedgerError> {
        let query = "SELECT mark FROM heads WHERE worktree = ?1";
        let connection = self.lock();
        Ok(connection
            .query_row(query, [worktree], |row| row.get(0))
            .optional()?)
    }

    /// Writes down how far the moves of a worktree's HEAD were followed: every commit up to there that is owed its
    /// LoggedModel is written down as such, or has it.
    ///
    /// # Errors
    /// [`LedgerError`] when SQLite refuses.
    pub fn follow(&self, worktree: &str, mark: &str) -> Result<(), LedgerError> {
        self.lock().execute(
            "INSERT OR REPLACE INTO heads (worktree, mark) VALUES (?1, ?2)",
            params![worktree, mark],
        )?;
        Ok(())
    }
}
