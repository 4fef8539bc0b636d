//! One reading of a worktree from scratch: git is asked for everything, and what was read must lie as it did at the end.
//!
//! Keeps nothing from one reading to the next. What [`super::reader`] reads with less is held against it.

use std::path::Path;

use super::files::Files;
use super::git_config::GitConfig;
use super::git_hash::{self, GitHash};
use super::head::commit_and_tree;
use super::stamp::Stamp;
use super::tree::CapturedTree;
use super::{GitHashError, ReadError, Reading, TreeError};
use crate::git::Git;
use crate::ids::{ContentId, ObjectId};

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
pub(super) fn read_with(
    root: &Path,
    index: &Path,
    scratch: Option<&Path>,
    wanted: impl FnOnce(&ContentId) -> bool,
) -> Result<(Reading, Option<Files>), ReadError> {
    let git = Git::at(root).wary();
    let index_before = Stamp::of(index);
    let (captured, content) = capture(&git, root, scratch)?;
    let git_hash = steady_git_hash(&git, root, scratch);
    let outcome = Outcome::of(&git, root, &captured, content, wanted)?;
    let same_inside =
        !captured.has_nested() || captured.content().is_ok_and(|now| now == outcome.content);
    if !same_inside || Stamp::of(index) != index_before {
        return Err(ReadError::Torn);
    }
    let (git_hash, clean) = outcome.held_against(git_hash)?;
    Ok(outcome.with(git_hash, clean))
}

/// Reads the content alone, and runs nothing that the repository's configuration names; `reason` stands for the git-hash. The
/// files come along where `wanted` says so of their content.
///
/// # Errors
/// As [`read`].
pub(super) fn read_safely(
    root: &Path,
    scratch: Option<&Path>,
    reason: &str,
    wanted: impl FnOnce(&ContentId) -> bool,
) -> Result<(Reading, Option<Files>), ReadError> {
    let git = Git::at(root).distrusting();
    let (captured, content) = capture(&git, root, scratch)?;
    let outcome = Outcome::of(&git, root, &captured, content, wanted)?;
    Ok(outcome.with(Err(reason.to_owned()), true))
}

fn capture(
    git: &Git,
    root: &Path,
    scratch: Option<&Path>,
) -> Result<(CapturedTree, ContentId), ReadError> {
    let captured = CapturedTree::read(git, scratch).map_err(|error| ReadError::of(root, error))?;
    if captured.top() != root {
        return Err(ReadError::Gone(root.to_owned()));
    }
    let content = captured
        .content()
        .map_err(|error| ReadError::of(root, error))?;
    Ok((captured, content))
}

/// What was read beside the git-hash, of a worktree in which nothing moved meanwhile.
struct Outcome {
    content: ContentId,
    /// The commit and its tree, `None` before the first one.
    head: Option<(ObjectId, ObjectId)>,
    files: Option<Files>,
}

impl Outcome {
    fn of(
        git: &Git,
        root: &Path,
        captured: &CapturedTree,
        content: ContentId,
        wanted: impl FnOnce(&ContentId) -> bool,
    ) -> Result<Self, ReadError> {
        let files = files_of(git, root, captured, wanted(&content))?;
        let head = commit_and_tree(git);
        captured
            .verify()
            .map_err(|error| ReadError::of(root, error))?;
        Ok(Self {
            content,
            head,
            files,
        })
    }

    /// Returns the git-hash, and whether git found nothing changed.
    fn held_against(
        &self,
        git_hash: Result<GitHash, GitHashError>,
    ) -> Result<(Result<String, String>, bool), ReadError> {
        let GitHash { text, head, clean } = match git_hash {
            Ok(git_hash) => git_hash,
            Err(error) => return Ok((Err(error.to_string()), false)),
        };
        match &self.head {
            Some((commit, _)) if commit.as_str() == head => Ok((Ok(text), clean)),
            // Before the first commit, `git rev-parse HEAD` takes a file called HEAD for what is asked.
            None if head.parse::<ObjectId>().is_err() => {
                Ok((Err(GitHashError::NoCommit.to_string()), false))
            }
            _ => Err(ReadError::Torn),
        }
    }

    fn with(self, git_hash: Result<String, String>, clean: bool) -> (Reading, Option<Files>) {
        let tree = self.head.as_ref().map(|(_, tree)| tree.as_str());
        let reading = Reading {
            dirty: !(clean && tree == Some(self.content.as_str())),
            head: self.head.map(|(commit, _)| commit),
            git_hash,
            content: self.content,
        };
        (reading, self.files)
    }
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
