//! The git-hash: what `get_current_git_hash()` of MLflow's guide on versioning GenAI apps with git returns.
//!
//! Knows ways to ask git for as little as is sure to give the same. The text of diffs comes from git, that of the
//! status from git or from a glance at the index; what the helper makes of them in Python is in `helper_text`.
//! Remembers nothing from one call to the next.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use super::diffs::{self, DiffCall, RunningDiff};
use super::digest::Digest;
use super::git_config::lists_untracked;
use super::glance::{Glance, Usual};
use super::helper_text::{decode, file_lines, python_strip};
use super::index_file::{IndexFile, SmallIndex};
use super::nearby::Nearby;
use super::own_index::{on_own_index, refresh, with_own_index, write_with_time_of};
use super::scratch::Scratch;
use super::status_text::{Changes, Status};
use super::writing_settings::WritingSettings;
use super::{GitHashError, sparse_index, split_index};
use crate::git::{Git, GitError, Output};
use crate::ids::ObjectId;

/// The largest index, in bytes, of which copies are held in memory.
const SMALL: usize = 4 << 20;
/// How long the names on a command line may be, far below what systems allow (execve(2): 2 MiB on Linux, 1 MiB on macOS).
const ARGUMENTS_MAX: usize = 64 * 1024;
/// What a path on the command line is longer by.
const PATHSPEC_LENGTH: usize = 16;

/// The git-hash of a state and what it was made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GitHash {
    /// The answer of the helper: the full HEAD, or its first 32 digits, `-dirty-` and 8 digits.
    pub text: String,
    /// The full HEAD.
    pub head: String,
    /// True when `git status --porcelain` prints nothing.
    pub clean: bool,
}

/// Computes the git-hash in the directory and environment of `git`. Temporary files go to `scratch`.
///
/// # Errors
/// [`GitHashError`] in every state in which the helper raises or hangs.
pub fn compute(git: &Git, scratch: Option<&Path>) -> Result<GitHash, GitHashError> {
    let nearby = Nearby::find(git);
    let usual = nearby.as_ref().and_then(Usual::of);
    if let Some(usual) = &usual
        && let Some(hash) = by_glance(git, usual, scratch)?
    {
        return Ok(hash);
    }
    let writing = if usual.is_some() {
        WritingSettings::default()
    } else {
        WritingSettings::read(git)
    };
    let git = &writing.without_caches(git);
    writing.refuse_unwritable(git)?;
    let place = nearby.as_ref().map(Place::from);
    if needs_own_index(git) {
        return plainly(git, scratch);
    }
    match cheaply(git, place, scratch)? {
        Some(hash) => Ok(hash),
        None => plainly(git, scratch),
    }
}

/// Returns whether the index may be a split one, which git freshens the time of a shared file for whenever it reads it, or a
/// sparse one. Looks for `.git` where git would, and asks git where variables say another place.
fn needs_own_index(git: &Git) -> bool {
    let named = ["GIT_DIR", "GIT_INDEX_FILE"]
        .into_iter()
        .any(|name| git.variable(name).is_some());
    let found = if named {
        None
    } else {
        git_dir_above(&git.directory())
    };
    let git_dir = found.or_else(|| git.path(&["rev-parse", "--absolute-git-dir"]).ok());
    git_dir.is_some_and(|dir| split_index::is_likely(&dir) || sparse_index::is_likely(&dir))
}

/// `.git` as a directory; anything else is left to git.
fn git_dir_above(dir: &Path) -> Option<PathBuf> {
    let dir = dir.canonicalize().ok()?;
    let found = dir.ancestors().map(|above| above.join(".git"));
    found
        .into_iter()
        .find(|place| place.symlink_metadata().is_ok())
        .filter(|place| place.is_dir())
}

