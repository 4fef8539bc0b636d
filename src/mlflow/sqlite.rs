//! MLflow's SQLite file. Rows are written as MLflow writes them; the file is never created and never migrated.
//!
//! SQLite blocks, up to its busy time-out: each call runs on tokio's blocking threads with its own connection, so
//! that no lock outlives a call and a file that was replaced is noticed.

mod past;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusqlite::{
    Connection, ErrorCode, OpenFlags, OptionalExtension as _, Transaction, TransactionBehavior,
    params,
};

use super::mlmodel::{self, Place};
use super::patience::{Patience, UNDECIDED_PAUSE};
use super::{
    Claim, Experiment, ExperimentChoice, Found, ModelFile, Row, Standing, StoreError,
    TAG_DUPLICATE_OF, Wanted, error::clean, shared_tag,
};
use crate::ids::{ExperimentId, ModelId};

/// What MLflow itself sets (3.17.2, `mlflow/store/db/utils.py`).
const BUSY_TIMEOUT: Duration = Duration::from_secs(20);
/// The pause before a lock is tried again.
const BUSY_PAUSE: Duration = Duration::from_millis(10);
/// A migration commits step by step, with less than this between two steps (observed with MLflow 3.17.2).
const SETTLING: Duration = Duration::from_secs(1);
/// A table that is missing from a file as young as this may still be on its way.
const CREATION: Duration = Duration::from_secs(10);
/// `LoggedModelStatus.READY` (MLflow 3.17.2, `mlflow/entities/logged_model_status.py`).
const READY: i64 = 2;

