//! `tracemark show`: one version, or one file of it.
//!
//! Asks no daemon; without the store it says what is known here.

use std::collections::BTreeSet;
use std::io::{IsTerminal as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;

use super::shown_by_git::{git_with, show};
use super::store::Store;
use super::versions::{Version, Versions, when};
use super::{Context, answer, json};
use crate::cli::ShowArgs;
use crate::error::{Failure, FailureKind};
use crate::git::{Git, records};
use crate::mlflow::ModelRow;
use crate::session::Restorable;
use crate::snapshot::{Record, blob_of, commits_with, path_bytes, path_text};
use crate::text::printable;

/// So many paths are named.
const NAMED_MAX: usize = 12;

pub(super) fn run(context: &Context, arguments: &ShowArgs) -> Result<(), Failure> {
    let versions = Versions::here(context)?;
    let (id, path) = split(arguments.id.as_bytes());
    let id = &String::from_utf8_lossy(id);
    if let Some(path) = path {
        return file(context, &versions, id, path);
    }
    let version = versions.find(context, id)?;
    let store = versions.store(context);
    let facts = Facts::of(&versions, &version, store.as_ref().ok());
    if arguments.json {
        return answer(&json(&facts.document(&version))?);
    }
    let mut text = facts.text(&version);
    if let Err(failure) = &store {
        text += &printable(&format!("store      not asked: {}", failure.message));
        text += "\n";
    } else if let Some(trouble) = &facts.trouble {
        text += &printable(&format!("store      does not say: {trouble}"));
        text += "\n";
    }
    answer(&text)
}

/// `ID:PATH`; the ids of traces in Unity Catalog hold a colon themselves.
fn split(text: &[u8]) -> (&[u8], Option<&[u8]>) {
    let scheme = if text.starts_with(b"trace:/") {
        "trace:".len()
    } else {
        0
    };
    let colon = text.iter().skip(scheme).position(|byte| *byte == b':');
    match colon.and_then(|at| text.split_at_checked(scheme + at)) {
        Some((id, [_, path @ ..])) if !path.is_empty() => (id, Some(path)),
        _ => (text, None),
    }
}

fn file(context: &Context, versions: &Versions, id: &str, path: &[u8]) -> Result<(), Failure> {
    let code = versions.code(context, id)?;
    // A name that is no UTF-8 may be written as `show` prints it.
    let escaped = path_bytes(&String::from_utf8_lossy(path));
    let named = [path, &escaped];
    let absent = code
        .left_out
        .iter()
        .find(|file| file.is_absent() && named.contains(&path_bytes(&file.path).as_slice()));
    if let Some(file) = absent {
        return Err(Failure::new(
            FailureKind::Negative,
            &format!("{:?} is not kept: {}", file.path, file.why.as_str()),
        )
        .hint(&format!("tracemark show {id}")));
    }
    let (git, tree) = if code.in_repository {
        let repository = Git::at(&versions.worktree.root).distrusting();
        (repository, &code.tree)
    } else {
        (versions.snapshots.git(), &code.disk)
    };
    let is_inside = |path: &&[u8]| {
        !path.starts_with(b"/") && !path.split(|byte| *byte == b'/').any(|part| part == b"..")
    };
    for path in named.into_iter().filter(is_inside) {
        if let Some(blob) = blob_of(&git, tree, path)? {
            return print(context, versions, &git, &blob);
        }
    }
    let path = path_text(path);
    Err(
        Failure::new(FailureKind::Negative, &format!("{id} has no file {path:?}"))
            .hint(&format!("tracemark diff {id} @")),
    )
}

/// On a terminal as git shows it: through the user's pager. Elsewhere the bytes.
fn print(context: &Context, versions: &Versions, git: &Git, blob: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    if out.is_terminal() {
        drop(out);
        let mut command = git_with(context, versions, "show");
        command.arg(blob);
        return show(command, "git show");
    }
    let bytes = git.run(&["cat-file", "blob", blob])?.stdout;
    match out.write_all(&bytes) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Failure::new(
            FailureKind::Negative,
            &format!("cannot write: {error}"),
        )
        .hint("check where the output goes")),
        _ => Ok(()),
    }
}

/// What is found out beside what is written down.
struct Facts {
    row: Option<ModelRow>,
    link: Option<String>,
    traces: Option<u64>,
    runs: Option<u64>,
    trouble: Option<String>,
    subject: Option<String>,
    /// How its code is kept, or lies in the repository.
    code: Option<Record>,
    /// It was kept once, and is not there any more.
    is_lost: bool,
    dirty_files: Vec<String>,
    also: Vec<String>,
}

