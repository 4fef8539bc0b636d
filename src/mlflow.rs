//! Finds or creates the LoggedModel of a version, on a tracking server over REST or in MLflow's SQLite file.
//!
//! Owns the rule by which a row is the row of a version. Knows nothing of worktrees, of what was published, or of when
//! to try a store again that failed: each call says what it found.

mod connection;
mod credentials;
mod databricks;
mod error;
mod exchange;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod http;
mod ini;
mod mlmodel;
mod netrc;
mod past;
mod patience;
mod rest;
mod retries;
mod scrub;
mod secret;
mod sqlite;
pub mod tags;
mod uri;
mod wire;

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::{ContentId, ExperimentId, ModelId, ObjectId};

pub use connection::{Access, AccessError, Connection, DatabricksPlace};
pub use credentials::{Keys, SECRET_VARIABLES};
pub use databricks::workspace_address;
pub use error::StoreError;
pub use past::{ModelRow, References, TraceCounts, TraceLink};
pub use retries::{Retries, RetriesError, truth};
pub use secret::Secret;
pub use sqlite::stop_waiting;
pub use uri::{StoreUri, StoreUriError};

/// A row that is older than this and not READY was given up by whoever made it.
const UNDECIDED_FOR_MS: i64 = 60_000;

/// Which experiment the `LoggedModels` belong to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExperimentChoice {
    /// The experiment of this name, created if absent.
    Name(String),
    /// The experiment of this id, which must exist.
    Id(ExperimentId),
    /// MLflow's own default, the experiment with id `0`.
    Default,
}

/// An experiment as the store describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Experiment {
    /// Its id.
    pub id: ExperimentId,
    /// Its name.
    pub name: String,
    /// Where MLflow keeps its artifacts.
    pub artifact_location: Option<String>,
}

/// What a version is found by, next to its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    /// The exact code, in the tag `tracemark.content`.
    Content(ContentId),
    /// The full HEAD, in the tag `tracemark.head`.
    Commit(ObjectId),
    /// The name alone, whatever the code; the tag `tracemark.pinned` says so.
    Pinned,
}

/// The LoggedModel that stands for a version, as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The name of the LoggedModel.
    pub name: String,
    /// What the version is found by.
    pub key: Key,
    /// Tells versions of one name and key apart, in the tag `tracemark.variant`; `None` where that tag is absent.
    pub variant: Option<String>,
    /// All tags, with that of the key and `tracemark.nonce`.
    pub tags: BTreeMap<String, String>,
    /// All params; MLflow never changes one that exists.
    pub params: BTreeMap<String, String>,
    /// The type of the LoggedModel, if any.
    pub model_type: Option<String>,
    /// When this code was first seen here, in Unix milliseconds.
    pub first_seen_ms: i64,
    /// HEAD, when the tree is clean.
    pub clean_commit: Option<ObjectId>,
    /// Whether to wait and look for an earlier row of another machine before answering.
    pub look_twice: bool,
    /// The nonces of the rows of that name that this machine made before.
    pub made_here: BTreeSet<String>,
}

/// The LoggedModel of a version, as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its id; the row exists.
    pub model_id: ModelId,
    /// Whether this call made the row.
    pub created: bool,
    /// Where MLflow keeps its artifacts.
    pub artifact_location: Option<String>,
    /// Whether [`Store::finish`] still has something to do.
    pub needs_finish: bool,
    /// The row was made by this program and is not finalized, or lacks its `MLmodel` file.
    finalize: bool,
    /// The row of another machine is not marked as used here.
    unmarked: bool,
    missing_params: BTreeMap<String, String>,
    /// The params that the row has; one of another value than wanted stays as it is.
    pub params: BTreeMap<String, String>,
}

/// How a LoggedModel that stood for a version stands now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It still stands for the version.
    Stands(Found),
    /// An earlier row stands for the version; this one was tagged as its duplicate.
    Later(Found),
    /// It was deleted, or stands for something else now.
    Gone,
}

/// What became of the small `MLmodel` file, without which all but loading the model works (observed with
/// MLflow 3.17.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelFile {
    /// It is there.
    Written,
    /// The artifacts are in a place that this program does not write to, or nothing was left to do.
    Skipped,
    /// It could not be written; the cause. The LoggedModel is finalized all the same.
    Failed(String),
}

