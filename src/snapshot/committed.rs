//! Code that no snapshot holds and that lies in the repository itself: versions of other machines, once their code came here.
//!
//! Git's objects say how git took files in, not which bytes lay on that machine's disk. Nothing is fetched.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::index::{LeftOut, Record, Why};
use super::objects::giving;
use super::read::{TreeFile, list};
use super::{SnapshotError, Snapshots, path_text};
use crate::git::{Git, GitError};
use crate::identity::file_map::Mode;
use crate::identity::object::RawId;

/// Code in the repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// Its tree.
    pub tree: String,
    /// The commit that it is based on, or else one that holds exactly this.
    pub head: Option<String>,
}

impl Committed {
    /// Returns the code of a commit of the repository at `root`, `None` where it does not have it.
    pub fn of_commit(root: &Path, commit: &str) -> Option<Self> {
        let commit = RawId::from_hex(commit.as_bytes())?.to_hex();
        let tree = giving(Git::at(root)).line(&[
            "rev-parse",
            "-q",
            "--verify",
            &format!("{commit}^{{commit}}^{{tree}}"),
        ]);
        Some(Self {
            tree: String::from_utf8(tree.ok()?).ok()?,
            head: Some(commit),
        })
    }

    /// Returns the code with that content id, `None` where the repository does not have it: it was never committed, or a
    /// repository inside had changes of its own. `head` is the commit that it is said to be based on.
    pub fn of_content(root: &Path, content: &str, head: Option<&str>) -> Option<Self> {
        let tree = RawId::from_hex(content.as_bytes())?.to_hex();
        let kind = giving(Git::at(root)).line(&["cat-file", "-t", &tree]);
        if kind.ok()? != b"tree" {
            return None;
        }
        let based_on = head.and_then(|head| Self::of_commit(root, head)?.head);
        let head = based_on.or_else(|| {
            commits_with(root, &tree)
                .into_iter()
                .next()
                .map(|(id, _)| id)
        });
        Some(Self { tree, head })
    }

    /// Returns it as a version, with what of it is not here.
    ///
    /// # Errors
    /// [`SnapshotError::Git`] when git cannot read it.
    pub fn record(&self, root: &Path) -> Result<Record, SnapshotError> {
        let git = giving(Git::at(root));
        let files = list(&git, &self.tree)?;
        Ok(Record {
            at_ms: 0,
            name: String::new(),
            key: String::new(),
            content: self.tree.clone(),
            head: self.head.clone(),
            branch: None,
            dirty: false,
            worktree: String::new(),
            tree: self.tree.clone(),
            disk: None,
            inside: Vec::new(),
            left_out: left_out(&git, &files)?,
            changes: None,
        })
    }
}

impl Snapshots {
    /// Returns a git that reads the code of the repository at `root` itself.
    pub(super) fn repository(root: &Path) -> Git {
        giving(Git::at(root))
    }
}

/// Returns the commits with exactly that tree, each with the first line of its message, the newest first: those that a
/// reference or a reflog reaches.
pub fn commits_with(root: &Path, tree: &str) -> Vec<(String, String)> {
    let format = "--format=%H %T %s";
    let arguments = ["log", "--all", "--reflog", format, "--no-show-signature"];
    let listed = giving(Git::at(root)).run(&arguments);
    let listed = listed.unwrap_or_default().stdout;
    String::from_utf8_lossy(&listed)
        .lines()
        .filter_map(|line| {
            let mut words = line.splitn(3, ' ');
            let (commit, found) = (words.next()?, words.next()?);
            let subject = words.next().unwrap_or_default();
            (found == tree).then(|| (commit.to_owned(), subject.to_owned()))
        })
        .collect()
}

/// Returns the trees of all commits that a reference or a reflog reaches.
///
/// # Errors
/// [`GitError`] where git cannot tell.
pub fn committed_trees(root: &Path) -> Result<BTreeSet<String>, GitError> {
    let arguments = [
        "log",
        "--all",
        "--reflog",
        "--format=%T",
        "--no-show-signature",
    ];
    let listed = giving(Git::at(root)).run(&arguments)?.stdout;
    let listed = String::from_utf8_lossy(&listed);
    Ok(listed.lines().map(str::to_owned).collect())
}

fn left_out(git: &Git, files: &[TreeFile]) -> Result<Vec<LeftOut>, GitError> {
    let blobs: BTreeSet<_> = files
        .iter()
        .filter(|file| file.mode != Mode::Gitlink)
        .map(|file| file.id.to_hex())
        .collect();
    let input = blobs.iter().flat_map(|id| format!("{id}\n").into_bytes());
    let arguments = ["cat-file", "--batch-check", "--buffer"];
    let said = git
        .run_with_input(&arguments, Some(input.collect()))?
        .stdout;
    let said = String::from_utf8_lossy(&said);
    let missing: BTreeMap<_, _> = said
        .lines()
        .filter_map(|line| line.strip_suffix(" missing"))
        .map(|id| (id.to_owned(), Why::NotHere))
        .collect();
    let absent = files.iter().filter_map(|file| {
        let why = if file.mode == Mode::Gitlink {
            Why::Submodule
        } else {
            *missing.get(&file.id.to_hex())?
        };
        let path = path_text(&file.path);
        Some(LeftOut { path, why })
    });
    Ok(absent.collect())
}