impl Facts {
    fn of(versions: &Versions, version: &Version, store: Option<&Store>) -> Self {
        let in_repository = || {
            let committed = version.committed.as_ref()?;
            committed.record(&versions.worktree.root).ok()
        };
        let is_lost = version.record.as_ref().is_some_and(|record| {
            let holds = versions.snapshots.still_holds(record);
            holds.is_ok_and(|holds| !holds)
        });
        let code = version.record.clone().filter(|_| !is_lost);
        let mut facts = Self {
            code: code.or_else(in_repository),
            is_lost,
            row: version.row.clone(),
            link: None,
            traces: None,
            runs: None,
            trouble: None,
            subject: version
                .head()
                .and_then(|head| versions.subjects(&BTreeSet::from([head])).remove(head)),
            dirty_files: dirty_files(versions, version),
            also: also(versions, version),
        };
        if let (Some(store), Some(model)) = (store, version.model()) {
            match store.uses(model) {
                Ok(uses) => {
                    facts.link = store.link(uses.row.as_ref());
                    facts.row = uses.row;
                    (facts.traces, facts.runs) = (Some(uses.traces), uses.runs);
                }
                Err(failure) => facts.trouble = Some(failure.message),
            }
        }
        facts
    }

    fn text(&self, version: &Version) -> String {
        let rows = self.identity(version).into_iter();
        let rows = rows.chain(self.use_of_it()).chain(self.restorable(version));
        let inside = version.record.iter().flat_map(|record| &record.inside);
        let inside = inside.map(|inside| {
            let head = inside.head.as_deref().unwrap_or("without a commit");
            ("inside", format!("{} {head}", inside.path))
        });
        let line = |(name, value): (&str, String)| printable(&format!("{name:<11}{value}")) + "\n";
        rows.chain(inside).map(line).collect()
    }

    /// What it is, and where it comes from.
    fn identity(&self, version: &Version) -> Vec<(&'static str, String)> {
        let row = self.row.as_ref();
        let mut rows = vec![("version", version.name(row).to_owned())];
        rows.extend(version.model().map(|model| ("model id", model.to_string())));
        rows.extend(self.link.clone().map(|link| ("page", link)));
        rows.extend(
            version
                .content(row)
                .map(|content| ("content", content.to_owned())),
        );
        rows.extend(version.at_ms(row).map(|at| ("when", when(at))));
        rows.extend(version.head().map(|head| {
            let branch = version.branch().map(|branch| format!(" on {branch}"));
            let subject = self.subject.as_ref().map(|subject| format!(" {subject}"));
            let (branch, subject) = (branch.unwrap_or_default(), subject.unwrap_or_default());
            ("commit", format!("{head}{branch}{subject}"))
        }));
        for (place, file) in self.dirty_files.iter().enumerate() {
            rows.push((if place == 0 { "changed" } else { "" }, file.clone()));
        }
        rows.extend(self.also.iter().map(|other| ("also", other.clone())));
        rows
    }

    fn use_of_it(&self) -> Vec<(&'static str, String)> {
        let params = self.row.iter().flat_map(|row| &row.params);
        let mut rows: Vec<_> = params
            .map(|(key, value)| ("param", format!("{key} = {value}")))
            .collect();
        let runs = self.runs.map(|runs| format!(", {runs} runs"));
        let runs = runs.unwrap_or_else(|| "; its runs were not counted in time".to_owned());
        rows.extend(
            self.traces
                .map(|traces| ("used by", format!("{traces} traces{runs}"))),
        );
        rows
    }

    fn restorable(&self, version: &Version) -> Vec<(&'static str, String)> {
        let here = match version.committed {
            Some(_) => ", from the commits of this repository",
            None => "",
        };
        let said = |text: String| ("restorable", text);
        let lost = "no: a pack of the snapshots that held some of it is gone or damaged";
        match self.code.as_ref().map(|code| &code.left_out[..]) {
            None if self.is_lost => vec![said(lost.to_owned())],
            None => vec![said("no: its code is not kept on this machine".to_owned())],
            Some([]) => vec![said(format!("yes, every file{here}"))],
            Some(files) => {
                let all = files.len();
                let named = files.iter().take(NAMED_MAX);
                let named =
                    named.map(|file| ("", format!("{} ({})", file.path, file.why.as_str())));
                let more = (all > NAMED_MAX).then(|| ("", format!("and {} more", all - NAMED_MAX)));
                let first = said(format!("partly, without {all} files{here}"));
                [first].into_iter().chain(named).chain(more).collect()
            }
        }
    }

