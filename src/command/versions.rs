//! Which version a person means: by model id, name, content id, commit or trace id.
//!
//! Asks the store only for what nobody knows here, and no daemon at all. Makes no version.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::store::Store;
use super::{Context, environment, here, once};
use crate::error::{Failure, FailureKind};
use crate::git::Git;
use crate::ids::ModelId;
use crate::ledger::{Chapter, Ledger};
use crate::mlflow::{ModelRow, TraceLink, tags};
use crate::repository::Worktree;
use crate::session::Session;
use crate::snapshot::{Committed, Record, Snapshots};
use crate::text::printable;
use crate::version::is_pinned;

/// Fewer digits than this are no abbreviation of an object id; a model id needs a digit less behind its `m-`.
const DIGITS_MIN: usize = 4;

/// All that is known here of the versions of one repository.
pub(super) struct Versions {
    pub(super) worktree: Worktree,
    pub(super) snapshots: Snapshots,
    pub(super) records: Vec<Record>,
    pub(super) chapters: Vec<Chapter>,
}

/// A version that was found.
#[derive(Debug, Clone, Default)]
pub(super) struct Version {
    /// How it is kept.
    pub(super) record: Option<Record>,
    /// Its LoggedModel, as far as the ledger knows.
    pub(super) chapter: Option<Chapter>,
    /// Its code in the repository itself, where no snapshot holds it.
    pub(super) committed: Option<Committed>,
    /// Its LoggedModel as the store has it, where the store was asked.
    pub(super) row: Option<ModelRow>,
}

impl Version {
    fn place(&self) -> (&str, &str) {
        let record = self.record.as_ref();
        let chapter = self.chapter.as_ref();
        record
            .map(|record| (record.name.as_str(), record.key.as_str()))
            .or_else(|| {
                chapter.map(|chapter| (chapter.version.name.as_str(), chapter.version.key.as_str()))
            })
            .unwrap_or_default()
    }

    /// Returns a line that tells it from others.
    pub(super) fn line(&self) -> String {
        let model = self
            .chapter
            .as_ref()
            .map_or("no LoggedModel", |chapter| chapter.model.as_str());
        let head = self.head().unwrap_or_default();
        printable(&format!(
            "{model}  {}  {}",
            self.place().0,
            head.get(..12).unwrap_or(head)
        ))
    }

    /// Returns its full HEAD.
    pub(super) fn head(&self) -> Option<&str> {
        let kept = self
            .record
            .as_ref()
            .and_then(|record| record.head.as_deref());
        let known = self.of_code().and_then(|chapter| chapter.head.as_deref());
        let said = self.row.as_ref().and_then(|row| row.tag(tags::HEAD));
        kept.or(known).or(said).or(self.commit())
    }

    /// What the ledger noted of the code; of a pinned version that is the code of the moment, which it says nothing of.
    fn of_code(&self) -> Option<&Chapter> {
        let chapter = self.chapter.as_ref();
        chapter.filter(|chapter| !is_pinned(&chapter.version))
    }

    fn commit(&self) -> Option<&str> {
        self.committed.as_ref()?.head.as_deref()
    }

    /// Returns the id of its LoggedModel.
    pub(super) fn model(&self) -> Option<&ModelId> {
        let known = self.chapter.as_ref().map(|chapter| &chapter.model);
        self.row.as_ref().map(|row| &row.id).or(known)
    }

    /// Returns its name.
    pub(super) fn name<'a>(&'a self, row: Option<&'a ModelRow>) -> &'a str {
        let named = row.or(self.row.as_ref()).map(|row| row.name.as_str());
        let kept = Some(self.place().0).filter(|name| !name.is_empty());
        named.or(kept).or(self.commit()).unwrap_or_default()
    }

    /// Returns its content id.
    pub(super) fn content<'a>(&'a self, row: Option<&'a ModelRow>) -> Option<&'a str> {
        let kept = self.record.as_ref().map(|record| record.content.as_str());
        let known = self.of_code().map(|chapter| chapter.content.as_str());
        let said = || row.or(self.row.as_ref())?.tag(tags::CONTENT);
        kept.or(known).or_else(said)
    }

    /// Returns when it was first seen, in Unix milliseconds.
    pub(super) fn at_ms(&self, row: Option<&ModelRow>) -> Option<u64> {
        let kept = self.record.as_ref().map(|record| record.at_ms);
        let known = self.chapter.as_ref().map(|chapter| chapter.at_ms);
        let said = || u64::try_from(row.or(self.row.as_ref())?.created_ms).ok();
        kept.or(known).or_else(said)
    }

