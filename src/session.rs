//! One worktree's dealings with its store: from an observation to a LoggedModel that exists.
//!
//! The only module that brings ledger and MLflow together. What it returns was in the store at that moment.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::task::JoinHandle;

use crate::config::{ConfigError, Create, Layer, Settings};
use crate::debt::Debt;
use crate::git::Git;
use crate::identity::files::Files;
use crate::identity::reader::WorktreeReader;
use crate::identity::{ReadError, Reading, sanitize_app};
use crate::ids::{ContentId, ExperimentId, ModelId, ObjectId};
use crate::ledger::{Account, Chapter, Ledger, LedgerError, VersionKey};
use crate::mlflow::{
    Access, AccessError, Experiment, ExperimentChoice, Found, Keys, ModelFile, ModelRow,
    RetriesError, Standing, Store, StoreError, StoreUri, StoreUriError, Wanted, truth,
};
use crate::paths::Paths;
use crate::reflog::{self, Made};
use crate::repository::Worktree;
use crate::sightings::Sightings;
use crate::snapshot::{Held, Limits, Occasion, Record, SnapshotError, Snapshots};
use crate::version::{ActiveModel, Observation, Surroundings, TAG_RESTORABLE, sought, wanted};

/// How long an experiment is taken to be what its server said it was.
const EXPERIMENT_TRUSTED_FOR: Duration = Duration::from_mins(1);

/// How long the creation of a LoggedModel waits for its code to be kept, so that its tag says so from the beginning.
const KEEP_PATIENCE: Duration = Duration::from_millis(100);

/// Why a worktree cannot be tracked as it is configured.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// Its settings are wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Its tracking URI is none that works here.
    #[error(transparent)]
    Uri(#[from] StoreUriError),
    /// Its server cannot be talked to as it is configured.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// A variable that MLflow would refuse too.
    #[error(transparent)]
    Variable(#[from] RetriesError),
}

/// What it takes to read and resolve one worktree.
#[derive(Debug)]
pub struct Session {
    /// The worktree.
    pub worktree: Worktree,
    /// Its settings.
    pub settings: Settings,
    /// Its store.
    pub uri: StoreUri,
    app: String,
    private: Layer,
    user_config: PathBuf,
    store: Store,
    /// What the ledger knows the store by.
    store_key: String,
    credentials_seen: Vec<String>,
    ledger: Arc<Ledger>,
    /// The store's file as it was when it last answered: what is remembered of another file counts for nothing.
    trusted_file: Mutex<Option<FileIdentity>>,
    /// A mutex because readings and resolutions run side by side; held for a copy.
    experiment: Mutex<Option<(Experiment, Instant)>>,
    /// What the last try without a written debt wanted. A mutex as tries run on several threads; held for a copy.
    passing: Mutex<Option<Debt>>,
    snapshots: Snapshots,
    /// The code of the last readings, the newest last. A mutex as readings and resolutions run side by side; held for a move.
    seen: Mutex<VecDeque<SeenCode>>,
    /// The same code lies on the disk in other bytes since it was kept.
    lies_otherwise: AtomicBool,
    /// How many readings in a row changed before their bytes were taken.
    missed: AtomicU32,
    /// A mutex as readings and resolutions run side by side; held for one look.
    sightings: Mutex<Sightings>,
    /// Held while code is kept: whoever comes second finds it done.
    keeping: Mutex<()>,
    /// Held while HEAD's moves are followed, one reading after the other.
    following: Mutex<()>,
    /// How the code of the last version was kept. A mutex as several threads keep code; held for a copy.
    kept: Mutex<Option<Kept>>,
    /// Versions that were kept just now, until their LoggedModels are to say so: several threads keep code, and only one of them
    /// speaks of it. A mutex for that reason; held for a move.
    newly_kept: Mutex<VecDeque<VersionKey>>,
    /// LoggedModels that do not say yet how their code is kept. A mutex as telling runs side by side; held for a copy.
    untold: Mutex<BTreeMap<ModelId, Restorable>>,
    /// LoggedModels that were asked since the start whether they say it: a crash may have come before it was told. A mutex as
    /// code is kept side by side; held for one insertion.
    asked: Mutex<BTreeSet<ModelId>>,
}

/// The code of so many readings is held that nobody has made a version of yet.
const SEEN_MAX: usize = 8;

/// After so many readings in a row whose files did not hold still until their bytes were taken, one counts without.
const MISSED_MAX: u32 = 5;

/// So many versions that were kept may wait for a LoggedModel to say so.
const NEWLY_KEPT_MAX: usize = 100;

/// The code of a reading.
#[derive(Debug, Clone)]
struct SeenCode {
    content: ContentId,
    held: Arc<Held>,
}

impl SeenCode {
    fn stored(self) -> Self {
        Self {
            held: Arc::new(self.held.stored()),
            ..self
        }
    }
}

/// How the code of a version is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The version.
    pub version: VersionKey,
    /// Whether it can be brought back.
    pub restorable: Restorable,
    /// What is missing and why, where it is not all kept.
    pub why: Option<String>,
    /// A snapshot was made just now, of a version that may long have its LoggedModel.
    is_new: bool,
}

impl Kept {
    fn of(version: &VersionKey, record: &Record, at_ms: u64) -> Self {
        let first = record.left_out.first();
        let why = first.map(|first| {
            let count = match record.left_out.len() {
                1 => "1 file is not kept".to_owned(),
                many => format!("{many} files are not kept"),
            };
            format!("{count}: {} ({})", first.path, first.why.as_str())
        });
        Self {
            version: version.clone(),
            restorable: if why.is_none() {
                Restorable::Whole
            } else {
                Restorable::Partly
            },
            why,
            is_new: record.at_ms == at_ms,
        }
    }

    fn not(version: &VersionKey, why: String) -> Self {
        Self {
            version: version.clone(),
            restorable: Restorable::No,
            why: Some(why),
            is_new: false,
        }
    }
}

/// Which file lies at a path: device and inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileIdentity(u64, u64);

impl FileIdentity {
    fn of(path: &Path) -> Option<Self> {
        let metadata = path.metadata().ok()?;
        Some(Self(metadata.dev(), metadata.ino()))
    }
}

/// Returns what reads a worktree.
pub fn reader_of(worktree: &Worktree) -> WorktreeReader {
    WorktreeReader::new(&worktree.root, &worktree.git_dir, &worktree.scratch_dir())
}

