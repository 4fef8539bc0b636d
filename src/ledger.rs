//! The ledger: which LoggedModel stands for which version, per store and experiment, so that going back to known code
//! costs no request and works off line; and which versions are owed their LoggedModel.
//!
//! A SQLite file in the state directory. What it says of LoggedModels is a memory, not a proof: the store decides whether
//! a row lives. What it says of debts is the only record of them.

mod debts;
mod history;
mod layout;
mod set_aside;
mod turn;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension as _, params};

use crate::ids::{ExperimentId, ModelId, VersionKey};
use crate::locks::lock;
pub use debts::{Account, Owed};
pub use history::Chapter;

/// How long a write waits for another process.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Why the ledger cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// SQLite refused.
    #[error("the ledger: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// SQLite cannot open the file: there is no room, or it may not be written.
    #[error("the ledger {} cannot be opened: {source}", path.display())]
    Opening {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
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

/// What SQLite calls a database that is nowhere on the disk (sqlite.org/inmemorydb.html).
const NOWHERE: &str = ":memory:";

/// An open ledger.
#[derive(Debug)]
pub struct Ledger {
    connection: Mutex<Connection>,
    /// For what may be lost, beside the other, so that nobody who reads waits for a disk. A mutex for the same reason; opened at the
    /// first use, `None` also for a ledger in memory.
    uncertain: Mutex<Option<Connection>>,
    path: PathBuf,
}

impl Ledger {
    /// Opens the ledger and makes it when there is none. A file that is no ledger of this version is set aside as
    /// `*.unusable` and begun anew, with what can be read of it: the store still has every row, but not the debts.
    ///
    /// # Errors
    /// [`LedgerError`] when the directory cannot be written.
    pub fn open(path: &Path) -> Result<Self, LedgerError> {
        // One that is only in memory has none.
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
        let _turn = dir.map(turn::take).transpose()?;
        set_aside::remove_what_is_no_file(path)?;
        let connection = Self::connected(path).map_err(|error| match error {
            LedgerError::Sqlite(source) => LedgerError::Opening {
                path: path.to_owned(),
                source,
            },
            other => other,
        })?;
        Ok(Self {
            connection: Mutex::new(connection),
            uncertain: Mutex::new(None),
            path: path.to_owned(),
        })
    }

    /// Returns an empty ledger that is nowhere on the disk, for whoever only looks.
    ///
    /// # Errors
    /// [`LedgerError`] when SQLite cannot have one.
    pub fn in_memory() -> Result<Self, LedgerError> {
        Self::open(Path::new(NOWHERE))
    }

    fn connected(path: &Path) -> Result<Connection, LedgerError> {
        connect(path).or_else(|error| {
            if !(error.is_unusable_file() || path.is_dir()) {
                return Err(error);
            }
            let aside = set_aside::put(path)?;
            let connection = connect(path)?;
            let kept = set_aside::carry_over(&aside, &connection, &layout::TABLES);
            tracing::warn!(%error, aside = %aside.display(), kept, "the ledger is unusable and set aside");
            Ok(connection)
        })
    }

    /// Returns the files in which a ledger at `path` may lie, also one that was set aside.
    pub fn files(path: &Path) -> Vec<PathBuf> {
        set_aside::all_files(path)
    }

    /// Returns what is damaged of the ledger at `path`, which is only read; `None` where it is sound, or is not there.
    pub fn damage(path: &Path) -> Option<String> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).ok()?;
        connection.busy_timeout(BUSY_TIMEOUT).ok()?;
        let found: Result<String, LedgerError> = connection
            .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
            .map_err(LedgerError::from);
        match found {
            Ok(sound) if sound == "ok" => None,
            Ok(damage) => Some(damage.replace('\n', " ")),
            Err(error) => error.is_unusable_file().then(|| error.to_string()),
        }
    }

    /// A mutex because rusqlite's connection is not `Sync`; held for one statement or transaction.
    fn lock(&self) -> MutexGuard<'_, Connection> {
        lock(&self.connection)
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
            .prepare_cached("SELECT model_id FROM versions WHERE store = ?1 AND experiment_id = ?2 AND name = ?3 AND key = ?4")?
            .query_row(
                params![store, experiment.as_str(), version.name, version.key],
                |row| row.get(0),
            )
            .optional()?;
        Ok(text.and_then(|text| text.parse().ok()))
    }

    /// Returns a version other than `version` of `experiment` that a LoggedModel is remembered for, with its experiment.
    ///
    /// # Errors
    /// [`LedgerError`] when SQLite refuses.
    pub fn other_version_of(
        &self,
        store: &str,
        model: &ModelId,
        experiment: &ExperimentId,
        version: &VersionKey,
    ) -> Result<Option<(ExperimentId, VersionKey)>, LedgerError> {
        let found: Option<(String, VersionKey)> = self
            .lock()
            .query_row(
                "SELECT experiment_id, name, key FROM versions WHERE store = ?1 AND model_id = ?2 \
                 AND NOT (experiment_id = ?3 AND name = ?4 AND key = ?5) LIMIT 1",
                params![
                    store,
                    model.as_str(),
                    experiment.as_str(),
                    version.name,
                    version.key
                ],
                |row| {
                    let (name, key) = (row.get(1)?, row.get(2)?);
                    Ok((row.get(0)?, VersionKey { name, key }))
                },
            )
            .optional()?;
        Ok(found.and_then(|(experiment, version)| Some((experiment.parse().ok()?, version))))
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
        remember(&self.lock(), store, experiment, version, model)
    }

    /// Forgets LoggedModels that were removed, and that there ever were any.
    ///
    /// # Errors
    /// [`LedgerError`] when SQLite refuses; nothing is forgotten then.
    pub fn erase(&self, store: &str, models: &[ModelId]) -> Result<(), LedgerError> {
        self.delete_from(&["versions", "history"], store, models)
    }

    /// Forgets LoggedModels that are about to be removed.
    ///
    /// # Errors
    /// [`LedgerError`] when SQLite refuses; nothing is forgotten then.
    pub fn forget_all(&self, store: &str, models: &[ModelId]) -> Result<(), LedgerError> {
        self.delete_from(&["versions"], store, models)
    }

    fn delete_from(
        &self,
        tables: &[&str],
        store: &str,
        models: &[ModelId],
    ) -> Result<(), LedgerError> {
        let mut connection = self.lock();
        let transaction = connection.transaction()?;
        for table in tables {
            let query = format!("DELETE FROM {table} WHERE store = ?1 AND model_id = ?2");
            for model in models {
                transaction.execute(&query, params![store, model.as_str()])?;
            }
        }
        Ok(transaction.commit()?)
    }

    /// Forgets a LoggedModel that the store no longer has.
    ///
    /// # Errors
    /// [`LedgerError`] when SQLite refuses.
    pub fn forget(&self, store: &str, model: &ModelId) -> Result<(), LedgerError> {
        self.forget_all(store, std::slice::from_ref(model))
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

fn remember(
    connection: &Connection,
    store: &str,
    experiment: &ExperimentId,
    version: &VersionKey,
    model: &ModelId,
) -> Result<(), LedgerError> {
    connection.execute(
        "INSERT OR REPLACE INTO versions (store, experiment_id, name, key, model_id) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![store, experiment.as_str(), version.name, version.key, model.as_str()],
    )?;
    Ok(())
}

/// Commits without a word to the disk (`synchronous` and `wal_autocheckpoint` in `https://sqlite.org/pragma.html`): what it writes
/// is safe once another connection commits.
fn connect_uncertain(path: &Path) -> Result<Connection, LedgerError> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    let _pages: i64 =
        connection.query_row("PRAGMA wal_autocheckpoint = 0", [], |row| row.get(0))?;
    Ok(connection)
}