    /// Returns the branch that was checked out.
    pub(super) fn branch(&self) -> Option<&str> {
        let kept = self
            .record
            .as_ref()
            .and_then(|record| record.branch.as_deref());
        let known = self.of_code().and_then(|chapter| chapter.branch.as_deref());
        kept.or(known)
    }

    /// Returns whether it is not exactly what its commit holds.
    pub(super) fn is_dirty(&self) -> bool {
        let kept = self.record.as_ref().map(|record| record.dirty);
        let known = self.chapter.as_ref().map(|chapter| chapter.dirty);
        let said = || Some(self.row.as_ref()?.tag(tags::DIRTY)? == "true");
        kept.or(known).or_else(said).unwrap_or(false)
    }
}

impl Versions {
    /// Reads what is known of the repository around the current directory.
    pub(super) fn here(context: &Context) -> Result<Self, Failure> {
        let worktree = here()?;
        let snapshots = Snapshots::of(&worktree.common_dir);
        let ledger = context.paths.ledger();
        let chapters = if ledger.exists() {
            Ledger::open(&ledger)?.history(&worktree.common_dir.to_string_lossy())?
        } else {
            Vec::new()
        };
        Ok(Self {
            records: snapshots.records()?,
            worktree,
            snapshots,
            chapters,
        })
    }

    /// Finds the one version that `id` means.
    pub(super) fn find(&self, context: &Context, id: &str) -> Result<Version, Failure> {
        if id == "@" {
            return Err(on_disk());
        }
        let mut found = self.matching(id);
        if found.is_empty() {
            found.extend(self.of_commit(id));
        }
        match &found[..] {
            [] => self.find_in_store(context, id),
            [one] => Ok(one.clone()),
            several => Err(ambiguous(id, several)),
        }
    }

    /// A trace, or a LoggedModel that another machine made.
    fn find_in_store(&self, context: &Context, id: &str) -> Result<Version, Failure> {
        let looks_stored = id.starts_with("tr-")
            || id.starts_with("m-")
            || id.starts_with("trace:/")
            || id.len() == 32;
        if !looks_stored {
            return Err(unknown(id));
        }
        let store = self.store(context)?;
        // A plain trace may be written as those of Unity Catalog are.
        let plain = id
            .strip_prefix("trace:/")
            .filter(|id| id.starts_with("tr-"));
        let model = match store.model_of_trace(plain.unwrap_or(id))? {
            TraceLink::Model(model) => model,
            TraceLink::Unlinked => {
                return Err(Failure::new(
                    FailureKind::Negative,
                    &format!("trace {id} is linked to no LoggedModel"),
                )
                .hint("tracemark exec -- CMD links what CMD traces"));
            }
            TraceLink::NoTrace => id.parse().map_err(|_| unknown(id))?,
        };
        if let Some(chapter) = self
            .chapters
            .iter()
            .rev()
            .find(|chapter| chapter.model == model)
        {
            return Ok(self.of_chapter(chapter));
        }
        let row = store.model(&model)?.ok_or_else(|| gone(id, &model))?;
        Ok(self.of_row(row))
    }

    /// Its tags tell which code it stands for; that may be here, whoever made the row.
    fn of_row(&self, row: ModelRow) -> Version {
        let content = row.tag(tags::CONTENT);
        let head = row.tag(tags::HEAD).or_else(|| row.tag(tags::GIT_COMMIT));
        let newest = |is_it: &dyn Fn(&Record) -> bool| {
            self.records
                .iter()
                .rev()
                .find(|record| is_it(record))
                .cloned()
        };
        let record = match (content, head) {
            (Some(content), _) => {
                newest(&|record| record.content == content && record.head.as_deref() == head)
                    .or_else(|| newest(&|record| record.content == content))
                    .map(|record| as_the_row_says(record, &row))
            }
            (None, Some(head)) => {
                newest(&|record| !record.dirty && record.head.as_deref() == Some(head))
            }
            (None, None) => None,
        };
        let root = &self.worktree.root;
        let committed = match (content, head) {
            _ if record.is_some() => None,
            (Some(content), head) => Committed::of_content(root, content, head),
            (None, Some(head)) if is_clean(&row, head) => Committed::of_commit(root, head),
            (None, _) => None,
        };
        Version {
            committed,
            record,
            chapter: None,
            row: Some(row),
        }
    }