/// How a LoggedModel that was handed out stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Review {
    /// It stands for its version.
    Stands {
        /// The params that it had when it was looked at.
        params: BTreeMap<String, String>,
    },
    /// An earlier one stands for the version, and from now on counts here.
    Later(ActiveModel),
    /// The store no longer has it, or it stands for something else now.
    Gone,
}

/// Why a version has no LoggedModel yet.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct ResolveError {
    /// What the store said.
    pub error: StoreError,
    /// The store refuses this version: it answered for the experiment.
    pub of_version: bool,
}

impl From<StoreError> for ResolveError {
    fn from(error: StoreError) -> Self {
        let of_version = false;
        Self { error, of_version }
    }
}

impl From<ResolveError> for StoreError {
    fn from(error: ResolveError) -> Self {
        error.error
    }
}

impl ResolveError {
    fn of_version(error: StoreError) -> Self {
        let of_version = error.is_rejection();
        Self { error, of_version }
    }
}

/// A LoggedModel that was found or created just now.
#[derive(Debug)]
pub struct Resolved {
    /// What to publish.
    pub model: ActiveModel,
    version: VersionKey,
    experiment: Experiment,
    found: Found,
    /// Other machines may have raced for it.
    raced: bool,
    /// What the row says of its code being kept.
    said: Restorable,
    /// A mutex as whoever finishes takes it.
    keeping: Mutex<Keeping>,
}

/// How far the keeping of code was when a row was found or made.
#[derive(Debug)]
enum Keeping {
    Under(JoinHandle<Kept>),
    Done(Kept),
    /// There is nothing more to say of it.
    Told,
}

/// Whether the code of a version can be brought back on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restorable {
    /// Every file.
    Whole,
    /// Some files are not kept; `tracemark show` names them.
    Partly,
    /// Not at all.
    No,
}

impl Restorable {
    /// Returns the value of the tag `tracemark.restorable`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Whole => "true",
            Self::Partly => "partial",
            Self::No => "false",
        }
    }
}

impl Session {
    /// Returns how many requests this session sent to its server.
    pub fn store_requests(&self) -> u64 {
        self.store.requests()
    }

    /// Opens a session from the settings of a worktree. Nothing is asked of the store yet.
    ///
    /// # Errors
    /// [`SessionError`] naming what is wrong in the settings.
    pub fn open(
        worktree: &Worktree,
        private: &Layer,
        paths: &Paths,
        ledger: Arc<Ledger>,
    ) -> Result<Self, SessionError> {
        Self::open_named(worktree, private, None, paths, ledger)
    }

