//! The code of what was read: held from the reading on, kept when its version is, and what the LoggedModels of versions are to
//! say of that.
//!
//! Knows no store but to have such a LoggedModel say it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Session, now_ms};
use crate::debt::Debt;
use crate::git::Git;
use crate::identity::files::Files;
use crate::identity::{ReadError, Reading};
use crate::ids::VersionKey;
use crate::ids::{ContentId, ModelId};
use crate::ledger::Chapter;
use crate::mlflow::{ModelRow, StoreError, tags};
use crate::repository::Worktree;
use crate::snapshot::{Held, Limits, Occasion, Record, SnapshotError, Snapshots};
use crate::version::{ActiveModel, Observation};

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
    /// Returns how the code of a version can be brought back of which this snapshot is kept, if any.
    pub fn of(record: Option<&Record>) -> Self {
        match record {
            Some(record) if record.is_whole() => Self::Whole,
            Some(_) => Self::Partly,
            None => Self::No,
        }
    }

    /// Returns the value of the tag `tracemark.restorable`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Whole => "true",
            Self::Partly => "partial",
            Self::No => "false",
        }
    }
}

/// What is known of code and its keeping.
#[derive(Debug)]
pub(super) struct Code {
    snapshots: Snapshots,
    /// The code of the last readings, the newest last. A mutex as readings and resolutions run side by side; held for a move.
    seen: Mutex<VecDeque<SeenCode>>,
    /// The same code lies on the disk in other bytes since it was kept.
    lies_otherwise: AtomicBool,
    /// How many readings in a row changed before their bytes were taken.
    missed: AtomicU32,
    /// Held while code is kept: whoever comes second finds it done.
    keeping: Mutex<()>,
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

impl Code {
    /// Returns what is known of a worktree of which nothing was read yet.
    pub(super) fn of(worktree: &Worktree) -> Self {
        Self {
            snapshots: Snapshots::of(&worktree.common_dir),
            seen: Mutex::default(),
            lies_otherwise: AtomicBool::new(false),
            missed: AtomicU32::new(0),
            keeping: Mutex::default(),
            kept: Mutex::default(),
            newly_kept: Mutex::default(),
            untold: Mutex::default(),
            asked: Mutex::default(),
        }
    }
}

impl Session {
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
                self.code.missed.store(0, Ordering::Relaxed);
                let same = last.filter(|last| last.content == reading.content);
                let lies_otherwise = same.is_some_and(|last| held.lies_otherwise(&last.held));
                self.code
                    .lies_otherwise
                    .fetch_or(lies_otherwise, Ordering::Relaxed);
                self.remember_seen(&reading.content, held);
                true
            }
            Err(SnapshotError::Changed(_))
                if self.code.missed.fetch_add(1, Ordering::Relaxed) < MISSED_MAX =>
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
        self.code.lies_otherwise.swap(false, Ordering::Relaxed)
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
            .code
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
        self.code
            .seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
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
            self.tell_of(model.model_id, kept.restorable).await;
        }
    }

    /// Returns how the code of the last version was kept that was to be kept.
    pub fn kept(&self) -> Option<Kept> {
        let kept = self
            .code
            .kept
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        kept.clone()
    }

    pub(super) fn keep_and_say(&self, observation: &Observation) -> Kept {
        let version = &observation.version;
        if self.settings.pin.is_some() {
            return Kept::not(version, "a pinned version says nothing of code".to_owned());
        }
        let content = &observation.reading.content;
        let code = {
            let seen = self.seen();
            seen.iter().find(|code| code.content == *content).cloned()
        };
        let _alone = self
            .code
            .keeping
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let kept = if self.settings.retention.snapshots {
            self.keep_code_alone(observation, code)
        } else {
            Ok(Kept::not(version, "snapshots.enabled is false".to_owned()))
        };
        let kept = kept.unwrap_or_else(|error| {
            tracing::warn!(%error, name = version.name, "the code of this version is not kept");
            Kept::not(version, error.to_string())
        });
        *self
            .code
            .kept
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(kept.clone());
        tracing::debug!(name = version.name, restorable = kept.restorable.as_str(), why = ?kept.why, is_new = kept.is_new, "kept");
        if kept.is_new {
            let mut new = self.newly_kept();
            new.push_back(version.clone());
            let too_many = new.len().saturating_sub(NEWLY_KEPT_MAX);
            new.drain(..too_many);
        }
        kept
    }

    /// True once for a version that was kept.
    pub(super) fn is_newly_kept(&self, version: &VersionKey) -> bool {
        let mut new = self.newly_kept();
        let before = new.len();
        new.retain(|kept| kept != version);
        new.len() < before
    }

    fn newly_kept(&self) -> MutexGuard<'_, VecDeque<VersionKey>> {
        self.code
            .newly_kept
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
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
        let record = match self
            .code
            .snapshots
            .keep_held(&occasion, &code.held, &limits)
        {
            Err(SnapshotError::Changed(_)) if !reading.dirty => {
                self.code.snapshots.keep_commit(&occasion, &limits)?
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
            self.code
                .snapshots
                .find(name, key, head.as_deref(), reading.content.as_str())?
        {
            return Ok(Kept::of(version, &record, u64::MAX));
        }
        if !reading.dirty && head.is_some() {
            let branch = self.branch_of_debt(version);
            let occasion = self.occasion(observation, head.as_deref(), branch.as_deref());
            let record = self.code.snapshots.keep_commit(&occasion, &self.limits())?;
            return Ok(Kept::of(version, &record, occasion.at_ms));
        }
        // Why it could not be kept when it was seen.
        let before = self.kept().filter(|kept| kept.version == *version);
        let gone = || Kept::not(version, "it changed before it was kept".to_owned());
        Ok(before.unwrap_or_else(gone))
    }

    /// The commits may go from the repository before the store answers.
    pub(super) fn keep_owed(&self, owed: &[Observation]) {
        if !self.settings.retention.snapshots {
            return;
        }
        for observation in owed {
            let _alone = self
                .code
                .keeping
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            if let Err(error) = self.keep_unseen(observation) {
                let name = &observation.version.name;
                tracing::warn!(%error, name, "the code of this version is not kept yet");
            }
        }
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
        debt.wanted.tags.get(tags::GIT_BRANCH).cloned()
    }

    pub(super) fn is_first_asked(&self, model: &ModelId) -> bool {
        let mut asked = self
            .code
            .asked
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        asked.insert(model.clone())
    }

    fn untold(&self) -> MutexGuard<'_, BTreeMap<ModelId, Restorable>> {
        self.code
            .untold
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Has a LoggedModel say how its code is kept, now or later.
    pub(super) async fn tell_of(&self, model: ModelId, restorable: Restorable) {
        self.untold().insert(model, restorable);
        self.tell_restorable().await;
    }

    /// Has LoggedModels that were made here say how their code is kept by now; those that cannot be told are told later.
    pub(super) async fn tell_restorable(&self) {
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
        let differs = |row: &ModelRow| row.tag(tags::RESTORABLE) != Some(restorable.as_str());
        if !row.is_some_and(|row| is_ours(&row) && differs(&row)) {
            return Ok(());
        }
        let tags = BTreeMap::from([(tags::RESTORABLE.to_owned(), restorable.as_str().to_owned())]);
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
}