    fn document(&self, version: &Version) -> serde_json::Value {
        let record = self.code.as_ref();
        let restorable = Restorable::of(record).as_str();
        serde_json::json!({
            "schema": 1,
            "name": version.name(self.row.as_ref()),
            "model_id": version.model().map(ToString::to_string),
            "page": self.link,
            "content": version.content(self.row.as_ref()),
            "at_ms": version.at_ms(self.row.as_ref()),
            "head": version.head(),
            "branch": version.branch(),
            "changed": self.dirty_files,
            "also": self.also,
            "params": self.row.as_ref().map(|row| &row.params),
            "traces": self.traces,
            "runs": self.runs,
            "restorable": restorable,
            "left_out": record.map(|record| &record.left_out),
            "inside": record.map(|record| &record.inside),
        })
    }
}

/// What is not as in its commit: `M app.py`.
fn dirty_files(versions: &Versions, version: &Version) -> Vec<String> {
    let (git, tree) = match (&version.record, &version.committed) {
        (Some(record), _) => (versions.snapshots.git(), &record.tree),
        (None, Some(code)) => (Git::at(&versions.worktree.root).distrusting(), &code.tree),
        (None, None) => return Vec::new(),
    };
    let Some(head) = version.head().filter(|_| version.is_dirty()) else {
        return Vec::new();
    };
    let inside = version
        .record
        .as_ref()
        .map_or(&[][..], |record| &record.inside);
    let places: Vec<_> = inside.iter().map(|one| path_bytes(&one.path)).collect();
    let mut files = changed(&git, head, tree, b"", &places);
    for (one, place) in inside.iter().zip(&places) {
        let Some(own_head) = &one.head else {
            continue;
        };
        let noted = [head.as_bytes(), b":", place].concat();
        let noted = [
            "rev-parse",
            "-q",
            "--verify",
            "--end-of-options",
            &String::from_utf8_lossy(&noted),
        ];
        let is_outermost = !places.iter().any(|other| {
            let rest = place.strip_prefix(&other[..]);
            rest.is_some_and(|rest| rest.starts_with(b"/"))
        });
        match git.line(&noted) {
            Ok(noted) if noted == own_head.as_bytes() => {}
            Ok(_) => files.push(format!("M {}", one.path)),
            Err(_) if is_outermost => files.push(format!("A {}", one.path)),
            Err(_) => {}
        }
        let below = [place, &b"/"[..]].concat();
        let inner = [tree.as_bytes(), b":", place].concat();
        let inner = String::from_utf8_lossy(&inner);
        files.extend(changed(&git, own_head, &inner, &below, &places));
    }
    let more = files.len().saturating_sub(NAMED_MAX);
    files.truncate(NAMED_MAX);
    if more > 0 {
        files.push(format!("and {more} more"));
    }
    files
}

/// Returns what differs between the trees of one repository, whose paths lie `below` a place; not what lies in repositories inside,
/// which have commits of their own.
fn changed(git: &Git, from: &str, to: &str, below: &[u8], inside: &[Vec<u8>]) -> Vec<String> {
    let names = ["diff-tree", "-r", "-z", "--name-status", "--no-renames"];
    // The head of a row in the store is text from elsewhere.
    let arguments = [&names[..], &["--end-of-options", from, to]].concat();
    let listed = git.run(&arguments).unwrap_or_default().stdout;
    let mut fields = records(&listed);
    let mut files = Vec::new();
    while let (Some(kind), Some(path)) = (fields.next(), fields.next()) {
        let path = [below, path].concat();
        let is_inside = |place: &Vec<u8>| {
            let rest = path.strip_prefix(&place[..]);
            place.len() > below.len()
                && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
        };
        if !inside.iter().any(is_inside) {
            let kind = String::from_utf8_lossy(kind);
            files.push(format!("{kind} {}", path_text(&path)));
        }
    }
    files
}

/// Commits and other versions of the same code.
fn also(versions: &Versions, version: &Version) -> Vec<String> {
    let committed = version.committed.as_ref().map(|code| &code.tree);
    let Some(tree) = version
        .record
        .as_ref()
        .map(|record| &record.tree)
        .or(committed)
    else {
        return Vec::new();
    };
    let mut also = Vec::new();
    let others = versions
        .records
        .iter()
        .filter(|other| other.tree == *tree && other.name != version.name(None));
    for other in others.take(NAMED_MAX) {
        also.push(format!("version {}", other.name));
    }
    let own = version.head().filter(|_| !version.is_dirty());
    let commits = commits_with(&versions.worktree.root, tree);
    let others = commits.iter().filter(|(commit, _)| own != Some(commit));
    for (commit, subject) in others.take(NAMED_MAX) {
        let short = commit.get(..12).unwrap_or(commit);
        also.push(format!("commit {short} {subject}"));
    }
    also
}