    /// The same where `named` is the tracking URI that the command line gave: what this shell holds of passwords and tokens is
    /// for that store, unless a variable names another.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_named(
        worktree: &Worktree,
        private: &Layer,
        named: Option<&str>,
        paths: &Paths,
        ledger: Arc<Ledger>,
    ) -> Result<Self, SessionError> {
        let settings = Settings::load(private, &worktree.root, &paths.user_config())?;
        let uri = match &settings.store_uri {
            Some(text) => StoreUri::parse(text, &worktree.root)?,
            None => StoreUri::default_for(&worktree.root)?,
        };
        let access = Access {
            connection: settings.connection.clone(),
            keys: keys_for(&uri, named, &worktree.root, paths)?,
        };
        let credentials_seen = match &uri {
            StoreUri::Rest(_) => access.keys.seen(false),
            StoreUri::Databricks { .. } => access.keys.seen(true),
            StoreUri::Sqlite(_) => Vec::new(),
        };
        let store = Store::open(&uri, &access)?;
        let store_key = store.identity(&uri);
        let app = settings
            .app
            .clone()
            .unwrap_or_else(|| sanitize_app(&worktree.default_app()));
        Ok(Self {
            worktree: worktree.clone(),
            settings,
            uri,
            app,
            private: private.clone(),
            user_config: paths.user_config(),
            store_key,
            store,
            credentials_seen,
            ledger,
            trusted_file: Mutex::new(None),
            experiment: Mutex::new(None),
            passing: Mutex::new(None),
            snapshots: Snapshots::of(&worktree.common_dir),
            seen: Mutex::new(VecDeque::new()),
            lies_otherwise: AtomicBool::new(false),
            missed: AtomicU32::new(0),
            sightings: Mutex::default(),
            keeping: Mutex::new(()),
            following: Mutex::new(()),
            kept: Mutex::new(None),
            newly_kept: Mutex::new(VecDeque::new()),
            untold: Mutex::new(BTreeMap::new()),
            asked: Mutex::new(BTreeSet::new()),
        })
    }

    /// True when `other` would name, place and create every version as this one does.
    pub fn is_like(&self, other: &Self) -> bool {
        self.settings == other.settings
            && self.uri == other.uri
            && self.app == other.app
            && self.private == other.private
            && self.store_key == other.store_key
    }

    /// Returns the app's name.
    pub fn app(&self) -> &str {
        &self.app
    }

    /// Returns the store.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Returns the names of the variables of this shell that hold a password or token for the store.
    pub fn credentials_seen(&self) -> &[String] {
        &self.credentials_seen
    }

    /// Returns what the ledger knows the store by.
    pub fn store_key(&self) -> &str {
        &self.store_key
    }

    /// Names what was read, and remembers that its content was seen; the ledger hears of it when a version is wanted.
    pub fn observed(&self, reading: Reading) -> Observation {
        self.sightings().note(&reading.content, now_ms());
        Observation::of(reading, &self.settings, &self.app)
    }

    /// Takes the bytes of a reading that are not in the store yet, so that they can be kept whatever happens to the files;
    /// `files` are those of the reading, `None` where they have to be read from scratch. Returns false where a file changed
    /// since, so that the reading counts for nothing.
    pub fn saw(&self, reading: &Reading, files: Option<Files>) -> bool {
        if !self.settings.retention.snapshots || self.settings.pin.is_some() {
            return true;
        }
        let last = self.seen().back().cloned();
        match self.hold(reading, files, last.as_ref()) {
            Ok(held) => {
                self.missed.store(0, Ordering::Relaxed);
                let same = last.filter(|last| last.content == reading.content);
                let lies_otherwise = same.is_some_and(|last| held.lies_otherwise(&last.held));
                self.lies_otherwise
                    .fetch_or(lies_otherwise, Ordering::Relaxed);
                self.remember_seen(&reading.content, held);
                true
            }
            Err(SnapshotError::Changed(_))
                if self.missed.fetch_add(1, Ordering::Relaxed) < MISSED_MAX =>
            {
                false
            }
            Err(error) => {
                tracing::warn!(%error, "the code of this reading is not held");
                true
            }
        }
    }

    /// True once where the same code lies on the disk in other bytes than before: what is kept of it is kept anew.
    pub fn take_lies_otherwise(&self) -> bool {
        self.lies_otherwise.swap(false, Ordering::Relaxed)
    }

    fn hold(
        &self,
        reading: &Reading,
        files: Option<Files>,
        last: Option<&SeenCode>,
    ) -> Result<Held, SnapshotError> {
        let files = match files {
            Some(files) => files,
            None => self.read_files(&reading.content)?,
        };
        let root = &self.worktree.root;
        let head = reading.head.as_ref().map(ToString::to_string);
        let before = last.map(|last| last.held.as_ref());
        let (private, limits) = (self.worktree.private_dir(), self.limits());
        let place = (root.as_path(), head.as_deref());
        let held = self
            .snapshots
            .hold(place, &files, &limits, before, &private);
        match held {
            Err(error) if !matches!(error, SnapshotError::Changed(_)) => {
                tracing::warn!(%error, "what is to be kept is read again when it is");
                Ok(Held::unheld(root, head.as_deref(), &files))
            }
            held => held,
        }
    }

    fn seen(&self) -> MutexGuard<'_, VecDeque<SeenCode>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remember_seen(&self, content: &ContentId, held: Held) {
        let mut seen = self.seen();
        seen.retain(|code| code.content != *content);
        seen.push_back(SeenCode {
            content: content.clone(),
            held: Arc::new(held),
        });
        let too_many = seen.len().saturating_sub(SEEN_MAX);
        seen.drain(..too_many);
    }

    /// The newest stays, without the bytes that are stored: what comes next is compared with it. Where it is heavy, those before it
    /// go: whoever keeps one of them began before, with it in hand.
    fn forget_seen(&self, code: &SeenCode, is_stored: bool) {
        let mut seen = self.seen();
        let is_it = |one: &SeenCode| Arc::ptr_eq(&one.held, &code.held);
        let is_newest = seen.back().is_some_and(is_it);
        let newest = is_newest.then(|| seen.pop_back()).flatten();
        seen.retain(|one| !(is_it(one) || is_newest && one.held.is_heavy()));
        let rest = |newest: SeenCode| {
            if is_stored { newest.stored() } else { newest }
        };
        seen.extend(newest.map(rest));
    }

    /// Keeps the code of an observation, if it is the one that was seen last or was kept before. Makes its caller wait for
    /// the disk.
    pub fn keep_code(&self, observation: &Observation) -> Restorable {
        self.keep_and_say(observation).restorable
    }

    /// Keeps the code of a version that has its LoggedModel, and has that say so where this was the first time that it
    /// could be kept, or the first time since the start.
    pub async fn keep_code_of(self: &Arc<Self>, observation: Box<Observation>, model: ActiveModel) {
        let (session, known) = (Arc::clone(self), model.clone());
        let kept = tokio::task::spawn_blocking(move || {
            session.note_known(&observation, &known);
            session.keep_and_say(&observation)
        });
        let Ok(kept) = kept.await else {
            return;
        };
        let is_new = self.is_newly_kept(&kept.version);
        if is_new || self.is_first_asked(&model.model_id) {
            self.untold().insert(model.model_id, kept.restorable);
            self.tell_restorable().await;
        }
    }

    fn is_first_asked(&self, model: &ModelId) -> bool {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.insert(model.clone())
    }

    /// Writes down that LoggedModels were handed out now.
    pub fn note_uses(&self, models: &[ModelId]) {
        for model in models {
            if let Err(error) = self.ledger.used(&self.store_key, model, now_ms()) {
                tracing::warn!(%error, "the ledger cannot be written");
            }
        }
    }

    /// Returns how the code of the last version was kept that was to be kept.
    pub fn kept(&self) -> Option<Kept> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.clone()
    }

    /// What the ledger knows may have got its LoggedModel in another clone on this machine.
    fn note_known(&self, observation: &Observation, model: &ActiveModel) {
        let repository = self.repository();
        let known = self
            .ledger
            .repositories_of(&self.store_key, &model.model_id);
        let noted = known.and_then(|known| {
            if known.contains(&repository) {
                return self.ledger.used(&self.store_key, &model.model_id, now_ms());
            }
            let branch = self.worktree.branch();
            self.ledger
                .chronicle(&self.chapter(observation, branch, String::new(), model))
        });
        if let Err(error) = noted {
            tracing::warn!(%error, "the ledger cannot be written");
        }
    }

    fn repository(&self) -> String {
        self.worktree.common_dir.to_string_lossy().into_owned()
    }

    fn keep_and_say(&self, observation: &Observation) -> Kept {
        let version = &observation.version;
        if self.settings.pin.is_some() {
            return Kept::not(version, "a pinned version says nothing of code".to_owned());
        }
        let content = &observation.reading.content;
        let code = {
            let seen = self.seen();
            seen.iter().find(|code| code.content == *content).cloned()
        };
        let _alone = self.keeping.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = if self.settings.retention.snapshots {
            self.keep_code_alone(observation, code)
        } else {
            Ok(Kept::not(version, "snapshots.enabled is false".to_owned()))
        };
        let kept = kept.unwrap_or_else(|error| {
            tracing::warn!(%error, name = version.name, "the code of this version is not kept");
            Kept::not(version, error.to_string())
        });
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(kept.clone());
        tracing::debug!(name = version.name, restorable = kept.restorable.as_str(), why = ?kept.why, is_new = kept.is_new, "kept");
        if kept.is_new {
            let mut new = self.newly_kept();
            new.push_back(version.clone());
            let too_many = new.len().saturating_sub(NEWLY_KEPT_MAX);
            new.drain(..too_many);
        }
        kept
    }

    fn newly_kept(&self) -> MutexGuard<'_, VecDeque<VersionKey>> {
        self.newly_kept
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// True once for a version that was kept.
    fn is_newly_kept(&self, version: &VersionKey) -> bool {
        let mut new = self.newly_kept();
        let before = new.len();
        new.retain(|kept| kept != version);
        new.len() < before
    }

    fn keep_code_alone(
        &self,
        observation: &Observation,
        code: Option<SeenCode>,
    ) -> Result<Kept, SnapshotError> {
        let (reading, version) = (&observation.reading, &observation.version);
        let head = reading.head.as_ref().map(ToString::to_string);
        let Some(code) = code else {
            return self.keep_unseen(observation);
        };
        let branch = self.worktree.branch();
        let occasion = self.occasion(observation, head.as_deref(), branch.as_deref());
        let limits = self.limits();
        let record = match self.snapshots.keep_held(&occasion, &code.held, &limits) {
            Err(SnapshotError::Changed(_)) if !reading.dirty => {
                self.snapshots.keep_commit(&occasion, &limits)?
            }
            record => record?,
        };
        let kept = Kept::of(version, &record, occasion.at_ms);
        self.forget_seen(&code, kept.is_new);
        Ok(kept)
    }

    /// What is not on the disk any more may have been kept before, or be in the repository.
    fn keep_unseen(&self, observation: &Observation) -> Result<Kept, SnapshotError> {
        let (reading, version) = (&observation.reading, &observation.version);
        let head = reading.head.as_ref().map(ToString::to_string);
        let (name, key) = (&version.name, &version.key);
        if let Some(record) =
            self.snapshots
                .find(name, key, head.as_deref(), reading.content.as_str())?
        {
            return Ok(Kept::of(version, &record, u64::MAX));
        }
        if !reading.dirty && head.is_some() {
            let branch = self.branch_of_debt(version);
            let occasion = self.occasion(observation, head.as_deref(), branch.as_deref());
            let record = self.snapshots.keep_commit(&occasion, &self.limits())?;
            return Ok(Kept::of(version, &record, occasion.at_ms));
        }
        // Why it could not be kept when it was seen.
        let before = self.kept().filter(|kept| kept.version == *version);
        let gone = || Kept::not(version, "it changed before it was kept".to_owned());
        Ok(before.unwrap_or_else(gone))
    }

    fn occasion<'a>(
        &'a self,
        observation: &'a Observation,
        head: Option<&'a str>,
        branch: Option<&'a str>,
    ) -> Occasion<'a> {
        Occasion {
            root: &self.worktree.root,
            name: &observation.version.name,
            key: &observation.version.key,
            content: observation.reading.content.as_str(),
            head,
            branch,
            dirty: observation.reading.dirty,
            at_ms: u64::try_from(now_ms()).unwrap_or(0),
        }
    }

    fn branch_of_debt(&self, version: &VersionKey) -> Option<String> {
        let owed = self.ledger.debt_for(&self.account(), version).ok()??;
        let debt = Debt::from_text(version, &owed)?;
        debt.wanted.tags.get("mlflow.source.git.branch").cloned()
    }

    fn untold(&self) -> MutexGuard<'_, BTreeMap<ModelId, Restorable>> {
        self.untold.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has LoggedModels that were made here say how their code is kept by now; those that cannot be told are told later.
    async fn tell_restorable(&self) {
        let untold = self.untold().clone();
        if untold.is_empty() {
            return;
        }
        let repository = self.worktree.common_dir.to_string_lossy();
        let history = self.ledger.history(&repository).unwrap_or_default();
        for (model_id, restorable) in untold {
            let chapter = history.iter().find(|chapter| chapter.model == model_id);
            let told = match chapter {
                Some(chapter) => self.say_kept(chapter, restorable).await,
                None => Ok(()),
            };
            match told {
                Ok(()) => {
                    tracing::debug!(%model_id, restorable = restorable.as_str(), "told");
                    self.untold().remove(&model_id);
                }
                Err(error) => {
                    tracing::debug!(%error, %model_id, "the LoggedModel does not say yet how its code is kept");
                }
            }
        }
    }

    /// Has a LoggedModel say how its code is kept on this machine, if it was made here.
    ///
    /// # Errors
    /// [`StoreError`] when the store gives no answer.
    pub async fn say_kept(
        &self,
        chapter: &Chapter,
        restorable: Restorable,
    ) -> Result<(), StoreError> {
        let row = self.store.model(&chapter.model).await?;
        let is_ours = |row: &ModelRow| row.nonce() == Some(chapter.nonce.as_str());
        let differs = |row: &ModelRow| row.tag(TAG_RESTORABLE) != Some(restorable.as_str());
        if !row.is_some_and(|row| is_ours(&row) && differs(&row)) {
            return Ok(());
        }
        let tags = BTreeMap::from([(TAG_RESTORABLE.to_owned(), restorable.as_str().to_owned())]);
        self.store.set_tags(&chapter.model, &tags).await
    }

    fn limits(&self) -> Limits {
        Limits {
            file: self.settings.retention.file_limit,
            quota: self.settings.retention.quota,
        }
    }

    /// Reads all files from scratch, which must be what was observed.
    fn read_files(&self, content: &ContentId) -> Result<Files, SnapshotError> {
        let private = self.worktree.scratch_dir();
        let scratch = crate::identity::scratch::in_place(&private);
        let root = &self.worktree.root;
        match Files::read(&Git::at(root).wary(), root, scratch) {
            Ok((found, files)) if found == *content => Ok(files),
            Ok(_) | Err(ReadError::Torn) => Err(SnapshotError::Changed("the code".to_owned())),
            Err(error) => Err(SnapshotError::Unread(error.to_string())),
        }
    }

    /// Returns whether the settings files say what this session was opened with.
    ///
    /// # Errors
    /// [`ConfigError`] where they say nothing that can be used.
    pub fn has_current_settings(&self) -> Result<bool, ConfigError> {
        let now = Settings::load(&self.private, &self.worktree.root, &self.user_config)?;
        Ok(now == self.settings)
    }

    /// True while the store is the one that last answered: its file was neither replaced nor removed.
    pub fn trusts_store(&self) -> bool {
        let Some(file) = self.store_file() else {
            return true;
        };
        let trusted = *self.trusted();
        trusted.is_some() && trusted == FileIdentity::of(file)
    }

    fn trusted(&self) -> MutexGuard<'_, Option<FileIdentity>> {
        self.trusted_file
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the LoggedModel that the ledger remembers for an observation, without asking the store.
    pub fn remembered(&self, observation: &Observation) -> Option<ActiveModel> {
        let store = &self.store_key;
        let experiment_id = self.remembered_experiment(store)?;
        let found = self
            .ledger
            .model_of(store, &experiment_id, &observation.version);
        match found {
            Ok(model_id) => model_id.map(|model_id| ActiveModel {
                model_id,
                experiment_id,
            }),
            Err(error) => {
                tracing::warn!(%error, "the ledger cannot be read");
                None
            }
        }
    }

    fn remembered_experiment(&self, store: &str) -> Option<ExperimentId> {
        let known = self
            .experiment
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .as_ref()
            .map(|(experiment, _)| experiment.id.clone());
        known.or_else(|| {
            self.ledger
                .experiment_of(store, &choice_text(&self.settings.experiment))
                .ok()
                .flatten()
        })
    }

    /// Asks the store for the experiment, which is created if it was chosen by name and is absent, and whether it has
    /// LoggedModels at all.
    ///
    /// # Errors
    /// [`StoreError`] with the cause.
    pub async fn check(&self) -> Result<(), StoreError> {
        let experiment = self.ask_experiment().await?;
        self.store.probe(&experiment).await
    }

    async fn both(&self, name: &str, id: &ExperimentId) -> Result<Experiment, StoreError> {
        let by_id = ExperimentChoice::Id(id.clone());
        let experiment = self.store.experiment(&by_id).await?;
        if experiment.name == name {
            return Ok(experiment);
        }
        Err(StoreError::ExperimentMismatch {
            wanted: name.to_owned(),
            id: id.to_string(),
            name: experiment.name,
        })
    }

    /// Of an experiment whose id is given too none is made that could have another.
    async fn ask_experiment(&self) -> Result<Experiment, StoreError> {
        let choice = &self.settings.experiment;
        let experiment = match (choice, &self.settings.experiment_id) {
            (ExperimentChoice::Name(name), Some(id)) => self.both(name, id).await?,
            _ => self.store.experiment(choice).await?,
        };
        self.keep_experiment(&experiment);
        Ok(experiment)
    }

    /// Writes down that a version is owed its LoggedModel, on the disk before it returns. May be repeated.
    ///
    /// # Errors
    /// [`LedgerError`] when the ledger cannot be written.
    pub fn owe(&self, observation: &Observation) -> Result<(), LedgerError> {
        self.debt(observation, true).map(drop)
    }

    /// Writes down that commits are owed their LoggedModel that were made in this worktree since the last call, also by
    /// another process, and not seen on the disk. Returns whether there are any. What `reading` saw is on the disk.
    pub fn owe_commits(&self, reading: &Reading) -> bool {
        let _alone = self
            .following
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let owed = self.follow_head(reading).unwrap_or_else(|error| {
            tracing::error!(%error, "which commits were made is not written down");
            Vec::new()
        });
        self.keep_owed(&owed);
        !owed.is_empty()
    }

    /// The commits may go from the repository before the store answers.
    fn keep_owed(&self, owed: &[Observation]) {
        if !self.settings.retention.snapshots {
            return;
        }
        for observation in owed {
            let _alone = self.keeping.lock().unwrap_or_else(PoisonError::into_inner);
            if let Err(error) = self.keep_unseen(observation) {
                let name = &observation.version.name;
                tracing::warn!(%error, name, "the code of this version is not kept yet");
            }
        }
    }

    /// HEAD's own commit is left to the next call while it is what lies on the disk: until then it gets its LoggedModel
    /// the ordinary way, and if not, it is owed it then.
    fn follow_head(&self, reading: &Reading) -> Result<Vec<Observation>, LedgerError> {
        let worktree = self.account().worktree;
        let moves = reflog::read(&self.worktree.git_dir);
        let Some(last) = moves.last() else {
            return Ok(Vec::new());
        };
        let known = self.ledger.followed(&worktree)?;
        let Some(before) = known.and_then(|mark| reflog::position(&moves, &mark)) else {
            self.ledger.follow(&worktree, &last.mark())?;
            return Ok(Vec::new());
        };
        let has_passed = reading.dirty && reading.head.as_ref() == Some(&last.new);
        let end = moves.len() - usize::from(!has_passed);
        let Some(followed) = moves.get(before + 1..end).and_then(<[_]>::last) else {
            return Ok(Vec::new());
        };
        let is_wanted = self.settings.create != Create::Asked && self.settings.pin.is_none();
        let made = if is_wanted {
            reflog::made(&moves, &(before + 1..end), self.worktree.branch())
        } else {
            Vec::new()
        };
        let owed = self.owe_each(&made)?;
        self.ledger.follow(&worktree, &followed.mark())?;
        Ok(owed)
    }

    /// Returns what is owed from now on.
    fn owe_each(&self, made: &[Made]) -> Result<Vec<Observation>, LedgerError> {
        let mut owed = Vec::new();
        let around = self.surroundings();
        for (made, tree) in made.iter().zip(self.trees_of(made)) {
            let Some(content) = tree else { continue };
            let reading = Reading {
                head: Some(made.commit.clone()),
                git_hash: Ok(made.commit.to_string()),
                content,
                dirty: false,
            };
            let observation = Observation::of(reading, &self.settings, &self.app);
            let (account, version) = (self.account(), &observation.version);
            let is_known = self.remembered(&observation).is_some();
            if is_known || self.ledger.debt_for(&account, version)?.is_some() {
                continue;
            }
            let around = Surroundings {
                branch: made.branch.clone(),
                ..around.clone()
            };
            let debt = self.new_debt_around(&observation, &around);
            self.ledger.owe(&account, version, &debt.to_text())?;
            owed.push(observation);
        }
        Ok(owed)
    }

    /// The tree of each commit, which is what its worktree holds where nothing is changed; `None` for one that is gone.
    fn trees_of(&self, made: &[Made]) -> Vec<Option<ContentId>> {
        if made.is_empty() {
            return Vec::new();
        }
        let names: String = made
            .iter()
            .map(|made| format!("{}^{{tree}}\n", made.commit))
            .collect();
        let git = Git::at(&self.worktree.root).with_var("GIT_NO_LAZY_FETCH", "1");
        let arguments = ["cat-file", "--batch-check=%(objectname)"];
        let answer = git.run_with_input(&arguments, Some(names.into_bytes()));
        let answer = answer.map_or_else(
            |error| {
                tracing::warn!(%error, "the trees of commits cannot be read");
                Vec::new()
            },
            |answer| answer.stdout,
        );
        let lines = String::from_utf8_lossy(&answer);
        let tree = |line: &str| line.parse::<ObjectId>().ok()?.as_str().parse().ok();
        lines.lines().map(tree).collect()
    }

    /// Returns versions that are owed their LoggedModel, the oldest first, at most `limit`.
    pub fn owed(&self, limit: usize) -> Vec<Observation> {
        let owed = self.ledger.owed(&self.account(), limit);
        let owed = owed.unwrap_or_else(|error| {
            tracing::warn!(%error, "the ledger cannot be read");
            Vec::new()
        });
        owed.iter()
            .filter_map(|owed| Debt::from_text(&owed.version, &owed.debt))
            .map(|debt| debt.observation)
            .collect()
    }

    /// Returns how many versions of this worktree are owed their LoggedModel, by store and experiment.
    pub fn count_owed(&self) -> Vec<(Account, u64)> {
        self.ledger
            .count_owed(&self.account().worktree)
            .unwrap_or_else(|error| {
                tracing::warn!(%error, "the ledger cannot be read");
                Vec::new()
            })
    }

    /// Returns to whom versions are owed that are asked for or committed from now on.
    pub fn account(&self) -> Account {
        Account {
            worktree: self.worktree.root.to_string_lossy().into_owned(),
            store: self.store_key.clone(),
            choice: choice_text(&self.settings.experiment),
        }
    }

    /// Returns what is needed to create a version: as it was written down, else as things are now, and then written
    /// down where `keep` says so.
    fn debt(&self, observation: &Observation, keep: bool) -> Result<Debt, LedgerError> {
        let version = &observation.version;
        let read = |text: String| Debt::from_text(version, &text);
        if let Some(debt) = self
            .ledger
            .debt_for(&self.account(), version)?
            .and_then(read)
        {
            return Ok(debt);
        }
        if !keep {
            return Ok(self.passing_debt(observation));
        }
        let debt = self.new_debt(observation);
        let kept = self.ledger.owe(&self.account(), version, &debt.to_text())?;
        Ok(read(kept).unwrap_or(debt))
    }

    /// One that is not written down, and the same until another version is asked about: tries that follow each other know
    /// the rows that they made.
    fn passing_debt(&self, observation: &Observation) -> Debt {
        let mut passing = self.passing.lock().unwrap_or_else(PoisonError::into_inner);
        let same = passing
            .take()
            .filter(|debt| debt.observation == *observation);
        let debt = same.unwrap_or_else(|| self.new_debt(observation));
        *passing = Some(debt.clone());
        debt
    }

    fn new_debt(&self, observation: &Observation) -> Debt {
        self.new_debt_around(observation, &self.surroundings())
    }

    fn new_debt_around(&self, observation: &Observation, around: &Surroundings) -> Debt {
        let nonce = uuid::Uuid::new_v4().simple().to_string();
        let first_seen = self
            .first_seen(&observation.reading.content)
            .unwrap_or_else(|_| now_ms());
        Debt {
            wanted: wanted(observation, &self.settings, around, &nonce, first_seen),
            observation: observation.clone(),
        }
    }

    /// Finds or creates the LoggedModel of an observation, which is owed from the first moment on where `keep` says so.
    /// It exists when this returns, is remembered, and can be published; [`Session::finish`] then completes it.
    ///
    /// # Errors
    /// [`ResolveError`] with the cause; nothing is created twice when it is called again.
    pub async fn resolve(
        self: &Arc<Self>,
        observation: &Observation,
        keep: bool,
    ) -> Result<Resolved, ResolveError> {
        let (session, seen) = (Arc::clone(self), observation.clone());
        let mut keeping = tokio::task::spawn_blocking(move || session.keep_and_say(&seen));
        let mut wanted = self.debt_aside(observation, keep).await.wanted;
        let kept = tokio::time::timeout(KEEP_PATIENCE, &mut keeping).await;
        let (said, keeping) = match kept {
            Ok(Ok(kept)) => (kept.restorable, Keeping::Done(kept)),
            Ok(Err(_)) => (Restorable::No, Keeping::Told),
            Err(_) => (Restorable::No, Keeping::Under(keeping)),
        };
        wanted
            .tags
            .insert(TAG_RESTORABLE.to_owned(), said.as_str().to_owned());
        wanted.made_here = self.made_here(&observation.version);
        let file = self.store_file().and_then(FileIdentity::of);
        let (experiment, found) = self.find_or_create(&wanted).await?;
        self.refuse_shared(&experiment, &found, &observation.version)
            .await?;
        *self.trusted() = file;
        let model = ActiveModel {
            model_id: found.model_id.clone(),
            experiment_id: experiment.id.clone(),
        };
        let tag = |name: &str| wanted.tags.get(name).cloned();
        let nonce = tag("tracemark.nonce").unwrap_or_default();
        let branch = tag("mlflow.source.git.branch");
        let chapter = self.chapter(observation, branch, nonce, &model);
        let resolved = Resolved {
            version: observation.version.clone(),
            model,
            experiment,
            found,
            raced: wanted.look_twice && self.store_file().is_none(),
            said,
            keeping: Mutex::new(keeping),
        };
        self.settle(&resolved, chapter).await;
        Ok(resolved)
    }

    /// A LoggedModel stands for one version: one that the store shows for another too is not handed out. What is only
    /// remembered, and no longer so in the store (its database was made anew), counts for nothing.
    async fn refuse_shared(
        &self,
        experiment: &Experiment,
        found: &Found,
        version: &VersionKey,
    ) -> Result<(), StoreError> {
        let id = &found.model_id;
        let known = self
            .ledger
            .other_version_of(&self.store_key, id, &experiment.id, version);
        let known = known.unwrap_or_else(|error| {
            tracing::warn!(%error, "the ledger cannot be read");
            None
        });
        let Some((elsewhere, other)) = known else {
            return Ok(());
        };
        let place = Experiment {
            id: elsewhere,
            name: String::new(),
            artifact_location: None,
        };
        if let Some(sought) = self.sought(&other)
            && self.store.review(&place, &sought, id).await? != Standing::Gone
        {
            let what = format!(
                "LoggedModel {id} already stands for the version {}",
                other.name
            );
            return Err(StoreError::InvalidAnswer(what));
        }
        if let Err(error) = self.ledger.forget(&self.store_key, id) {
            tracing::warn!(%error, "the ledger cannot be written");
        }
        Ok(())
    }

    fn sought(&self, version: &VersionKey) -> Option<Wanted> {
        let sought = sought(version, &self.settings)?;
        Some(Wanted {
            made_here: self.made_here(version),
            ..sought
        })
    }

    fn made_here(&self, version: &VersionKey) -> BTreeSet<String> {
        let known = self.ledger.nonces(&self.store_key, &version.name);
        known.unwrap_or_else(|error| {
            tracing::warn!(%error, "the ledger cannot be read");
            BTreeSet::new()
        })
    }

    /// The ledger may make its caller wait for the disk.
    async fn debt_aside(self: &Arc<Self>, observation: &Observation, keep: bool) -> Debt {
        let (session, seen) = (Arc::clone(self), observation.clone());
        let debt = tokio::task::spawn_blocking(move || session.debt(&seen, keep)).await;
        match debt {
            Ok(Ok(debt)) => return debt,
            Ok(Err(error)) => tracing::error!(%error, "what is owed cannot be written down"),
            Err(error) => tracing::error!(%error, "what is owed cannot be written down"),
        }
        self.new_debt(observation)
    }

    /// Once published, an id is never deleted: what was owed is settled before anybody hears of it.
    async fn settle(self: &Arc<Self>, resolved: &Resolved, chapter: Chapter) {
        *self.passing.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let session = Arc::clone(self);
        let (experiment, version, model) = (
            resolved.experiment.id.clone(),
            resolved.version.clone(),
            resolved.model.model_id.clone(),
        );
        let settled = tokio::task::spawn_blocking(move || {
            let account = session.account();
            session
                .ledger
                .settle(&account, &experiment, &version, &model)?;
            session.ledger.chronicle(&chapter)
        })
        .await;
        match settled {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the ledger cannot be written"),
            Err(error) => tracing::warn!(%error, "the ledger cannot be written"),
        }
    }

    fn chapter(
        &self,
        observation: &Observation,
        branch: Option<String>,
        nonce: String,
        model: &ActiveModel,
    ) -> Chapter {
        let reading = &observation.reading;
        Chapter {
            repository: self.repository(),
            worktree: self.worktree.root.to_string_lossy().into_owned(),
            store: self.store_key.clone(),
            experiment: model.experiment_id.clone(),
            model: model.model_id.clone(),
            version: observation.version.clone(),
            content: reading.content.to_string(),
            head: reading.head.as_ref().map(ToString::to_string),
            branch,
            dirty: reading.dirty,
            at_ms: u64::try_from(now_ms()).unwrap_or(0),
            nonce,
        }
    }

    /// An experiment that was seen lately is taken as it was. One that was seen longer ago is asked about while the
    /// version is looked for, so that no answer waits for another.
    async fn find_or_create(&self, wanted: &Wanted) -> Result<(Experiment, Found), ResolveError> {
        let Some((known, seen_at)) = self.known_experiment() else {
            return self.find_or_create_in(None, wanted).await;
        };
        if seen_at.elapsed() < EXPERIMENT_TRUSTED_FOR {
            return match self.store.find_or_create(&known, wanted).await {
                Ok(found) => Ok((known, found)),
                Err(error) if error.is_transient() => Err(error.into()),
                Err(_) => self.find_or_create_in(None, wanted).await,
            };
        }
        let (now, found) = tokio::join!(
            self.ask_experiment(),
            self.store.find_or_create(&known, wanted)
        );
        let now = now?;
        if now.id == known.id {
            return Ok((now, found.map_err(ResolveError::of_version)?));
        }
        self.find_or_create_in(Some(now), wanted).await
    }

    async fn find_or_create_in(
        &self,
        experiment: Option<Experiment>,
        wanted: &Wanted,
    ) -> Result<(Experiment, Found), ResolveError> {
        let experiment = match experiment {
            Some(experiment) => experiment,
            None => self.ask_experiment().await?,
        };
        let found = self.store.find_or_create(&experiment, wanted).await;
        Ok((experiment, found.map_err(ResolveError::of_version)?))
    }

    /// The experiment as the server last described it. A file is asked again each time: it may be another one now.
    fn known_experiment(&self) -> Option<(Experiment, Instant)> {
        if self.store_file().is_some() {
            return None;
        }
        self.experiment
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Marks a new LoggedModel READY, gives it its `MLmodel` file, and looks once more whether another machine's row
    /// came first. A failure is logged: traces, evaluations and searches work without, and the next review completes
    /// what is missing.
    pub async fn finish(&self, resolved: &Resolved) -> Review {
        let standing = Standing::Stands(resolved.found.clone());
        let review = self
            .after(&resolved.experiment, &resolved.version, &standing)
            .await;
        self.say_restorable(resolved).await;
        if !resolved.raced || !resolved.found.created {
            return review;
        }
        match self.review(&resolved.model, &resolved.version).await {
            Ok(review) => review,
            Err(error) => {
                tracing::debug!(%error, "the last look at a new LoggedModel failed");
                review
            }
        }
    }

    /// A row that was made before its code was kept says so once it is.
    async fn say_restorable(&self, resolved: &Resolved) {
        let keeping = {
            let mut keeping = resolved
                .keeping
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *keeping, Keeping::Told)
        };
        let kept = match keeping {
            Keeping::Under(keeping) => keeping.await.ok(),
            Keeping::Done(kept) => Some(kept),
            Keeping::Told => None,
        };
        let Some(kept) = kept else {
            return;
        };
        let is_new = self.is_newly_kept(&resolved.version);
        tracing::debug!(
            name = resolved.version.name,
            restorable = kept.restorable.as_str(),
            is_new,
            created = resolved.found.created,
            "to be told"
        );
        let is_said = if resolved.found.created {
            kept.restorable == resolved.said
        } else {
            !is_new && !self.is_first_asked(&resolved.model.model_id)
        };
        if !is_said {
            let model_id = resolved.model.model_id.clone();
            self.untold().insert(model_id, kept.restorable);
            self.tell_restorable().await;
        }
    }

    /// Asks the store how a remembered LoggedModel stands, and completes it: params that are missing, the `MLmodel`
    /// file, the status. One that is gone, or whose experiment is another one now, is forgotten.
    ///
    /// # Errors
    /// [`StoreError`] when the store gives no answer.
    pub async fn review(
        &self,
        model: &ActiveModel,
        version: &VersionKey,
    ) -> Result<Review, StoreError> {
        let experiment = match self.ask_experiment().await {
            Ok(experiment) => experiment,
            Err(StoreError::ExperimentNotFound { .. } | StoreError::ExperimentDeleted { .. }) => {
                return Ok(Review::Gone);
            }
            Err(error) => return Err(error),
        };
        let Some(sought) = self.sought(version) else {
            return Ok(Review::Gone);
        };
        if experiment.id != model.experiment_id {
            return Ok(Review::Gone);
        }
        let standing = self
            .store
            .review(&experiment, &sought, &model.model_id)
            .await?;
        if standing == Standing::Gone
            && let Err(error) = self.ledger.forget(&self.store_key, &model.model_id)
        {
            tracing::warn!(%error, "the ledger cannot be written");
        }
        self.tell_restorable().await;
        Ok(self.after(&experiment, version, &standing).await)
    }

    async fn after(
        &self,
        experiment: &Experiment,
        version: &VersionKey,
        standing: &Standing,
    ) -> Review {
        let (found, is_later) = match standing {
            Standing::Gone => return Review::Gone,
            Standing::Stands(found) => (found, false),
            Standing::Later(found) => (found, true),
        };
        let model_id = &found.model_id;
        match self.store.finish(experiment, found).await {
            Ok(ModelFile::Failed(cause)) => {
                tracing::warn!(cause, %model_id, "the MLmodel file is not written");
            }
            Ok(ModelFile::Written | ModelFile::Skipped) => {}
            Err(error) => tracing::warn!(%error, %model_id, "cannot finish the LoggedModel"),
        }
        if !is_later {
            return Review::Stands {
                params: found.params.clone(),
            };
        }
        if let Err(error) = self
            .ledger
            .remember(&self.store_key, &experiment.id, version, model_id)
        {
            tracing::warn!(%error, "the ledger cannot be written");
        }
        Review::Later(ActiveModel {
            model_id: model_id.clone(),
            experiment_id: experiment.id.clone(),
        })
    }

    fn keep_experiment(&self, experiment: &Experiment) {
        let mut kept = self
            .experiment
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let is_new = kept
            .as_ref()
            .is_none_or(|(kept, _)| kept.id != experiment.id);
        *kept = Some((experiment.clone(), Instant::now()));
        if is_new {
            let remembered = self.ledger.remember_experiment(
                &self.store_key,
                &choice_text(&self.settings.experiment),
                &experiment.id,
            );
            if let Err(error) = remembered {
                tracing::warn!(%error, "the ledger cannot be written");
            }
        }
    }

    /// Returns the id of the experiment, as far as it is known without asking.
    pub fn experiment_id(&self) -> Option<ExperimentId> {
        self.remembered_experiment(&self.store_key)
    }

    /// Returns the page of an experiment in the MLflow UI, for a store that has one.
    pub fn experiment_page(&self, id: &ExperimentId) -> Option<String> {
        match &self.uri {
            StoreUri::Rest(base) => Some(format!(
                "{}/#/experiments/{id}",
                base.as_str().trim_end_matches('/')
            )),
            StoreUri::Databricks { .. } => Some(format!("{}/ml/experiments/{id}", self.store_key)),
            StoreUri::Sqlite(_) => None,
        }
    }

    /// True when certificates matter on the way to the store.
    pub fn uses_tls(&self) -> bool {
        self.store_file().is_none() && self.store_key.starts_with("https://")
    }

    /// Returns the file that the store waits for, where it is a file.
    pub fn store_file(&self) -> Option<&Path> {
        match &self.uri {
            StoreUri::Sqlite(path) => Some(path),
            StoreUri::Rest(_) | StoreUri::Databricks { .. } => None,
        }
    }

    fn first_seen(&self, content: &ContentId) -> Result<i64, LedgerError> {
        let at = self.sightings().first(content).unwrap_or_else(now_ms);
        self.ledger.first_seen(content.as_str(), at)
    }

    fn sightings(&self) -> MutexGuard<'_, Sightings> {
        self.sightings
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn surroundings(&self) -> Surroundings {
        Surroundings {
            app: self.app.clone(),
            user: user_name(),
            branch: self.worktree.branch(),
            origin: self.worktree.origin(),
        }
    }
}

