//! The LoggedModel that a version is to have: which row of a store it is, which are its duplicates, and what the one lacks.
//!
//! Pure. Knows no server and no database: rows come in as they were read.

use std::collections::{BTreeMap, BTreeSet};

use super::tags;
use crate::ids::{ContentId, ModelId, ObjectId};

/// A row that is older than this and not READY was given up by whoever made it.
const UNDECIDED_FOR_MS: i64 = 60_000;

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

/// A row of the store that has the name of the version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) id: ModelId,
    pub(super) created_ms: i64,
    pub(super) ready: bool,
    pub(super) artifact_location: Option<String>,
    pub(super) tags: BTreeMap<String, String>,
    pub(super) params: BTreeMap<String, String>,
}

impl Row {
    /// Only this program tags a nonce.
    pub(super) fn is_of_tracemark(&self) -> bool {
        self.tags.contains_key(tags::NONCE)
    }

    /// False while whoever made the row may still delete it in favour of an earlier one: it makes it READY once it
    /// has published it, and never deletes it after.
    pub(super) fn is_decided(&self) -> bool {
        self.ready || !self.is_of_tracemark()
    }

    /// By the store's own clock; false where that is not known.
    pub(super) fn is_abandoned(&self, store_now_ms: Option<i64>) -> bool {
        let until = self.created_ms.saturating_add(UNDECIDED_FOR_MS);
        store_now_ms.is_some_and(|now| until < now)
    }
}

/// What a row of the right name is to a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Claim {
    /// It carries the key.
    Ours,
    /// It carries no key and can only stand for this version.
    Adoptable,
    /// It stands for something else.
    Other,
}

/// The tag by which a row says that another machine than its maker's hands it out.
pub(super) fn shared_tag() -> BTreeMap<String, String> {
    BTreeMap::from([(tags::SHARED.to_owned(), "true".to_owned())])
}

impl Wanted {
    pub(super) fn claim(&self, row: &Row) -> Claim {
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

    pub(super) fn may_adopt(&self, row: &Row) -> bool {
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
    pub(super) fn choose<'a>(
        &self,
        rows: &'a [Row],
        refused: &BTreeSet<ModelId>,
    ) -> Option<(&'a Row, Claim)> {
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
    pub(super) fn is_to_mark(&self, row: &Row) -> bool {
        let is_of_others = |nonce: &String| {
            Some(nonce) != self.tags.get(tags::NONCE) && !self.made_here.contains(nonce)
        };
        self.clean_commit.is_none()
            && row.tags.get(tags::NONCE).is_some_and(is_of_others)
            && !row.tags.contains_key(tags::SHARED)
    }

    /// The rows that the earlier `winner` makes duplicates and that nobody has tagged yet, among those that this program
    /// made. One that is young and undecided is left to its maker, which may be about to delete it.
    pub(super) fn duplicates<'a>(
        &self,
        rows: &'a [Row],
        winner: &Row,
        store_now_ms: Option<i64>,
    ) -> Vec<&'a Row> {
        rows.iter()
            .filter(|row| row.id != winner.id && self.claim(row) == Claim::Ours)
            .filter(|row| row.is_of_tracemark() && !row.tags.contains_key(tags::DUPLICATE_OF))
            .filter(|row| row.is_decided() || row.is_abandoned(store_now_ms))
            .collect()
    }

    /// The tags that an adopted row lacks. The nonce belongs to rows that this program made, and whether a model is
    /// external is for its maker to say.
    pub(super) fn adoption_tags(&self, row: &Row) -> BTreeMap<String, String> {
        let lacks =
            |key: &str| key != tags::NONCE && key != tags::EXTERNAL && !row.tags.contains_key(key);
        self.tags
            .iter()
            .filter(|(key, _)| lacks(key))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    }

    pub(super) fn missing_params(&self, row: &Row) -> BTreeMap<String, String> {
        let lacks = |key: &String| !row.params.contains_key(key);
        self.params
            .iter()
            .filter(|(key, _)| lacks(key))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::mlflow) const CONTENT: &str = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";
    pub(in crate::mlflow) const HEAD: &str = "0123456789abcdef0123456789abcdef01234567";

    pub(in crate::mlflow) fn wanted(name: &str) -> Wanted {
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
}
