//! What the code is called: git-hash, tree id, content id, and the LoggedModel's name made of them.
//!
//! [`read`] is one pass over a worktree. Knows nothing of MLflow, of the daemon or of time but what a stamp needs (`stamp::Moment`).

mod as_read;
mod cached_trees;
mod candidates;
mod conversion;
mod diffs;
pub(crate) mod digest;
mod directories;
pub mod explain;
pub(crate) mod file_content;
mod file_hashes;
pub(crate) mod file_map;
pub mod files;
pub mod files_record;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod git_config;
pub mod git_hash;
mod glance;
mod ground;
mod helper_text;
mod ignores;
mod index_file;
pub mod index_names;
mod kept;
mod known_diffs;
mod listing;
mod loose;
mod mirror;
mod nearby;
pub(crate) mod object;
mod own_index;
mod pass;
mod pass_basis;
mod pass_diffs;
mod pass_files;
mod pass_look;
mod pass_stop;
mod pass_touched;
mod pass_verify;
pub(crate) mod plain_config;
mod read_ahead;
pub mod reader;
pub(crate) mod safe;
pub mod scratch;
mod shares;
mod sparse_index;
mod split_index;
mod staged;
pub(crate) mod stamp;
mod status_text;
pub mod tree;
mod untracked;
mod workbench;
mod worktree_walk;

use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::git::{Git, GitError};
use crate::ids::{ContentId, ObjectId};
pub use candidates::rules_others;
use files::Files;
use git_config::GitConfig;
use git_hash::{GitHash, GitHashError};
use stamp::Stamp;
use tree::{CapturedTree, TreeError};

/// The largest file that is read: 16 GiB. Files are hashed as they are read, so this bounds time, not memory.
pub const FILE_LIMIT: u64 = 16 << 30;

/// How a LoggedModel is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Naming {
    /// Exactly the git-hash, as the appendix of MLflow's guide uses it.
    #[default]
    GitHash,
    /// `{app}-git-{8 hex}`, as step 2 of the guide; uncommitted changes belong to their commit's version.
    Commit,
    /// `{app}-tree-{12 hex}` of the content: the same code has the same name, committed or not.
    Tree,
}

impl Naming {
    /// Returns the word used in configuration, flags and tags.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::GitHash => "git-hash",
            Self::Commit => "commit",
            Self::Tree => "tree",
        }
    }
}

impl std::str::FromStr for Naming {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "git-hash" => Ok(Self::GitHash),
            "commit" => Ok(Self::Commit),
            "tree" => Ok(Self::Tree),
            other => Err(format!(
                "naming {other:?} is none of git-hash, commit, tree"
            )),
        }
    }
}

/// One consistent reading of a worktree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// The full HEAD, `None` before the first commit.
    pub head: Option<ObjectId>,
    /// The git-hash, or in one line why there is none for this state.
    pub git_hash: Result<String, String>,
    /// The content id.
    pub content: ContentId,
    /// False when the worktree holds exactly what HEAD holds and `git status` prints nothing.
    pub dirty: bool,
}

/// Why a worktree could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Files changed while they were read: worth another pass.
    #[error("files changed while they were read")]
    Torn,
    /// The worktree is gone, or no longer a git repository.
    #[error("{} is gone or no longer a git worktree", .0.display())]
    Gone(PathBuf),
    /// Git cannot read this state.
    #[error(transparent)]
    Tree(TreeError),
}

/// Reads everything: the identity of the worktree at `root`, whose index is the file `index`, from scratch. Temporary files
/// go to `scratch`.
///
/// # Errors
/// [`ReadError::Torn`] when files, index or HEAD moved meanwhile, [`ReadError::Gone`] without a worktree,
/// [`ReadError::Tree`] when git refuses the state.
pub fn read(root: &Path, index: &Path, scratch: Option<&Path>) -> Result<Reading, ReadError> {
    read_with(root, index, scratch, |_| false).map(|(reading, _)| reading)
}