    /// Returns the first lines of the messages of commits, as far as they are kept here.
    pub(super) fn subjects(&self, heads: &BTreeSet<&str>) -> BTreeMap<String, String> {
        if heads.is_empty() || !self.snapshots.exist() {
            return BTreeMap::new();
        }
        let input = heads
            .iter()
            .flat_map(|head| format!("{head}\n").into_bytes())
            .collect();
        let arguments = [
            "log",
            "--no-walk=unsorted",
            "--ignore-missing",
            "--format=%H %s",
            "--stdin",
        ];
        let listed = self.snapshots.git().run_with_input(&arguments, Some(input));
        let listed = listed.unwrap_or_default().stdout;
        String::from_utf8_lossy(&listed)
            .lines()
            .filter_map(|line| line.split_once(' '))
            .map(|(head, subject)| (head.to_owned(), subject.to_owned()))
            .collect()
    }

    /// Returns every version, the newest first.
    pub(super) fn all(&self) -> Vec<Version> {
        let mut places = BTreeSet::new();
        let by_place: BTreeMap<_, _> = self
            .chapters
            .iter()
            .map(|chapter| ((&chapter.version.name, &chapter.version.key), chapter))
            .collect();
        let mut all = Vec::new();
        for record in self.records.iter().rev() {
            let place = (&record.name, &record.key);
            places.insert(place);
            all.push(Version {
                record: Some(record.clone()),
                chapter: by_place.get(&place).map(|chapter| (*chapter).clone()),
                ..Version::default()
            });
        }
        let others = self
            .chapters
            .iter()
            .filter(|chapter| !places.contains(&(&chapter.version.name, &chapter.version.key)));
        all.extend(others.map(|chapter| Version {
            chapter: Some(chapter.clone()),
            ..Version::default()
        }));
        all.sort_by_key(|version| std::cmp::Reverse(version.at_ms(None)));
        all
    }

    /// Opens the store of this worktree.
    pub(super) fn store(&self, context: &Context) -> Result<Store, Failure> {
        let record = context.registry().find(&self.worktree.common_dir)?;
        let settings = match record {
            Some(record) => record.settings,
            // As `--once` reads it.
            None => environment::layer_for(None)?,
        };
        let file = context.paths.ledger();
        let ledger = if file.exists() {
            Ledger::open(&file)?
        } else {
            Ledger::in_memory()?
        };
        let ledger = Arc::new(ledger);
        let session = Session::open(&self.worktree, &settings, &context.paths, ledger)?;
        Ok(Store {
            session,
            runtime: once::runtime()?,
        })
    }

    fn matching(&self, id: &str) -> Vec<Version> {
        let by_model =
            |chapter: &&Chapter| id.len() > DIGITS_MIN && chapter.model.as_str().starts_with(id);
        let of_chapter = |chapter: &Chapter| self.of_chapter(chapter);
        let models: Vec<_> = self
            .chapters
            .iter()
            .filter(by_model)
            .map(of_chapter)
            .collect();
        if !models.is_empty() {
            return models;
        }
        let named = |name: &str| name == id;
        let found = self.of_places(
            |record| named(&record.name),
            |chapter| named(&chapter.version.name),
        );
        let is_hex = id.len() >= DIGITS_MIN
            && id
                .bytes()
                .all(|byte| byte.is_ascii_hexdigit() || byte == b'+');
        if !found.is_empty() || !is_hex {
            return found;
        }
        let id = id.to_ascii_lowercase();
        let is = |content: &str, head: Option<&str>, dirty: bool| {
            content.starts_with(&id) || !dirty && head.is_some_and(|head| head.starts_with(&id))
        };
        self.of_places(
            |record| is(&record.content, record.head.as_deref(), record.dirty),
            |chapter| is(&chapter.content, chapter.head.as_deref(), chapter.dirty),
        )
    }

    /// One version for each name and key and, where it is kept, for each of its codes: the newest of those that are equal.
    fn of_places(
        &self,
        records: impl Fn(&Record) -> bool,
        chapters: impl Fn(&Chapter) -> bool,
    ) -> Vec<Version> {
        let mut found: Vec<Version> = Vec::new();
        for record in self.records.iter().rev().filter(|record| records(record)) {
            let is_equal = |known: &Version| {
                known.record.as_ref().is_some_and(|known| {
                    let of =
                        |one: &Record| (one.name.clone(), one.key.clone(), one.content.clone());
                    known.disk() == record.disk()
                        || of(known) == of(record) && known.head == record.head
                })
            };
            if !found.iter().any(is_equal) {
                found.push(self.of_record(record));
            }
        }
        for chapter in self
            .chapters
            .iter()
            .rev()
            .filter(|chapter| chapters(chapter))
        {
            let place = (chapter.version.name.as_str(), chapter.version.key.as_str());
            let is_same = |known: &Version| {
                let content = known.record.as_ref().map(|record| record.content.as_str());
                known.place() == place || content == Some(chapter.content.as_str())
            };
            if !found.iter().any(is_same) {
                found.push(self.of_chapter(chapter));
            }
        }
        found
    }