/// The place where `LoggedModels` live. Clones share one connection pool.
#[derive(Debug, Clone)]
pub struct Store(Backend);

#[derive(Debug, Clone)]
enum Backend {
    Rest(rest::Rest),
    Sqlite(sqlite::Sqlite),
}

impl Store {
    /// Returns how many requests were sent to the server so far; none for a file.
    pub fn requests(&self) -> u64 {
        match &self.0 {
            Backend::Rest(rest) => rest.requests(),
            Backend::Sqlite(_) => 0,
        }
    }

    /// Returns by how many seconds the server's clock was ahead of this machine's in its last answer, where it said.
    pub fn clock_skew(&self) -> Option<i64> {
        match &self.0 {
            Backend::Rest(rest) => rest.clock_skew(),
            Backend::Sqlite(_) => None,
        }
    }

    /// Returns the store at `uri`, without asking it anything. SQLite needs no access.
    ///
    /// # Errors
    /// [`AccessError`] where a certificate, a proxy or a Databricks profile cannot be used.
    pub fn open(uri: &StoreUri, access: &Access) -> Result<Self, AccessError> {
        let backend = match (rest::Rest::open(uri, access)?, uri) {
            (None, StoreUri::Sqlite(path)) => Backend::Sqlite(sqlite::Sqlite::new(path.clone())),
            (Some(rest), _) => Backend::Rest(rest),
            (None, _) => {
                return Err(AccessError::Client {
                    cause: "no such kind of store".to_owned(),
                });
            }
        };
        Ok(Self(backend))
    }

    /// Returns the text that tells this store from every other, also where the same tracking URI may mean several
    /// (Databricks profiles, MLflow workspaces). Holds no secret.
    pub fn identity(&self, uri: &StoreUri) -> String {
        match &self.0 {
            Backend::Rest(rest) => rest.identity(),
            Backend::Sqlite(_) => uri.to_tracking_uri(),
        }
    }

    /// Asks whether the store has LoggedModels at all, and whether a file may be written.
    ///
    /// # Errors
    /// [`StoreError::Unsuitable`] naming the server that has none, [`StoreError::ReadOnly`], and whatever keeps the store from answering.
    pub async fn probe(&self, experiment: &Experiment) -> Result<(), StoreError> {
        match &self.0 {
            Backend::Rest(rest) => rest.probe(experiment).await,
            Backend::Sqlite(sqlite) => sqlite.probe().await,
        }
    }

    /// Returns the experiment, resolved as MLflow's client does; one chosen by name is created if absent.
    ///
    /// # Errors
    /// [`StoreError::ExperimentNotFound`], [`StoreError::ExperimentDeleted`], and whatever keeps the store from
    /// answering.
    pub async fn experiment(&self, choice: &ExperimentChoice) -> Result<Experiment, StoreError> {
        match &self.0 {
            Backend::Rest(rest) => rest.experiment(choice).await,
            Backend::Sqlite(sqlite) => sqlite.experiment(choice).await,
        }
    }

    /// Returns the one LoggedModel of a version: found by its key, else a row that MLflow made for it, else created.
    ///
    /// The earliest row that carries the key wins. A row of the same name without the key is taken over where it
    /// can only stand for this version; tags that it has are kept. A future that is dropped may leave a row behind,
    /// which the next call finds by its key.
    ///
    /// # Errors
    /// [`StoreError::UnusableName`], and whatever keeps the store from answering. After an error that
    /// [`StoreError::is_transient`], the same call may be repeated: a row whose creation was not answered is found
    /// by its key.
    pub async fn find_or_create(
        &self,
        experiment: &Experiment,
        wanted: &Wanted,
    ) -> Result<Found, StoreError> {
        check_name(&wanted.name)?;
        match &self.0 {
            Backend::Rest(rest) => rest.find_or_create(experiment, wanted).await,
            Backend::Sqlite(sqlite) => sqlite.find_or_create(experiment, wanted).await,
        }
    }

