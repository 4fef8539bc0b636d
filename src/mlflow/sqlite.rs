//! MLflow's SQLite file. Rows are written as MLflow writes them; the file is never created and never migrated.
//!
//! SQLite blocks, up to its busy time-out: each call runs on tokio's blocking threads with its own connection, so
//! that no lock outlives a call and a file that was replaced is noticed.

mod experiments;
mod models;
mod past;
mod shape;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use rusqlite::{
    Connection, ErrorCode, OpenFlags, OptionalExtension as _, Transaction, TransactionBehavior,
    params,
};

use super::error::clean;
use super::patience::{Patience, UNDECIDED_PAUSE};
use super::wanted::{Claim, Wanted};
use super::{Experiment, ExperimentChoice, Found, ModelFile, Standing, StoreError, tags};
use crate::ids::ModelId;
use crate::locks::lock;
use crate::unix_time;
use experiments::{experiment_named, experiment_with_id, number};
use models::{find_or_insert, found, insert_params, insert_tags, rows_named, write_model_file};
use shape::{check_shape, has_experiments, is_younger, migrating, revision};

/// What MLflow itself sets (3.17.2, `mlflow/store/db/utils.py`).
const BUSY_TIMEOUT: Duration = Duration::from_secs(20);
/// The pause before a lock is tried again.
const BUSY_PAUSE: Duration = Duration::from_millis(10);
/// A migration commits step by step, with less than this between two steps (observed with MLflow 3.17.2).
const SETTLING: Duration = Duration::from_secs(1);

/// Nobody waits for a lock any more. One for the process: SQLite's handler is a plain function.
static NO_MORE_WAITING: AtomicBool = AtomicBool::new(false);

/// Ends every wait for a locked file, now and from now on: a process that is to end does not wait for others.
pub fn stop_waiting() {
    NO_MORE_WAITING.store(true, Ordering::Relaxed);
}

/// Waits a moment for a lock that another process holds; `tries` were made. False when it is given up.
fn wait_for_lock(tries: i32) -> bool {
    let waited = BUSY_PAUSE.saturating_mul(u32::try_from(tries).unwrap_or(u32::MAX));
    if waited >= BUSY_TIMEOUT || NO_MORE_WAITING.load(Ordering::Relaxed) {
        return false;
    }
    std::thread::sleep(BUSY_PAUSE);
    true
}

#[derive(Debug, Clone)]
pub(super) struct Sqlite {
    path: PathBuf,
    /// The schema revision that was last seen to stand still. A mutex, as calls run on several threads.
    settled: Arc<Mutex<Option<String>>>,
}

/// A failure before it is known which file it is about.
enum Trouble {
    Sqlite(rusqlite::Error),
    Store(StoreError),
}