/// Computes the git-hash with the helper's own five calls, on a copy of the index.
///
/// # Errors
/// As [`compute`].
pub fn plainly(git: &Git, scratch: Option<&Path>) -> Result<GitHash, GitHashError> {
    let (root, head) = root_and_head(git)?;
    WritingSettings::read(git).refuse_unwritable(git)?;
    let top = git.path(&["rev-parse", "--show-toplevel"])?;
    let scratch = super::scratch::new(git, &top, scratch).map_err(GitHashError::Scratch)?;
    let git = &with_own_index(git, scratch.path())?;
    if python_strip(&text(git, "status", &["status", "--porcelain"])?).is_empty() {
        return Ok(GitHash::clean(head));
    }
    let staged = DiffCall::staged(git, &[]).start()?;
    let unstaged = DiffCall::unstaged(git).start()?;
    let status = status_text(git)?;
    let mut digest = Digest::new(&head);
    diffs::add_staged(&mut digest, Some(staged))?;
    diffs::add_unstaged(&mut digest, Some(unstaged))?;
    Ok(GitHash::dirty(head, digest, &file_lines(&root, &status)?))
}

/// Computes the same where no process of git is needed to know the status; `None` where one is. The staged diff is made while
/// the files are looked at.
fn by_glance(
    git: &Git,
    usual: &Usual<'_>,
    scratch: Option<&Path>,
) -> Result<Option<GitHash>, GitHashError> {
    let nearby = usual.nearby;
    let Some(glance) = Glance::at(usual) else {
        return Ok(None);
    };
    let place = Place::from(nearby);
    if !glance.staged.is_empty() {
        return by_glance_and_staged(git, &place, &glance, scratch);
    }
    match glance.look() {
        None => Ok(None),
        Some(seen) if seen.text.is_empty() => Ok(Some(GitHash::clean(place.head))),
        Some(seen) => from_status(
            git,
            &place,
            &glance.index,
            &seen.text,
            &seen.status,
            scratch,
        )
        .map(Some),
    }
}

/// Makes the staged diff while the files are looked at.
fn by_glance_and_staged(
    git: &Git,
    place: &Place,
    glance: &Glance,
    scratch: Option<&Path>,
) -> Result<Option<GitHash>, GitHashError> {
    let scratch = place.scratch(git, &glance.index, scratch)?;
    let call = staged_call(
        git,
        &place.index,
        &glance.staged,
        &glance.index,
        scratch.path(),
    )?;
    let staged = call.start()?;
    let Some(seen) = glance.look() else {
        return Ok(None);
    };
    let changed = Changed {
        git,
        place,
        small: glance.index.with_only(&seen.status.tracked_paths()),
        text: &seen.text,
        status: &seen.status,
        scratch: scratch.path(),
    };
    changed.hash(Some(staged)).map(Some)
}

/// Computes the same with one status, and diffs of the paths that it names; `None` where only the plain way is sure.
fn cheaply(
    git: &Git,
    nearby: Option<Place>,
    scratch: Option<&Path>,
) -> Result<Option<GitHash>, GitHashError> {
    let (place, status) = match nearby {
        Some(place) => (Some(place), status_text(git).ok()),
        None => std::thread::scope(|scope| {
            let place = scope.spawn(|| Place::find(git));
            let status = status_text(git);
            (place.join().ok().flatten(), status.ok())
        }),
    };
    let (Some(place), Some(status)) = (place, status) else {
        return Ok(None);
    };
    let Some(changes) = Status::parse(&status) else {
        return Ok(None);
    };
    if status.is_empty() {
        return Ok(Some(GitHash::clean(place.head)));
    }
    // A deleted file that git takes to be renamed to an unmerged one is in no line of the status, but in the diff (git 2.47).
    if changes.has_unmerged() {
        return Ok(None);
    }
    let Ok(index) = std::fs::read(&place.index) else {
        return Ok(None);
    };
    let Some(index) = IndexFile::read(index, place.head.len() / 2) else {
        return Ok(None);
    };
    // Without `-uall` a status may print nothing of what is untracked, in submodules too.
    let is_sure = changes.tracked.iter().any(|(path, change)| {
        let entry = index.find(path);
        change.staged != b' ' || entry.is_some_and(|entry| !entry.is_gitlink())
    });
    if !is_sure && !shows_untracked(git) {
        return Ok(None);
    }
    from_status(git, &place, &index, &status, &changes, scratch).map(Some)
}