/// The tables that are used and the columns that are written, the same in MLflow 3.1.4 to 3.17.2.
const TABLES: &[(&str, &[&str])] = &[
    (
        "experiments",
        &[
            "experiment_id",
            "name",
            "artifact_location",
            "lifecycle_stage",
            "creation_time",
            "last_update_time",
        ],
    ),
    (
        "logged_models",
        &[
            "model_id",
            "experiment_id",
            "name",
            "artifact_location",
            "creation_timestamp_ms",
            "last_updated_timestamp_ms",
            "status",
            "lifecycle_stage",
            "model_type",
        ],
    ),
    (
        "logged_model_tags",
        &["model_id", "experiment_id", "tag_key", "tag_value"],
    ),
    (
        "logged_model_params",
        &["model_id", "experiment_id", "param_key", "param_value"],
    ),
];

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
                let mut patience = patience.lock().unwrap_or_else(PoisonError::into_inner);
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
        let tags = BTreeMap::from([(TAG_DUPLICATE_OF.to_owned(), earlier.to_string())]);
        let (experiment, later) = (experiment.id.clone(), later.clone());
        self.transact(move |transaction, _| {
            let id = number(&experiment)?;
            Ok(insert_tags(transaction, id, &later, &tags)?)
        })
        .await
    }

    pub(super) async fn exists(&self, id: &ModelId) -> Result<bool, StoreError> {
        let id = id.clone();
        self.blocking(move |sqlite| {
            let connection = sqlite.open()?;
            check_shape(&connection, &sqlite.path)?;
            let query =
                "SELECT 1 FROM logged_models WHERE model_id = ?1 AND lifecycle_stage = 'active'";
            Ok(connection
                .query_row(query, [id.as_str()], |_| Ok(()))
                .optional()?
                .is_some())
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
        let mut settled = self
            .settled
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if settled != before {
            if is_younger(&self.path, SETTLING) {
                std::thread::sleep(SETTLING);
            }
            settled = revision(connection)?;
            if settled != before {
                return Err(migrating(&self.path));
            }
            self.settled
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone_from(&settled);
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

fn migrating(path: &Path) -> Trouble {
    StoreError::Migrating {
        path: path.to_owned(),
    }
    .into()
}

fn is_younger(path: &Path, age: Duration) -> bool {
    let modified = std::fs::metadata(path).and_then(|file| file.modified());
    // A time in the future counts as young.
    modified.is_ok_and(|modified| modified.elapsed().map_or(true, |elapsed| elapsed < age))
}

fn has_table(connection: &Connection, name: &str) -> rusqlite::Result<bool> {
    let query = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?1";
    Ok(connection
        .query_row(query, [name], |_| Ok(()))
        .optional()?
        .is_some())
}

/// Returns Alembic's revision, or nothing where there is none or a table is being rebuilt (Alembic copies into
/// `_alembic_tmp_…`, then renames).
fn revision(connection: &Connection) -> rusqlite::Result<Option<String>> {
    let rebuilding =
        "SELECT 1 FROM sqlite_master WHERE name LIKE '\\_alembic\\_tmp\\_%' ESCAPE '\\'";
    let rebuilding = connection
        .query_row(rebuilding, [], |_| Ok(()))
        .optional()?
        .is_some();
    if rebuilding || !has_table(connection, "alembic_version")? {
        return Ok(None);
    }
    connection.query_row(
        "SELECT group_concat(version_num) FROM alembic_version",
        [],
        |row| row.get(0),
    )
}

/// MLflow inserts the experiment `0` after the last migration (observed with MLflow 3.17.2).
fn has_experiments(connection: &Connection) -> rusqlite::Result<bool> {
    if !has_table(connection, "experiments")? {
        return Ok(false);
    }
    Ok(connection
        .query_row("SELECT 1 FROM experiments LIMIT 1", [], |_| Ok(()))
        .optional()?
        .is_some())
}

/// Accepts every schema that has the columns that are written and wants no others: lists of revisions go stale.
fn check_shape(connection: &Connection, path: &Path) -> Result<(), Trouble> {
    for (table, needed) in TABLES {
        let columns = columns(connection, table)?;
        let has = |name: &str| columns.iter().any(|column| column.name == name);
        let Some(missing) = needed.iter().find(|name| !has(name)) else {
            let Some(demanding) = columns
                .iter()
                .find(|c| c.required && !needed.contains(&c.name.as_str()))
            else {
                continue;
            };
            return Err(unsuitable(
                path,
                &format!("column {table}.{} must be filled", demanding.name),
            ));
        };
        if is_younger(path, CREATION) {
            return Err(migrating(path));
        }
        return Err(unsuitable(
            path,
            &format!("no column {table}.{missing}, as before MLflow 3"),
        ));
    }
    Ok(())
}

fn unsuitable(path: &Path, what: &str) -> Trouble {
    StoreError::Unsuitable {
        reason: clean(&format!("{}: {what}", path.display())),
    }
    .into()
}

struct Column {
    name: String,
    required: bool,
}

fn columns(connection: &Connection, table: &str) -> rusqlite::Result<Vec<Column>> {
    let query = r#"SELECT name, "notnull" AND dflt_value IS NULL FROM pragma_table_info(?1)"#;
    let mut statement = connection.prepare(query)?;
    let rows = statement.query_map([table], |row| {
        Ok(Column {
            name: row.get(0)?,
            required: row.get(1)?,
        })
    })?;
    rows.collect()
}

struct ExperimentRow {
    id: i64,
    name: String,
    artifact_location: Option<String>,
    lifecycle_stage: Option<String>,
}

fn experiment_where(
    connection: &Connection,
    condition: &str,
    value: impl rusqlite::ToSql,
) -> rusqlite::Result<Option<ExperimentRow>> {
    let query = format!(
        "SELECT experiment_id, name, artifact_location, lifecycle_stage FROM experiments WHERE {condition}"
    );
    connection
        .query_row(&query, [value], |row| {
            Ok(ExperimentRow {
                id: row.get(0)?,
                name: row.get(1)?,
                artifact_location: row.get(2)?,
                lifecycle_stage: row.get(3)?,
            })
        })
        .optional()
}

fn accept(row: ExperimentRow) -> Result<Experiment, Trouble> {
    if row.lifecycle_stage.as_deref() == Some("deleted") {
        return Err(StoreError::ExperimentDeleted {
            name: clean(&row.name),
        }
        .into());
    }
    let id = row.id.to_string().parse();
    let id: ExperimentId =
        id.map_err(|_| StoreError::InvalidAnswer(format!("experiment id {}", row.id)))?;
    Ok(Experiment {
        id,
        name: row.name,
        artifact_location: row.artifact_location,
    })
}

fn experiment_with_id(connection: &Connection, id: &str) -> Result<Experiment, Trouble> {
    let not_found = || StoreError::ExperimentNotFound { id: id.to_owned() };
    let number: i64 = id.parse().map_err(|_| not_found())?;
    accept(experiment_where(connection, "experiment_id = ?1", number)?.ok_or_else(not_found)?)
}

/// Experiments are unique by workspace and name since MLflow's schema has workspaces; a database without a server
/// has the workspace `default` alone.
fn experiment_named(
    connection: &Connection,
    path: &Path,
    name: &str,
) -> Result<Experiment, Trouble> {
    let workspaces = columns(connection, "experiments")?
        .iter()
        .any(|column| column.name == "workspace");
    let condition = if workspaces {
        "name = ?1 AND workspace = 'default'"
    } else {
        "name = ?1"
    };
    match experiment_where(connection, condition, name)? {
        Some(row) => accept(row),
        None => insert_experiment(connection, path, name),
    }
}

fn insert_experiment(
    connection: &Connection,
    path: &Path,
    name: &str,
) -> Result<Experiment, Trouble> {
    let now = now_ms();
    connection.execute(
        "INSERT INTO experiments (name, lifecycle_stage, creation_time, last_update_time) VALUES (?1, 'active', ?2, ?2)",
        params![name, now],
    )?;
    let id = connection.last_insert_rowid();
    let location = format!("{}/{id}", artifact_root(connection, path)?);
    connection.execute(
        "UPDATE experiments SET artifact_location = ?1 WHERE experiment_id = ?2",
        params![location, id],
    )?;
    experiment_with_id(connection, &id.to_string())
}

/// The directory in which the artifacts of the default experiment are, else `mlruns` next to the database, where an
/// app that runs there puts it (MLflow 3.17.2).
fn artifact_root(connection: &Connection, path: &Path) -> Result<String, Trouble> {
    let default = experiment_where(connection, "experiment_id = ?1", 0)?
        .and_then(|row| row.artifact_location);
    let sibling = default
        .as_deref()
        .and_then(|location| location.strip_suffix("/0"));
    if let Some(root) = sibling.filter(|root| root.starts_with('/') || root.starts_with("file:")) {
        return Ok(root.to_owned());
    }
    let beside = path.parent().unwrap_or(path).join("mlruns");
    let text = beside.into_os_string().into_string();
    text.map_err(|_| unsuitable(path, "its directory is not UTF-8 text"))
}

/// Nothing where the row of a machine that goes through a server is to be waited for.
fn find_or_insert(
    connection: &Transaction<'_>,
    experiment: &Experiment,
    wanted: &Wanted,
    patience: &mut Patience,
) -> Result<Option<Found>, Trouble> {
    let id = number(&experiment.id)?;
    let rows = rows_named(connection, id, &wanted.name)?;
    let mut refused = BTreeSet::new();
    while let Some((row, claim)) = wanted.choose(&rows, &refused) {
        if patience.is_with(row, Some(now_ms())) {
            return Ok(None);
        }
        if claim == Claim::Adoptable {
            insert_tags(connection, id, &row.id, &wanted.adoption_tags(row))?;
            let carried = Row {
                tags: read_tags(connection, &row.id)?,
                ..row.clone()
            };
            if wanted.claim(&carried) != Claim::Ours {
                refused.insert(row.id.clone());
                continue;
            }
        }
        insert_params(connection, id, &row.id, &wanted.missing_params(row))?;
        if wanted.is_to_mark(row) {
            insert_tags(connection, id, &row.id, &shared_tag())?;
        }
        return Ok(Some(found(row, false)));
    }
    let newest = rows.iter().map(|row| row.created_ms).max();
    let row = insert_model(connection, experiment, wanted, newest)?;
    Ok(Some(found(&row, true)))
}

/// Only a row that this program made gets its file: one without a nonce belongs to whoever made it.
fn found(row: &Row, created: bool) -> Found {
    let finalize = row.is_made_here()
        && model_dir(row.artifact_location.as_deref(), &row.id).is_some_and(|dir| !has_file(&dir));
    Found {
        model_id: row.id.clone(),
        created,
        artifact_location: row.artifact_location.clone(),
        needs_finish: finalize,
        finalize,
        unmarked: false,
        missing_params: BTreeMap::new(),
        params: row.params.clone(),
    }
}

fn has_file(dir: &Path) -> bool {
    dir.join(mlmodel::FILE_NAME).symlink_metadata().is_ok()
}

fn model_dir(location: Option<&str>, id: &ModelId) -> Option<PathBuf> {
    match Place::of(location?, id) {
        Place::Local(dir) => Some(dir),
        Place::Proxied(_) | Place::Elsewhere => None,
    }
}

fn write_model_file(found: &Found) -> ModelFile {
    let location = found.artifact_location.as_deref().unwrap_or_default();
    match model_dir(Some(location), &found.model_id) {
        Some(dir) => mlmodel::write(
            &dir,
            &mlmodel::text(location, &found.model_id, SystemTime::now()),
        ),
        None => ModelFile::Skipped,
    }
}

fn rows_named(connection: &Connection, experiment: i64, name: &str) -> Result<Vec<Row>, Trouble> {
    let mut statement = connection.prepare(
        "SELECT model_id, creation_timestamp_ms, status, artifact_location FROM logged_models \
         WHERE experiment_id = ?1 AND name = ?2 AND lifecycle_stage = 'active'",
    )?;
    let raw = statement.query_map(params![experiment, name], |row| {
        Ok((
            row.get::<_, String>(0)?,
            row.get(1)?,
            row.get::<_, i64>(2)?,
            row.get(3)?,
        ))
    })?;
    let mut rows = Vec::new();
    for raw in raw {
        let (id, created_ms, status, artifact_location) = raw?;
        let invalid = |_| StoreError::InvalidAnswer(format!("model id \"{}\"", clean(&id)));
        let id: ModelId = id.parse().map_err(invalid)?;
        let tags = read_tags(connection, &id)?;
        let params = read_pairs(
            connection,
            "SELECT param_key, param_value FROM logged_model_params WHERE model_id = ?1",
            &id,
        )?;
        rows.push(Row {
            id,
            created_ms,
            ready: status == READY,
            artifact_location,
            tags,
            params,
        });
    }
    Ok(rows)
}

fn read_tags(connection: &Connection, id: &ModelId) -> rusqlite::Result<BTreeMap<String, String>> {
    read_pairs(
        connection,
        "SELECT tag_key, tag_value FROM logged_model_tags WHERE model_id = ?1",
        id,
    )
}

fn read_pairs(
    connection: &Connection,
    query: &str,
    id: &ModelId,
) -> rusqlite::Result<BTreeMap<String, String>> {
    let mut statement = connection.prepare(query)?;
    let pairs = statement.query_map([id.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))?;
    pairs.collect()
}

/// The row gets a later time than all others of its name: MLflow's own pick by name is the latest (3.17.2,
/// `set_active_model`).
fn insert_model(
    connection: &Connection,
    experiment: &Experiment,
    wanted: &Wanted,
    newest: Option<i64>,
) -> Result<Row, Trouble> {
    let experiment_number = number(&experiment.id)?;
    let id = format!("m-{}", uuid::Uuid::new_v4().simple());
    let id: ModelId = id
        .parse()
        .map_err(|_| StoreError::InvalidAnswer(format!("model id {id}")))?;
    let now = newest
        .map_or(0, |newest| newest.saturating_add(1))
        .max(now_ms());
    let location = model_location(experiment, &id)?;
    connection.execute(
        "INSERT INTO logged_models (model_id, experiment_id, name, artifact_location, creation_timestamp_ms, \
         last_updated_timestamp_ms, status, lifecycle_stage, model_type) VALUES (?1, ?2, ?3, ?4, ?5, ?5, ?6, 'active', ?7)",
        params![id.as_str(), experiment_number, wanted.name, location, now, READY, wanted.model_type],
    )?;
    insert_tags(connection, experiment_number, &id, &wanted.tags)?;
    insert_params(connection, experiment_number, &id, &wanted.params)?;
    Ok(Row {
        id,
        created_ms: now,
        ready: true,
        artifact_location: Some(location),
        tags: wanted.tags.clone(),
        params: wanted.params.clone(),
    })
}

/// As MLflow 3.17.2 joins it (`append_to_uri_path` of `mlflow/utils/uri.py`): before a query, where there is one.
fn model_location(experiment: &Experiment, id: &ModelId) -> Result<String, Trouble> {
    let root = experiment
        .artifact_location
        .as_deref()
        .filter(|root| !root.is_empty())
        .ok_or_else(|| {
            StoreError::InvalidAnswer(format!(
                "experiment {} has no artifact location",
                experiment.id
            ))
        })?;
    let (path, query) = match root.split_once('?') {
        Some((path, query)) if root.contains("://") => (path, format!("?{query}")),
        _ => (root, String::new()),
    };
    Ok(format!(
        "{}/models/{id}/artifacts{query}",
        path.trim_end_matches('/')
    ))
}

fn number(id: &ExperimentId) -> Result<i64, StoreError> {
    id.as_str()
        .parse()
        .map_err(|_| StoreError::ExperimentNotFound { id: id.to_string() })
}

fn insert_tags(
    connection: &Connection,
    experiment: i64,
    id: &ModelId,
    tags: &BTreeMap<String, String>,
) -> rusqlite::Result<()> {
    let query = "INSERT OR IGNORE INTO logged_model_tags (model_id, experiment_id, tag_key, tag_value) VALUES (?1, ?2, ?3, ?4)";
    insert_pairs(connection, query, experiment, id, tags)
}

fn insert_params(
    connection: &Connection,
    experiment: i64,
    id: &ModelId,
    values: &BTreeMap<String, String>,
) -> rusqlite::Result<()> {
    let query = "INSERT OR IGNORE INTO logged_model_params (model_id, experiment_id, param_key, param_value) VALUES (?1, ?2, ?3, ?4)";
    insert_pairs(connection, query, experiment, id, values)
}

fn insert_pairs(
    connection: &Connection,
    query: &str,
    experiment: i64,
    id: &ModelId,
    pairs: &BTreeMap<String, String>,
) -> rusqlite::Result<()> {
    let mut statement = connection.prepare(query)?;
    for (key, value) in pairs {
        statement.execute(params![id.as_str(), experiment, key, value])?;
    }
    Ok(())
}

fn now_ms() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO);
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mlflow::tests::{CONTENT, wanted};
    use crate::mlflow::{Access, Key, Store, StoreUri, TAG_CONTENT, TAG_NONCE};

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
        let tags = [(TAG_CONTENT, CONTENT), (TAG_NONCE, "theirs")];
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
        let experiment = world.experiment().await;
        assert_eq!(
            world.store.finish(&experiment, &first).await,
            Ok(ModelFile::Written)
        );
        let location = first.artifact_location.clone().unwrap();
        assert!(Path::new(&location).join("MLmodel").is_file());
        let again = world.find(&wanted("abc")).await;
        assert_eq!(
            (again.model_id.clone(), again.created, again.needs_finish),
            (first.model_id, false, false)
        );
        assert_eq!(world.count(), 1);
        assert_eq!(world.store.exists(&again.model_id).await, Ok(true));
        world
            .database()
            .execute("UPDATE logged_models SET lifecycle_stage = 'deleted'", [])
            .unwrap();
        assert_eq!(world.store.exists(&again.model_id).await, Ok(false));
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
        assert_eq!(tags.get(TAG_CONTENT).unwrap(), CONTENT);
        assert!(!tags.contains_key(TAG_NONCE));
    }

    #[tokio::test]
    async fn a_row_of_other_code_with_the_same_name_is_left_alone_and_ours_is_newer() {
        let world = World::ready();
        let future = now_ms() + 60_000;
        world.foreign_row("m-other", "abc", future, &[(TAG_CONTENT, "other")]);
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
        let head = crate::mlflow::tests::HEAD;
        let mut commit = Wanted {
            key: Key::Commit(head.parse().unwrap()),
            ..wanted("app-git-01234567")
        };
        commit.tags.remove(TAG_CONTENT);
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
        let next = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(300));
            Connection::open(path)
                .unwrap()
                .execute_batch("UPDATE alembic_version SET version_num = 'b'")
                .unwrap();
        });
        assert!(matches!(
            world.store.experiment(&ExperimentChoice::Default).await,
            Err(StoreError::Migrating { .. })
        ));
        next.join().unwrap();
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
