//! The tables of the ledger, how a file of an older layout is brought up to date, and where tables name places.
//!
//! Knows no meaning of a row.

use rusqlite::{Connection, TransactionBehavior};

use super::{Ledger, LedgerError};

/// What brings a file from one version of its layout, kept in `user_version`, to the next; the first makes it.
pub(super) const MIGRATIONS: [&str; 5] = [
    "CREATE TABLE versions (
         store TEXT NOT NULL, experiment_id TEXT NOT NULL, name TEXT NOT NULL, key TEXT NOT NULL,
         model_id TEXT NOT NULL, PRIMARY KEY (store, experiment_id, name, key)) STRICT;
     CREATE TABLE contents (content TEXT PRIMARY KEY, first_seen_ms INTEGER NOT NULL) STRICT;
     CREATE TABLE experiments (
         store TEXT NOT NULL, choice TEXT NOT NULL, experiment_id TEXT NOT NULL,
         PRIMARY KEY (store, choice)) STRICT;",
    "CREATE TABLE owed (
         id INTEGER PRIMARY KEY AUTOINCREMENT, worktree TEXT NOT NULL, store TEXT NOT NULL, choice TEXT NOT NULL,
         name TEXT NOT NULL, key TEXT NOT NULL, debt TEXT NOT NULL,
         UNIQUE (worktree, store, choice, name, key)) STRICT;",
    "CREATE TABLE history (
         id INTEGER PRIMARY KEY AUTOINCREMENT, repository TEXT NOT NULL, worktree TEXT NOT NULL,
         store TEXT NOT NULL, experiment_id TEXT NOT NULL, model_id TEXT NOT NULL,
         name TEXT NOT NULL, key TEXT NOT NULL, content TEXT NOT NULL, head TEXT, branch TEXT,
         dirty INTEGER NOT NULL, at_ms INTEGER NOT NULL, nonce TEXT NOT NULL,
         UNIQUE (store, model_id)) STRICT;
     CREATE INDEX history_of_a_repository ON history (repository, id);",
    "CREATE TABLE heads (worktree TEXT PRIMARY KEY, mark TEXT NOT NULL) STRICT;",
    "ALTER TABLE history RENAME TO old_history;
     DROP INDEX history_of_a_repository;
     CREATE TABLE history (
         id INTEGER PRIMARY KEY AUTOINCREMENT, repository TEXT NOT NULL, worktree TEXT NOT NULL,
         store TEXT NOT NULL, experiment_id TEXT NOT NULL, model_id TEXT NOT NULL,
         name TEXT NOT NULL, key TEXT NOT NULL, content TEXT NOT NULL, head TEXT, branch TEXT,
         dirty INTEGER NOT NULL, at_ms INTEGER NOT NULL, nonce TEXT NOT NULL, used_ms INTEGER NOT NULL DEFAULT 0,
         UNIQUE (repository, store, model_id)) STRICT;
     INSERT INTO history SELECT *, 0 FROM old_history;
     DROP TABLE old_history;
     CREATE INDEX history_of_a_repository ON history (repository, id);
     CREATE INDEX history_of_a_model ON history (store, model_id);",
];
/// Every table.
pub(super) const TABLES: [&str; 6] = [
    "versions",
    "contents",
    "experiments",
    "owed",
    "history",
    "heads",
];
/// Where the ledger names places on this machine: by path, and stores that are files by their URI.
const PLACES: [(&str, &str); 8] = [
    ("versions", "store"),
    ("experiments", "store"),
    ("owed", "worktree"),
    ("owed", "store"),
    ("heads", "worktree"),
    ("history", "repository"),
    ("history", "worktree"),
    ("history", "store"),
];
/// How the URI of a store begins that is a file.
const SQLITE_SCHEME: &str = "sqlite:///";

/// Adds what this layout has and the file lacks.
///
/// # Errors
/// [`LedgerError`] when SQLite refuses, or the file is of a later layout than this program knows.
pub(super) fn bring_up_to_date(connection: &mut Connection) -> Result<(), LedgerError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let schema: i64 = transaction.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let done = usize::try_from(schema).map_err(|_| rusqlite::Error::InvalidQuery)?;
    let missing = MIGRATIONS
        .get(done..)
        .ok_or(rusqlite::Error::InvalidQuery)?;
    for migration in missing {
        transaction.execute_batch(migration)?;
    }
    if !missing.is_empty() {
        transaction.execute_batch(&format!("PRAGMA user_version = {}", MIGRATIONS.len()))?;
    }
    Ok(transaction.commit()?)
}

impl Ledger {
    /// Writes down that a worktree lies somewhere else now, with what it owes, its history and stores inside.
    ///
    /// # Errors
    /// [`LedgerError`] when SQLite refuses.
    pub fn moved(&self, from: &str, to: &str) -> Result<(), LedgerError> {
        let mut connection = self.lock();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for (table, column) in PLACES {
            let start = if column == "store" { SQLITE_SCHEME } else { "" };
            let (from, to) = (format!("{start}{from}"), format!("{start}{to}"));
            transaction.execute(
                &format!(
                    "UPDATE OR IGNORE {table} SET {column} = ?2 || substr({column}, length(?1) + 1) \
                     WHERE {column} = ?1 OR substr({column}, 1, length(?1) + 1) = ?1 || '/'"
                ),
                [from, to],
            )?;
        }
        Ok(transaction.commit()?)
    }
}