impl From<rusqlite::Error> for Trouble {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl Sqlite {
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            settled: Arc::default(),
        }
    }

    pub(super) async fn experiment(
        &self,
        choice: &ExperimentChoice,
    ) -> Result<Experiment, StoreError> {
        let choice = choice.clone();
        self.transact(move |transaction, path| match &choice {
            ExperimentChoice::Name(name) => experiment_named(transaction, path, name),
            ExperimentChoice::Id(id) => experiment_with_id(transaction, id.as_str()),
            ExperimentChoice::Default => match experiment_with_id(transaction, "0") {
                Err(Trouble::Store(StoreError::ExperimentNotFound { .. })) => Err(migrating(path)),
                answer => answer,
            },
        })
        .await
    }

    /// Asks whether the file may be written, without writing: SQLite begins a transaction on one that may not, and fails
    /// with the first row.
    pub(super) async fn probe(&self) -> Result<(), StoreError> {
        self.blocking(move |sqlite| {
            let connection = sqlite.open()?;
            check_shape(&connection, &sqlite.path)?;
            let forbidden = not_writable(&sqlite.path);
            if forbidden.is_none() && !connection.is_readonly(rusqlite::MAIN_DB)? {
                return Ok(());
            }
            Err(read_only(&sqlite.path, forbidden).into())
        })
        .await
    }

    pub(super) async fn find_or_create(
        &self,
        experiment: &Experiment,
        wanted: &Wanted,
    ) -> Result<Found, StoreError> {
        let patience = Arc::new(Mutex::new(Patience::default()));
        loop {
            let (experiment, wanted) = (experiment.clone(), wanted.clone());
            let patience = Arc::clone(&patience);
            let step = self.transact(move |transaction, _| {
                let mut patience = lock(&patience);
                find_or_insert(transaction, &experiment, &wanted, &mut patience)
            });
            if let Some(found) = step.await? {
                return Ok(found);
            }
            tokio::time::sleep(UNDECIDED_PAUSE).await;
        }
    }

    pub(super) async fn finish(&self, found: &Found) -> Result<ModelFile, StoreError> {
        let found = found.clone();
        self.blocking(move |_| Ok(write_model_file(&found))).await
    }

    /// Reads first: what stands and lacks nothing costs no write.
    pub(super) async fn review(
        &self,
        experiment: &Experiment,
        wanted: &Wanted,
        id: &ModelId,
    ) -> Result<Standing, StoreError> {
        let reading = (experiment.id.clone(), wanted.clone(), id.clone());
        let row = self
            .blocking(move |sqlite| {
                let (experiment, wanted, id) = reading;
                let connection = sqlite.open()?;
                check_shape(&connection, &sqlite.path)?;
                let mut rows = rows_named(&connection, number(&experiment)?, &wanted.name)?;
                rows.retain(|row| wanted.claim(row) == Claim::Ours);
                if rows.iter().all(|row| row.id != id) {
                    return Ok(None);
                }
                let chosen = wanted.choose(&rows, &BTreeSet::new());
                Ok(chosen.map(|(row, _)| row.clone()))
            })
            .await?;
        let Some(row) = row else {
            return Ok(Standing::Gone);
        };
        if !wanted.missing_params(&row).is_empty() {
            let (row, wanted, experiment) = (row.clone(), wanted.clone(), experiment.id.clone());
            self.transact(move |transaction, _| {
                let missing = wanted.missing_params(&row);
                Ok(insert_params(
                    transaction,
                    number(&experiment)?,
                    &row.id,
                    &missing,
                )?)
            })
            .await?;
        }
        let found = found(&row, false);
        if row.id == *id {
            return Ok(Standing::Stands(found));
        }
        self.tag_duplicate(experiment, id, &row.id).await?;
        Ok(Standing::Later(found))
    }

    /// Nobody can know that no other machine has handed the later row out: it says what it is, and stays.
    async fn tag_duplicate(
        &self,
        experiment: &Experiment,
        later: &ModelId,
        earlier: &ModelId,
    ) -> Result<(), StoreError> {
        let tags = BTreeMap::from([(tags::DUPLICATE_OF.to_owned(), earlier.to_string())]);
        let (experiment, later) = (experiment.id.clone(), later.clone());
        self.transact(move |transaction, _| {
            let id = number(&experiment)?;
            Ok(insert_tags(transaction, id, &later, &tags)?)
        })
        .await
    }

    /// Sets tags of a row, whatever they were.
    pub(super) async fn set_tags(
        &self,
        id: &ModelId,
        tags: &BTreeMap<String, String>,
    ) -> Result<(), StoreError> {
        let (id, tags) = (id.clone(), tags.clone());
        self.transact(move |transaction, _| {
            let query = "SELECT experiment_id FROM logged_models WHERE model_id = ?1 AND lifecycle_stage = 'active'";
            let experiment: Option<i64> = transaction
                .query_row(query, [id.as_str()], |row| row.get(0))
                .optional()?;
            let query = "INSERT OR REPLACE INTO logged_model_tags (model_id, experiment_id, tag_key, tag_value) VALUES (?1, ?2, ?3, ?4)";
            for (key, value) in experiment.iter().flat_map(|_| &tags) {
                transaction.execute(query, params![id.as_str(), experiment, key, value])?;
            }
            Ok(())
        })
        .await
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, Trouble> + Send + 'static,
    ) -> Result<T, StoreError> {
        let sqlite = self.clone();
        let done = tokio::task::spawn_blocking(move || {
            work(&sqlite).map_err(|trouble| sqlite.named(trouble))
        })
        .await;
        done.unwrap_or_else(|error| {
            Err(StoreError::Database {
                path: self.path.clone(),
                message: error.to_string(),
            })
        })
    }

    /// Runs `work` in one `BEGIN IMMEDIATE` transaction on a database that MLflow has finished setting up.
    async fn transact<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Transaction<'_>, &Path) -> Result<T, Trouble> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.blocking(move |sqlite| {
            let mut connection = sqlite.open()?;
            let settled = sqlite.await_settled(&connection)?;
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            if revision(&transaction)? != settled {
                return Err(migrating(&sqlite.path));
            }
            check_shape(&transaction, &sqlite.path)?;
            let answer = work(&transaction, &sqlite.path)?;
            transaction.commit()?;
            Ok(answer)
        })
        .await
    }

    fn open(&self) -> Result<Connection, Trouble> {
        match std::fs::metadata(&self.path) {
            Ok(file) if file.len() == 0 => return Err(migrating(&self.path)),
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(StoreError::NoDatabase {
                    path: self.path.clone(),
                }
                .into());
            }
            Err(error) => {
                return Err(StoreError::Database {
                    path: self.path.clone(),
                    message: error.to_string(),
                }
                .into());
            }
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(&self.path, flags)?;
        connection.busy_handler(Some(wait_for_lock))?;
        connection.pragma_update(None, "foreign_keys", true)?;
        Ok(connection)
    }

    /// Returns the schema revision once it stands still. The file of an app that is tracing changes all the time,
    /// so a revision that was seen to stand still once is not waited for again.
    fn await_settled(&self, connection: &Connection) -> Result<Option<String>, Trouble> {
        let before = revision(connection)?;
        if before.is_none() || !has_experiments(connection)? {
            return Err(migrating(&self.path));
        }
        let mut settled = lock(&self.settled).clone();
        if settled != before {
            if is_younger(&self.path, SETTLING) {
                std::thread::sleep(SETTLING);
            }
            settled = revision(connection)?;
            if settled != before {
                return Err(migrating(&self.path));
            }
            lock(&self.settled).clone_from(&settled);
        }
        Ok(settled)
    }

    fn named(&self, trouble: Trouble) -> StoreError {
        let path = self.path.clone();
        let error = match trouble {
            Trouble::Store(error) => return error,
            Trouble::Sqlite(error) => error,
        };
        let forbidden = not_writable(&path);
        match (error.sqlite_error_code(), forbidden) {
            (Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked), _) => {
                StoreError::Locked { path }
            }
            // Where the directory may not be written no journal can be made there.
            (Some(ErrorCode::ReadOnly), place) | (Some(ErrorCode::CannotOpen), place @ Some(_)) => {
                read_only(&path, place)
            }
            _ => StoreError::Database {
                path,
                message: clean(&error.to_string()),
            },
        }
    }
}