/// Adds the diffs of what a status lists.
fn from_status(
    git: &Git,
    place: &Place,
    index: &IndexFile,
    text: &str,
    status: &Status,
    scratch: Option<&Path>,
) -> Result<GitHash, GitHashError> {
    let small = index.with_only(&status.tracked_paths());
    if status.tracked.is_empty() && !small.has_gitlinks {
        let files = file_lines(&place.root, text)?;
        return Ok(GitHash::dirty(
            place.head.clone(),
            Digest::new(&place.head),
            &files,
        ));
    }
    let scratch = place.scratch(git, index, scratch)?;
    let staged = status
        .has_staged()
        .then(|| {
            let (changes, scratch) = (&status.tracked, scratch.path());
            staged_call(git, &place.index, changes, index, scratch)?.start()
        })
        .transpose()?;
    let changed = Changed {
        git,
        place,
        small,
        text,
        status,
        scratch: scratch.path(),
    };
    changed.hash(staged)
}

/// A worktree that is not clean.
struct Changed<'a> {
    git: &'a Git,
    place: &'a Place,
    /// Of what its status lists.
    small: SmallIndex,
    /// The text of its status.
    text: &'a str,
    status: &'a Status,
    scratch: &'a Path,
}

impl Changed<'_> {
    /// Hashes both diffs; the files that the helper opens are read while git makes them.
    fn hash(&self, staged: Option<RunningDiff>) -> Result<GitHash, GitHashError> {
        let Place { root, index, head } = self.place;
        let unstaged_too = self.status.has_unstaged() || self.small.has_gitlinks;
        let unstaged = unstaged_too
            .then(|| unstaged(self.git, index, &self.small, self.scratch)?.start())
            .transpose()?;
        let files = file_lines(root, self.text);
        let mut digest = Digest::new(head);
        diffs::add_staged(&mut digest, staged)?;
        diffs::add_unstaged(&mut digest, unstaged)?;
        Ok(GitHash::dirty(head.clone(), digest, &files?))
    }
}

/// Makes `git diff --cached` ready: on an index of the paths whose entries differ from HEAD's, and comparing those alone. Git
/// pairs renames among them all the same. All paths where there are too many for a command line.
pub(super) fn staged_call(
    git: &Git,
    whole: &Path,
    changes: &Changes,
    index: &IndexFile,
    scratch: &Path,
) -> Result<DiffCall, GitHashError> {
    let staged = changes.iter().filter(|(_, change)| change.staged != b' ');
    let paths: BTreeSet<Vec<u8>> = staged
        .flat_map(|(path, change)| [Some(path), change.from.as_ref()])
        .flatten()
        .cloned()
        .collect();
    let length: usize = paths.iter().map(|path| path.len() + PATHSPEC_LENGTH).sum();
    let (bytes, names) = if length > ARGUMENTS_MAX {
        (index.bytes().to_vec(), Vec::new())
    } else {
        let names = paths.iter().cloned().map(OsString::from_vec).collect();
        (index.with_only(&paths).bytes, names)
    };
    let copy = scratch.join("staged-index");
    // Git takes a file of the worktree for a blob that seems to be in it, going by the time of the index (diff.c, git 2.47).
    write_with_time_of(whole, &copy, &bytes).map_err(GitHashError::Scratch)?;
    Ok(DiffCall::staged(&on_own_index(git, &copy), &names))
}

/// Makes `git diff` ready on the small index, which has the time of the whole one: by it git knows entries to compare again.
pub(super) fn unstaged(
    git: &Git,
    whole: &Path,
    small: &SmallIndex,
    scratch: &Path,
) -> Result<DiffCall, GitHashError> {
    let copy = scratch.join("small-index");
    write_with_time_of(whole, &copy, &small.bytes).map_err(GitHashError::Scratch)?;
    let git = on_own_index(git, &copy);
    if small.has_rules {
        refresh(&git)?;
    }
    Ok(DiffCall::unstaged(&git))
}

/// False where `git status` without `-uall` may print nothing though there are untracked files.
fn shows_untracked(git: &Git) -> bool {
    match git.line(&["config", "--get", "status.showUntrackedFiles"]) {
        Ok(value) => lists_untracked(&String::from_utf8_lossy(&value)),
        Err(_) => true,
    }
}