/// Reads everything, and the files too where their content is `wanted`; none where they cannot be told apart from it.
fn read_with(
    root: &Path,
    index: &Path,
    scratch: Option<&Path>,
    wanted: impl FnOnce(&ContentId) -> bool,
) -> Result<(Reading, Option<Files>), ReadError> {
    let git = Git::at(root).wary();
    let index_before = Stamp::of(index);
    let captured = CapturedTree::read(&git, scratch).map_err(|error| classify(root, error))?;
    if captured.top() != root {
        return Err(ReadError::Gone(root.to_owned()));
    }
    let content = captured.content().map_err(|error| classify(root, error))?;
    let git_hash = steady_git_hash(&git, root, scratch);
    let head = head(&git);
    let files = files_of(&git, root, &captured, wanted(&content))?;
    captured.verify().map_err(|error| classify(root, error))?;
    let same_inside = !captured.has_nested() || captured.content().is_ok_and(|now| now == content);
    if !same_inside || Stamp::of(index) != index_before {
        return Err(ReadError::Torn);
    }
    let (git_hash, clean) = match git_hash {
        Ok(GitHash {
            text,
            head: seen,
            clean,
        }) => {
            match &head {
                Some((head, _)) if head.as_str() == seen => (Ok(text), clean),
                // Before the first commit, `git rev-parse HEAD` takes a file called HEAD for what is asked.
                None if seen.parse::<ObjectId>().is_err() => {
                    (Err(GitHashError::NoCommit.to_string()), false)
                }
                _ => return Err(ReadError::Torn),
            }
        }
        Err(error) => (Err(error.to_string()), false),
    };
    let same_tree = head
        .as_ref()
        .is_some_and(|(_, tree)| tree.as_str() == content.as_str());
    let reading = Reading {
        head: head.map(|(head, _)| head),
        git_hash,
        content,
        dirty: !(clean && same_tree),
    };
    Ok((reading, files))
}

/// Reads the content alone, and runs nothing that the repository's configuration names; `reason` stands for the git-hash. The
/// files come along where `wanted` says so of their content.
///
/// # Errors
/// As [`read`].
pub fn read_safely(
    root: &Path,
    scratch: Option<&Path>,
    reason: &str,
    wanted: impl FnOnce(&ContentId) -> bool,
) -> Result<(Reading, Option<Files>), ReadError> {
    let git = Git::at(root).distrusting();
    let captured = CapturedTree::read(&git, scratch).map_err(|error| classify(root, error))?;
    if captured.top() != root {
        return Err(ReadError::Gone(root.to_owned()));
    }
    let content = captured.content().map_err(|error| classify(root, error))?;
    let files = files_of(&git, root, &captured, wanted(&content))?;
    let head = head(&git);
    captured.verify().map_err(|error| classify(root, error))?;
    let same_tree = head
        .as_ref()
        .is_some_and(|(_, tree)| tree.as_str() == content.as_str());
    let reading = Reading {
        head: head.map(|(head, _)| head),
        git_hash: Err(reason.to_owned()),
        content,
        dirty: !same_tree,
    };
    Ok((reading, files))
}

/// Returns nothing where the files are not wanted, or cannot be told.
fn files_of(
    git: &Git,
    root: &Path,
    captured: &CapturedTree,
    wanted: bool,
) -> Result<Option<Files>, ReadError> {
    match wanted.then(|| Files::of(git, root, captured)) {
        Some(Err(TreeError::Torn)) => Err(ReadError::Torn),
        Some(Err(error)) => {
            tracing::debug!(%error, "the files of a reading cannot be told");
            Ok(None)
        }
        Some(Ok(files)) => Ok(Some(files)),
        None => Ok(None),
    }
}

/// Computes the git-hash; twice where programs take part in the diffs, whose text need not be a function of the state.
fn steady_git_hash(
    git: &Git,
    root: &Path,
    scratch: Option<&Path>,
) -> Result<GitHash, GitHashError> {
    let hash = git_hash::compute(git, scratch)?;
    let config = GitConfig::read(git, root)?;
    if !hash.clean && config.runs_programs_in_diffs() && git_hash::compute(git, scratch)? != hash {
        return Err(GitHashError::Unsteady);
    }
    Ok(hash)
}