fn connect(path: &Path) -> Result<Connection, LedgerError> {
    let mut connection = Connection::open(path)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    let _mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    // A page that is damaged is met only when somebody needs it.
    let sound: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if sound != "ok" {
        return Err(rusqlite::Error::InvalidQuery.into());
    }
    layout::bring_up_to_date(&mut connection)?;
    Ok(connection)
}

#[cfg(test)]
mod tests {
    use super::layout::MIGRATIONS;
    use super::*;

    #[test]
    fn one_that_is_damaged_in_the_middle_is_set_aside_before_anything_is_owed_to_it() {
        use std::os::unix::fs::FileExt as _;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.sqlite");
        let version = |name: String| VersionKey {
            name,
            key: "c".into(),
        };
        let (experiment, model) = ("0".parse().unwrap(), "m-1".parse().unwrap());
        let ledger = Ledger::open(&path).unwrap();
        for n in 0..500 {
            let version = version(format!("n{n}"));
            ledger.remember("s", &experiment, &version, &model).unwrap();
        }
        drop(ledger);
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        for page in 1..file.metadata().unwrap().len() / 4096 {
            file.write_all_at(&[0xa5; 2000], page * 4096).unwrap();
        }
        let ledger = Ledger::open(&path).unwrap();
        assert!(dir.path().join("ledger.unusable").exists());
        let new = version("new".into());
        ledger.remember("s", &experiment, &new, &model).unwrap();
        assert_eq!(
            ledger.model_of("s", &experiment, &new).unwrap(),
            Some(model)
        );
    }