/// Returns where credentials for a store are looked for. Those of the environment count where its tracking URI, or else `named`
/// on the command line, names that store: a token goes to no server that it was not set for.
fn keys_for(
    uri: &StoreUri,
    named: Option<&str>,
    root: &Path,
    paths: &Paths,
) -> Result<Keys, SessionError> {
    let var = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let theirs = var("MLFLOW_TRACKING_URI").or_else(|| named.map(str::to_owned));
    let is_this = |theirs: &String| StoreUri::parse(theirs, root).as_ref() == Ok(uri);
    if theirs.as_ref().is_none_or(is_this) && matches!(uri, StoreUri::Rest(_)) {
        let sigv4 = "MLFLOW_TRACKING_AWS_SIGV4";
        if truth(sigv4, var(sigv4))? == Some(true) {
            return Err(AccessError::Unsupported { variable: sigv4 }.into());
        }
        let plugin = "MLFLOW_TRACKING_AUTH";
        if var(plugin).is_some() {
            return Err(AccessError::Unsupported { variable: plugin }.into());
        }
    }
    let is_for_this = theirs.as_ref().is_some_and(is_this);
    let in_environment = |name: &str| match name {
        "MLFLOW_TRACKING_URI" => theirs.clone(),
        // Whom Databricks' are for is seen where its workspace is known.
        _ if !name.starts_with("MLFLOW_") => var(name),
        _ => var(name).filter(|_| is_for_this),
    };
    Ok(Keys::new(in_environment, &paths.home, paths.credentials()))
}

/// Returns the text by which an experiment's choice is remembered and shown.
pub fn choice_text(choice: &ExperimentChoice) -> String {
    match choice {
        ExperimentChoice::Name(name) => format!("name:{name}"),
        ExperimentChoice::Id(id) => format!("id:{id}"),
        ExperimentChoice::Default => "default".to_owned(),
    }
}

fn user_name() -> String {
    ["USER", "LOGNAME"]
        .iter()
        .find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
        .unwrap_or_else(|| rustix::process::geteuid().as_raw().to_string())
}

fn now_ms() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|since| i64::try_from(since.as_millis()).ok())
        .unwrap_or(0)
}