fn classify(root: &Path, error: TreeError) -> ReadError {
    match error {
        TreeError::Torn => ReadError::Torn,
        TreeError::Git(GitError::Failed { message, .. }) if is_of_moving_file(&message) => {
            ReadError::Torn
        }
        TreeError::NoWorkTree => ReadError::Gone(root.to_owned()),
        TreeError::Git(GitError::Failed { .. } | GitError::Io { .. })
            if !root.join(".git").exists() =>
        {
            ReadError::Gone(root.to_owned())
        }
        other => ReadError::Tree(other),
    }
}

/// Returns whether git failed at a file that shrank or went while it was read: it maps larger ones (object-file.c, git 2.47).
fn is_of_moving_file(message: &str) -> bool {
    let is_short = ["short read while indexing", "read error while indexing"];
    message.contains("(SIGBUS)")
        || is_short.iter().any(|text| message.contains(text))
        || message.starts_with("open(\"") && message.ends_with("No such file or directory")
}

/// Returns HEAD's commit and tree, `None` before the first commit.
fn head(git: &Git) -> Option<(ObjectId, ObjectId)> {
    let output = git
        .run(&["rev-parse", "HEAD^{commit}", "HEAD^{tree}"])
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let mut ids = text.lines().map(str::parse);
    Some((ids.next()?.ok()?, ids.next()?.ok()?))
}

/// Returns the name of the LoggedModel of a state, and why it is not the one asked for where it cannot be.
pub fn model_name(naming: Naming, app: &str, reading: &Reading) -> (String, Option<String>) {
    let by_content = || tree_name(app, &reading.content);
    match (naming, &reading.git_hash, &reading.head) {
        (Naming::GitHash, Ok(text), _) => (text.clone(), None),
        (Naming::GitHash, Err(reason), _) => (by_content(), Some(reason.clone())),
        (Naming::Commit, _, Some(head)) => (commit_name(app, head), None),
        (Naming::Commit, _, None) => (by_content(), Some(GitHashError::NoCommit.to_string())),
        (Naming::Tree, _, _) => (by_content(), None),
    }
}

/// Returns `{app}-git-{8 hex}`, the name that step 2 of MLflow's guide gives.
pub fn commit_name(app: &str, head: &ObjectId) -> String {
    format!("{app}-git-{}", head.short(8))
}

/// Returns `{app}-tree-{12 hex}`: of the tree id or, where something nested is dirty, of the content id's SHA-256.
pub fn tree_name(app: &str, content: &ContentId) -> String {
    let text = content.as_str();
    let digits = if text.contains('+') {
        digest::hex(&Sha256::digest(text))
    } else {
        text.to_owned()
    };
    format!("{app}-tree-{}", digits.get(..12).unwrap_or(&digits))
}

/// Replaces what MLflow refuses in names (`/ : . % " '`, MLflow 3.17.2) and control characters by `-`.
pub fn sanitize_app(app: &str) -> String {
    app.trim()
        .chars()
        .map(|c| {
            if "/:.%\"'".contains(c) || c.is_control() {
                '-'
            } else {
                c
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch_repository::ScratchRepository;

    #[test]
    fn a_diff_program_that_prints_something_else_each_time_gives_no_git_hash() {
        let repository = ScratchRepository::new();
        repository.write("app.py", "x");
        repository.commit_all();
        repository.git(&["config", "diff.external", "echo"]);
        let index = repository.at(".git/index");
        let git_hash = || read(repository.root(), &index, None).unwrap().git_hash;
        assert!(git_hash().is_ok());
        repository.write("app.py", "y");
        assert_eq!(git_hash(), Err(GitHashError::Unsteady.to_string()));
        repository.git(&["config", "diff.external", "true"]);
        assert!(git_hash().is_ok());
    }
}