    /// Sends missing params, writes the small `MLmodel` file and sets the status READY, as `create_external_model`
    /// of MLflow 3.17.2 leaves a LoggedModel. May be repeated.
    ///
    /// # Errors
    /// Whatever keeps the store from answering. A file that cannot be written is no error but a [`ModelFile::Failed`].
    pub async fn finish(&self, found: &Found) -> Result<ModelFile, StoreError> {
        if !found.needs_finish {
            return Ok(ModelFile::Skipped);
        }
        match &self.0 {
            Backend::Rest(rest) => rest.finish(found).await,
            Backend::Sqlite(sqlite) => sqlite.finish(found).await,
        }
    }

    /// Returns how a row that stood for a version stands now. Later duplicates that this program made are tagged
    /// `tracemark.duplicate_of`; nothing is deleted.
    ///
    /// # Errors
    /// Whatever keeps the store from answering.
    pub async fn review(
        &self,
        experiment: &Experiment,
        wanted: &Wanted,
        id: &ModelId,
    ) -> Result<Standing, StoreError> {
        match &self.0 {
            Backend::Rest(rest) => rest.review(experiment, wanted, id).await,
            Backend::Sqlite(sqlite) => sqlite.review(experiment, wanted, id).await,
        }
    }

    /// Sets tags of a LoggedModel, whatever they were.
    ///
    /// # Errors
    /// Whatever keeps the store from answering.
    pub async fn set_tags(
        &self,
        id: &ModelId,
        tags: &BTreeMap<String, String>,
    ) -> Result<(), StoreError> {
        match &self.0 {
            Backend::Rest(rest) => rest.set_tags(id, tags).await,
            Backend::Sqlite(sqlite) => sqlite.set_tags(id, tags).await,
        }
    }
}

/// Returns whether MLflow takes a name for a LoggedModel: 3.17.2 refuses these characters
/// (`_validate_logged_model_name`), invents a name for an empty one, and keeps 500 characters.
pub fn is_usable_name(name: &str) -> bool {
    (1..=500).contains(&name.chars().count())
        && !name.contains(['/', ':', '.', '%', '"', '\''])
        && !name.contains(char::is_control)
}

fn check_name(name: &str) -> Result<(), StoreError> {
    if is_usable_name(name) {
        Ok(())
    } else {
        Err(StoreError::UnusableName {
            name: name.to_owned(),
        })
    }
}

/// A row of the store that has the name of the version.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Row {
    id: ModelId,
    created_ms: i64,
    ready: bool,
    artifact_location: Option<String>,
    tags: BTreeMap<String, String>,
    params: BTreeMap<String, String>,
}

impl Row {
    /// Only this program tags a nonce.
    fn is_made_here(&self) -> bool {
        self.tags.contains_key(tags::NONCE)
    }

    /// False while whoever made the row may still delete it in favour of an earlier one: it makes it READY once it
    /// has published it, and never deletes it after.
    fn is_decided(&self) -> bool {
        self.ready || !self.is_made_here()
    }

    /// By the store's own clock; false where that is not known.
    fn is_abandoned(&self, store_now_ms: Option<i64>) -> bool {
        let until = self.created_ms.saturating_add(UNDECIDED_FOR_MS);
        store_now_ms.is_some_and(|now| until < now)
    }
}

/// What a row of the right name is to a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Claim {
    /// It carries the key.
    Ours,
    /// It carries no key and can only stand for this version.
    Adoptable,
    /// It stands for something else.
    Other,
}

/// The tag by which a row says that.
fn shared_tag() -> BTreeMap<String, String> {
    BTreeMap::from([(tags::SHARED.to_owned(), "true".to_owned())])
}

impl Wanted {
    fn claim(&self, row: &Row) -> Claim {
        let tag = |key: &str| row.tags.get(key).map(String::as_str);
        let (carried, key) = match &self.key {
            Key::Content(content) => (tag(tags::CONTENT), content.as_str()),
            Key::Commit(head) => (
                tag(tags::HEAD).or_else(|| tag(tags::GIT_COMMIT)),
                head.as_str(),
            ),
            // Every other row of this program carries its head or its nonce.
            Key::Pinned => (
                tag(tags::PINNED)
                    .or_else(|| tag(tags::CONTENT))
                    .or_else(|| tag(tags::HEAD))
                    .or_else(|| tag(tags::NONCE)),
                "true",
            ),
        };
        match carried {
            _ if tag(tags::PINNED).is_some() && self.key != Key::Pinned => Claim::Other,
            _ if tag(tags::VARIANT) != self.variant.as_deref() => Claim::Other,
            Some(carried) if carried == key => Claim::Ours,
            None if self.may_adopt(row) => Claim::Adoptable,
            _ => Claim::Other,
        }
    }