/// Where a state is.
struct Place {
    root: String,
    index: PathBuf,
    head: String,
}

impl From<&Nearby> for Place {
    fn from(nearby: &Nearby) -> Self {
        Self {
            index: nearby.index(),
            head: nearby.head.to_string(),
            root: nearby.root.clone(),
        }
    }
}

impl Place {
    /// Returns a directory for what is made of an index.
    fn scratch(
        &self,
        git: &Git,
        index: &IndexFile,
        parent: Option<&Path>,
    ) -> Result<Scratch, GitHashError> {
        let make = if index.bytes().len() <= SMALL {
            super::scratch::new_small
        } else {
            super::scratch::new
        };
        make(git, Path::new(&self.root), parent).map_err(GitHashError::Scratch)
    }

    /// `None` in every state that is not plain: no commit, names with line ends or trimmed by the helper.
    fn find(git: &Git) -> Option<Self> {
        let arguments = [
            "rev-parse",
            "--show-toplevel",
            "--path-format=absolute",
            "--git-path",
            "index",
            "HEAD",
        ];
        let output = text(git, "rev-parse", &arguments).ok()?;
        let mut lines = output.split_terminator('\n');
        let (root, index, head) = (lines.next()?, lines.next()?, lines.next()?);
        let plain = lines.next().is_none()
            && python_strip(root) == root
            && !output.contains('\r')
            && head.parse::<ObjectId>().is_ok();
        plain.then(|| Self {
            root: root.to_owned(),
            index: PathBuf::from(index),
            head: head.to_owned(),
        })
    }
}

impl GitHash {
    fn clean(head: String) -> Self {
        Self {
            text: head.clone(),
            head,
            clean: true,
        }
    }

    /// Returns the answer for a worktree that is not clean.
    pub(super) fn dirty_text(head: &str, digest: Digest) -> String {
        let start = head.get(..32).unwrap_or(head);
        format!("{start}-dirty-{}", digest.finish())
    }

    fn dirty(head: String, mut digest: Digest, files: &[String]) -> Self {
        digest.part("FILES:\n").add(files.join("\n").as_bytes());
        Self {
            text: Self::dirty_text(&head, digest),
            head,
            clean: false,
        }
    }
}

/// Returns what the helper's last call prints.
///
/// # Errors
/// [`GitHashError`] when git fails or prints what is not UTF-8.
pub(super) fn status_text(git: &Git) -> Result<String, GitHashError> {
    text(git, "status", &["status", "--porcelain", "-uall"])
}

pub(super) fn root_and_head(git: &Git) -> Result<(String, String), GitHashError> {
    let root = text(git, "rev-parse", &["rev-parse", "--show-toplevel"])?;
    let head = text(git, "rev-parse", &["rev-parse", "HEAD"]).map_err(|error| match error {
        // In every language git names what it does not find.
        GitHashError::Git(GitError::Failed { ref message, .. })
            if message.contains("HEAD") && is_unborn(git) =>
        {
            GitHashError::NoCommit
        }
        other => other,
    })?;
    Ok((
        python_strip(&root).to_owned(),
        python_strip(&head).to_owned(),
    ))
}

/// False where the branch is there, and broken: git names none then.
fn is_unborn(git: &Git) -> bool {
    let Ok(branch) = git.line(&["symbolic-ref", "-q", "HEAD"]) else {
        return false;
    };
    let branch = String::from_utf8_lossy(&branch).into_owned();
    let file = git.path(&["rev-parse", "--path-format=absolute", "--git-path", &branch]);
    !file.is_ok_and(|file| file.is_file())
}

pub(super) fn text(
    git: &Git,
    command: &'static str,
    arguments: &[&str],
) -> Result<String, GitHashError> {
    let Output { stdout, stderr } = git.run(arguments)?;
    decode(stderr).ok_or(GitHashError::NotUtf8 { command })?;
    decode(stdout).ok_or(GitHashError::NotUtf8 { command })
}