    #[test]
    fn what_is_no_file_in_its_place_is_neither_opened_nor_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (path, victim) = (dir.path().join("ledger.sqlite"), dir.path().join("victim"));
        rusqlite::Connection::open(&victim)
            .unwrap()
            .execute_batch("CREATE TABLE precious (x)")
            .unwrap();
        let before = std::fs::read(&victim).unwrap();
        let absent = dir.path().join("absent");
        for end in ["", "-wal", "-shm", "-journal"] {
            let place = dir.path().join(format!("ledger.sqlite{end}"));
            for target in [&victim, &absent] {
                std::os::unix::fs::symlink(target, &place).unwrap();
                drop(Ledger::open(&path).unwrap());
                assert!(
                    place.symlink_metadata().is_err() || !place.is_symlink(),
                    "{end}"
                );
                drop(std::fs::remove_file(&place));
            }
            let made = std::process::Command::new("mkfifo").arg(&place).status();
            assert!(made.unwrap().success());
            drop(Ledger::open(&path).unwrap());
            drop(std::fs::remove_file(&place));
            std::fs::create_dir(&place).unwrap();
            std::fs::write(place.join("x"), "x").unwrap();
            drop(Ledger::open(&path).unwrap());
            drop(std::fs::remove_file(&place));
        }
        assert_eq!(std::fs::read(&victim).unwrap(), before);
        assert!(!absent.exists());
        std::fs::write(&path, "no ledger, after a directory was set aside").unwrap();
        drop(Ledger::open(&path).unwrap());
    }

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
        let model = "m-1".parse().unwrap();
        let other = |store, version: &VersionKey| {
            ledger
                .other_version_of(store, &model, &experiment, version)
                .unwrap()
        };
        assert_eq!(other("s", &version), None);
        let second = VersionKey {
            name: "second".into(),
            key: "c".into(),
        };
        assert_eq!(other("s", &second), Some((experiment.clone(), version)));
        assert_eq!(other("t", &second), None);
    }

    fn account() -> Account {
        Account {
            worktree: "/repo".into(),
            store: "s".into(),
            choice: "default".into(),
        }
    }

    fn version(key: &str) -> VersionKey {
        VersionKey {
            name: "n".into(),
            key: key.into(),
        }
    }

    /// A ledger as version 0.1.0 of this program wrote it.
    const FIRST_LAYOUT: &str = "
        CREATE TABLE versions (
            store TEXT NOT NULL, experiment_id TEXT NOT NULL, name TEXT NOT NULL, key TEXT NOT NULL,
            model_id TEXT NOT NULL, PRIMARY KEY (store, experiment_id, name, key)) STRICT;
        CREATE TABLE contents (content TEXT PRIMARY KEY, first_seen_ms INTEGER NOT NULL) STRICT;
        CREATE TABLE experiments (
            store TEXT NOT NULL, choice TEXT NOT NULL, experiment_id TEXT NOT NULL,
            PRIMARY KEY (store, choice)) STRICT;
        PRAGMA user_version = 1;
        INSERT INTO versions VALUES ('s', '0', 'n', 'c', 'm-1');
        INSERT INTO contents VALUES ('c', 7);
        INSERT INTO experiments VALUES ('s', 'default', '0');";

    #[test]
    fn a_ledger_of_the_first_layout_keeps_what_it_knows_and_learns_to_owe() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.sqlite");
        Connection::open(&path)
            .unwrap()
            .execute_batch(FIRST_LAYOUT)
            .unwrap();
        for _ in 0..2 {
            let ledger = Ledger::open(&path).unwrap();
            let experiment = ledger.experiment_of("s", "default").unwrap().unwrap();
            let known = ledger.model_of("s", &experiment, &version("c")).unwrap();
            assert_eq!(known, Some("m-1".parse().unwrap()));
            assert_eq!(ledger.first_seen("c", 9).unwrap(), 7);
            ledger.owe(&account(), &version("d"), "what").unwrap();
            assert_eq!(ledger.owed(&account(), 9).unwrap().len(), 1);
        }
        assert!(!path.with_extension("unusable").exists());
    }

    #[test]
    fn a_ledger_of_the_second_layout_keeps_its_debts_and_learns_history() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.sqlite");
        let old = Connection::open(&path).unwrap();
        old.execute_batch(FIRST_LAYOUT).unwrap();
        old.execute_batch(MIGRATIONS[1]).unwrap();
        old.execute_batch(
            "PRAGMA user_version = 2; INSERT INTO owed (worktree, store, choice, name, key, debt) VALUES ('/repo', 's', 'default', 'n', 'd', 'what');",
        )
        .unwrap();
        drop(old);
        let chapter = Chapter {
            repository: "/repo/.git".into(),
            worktree: "/repo".into(),
            store: "s".into(),
            experiment: "0".parse().unwrap(),
            model: "m-2".parse().unwrap(),
            version: version("d"),
            content: "d".into(),
            head: Some("h".into()),
            branch: None,
            dirty: true,
            at_ms: 7,
            nonce: "once".into(),
        };
        let ledger = Ledger::open(&path).unwrap();
        ledger.chronicle(&chapter).unwrap();
        let later = Chapter {
            nonce: "later".into(),
            ..chapter.clone()
        };
        ledger.chronicle(&later).unwrap();
        assert_eq!(
            ledger.history("/repo/.git").unwrap(),
            std::slice::from_ref(&chapter)
        );
        assert_eq!(ledger.history("/other/.git").unwrap(), []);
        assert_eq!(ledger.owed(&account(), 9).unwrap().len(), 1);
        ledger
            .erase("s", std::slice::from_ref(&chapter.model))
            .unwrap();
        assert_eq!(ledger.history("/repo/.git").unwrap(), []);
    }

    #[test]
    fn a_ledger_of_the_fourth_layout_keeps_its_history_and_learns_of_other_clones() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.sqlite");
        let old = Connection::open(&path).unwrap();
        for step in &MIGRATIONS[..4] {
            old.execute_batch(step).unwrap();
        }
        old.execute_batch(
            "PRAGMA user_version = 4; INSERT INTO history VALUES \
             (7, '/a/.git', '/a', 's', '0', 'm-2', 'n', 'd', 'c', NULL, NULL, 1, 5, 'once');",
        )
        .unwrap();
        drop(old);
        let ledger = Ledger::open(&path).unwrap();
        let chapter = ledger.history("/a/.git").unwrap().remove(0);
        assert_eq!((chapter.at_ms, chapter.nonce.as_str()), (5, "once"));
        let other = Chapter {
            repository: "/b/.git".into(),
            nonce: "another".into(),
            ..chapter
        };
        ledger.chronicle(&other).unwrap();
        let there = ledger.history("/b/.git").unwrap().remove(0);
        assert_eq!(there.nonce, "once", "the row carries the first");
        let all = ledger.repositories_of("s", &other.model).unwrap();
        assert_eq!(all, ["/a/.git".to_owned(), "/b/.git".to_owned()].into());
        let nonces = ledger.nonces("s", "n").unwrap();
        assert_eq!(nonces, ["once".to_owned()].into());
    }

    #[test]
    fn a_ledger_of_a_later_layout_is_not_written_to_and_its_debts_are_taken_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.sqlite");
        let ledger = Ledger::open(&path).unwrap();
        ledger.owe(&account(), &version("d"), "what").unwrap();
        drop(ledger);
        let later = Connection::open(&path).unwrap();
        later
            .execute_batch(
                "ALTER TABLE owed ADD COLUMN why TEXT; DROP TABLE heads; PRAGMA user_version = 99",
            )
            .unwrap();
        drop(later);
        let ledger = Ledger::open(&path).unwrap();
        assert_eq!(ledger.first_seen("c", 7).unwrap(), 7);
        let owed = ledger.owed(&account(), 9).unwrap();
        assert_eq!(owed.len(), 1, "what is owed is written down nowhere else");
        let aside = Connection::open(path.with_extension("unusable")).unwrap();
        let version: i64 = aside
            .query_row("PRAGMA user_version", [], |row| row.get(0))
            .unwrap();
        assert_eq!(version, 99);
    }

    #[test]
    fn a_ledger_of_a_later_layout_that_somebody_uses_stays_where_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.sqlite");
        let user = Ledger::open(&path).unwrap();
        let later = Connection::open(&path).unwrap();
        later.execute_batch("PRAGMA user_version = 99").unwrap();
        drop(later);
        assert!(Ledger::open(&path).is_err());
        user.owe(&account(), &version("d"), "what").unwrap();
        drop(user);
        let ledger = Ledger::open(&path).unwrap();
        assert_eq!(ledger.owed(&account(), 9).unwrap().len(), 1);
    }

    #[test]
    fn many_who_set_the_same_ledger_aside_at_once_lose_nothing() {
        for _ in 0..10 {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("ledger.sqlite");
            let ledger = Ledger::open(&path).unwrap();
            ledger.owe(&account(), &version("d"), "what").unwrap();
            drop(ledger);
            let later = Connection::open(&path).unwrap();
            later.execute_batch("PRAGMA user_version = 99").unwrap();
            drop(later);
            let together = std::sync::Barrier::new(8);
            std::thread::scope(|scope| {
                for number in 0..8 {
                    let (path, together) = (&path, &together);
                    scope.spawn(move || {
                        together.wait();
                        let ledger = Ledger::open(path).unwrap();
                        let version = version(&number.to_string());
                        ledger.owe(&account(), &version, "new").unwrap();
                    });
                }
            });
            let owed = Ledger::open(&path).unwrap().owed(&account(), 99).unwrap();
            assert_eq!(owed.len(), 9, "{owed:?}");
        }
    }

    #[test]
    fn a_version_is_owed_until_it_has_its_model_and_by_its_worktree_alone() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(&dir.path().join("ledger.sqlite")).unwrap();
        let (mine, one, two) = (account(), version("1"), version("2"));
        assert_eq!(ledger.owe(&mine, &one, "first").unwrap(), "first");
        assert_eq!(ledger.owe(&mine, &one, "again").unwrap(), "first");
        ledger.owe(&mine, &two, "second").unwrap();
        let keys = |account: &Account, limit| -> Vec<_> {
            let owed = ledger.owed(account, limit).unwrap();
            owed.into_iter().map(|owed| owed.version.key).collect()
        };
        assert_eq!(keys(&mine, 9), ["1", "2"]);
        assert_eq!(keys(&mine, 1), ["1"]);
        let elsewhere = Account {
            store: "t".into(),
            ..account()
        };
        assert_eq!(keys(&elsewhere, 9), Vec::<String>::new());
        let (experiment, model) = ("0".parse().unwrap(), "m-1".parse().unwrap());
        ledger.settle(&mine, &experiment, &one, &model).unwrap();
        assert_eq!(keys(&mine, 9), ["2"]);
        assert_eq!(
            ledger.model_of("s", &experiment, &one).unwrap(),
            Some(model)
        );
        ledger.owe(&elsewhere, &two, "second").unwrap();
        ledger.owe(&elsewhere, &one, "third").unwrap();
        assert_eq!(
            ledger.count_owed("/repo").unwrap(),
            [(mine, 1), (elsewhere, 2)]
        );
        ledger.forgive("/repo").unwrap();
        assert_eq!(ledger.count_owed("/repo").unwrap(), []);
    }

    #[test]
    fn how_far_head_was_followed_is_known_until_the_worktree_is_given_up() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.sqlite");
        let old = Connection::open(&path).unwrap();
        old.execute_batch(FIRST_LAYOUT).unwrap();
        old.execute_batch(MIGRATIONS[1]).unwrap();
        old.execute_batch(MIGRATIONS[2]).unwrap();
        old.execute_batch("PRAGMA user_version = 3").unwrap();
        drop(old);
        let ledger = Ledger::open(&path).unwrap();
        assert_eq!(ledger.followed("/repo").unwrap(), None);
        ledger.follow("/repo", "one").unwrap();
        ledger.follow("/repo", "two").unwrap();
        assert_eq!(ledger.followed("/repo").unwrap().as_deref(), Some("two"));
        ledger.forgive("/repo").unwrap();
        assert_eq!(ledger.followed("/repo").unwrap(), None);
    }

    #[test]
    fn an_experiment_made_again_under_the_same_name_knows_nothing_of_the_first() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(&dir.path().join("ledger.sqlite")).unwrap();
        let [first, second] = ["1", "2"].map(|id| id.parse().unwrap());
        let model = "m-1".parse().unwrap();
        ledger.remember("s", &first, &version("c"), &model).unwrap();
        ledger.remember_experiment("s", "name:x", &second).unwrap();
        let now = ledger.experiment_of("s", "name:x").unwrap().unwrap();
        assert_eq!(ledger.model_of("s", &now, &version("c")).unwrap(), None);
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
    fn whatever_a_ledger_leaves_behind_is_among_its_files() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.sqlite");
        std::fs::create_dir(dir.path().join("ledger.sqlite-journal")).unwrap();
        std::fs::write(&path, "not a database").unwrap();
        let ledger = Ledger::open(&path).unwrap();
        ledger.first_seen("c", 7).unwrap();
        let files = Ledger::files(&path);
        let left: Vec<_> = std::fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        assert!(left.len() > 3, "{left:?}");
        assert!(left.iter().all(|file| files.contains(file)), "{left:?}");
    }

    #[test]
    fn the_first_sight_of_a_content_stays() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(&dir.path().join("ledger.sqlite")).unwrap();
        assert_eq!(ledger.first_seen("c", 7).unwrap(), 7);
        assert_eq!(ledger.first_seen("c", 9).unwrap(), 7);
    }
}