    pub(super) fn of_record(&self, record: &Record) -> Version {
        let is_its = |chapter: &&Chapter| {
            chapter.version.name == record.name && chapter.version.key == record.key
        };
        Version {
            record: Some(record.clone()),
            chapter: self.chapters.iter().rev().find(is_its).cloned(),
            ..Version::default()
        }
    }

    /// The version of a commit has a row for all its states: the one that it was made for comes first.
    fn of_chapter(&self, chapter: &Chapter) -> Version {
        let is_its = |record: &&Record| {
            record.name == chapter.version.name && record.key == chapter.version.key
        };
        let own = || self.records.iter().rev().filter(is_its);
        let exact =
            own().find(|record| record.content == chapter.content && record.head == chapter.head);
        let same_content = || {
            self.records
                .iter()
                .rev()
                .find(|record| record.content == chapter.content)
        };
        // A pin says nothing of code.
        let record = if is_pinned(&chapter.version) {
            None
        } else {
            exact.or_else(|| own().next()).or_else(same_content)
        };
        let record = record.cloned();
        // The commit itself, where nothing is kept of it any more or was ever.
        let head = chapter
            .head
            .as_deref()
            .filter(|_| !chapter.dirty && record.is_none() && !is_pinned(&chapter.version));
        let committed = head.and_then(|head| {
            Committed::of_content(&self.worktree.root, &chapter.content, Some(head))
        });
        Version {
            committed,
            record,
            chapter: Some(chapter.clone()),
            ..Version::default()
        }
    }

    /// What git takes for a commit: a branch, `HEAD~2`, an abbreviation.
    fn of_commit(&self, id: &str) -> Vec<Version> {
        let text = format!("{id}^{{commit}}");
        let git = Git::at(&self.worktree.root).distrusting();
        let named = git.line(&["rev-parse", "-q", "--verify", "--end-of-options", &text]);
        let Some(commit) = named.ok().and_then(|commit| String::from_utf8(commit).ok()) else {
            return Vec::new();
        };
        let known = self.matching(&commit);
        if known.is_empty() {
            vec![Version {
                committed: Committed::of_commit(&self.worktree.root, &commit),
                ..Version::default()
            }]
        } else {
            known
        }
    }
}

/// Returns a time as people read it, in UTC.
pub(super) fn when(ms: u64) -> String {
    let at = std::time::UNIX_EPOCH + Duration::from_millis(ms);
    let text = crate::unix_time::utc(at);
    format!("{}Z", text.get(..19).unwrap_or(&text))
}

/// What made the row may have been this program, MLflow's own versioning by git (3.17.2), or the helper of its guide, which
/// names it after a commit.
fn is_clean(row: &ModelRow, head: &str) -> bool {
    let dirty = [tags::DIRTY, tags::GIT_DIRTY];
    let said = dirty.into_iter().find_map(|name| row.tag(name));
    said.map_or(row.name == head, |dirty| dirty == "false")
}

/// The same code, seen here at another time and maybe on another commit.
fn as_the_row_says(record: Record, row: &ModelRow) -> Record {
    let text = |name: &str| row.tag(name).map(str::to_owned);
    let dirty = row.tag(tags::DIRTY).map(|dirty| dirty == "true");
    Record {
        head: text(tags::HEAD).or_else(|| record.head.clone()),
        branch: text(tags::GIT_BRANCH),
        dirty: dirty.unwrap_or(record.dirty),
        at_ms: u64::try_from(row.created_ms).unwrap_or(record.at_ms),
        ..record
    }
}

fn unknown(id: &str) -> Failure {
    Failure::new(
        FailureKind::Negative,
        &format!("no version, commit or trace {id:?} is known here"),
    )
    .hint("tracemark log")
}

fn gone(id: &str, model: &ModelId) -> Failure {
    if id == model.as_str() {
        return unknown(id);
    }
    let message = format!("trace {id} is linked to {model}, which the store no longer has");
    Failure::new(FailureKind::Negative, &message).hint("tracemark log")
}

/// For git `@` is HEAD: neither is to be taken for the other.
fn on_disk() -> Failure {
    Failure::new(
        FailureKind::Negative,
        "@ is the code on disk, whose version is named by its id",
    )
    .hint("tracemark active, for that id; HEAD for the last commit")
}

fn ambiguous(id: &str, several: &[Version]) -> Failure {
    let lines: Vec<_> = several.iter().map(Version::line).collect();
    Failure::new(
        FailureKind::Negative,
        &format!(
            "{id:?} means {} versions: {}",
            several.len(),
            lines.join("; ")
        ),
    )
    .hint("one of their model ids")
}