/// The file or its directory, whichever this user may not write.
fn not_writable(path: &Path) -> Option<&Path> {
    let mut places = [Some(path), path.parent()].into_iter().flatten();
    places.find(|place| rustix::fs::access(*place, rustix::fs::Access::WRITE_OK).is_err())
}

fn read_only(path: &Path, place: Option<&Path>) -> StoreError {
    StoreError::ReadOnly {
        path: path.to_owned(),
        place: place.unwrap_or(path).to_owned(),
    }
}

/// Returns the time as MLflow writes it: milliseconds since 1970.
fn now_ms() -> i64 {
    unix_time::ms(SystemTime::now())
}

#[cfg(test)]
mod tests {

    use rusqlite::params;

    use super::models::{READY, read_tags};
    use super::*;
    use crate::mlflow::wanted::tests::{CONTENT, wanted};
    use crate::mlflow::{Access, Key, Store, StoreUri};

    /// The tables as MLflow 3.17.2 makes them.
    const SCHEMA: &str = "
        CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL);
        INSERT INTO alembic_version VALUES ('dc11669786a5');
        CREATE TABLE experiments (experiment_id INTEGER NOT NULL, name VARCHAR(256) NOT NULL,
          artifact_location VARCHAR(256), lifecycle_stage VARCHAR(32), creation_time BIGINT, last_update_time BIGINT,
          workspace VARCHAR(63) DEFAULT 'default' NOT NULL, CONSTRAINT experiment_pk PRIMARY KEY (experiment_id),
          CONSTRAINT uq_experiments_workspace_name UNIQUE (workspace, name));
        CREATE TABLE logged_models (model_id VARCHAR(36) NOT NULL, experiment_id INTEGER NOT NULL,
          name VARCHAR(500) NOT NULL, artifact_location VARCHAR(1000) NOT NULL, creation_timestamp_ms BIGINT NOT NULL,
          last_updated_timestamp_ms BIGINT NOT NULL, status INTEGER NOT NULL, lifecycle_stage VARCHAR(32),
          model_type VARCHAR(500), source_run_id VARCHAR(32), status_message VARCHAR(1000),
          CONSTRAINT logged_models_pk PRIMARY KEY (model_id),
          CONSTRAINT logged_models_lifecycle_stage_check CHECK (lifecycle_stage IN ('active', 'deleted')),
          FOREIGN KEY(experiment_id) REFERENCES experiments (experiment_id) ON DELETE CASCADE);
        CREATE TABLE logged_model_params (model_id VARCHAR(36) NOT NULL, experiment_id INTEGER NOT NULL,
          param_key VARCHAR(255) NOT NULL, param_value TEXT NOT NULL, PRIMARY KEY (model_id, param_key),
          FOREIGN KEY(model_id) REFERENCES logged_models (model_id) ON DELETE CASCADE);
        CREATE TABLE logged_model_tags (model_id VARCHAR(36) NOT NULL, experiment_id INTEGER NOT NULL,
          tag_key VARCHAR(255) NOT NULL, tag_value TEXT NOT NULL, PRIMARY KEY (model_id, tag_key),
          FOREIGN KEY(model_id) REFERENCES logged_models (model_id) ON DELETE CASCADE);";

    struct World {
        dir: tempfile::TempDir,
        store: Store,
    }

    impl World {
        fn empty() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let uri = StoreUri::Sqlite(dir.path().join("mlflow.db"));
            let store = Store::open(&uri, &Access::default()).unwrap();
            Self { dir, store }
        }

        fn ready() -> Self {
            let world = Self::empty();
            let root = world.dir.path().join("mlruns/0");
            world.database().execute_batch(SCHEMA).unwrap();
            world
                .database()
                .execute(
                    "INSERT INTO experiments VALUES (0, 'Default', ?1, 'active', 1, 1, 'default')",
                    [root.to_str()],
                )
                .unwrap();
            world.make_old();
            world
        }

        fn make_old(&self) {
            let file = std::fs::File::options()
                .write(true)
                .open(self.dir.path().join("mlflow.db"))
                .unwrap();
            file.set_modified(SystemTime::now() - Duration::from_mins(1))
                .unwrap();
        }

        fn database(&self) -> Connection {
            Connection::open(self.dir.path().join("mlflow.db")).unwrap()
        }

        fn foreign_row(&self, id: &str, name: &str, created_ms: i64, tags: &[(&str, &str)]) {
            let database = self.database();
            let insert = "INSERT INTO logged_models VALUES (?1, 0, ?2, '/x', ?3, ?3, 2, 'active', NULL, NULL, NULL)";
            database
                .execute(insert, params![id, name, created_ms])
                .unwrap();
            for (key, value) in tags {
                database
                    .execute(
                        "INSERT INTO logged_model_tags VALUES (?1, 0, ?2, ?3)",
                        params![id, key, value],
                    )
                    .unwrap();
            }
            self.make_old();
        }

        async fn experiment(&self) -> Experiment {
            self.store
                .experiment(&ExperimentChoice::Default)
                .await
                .unwrap()
        }

        async fn find(&self, wanted: &Wanted) -> Found {
            self.store
                .find_or_create(&self.experiment().await, wanted)
                .await
                .unwrap()
        }

        fn count(&self) -> i64 {
            self.database()
                .query_row("SELECT count(*) FROM logged_models", [], |row| row.get(0))
                .unwrap()
        }
    }

    #[tokio::test]
    async fn a_row_that_a_machine_made_through_a_server_is_waited_for_until_it_is_decided() {
        let world = World::ready();
        let id = format!("m-{}", "7".repeat(32));
        let tags = [(tags::CONTENT, CONTENT), (tags::NONCE, "theirs")];
        let wanted = wanted("v1");
        world.foreign_row(&id, &wanted.name, now_ms(), &tags);
        let set = |status: i64| {
            let database = world.database();
            database.execute("UPDATE logged_models SET status = ?1", [status])
        };
        set(READY - 1).unwrap();
        let mut finding = Box::pin(world.find(&wanted));
        let waited = tokio::time::timeout(Duration::from_secs(1), &mut finding).await;
        assert!(waited.is_err(), "it may yet lose, and be deleted");
        set(READY).unwrap();
        assert_eq!(finding.await.model_id.as_str(), id);
    }

    #[tokio::test]
    async fn a_version_is_created_once_and_found_again() {
        let world = World::ready();
        let first = world.find(&wanted("abc")).await;
        assert!(first.created && first.needs_finish);
        assert_eq!(world.store.finish(&first).await, Ok(ModelFile::Written));
        let location = first.artifact_location.clone().unwrap();
        assert!(Path::new(&location).join("MLmodel").is_file());
        let again = world.find(&wanted("abc")).await;
        assert_eq!(
            (again.model_id.clone(), again.created, again.needs_finish),
            (first.model_id, false, false)
        );
        assert_eq!(world.count(), 1);
        let found = world.store.model(&again.model_id).await.unwrap();
        assert_eq!(found.unwrap().id, again.model_id);
        world
            .database()
            .execute("UPDATE logged_models SET lifecycle_stage = 'deleted'", [])
            .unwrap();
        assert_eq!(world.store.model(&again.model_id).await, Ok(None));
        assert!(world.find(&wanted("abc")).await.created);
    }

    #[tokio::test]
    async fn racing_callers_get_one_row() {
        let world = World::ready();
        let experiment = world.experiment().await;
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let (store, experiment) = (world.store.clone(), experiment.clone());
            tasks.spawn(async move {
                store
                    .find_or_create(&experiment, &wanted("abc"))
                    .await
                    .unwrap()
            });
        }
        let found = tasks.join_all().await;
        assert_eq!(found.iter().filter(|found| found.created).count(), 1);
        assert!(
            found
                .iter()
                .all(|other| other.model_id == found[0].model_id)
        );
        assert_eq!(world.count(), 1);
    }

    #[tokio::test]
    async fn a_row_made_by_an_app_is_adopted_and_keeps_its_tags() {
        let world = World::ready();
        world.foreign_row("m-app", "abc", 5000, &[("mlflow.user", "bob")]);
        let found = world.find(&wanted("abc")).await;
        assert_eq!(
            (found.model_id.as_str(), found.created, found.needs_finish),
            ("m-app", false, false)
        );
        let tags = read_tags(&world.database(), &found.model_id).unwrap();
        assert_eq!(tags.get("mlflow.user").unwrap(), "bob");
        assert_eq!(tags.get(tags::CONTENT).unwrap(), CONTENT);
        assert!(!tags.contains_key(tags::NONCE));
    }

    #[tokio::test]
    async fn a_row_of_other_code_with_the_same_name_is_left_alone_and_ours_is_newer() {
        let world = World::ready();
        let future = now_ms() + 60_000;
        world.foreign_row("m-other", "abc", future, &[(tags::CONTENT, "other")]);
        let found = world.find(&wanted("abc")).await;
        assert!(found.created);
        let query = "SELECT creation_timestamp_ms FROM logged_models WHERE model_id = ?1";
        let created: i64 = world
            .database()
            .query_row(query, [found.model_id.as_str()], |row| row.get(0))
            .unwrap();
        assert_eq!(created, future + 1);
    }

    #[tokio::test]
    async fn a_version_of_a_commit_is_shared_by_its_dirty_states() {
        let world = World::ready();
        let head = crate::mlflow::wanted::tests::HEAD;
        let mut commit = Wanted {
            key: Key::Commit(head.parse().unwrap()),
            ..wanted("app-git-01234567")
        };
        commit.tags.remove(tags::CONTENT);
        let first = world.find(&commit).await;
        assert_eq!(world.find(&commit).await.model_id, first.model_id);
    }

    #[tokio::test]
    async fn experiments_are_resolved_by_name_and_created_next_to_the_default() {
        let world = World::ready();
        let choice = ExperimentChoice::Name("it's new".into());
        let made = world.store.experiment(&choice).await.unwrap();
        let location = world.dir.path().join("mlruns/1");
        assert_eq!(made.id.as_str(), "1");
        assert_eq!(made.artifact_location.as_deref(), location.to_str());
        assert_eq!(world.store.experiment(&choice).await, Ok(made));
        world
            .database()
            .execute(
                "UPDATE experiments SET lifecycle_stage = 'deleted' WHERE experiment_id = 1",
                [],
            )
            .unwrap();
        assert!(matches!(
            world.store.experiment(&choice).await,
            Err(StoreError::ExperimentDeleted { .. })
        ));
        let absent = ExperimentChoice::Id("7".parse().unwrap());
        assert!(matches!(
            world.store.experiment(&absent).await,
            Err(StoreError::ExperimentNotFound { .. })
        ));
    }

    #[tokio::test]
    async fn a_database_that_is_not_ready_is_waited_for() {
        let world = World::empty();
        let ask = || world.store.experiment(&ExperimentChoice::Default);
        assert!(matches!(ask().await, Err(StoreError::NoDatabase { .. })));
        assert!(!world.dir.path().join("mlflow.db").exists());
        std::fs::write(world.dir.path().join("mlflow.db"), "").unwrap();
        assert!(matches!(ask().await, Err(StoreError::Migrating { .. })));
        world.database().execute_batch(SCHEMA).unwrap();
        assert!(matches!(ask().await, Err(StoreError::Migrating { .. })));
        world
            .database()
            .execute_batch("INSERT INTO experiments (experiment_id, name) VALUES (3, 'x')")
            .unwrap();
        world.make_old();
        assert!(matches!(ask().await, Err(StoreError::Migrating { .. })));
    }

    #[tokio::test]
    async fn a_migration_under_way_is_not_disturbed() {
        let world = World::ready();
        world
            .database()
            .execute_batch("CREATE TABLE _alembic_tmp_experiments (x)")
            .unwrap();
        assert!(matches!(
            world.store.experiment(&ExperimentChoice::Default).await,
            Err(StoreError::Migrating { .. })
        ));
        let world = World::ready();
        world
            .database()
            .execute_batch("UPDATE alembic_version SET version_num = 'a'")
            .unwrap();
        let path = world.dir.path().join("mlflow.db");
        let is_done = Arc::new(AtomicBool::new(false));
        let is_over = Arc::clone(&is_done);
        let steps = std::thread::spawn(move || {
            let connection = Connection::open(path).unwrap();
            let mut step = 0;
            while !is_over.load(Ordering::Relaxed) {
                step += 1;
                let next = "UPDATE alembic_version SET version_num = ?1";
                connection.execute(next, [step.to_string()]).unwrap();
                std::thread::sleep(SETTLING / 20);
            }
        });
        let asked = world.store.experiment(&ExperimentChoice::Default).await;
        is_done.store(true, Ordering::Relaxed);
        steps.join().unwrap();
        assert!(matches!(asked, Err(StoreError::Migrating { .. })));
    }

    #[tokio::test]
    async fn the_shape_decides_and_not_the_revision() {
        let world = World::ready();
        world.database().execute_batch("UPDATE alembic_version SET version_num = 'future'; ALTER TABLE logged_models ADD COLUMN x TEXT").unwrap();
        world.make_old();
        assert!(world.find(&wanted("abc")).await.created);
        let world = World::ready();
        world.database().execute_batch("DROP TABLE logged_model_tags; CREATE TABLE logged_model_tags (model_id, experiment_id, tag_key, tag_value, must TEXT NOT NULL)").unwrap();
        world.make_old();
        assert!(matches!(
            world.store.experiment(&ExperimentChoice::Default).await,
            Err(StoreError::Unsuitable { .. })
        ));
        let world = World::ready();
        world
            .database()
            .execute_batch("DROP TABLE logged_model_params")
            .unwrap();
        world.make_old();
        assert!(matches!(
            world.store.experiment(&ExperimentChoice::Default).await,
            Err(StoreError::Unsuitable { .. })
        ));
    }

    #[tokio::test]
    async fn a_file_that_is_no_database_is_said_to_be_none() {
        let world = World::empty();
        std::fs::write(world.dir.path().join("mlflow.db"), "hello ".repeat(1000)).unwrap();
        let error = world
            .store
            .experiment(&ExperimentChoice::Default)
            .await
            .unwrap_err();
        assert!(
            matches!(error, StoreError::Database { .. }) && !error.is_transient(),
            "{error}"
        );
    }
}