    fn may_adopt(&self, row: &Row) -> bool {
        match &self.key {
            Key::Commit(_) | Key::Pinned => true,
            Key::Content(_) => {
                let named_after_clean_commit = self
                    .clean_commit
                    .as_ref()
                    .is_some_and(|head| head.as_str() == self.name);
                named_after_clean_commit || row.created_ms >= self.first_seen_ms
            }
        }
    }

    /// The row among `rows` that stands for the version: tagged duplicates last, then those that their makers have not
    /// decided on yet, then the earliest, then the smallest id.
    fn choose<'a>(&self, rows: &'a [Row], refused: &BTreeSet<ModelId>) -> Option<(&'a Row, Claim)> {
        rows.iter()
            .filter(|row| !refused.contains(&row.id))
            .map(|row| (row, self.claim(row)))
            .filter(|(_, claim)| *claim != Claim::Other)
            .min_by_key(|(row, _)| {
                (
                    row.tags.contains_key(tags::DUPLICATE_OF),
                    !row.is_decided(),
                    row.created_ms,
                    &row.id,
                )
            })
    }

    /// Returns whether a row has to say that this machine hands it out: another one made it, which may remove it one day as nothing
    /// refers to it. Those of commits are never removed.
    fn is_to_mark(&self, row: &Row) -> bool {
        let is_of_others = |nonce: &String| {
            Some(nonce) != self.tags.get(tags::NONCE) && !self.made_here.contains(nonce)
        };
        self.clean_commit.is_none()
            && row.tags.get(tags::NONCE).is_some_and(is_of_others)
            && !row.tags.contains_key(tags::SHARED)
    }

    /// The rows that the earlier `winner` makes duplicates and that nobody has tagged yet, among those that this program
    /// made. One that is young and undecided is left to its maker, which may be about to delete it.
    fn duplicates<'a>(
        &self,
        rows: &'a [Row],
        winner: &Row,
        store_now_ms: Option<i64>,
    ) -> Vec<&'a Row> {
        rows.iter()
            .filter(|row| row.id != winner.id && self.claim(row) == Claim::Ours)
            .filter(|row| row.is_made_here() && !row.tags.contains_key(tags::DUPLICATE_OF))
            .filter(|row| row.is_decided() || row.is_abandoned(store_now_ms))
            .collect()
    }

    /// The tags that an adopted row lacks. The nonce belongs to rows that this program made, and whether a model is
    /// external is for its maker to say.
    fn adoption_tags(&self, row: &Row) -> BTreeMap<String, String> {
        let lacks =
            |key: &str| key != tags::NONCE && key != tags::EXTERNAL && !row.tags.contains_key(key);
        self.tags
            .iter()
            .filter(|(key, _)| lacks(key))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    }

    fn missing_params(&self, row: &Row) -> BTreeMap<String, String> {
        let lacks = |key: &String| !row.params.contains_key(key);
        self.params
            .iter()
            .filter(|(key, _)| lacks(key))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) const CONTENT: &str = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";
    pub(super) const HEAD: &str = "0123456789abcdef0123456789abcdef01234567";

    pub(super) fn wanted(name: &str) -> Wanted {
        let tags = [
            (tags::CONTENT, CONTENT),
            (tags::HEAD, HEAD),
            (tags::NONCE, "n1"),
            (tags::EXTERNAL, "true"),
            ("mlflow.user", "ann"),
        ];
        Wanted {
            name: name.into(),
            key: Key::Content(CONTENT.parse().unwrap()),
            tags: tags.map(|(key, value)| (key.into(), value.into())).into(),
            params: BTreeMap::from([("llm".into(), "gpt".into())]),
            model_type: None,
            variant: None,
            first_seen_ms: 1000,
            clean_commit: None,
            look_twice: false,
            made_here: BTreeSet::new(),
        }
    }

    fn row(id: &str, created_ms: i64, tags: &[(&str, &str)]) -> Row {
        Row {
            id: id.parse().unwrap(),
            created_ms,
            ready: true,
            artifact_location: None,
            tags: tags
                .iter()
                .map(|(key, value)| ((*key).into(), (*value).into()))
                .collect(),
            params: BTreeMap::new(),
        }
    }

    fn chosen(wanted: &Wanted, rows: &[Row]) -> Option<(String, Claim)> {
        wanted
            .choose(rows, &BTreeSet::new())
            .map(|(row, claim)| (row.id.to_string(), claim))
    }

    #[test]
    fn the_earliest_row_that_carries_the_key_wins() {
        let key = (tags::CONTENT, CONTENT);
        let rows = [
            row("c", 30, &[key]),
            row("b", 20, &[key]),
            row("a", 20, &[key]),
            row("z", 10, &[(tags::CONTENT, "other")]),
        ];
        assert_eq!(chosen(&wanted("x"), &rows), Some(("a".into(), Claim::Ours)));
    }

    #[test]
    fn a_tagged_duplicate_loses_but_is_better_than_nothing() {
        let key = (tags::CONTENT, CONTENT);
        let rows = [
            row("a", 10, &[key, (tags::DUPLICATE_OF, "b")]),
            row("b", 20, &[key]),
        ];
        assert_eq!(chosen(&wanted("x"), &rows), Some(("b".into(), Claim::Ours)));
        assert_eq!(
            chosen(&wanted("x"), &rows[..1]),
            Some(("a".into(), Claim::Ours))
        );
    }

    #[test]
    fn a_row_without_the_tag_is_adopted_only_when_it_can_only_be_this_version() {
        let old = [row("a", 999, &[])];
        let young = [row("a", 1000, &[("mlflow.user", "bob")])];
        assert_eq!(chosen(&wanted("x"), &old), None);
        assert_eq!(
            chosen(&wanted("x"), &young),
            Some(("a".into(), Claim::Adoptable))
        );
        let clean = Wanted {
            clean_commit: Some(HEAD.parse().unwrap()),
            ..wanted(HEAD)
        };
        assert_eq!(chosen(&clean, &old), Some(("a".into(), Claim::Adoptable)));
        let elsewhere = Wanted {
            clean_commit: Some(HEAD.parse().unwrap()),
            ..wanted("x")
        };
        assert_eq!(chosen(&elsewhere, &old), None);
        assert_eq!(
            chosen(&wanted("x"), &[row("a", 2000, &[(tags::PINNED, "true")])]),
            None
        );
    }

    #[test]
    fn a_version_of_a_commit_is_found_by_either_tag_and_adopted_without_both() {
        let commit = Wanted {
            key: Key::Commit(HEAD.parse().unwrap()),
            ..wanted("app-git-01234567")
        };
        let other = "f".repeat(40);
        assert_eq!(
            commit.claim(&row("a", 1, &[(tags::HEAD, HEAD)])),
            Claim::Ours
        );
        assert_eq!(
            commit.claim(&row("a", 1, &[(tags::GIT_COMMIT, HEAD)])),
            Claim::Ours
        );
        assert_eq!(
            commit.claim(&row(
                "a",
                1,
                &[(tags::HEAD, &other), (tags::GIT_COMMIT, HEAD)]
            )),
            Claim::Other
        );
        assert_eq!(commit.claim(&row("a", 1, &[])), Claim::Adoptable);
    }

    #[test]
    fn adoption_keeps_what_is_there() {
        let tags =
            wanted("x").adoption_tags(&row("a", 1, &[("mlflow.user", "bob"), (tags::HEAD, "old")]));
        assert_eq!(
            tags,
            BTreeMap::from([(tags::CONTENT.to_owned(), CONTENT.to_owned())])
        );
    }

    #[test]
    fn names_that_mlflow_refuses_are_refused() {
        for name in ["", "a/b", "v1.2", "it's", "a\"b", "a:b", "50%"] {
            assert!(check_name(name).is_err(), "{name}");
        }
        assert!(check_name("app-git-0123abcd ü").is_ok());
    }
}
