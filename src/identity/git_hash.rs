//! The git-hash: what `get_current_git_hash()` of MLflow's guide on versioning GenAI apps with git returns.
//!
//! Pure but for the files that the helper itself opens. The text of diffs and status comes from git; here they are
//! put together byte for byte as the helper does, its quirks included: the trimmed status loses the first space of its
//! first line, quoted names are opened with their quotes, an absolute name leaves the repository.

use std::borrow::Cow;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::index_file::{IndexFile, SmallIndex};
use super::status_text;
use crate::git::{Git, GitError, Output};
use crate::ids::ObjectId;

/// How much of something that is no regular file (a device) is read before giving up.
const DEVICE_LIMIT: u64 = 16 * 1024 * 1024;

/// Why there is no git-hash for a state.
#[derive(Debug, thiserror::Error)]
pub enum GitHashError {
    /// Git itself refused or failed, as it does for the helper.
    #[error(transparent)]
    Git(#[from] GitError),
    /// The helper raises `UnicodeDecodeError`: it reads git's output as UTF-8.
    #[error("git {command} printed text that is not UTF-8, which the guide's helper cannot read")]
    NotUtf8 {
        /// The subcommand whose output it was.
        command: &'static str,
    },
    /// The helper would wait or read for ever: a pipe or an endless device where it expects a file.
    #[error(
        "{name:?} is a pipe or an endless device, which the guide's helper never finishes reading"
    )]
    Endless {
        /// The name as the helper sees it.
        name: String,
    },
    /// The index cannot be copied aside.
    #[error("cannot copy the index to a scratch directory")]
    Scratch(#[source] std::io::Error),
    /// There is no commit to start from.
    #[error("this repository has no commit yet")]
    NoCommit,
}

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
    match cheaply(git, scratch)? {
        Some(hash) => Ok(hash),
        None => plainly(git, scratch),
    }
}

/// Computes the git-hash with the helper's own five calls, on a copy of the index.
///
/// # Errors
/// As [`compute`].
pub fn plainly(git: &Git, scratch: Option<&Path>) -> Result<GitHash, GitHashError> {
    let (root, head) = root_and_head(git)?;
    if python_strip(&text(git, "status", &["status", "--porcelain"])?).is_empty() {
        return Ok(GitHash::clean(head));
    }
    let top = git.path(&["rev-parse", "--show-toplevel"])?;
    let scratch = super::scratch::new(git, &top, scratch).map_err(GitHashError::Scratch)?;
    let git = &with_own_index(git, scratch.path())?;
    let (staged, unstaged, status) = std::thread::scope(|scope| {
        let staged = scope.spawn(|| text(git, "diff --cached", &["diff", "--cached"]));
        let unstaged = scope.spawn(|| text(git, "diff", &["diff"]));
        let status = text(git, "status", &["status", "--porcelain", "-uall"]);
        (joined(staged), joined(unstaged), status)
    });
    GitHash::dirty(&root, head, &staged?, &unstaged?, &status?)
}

/// Computes the same with one status, and diffs of the paths that it names; `None` where only the plain way is sure.
fn cheaply(git: &Git, scratch: Option<&Path>) -> Result<Option<GitHash>, GitHashError> {
    let (place, status) = std::thread::scope(|scope| {
        let place = scope.spawn(|| Place::find(git));
        let status = text(git, "status", &["status", "--porcelain", "-uall"]);
        (place.join().ok().flatten(), status.ok())
    });
    let (Some(place), Some(status)) = (place, status) else {
        return Ok(None);
    };
    let Some(changes) = status_text::changes(&status) else {
        return Ok(None);
    };
    if status.is_empty() {
        return Ok(Some(GitHash::clean(place.head)));
    }
    if changes.tracked.is_empty() && !shows_untracked(git) {
        return Ok(None);
    }
    let Ok(index) = std::fs::read(&place.index) else {
        return Ok(None);
    };
    let Some(small) = IndexFile::read(&index, place.head.len() / 2)
        .map(|index| index.with_only(&changes.tracked))
    else {
        return Ok(None);
    };
    let scratch =
        super::scratch::new(git, Path::new(&place.root), scratch).map_err(GitHashError::Scratch)?;
    let unstaged_too = changes.unstaged || small.has_gitlinks;
    let (staged, unstaged) = std::thread::scope(|scope| {
        let staged = scope.spawn(|| text_if(changes.staged, git, &["diff", "--cached"]));
        let unstaged = if unstaged_too {
            unstaged(git, &place.index, &small, scratch.path())
        } else {
            Ok(String::new())
        };
        (joined(staged), unstaged)
    });
    GitHash::dirty(&place.root, place.head, &staged?, &unstaged?, &status).map(Some)
}

/// `git diff` on the small index, which has the time of the whole one: by it git knows entries to compare again.
fn unstaged(
    git: &Git,
    whole: &Path,
    small: &SmallIndex,
    scratch: &Path,
) -> Result<String, GitHashError> {
    let copy = scratch.join("index");
    let time = std::fs::metadata(whole).and_then(|metadata| metadata.modified());
    time.and_then(|time| {
        std::fs::write(&copy, &small.bytes)?;
        File::options().write(true).open(&copy)?.set_modified(time)
    })
    .map_err(GitHashError::Scratch)?;
    let git = git.clone().with_var("GIT_INDEX_FILE", copy);
    if small.has_rules {
        refresh(&git)?;
    }
    text(&git, "diff", &["diff"])
}

fn text_if(wanted: bool, git: &Git, arguments: &[&str]) -> Result<String, GitHashError> {
    if wanted {
        text(git, "diff --cached", arguments)
    } else {
        Ok(String::new())
    }
}

/// False where `git status` without `-uall` may print nothing though there are untracked files.
fn shows_untracked(git: &Git) -> bool {
    match git.line(&["config", "--get", "status.showUntrackedFiles"]) {
        Ok(value) => matches!(
            value.to_ascii_lowercase().as_slice(),
            b"normal" | b"all" | b"true" | b"yes" | b"on" | b"1"
        ),
        Err(_) => true,
    }
}

/// Where a state is, from one call of git.
struct Place {
    root: String,
    index: PathBuf,
    head: String,
}

impl Place {
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

    fn dirty(
        root: &str,
        head: String,
        staged: &str,
        unstaged: &str,
        status: &str,
    ) -> Result<Self, GitHashError> {
        let files = file_lines(root, status)?;
        let digest = digest(&head, staged, unstaged, &files);
        let start = head.get(..32).unwrap_or(&head);
        Ok(Self {
            text: format!("{start}-dirty-{digest}"),
            head,
            clean: false,
        })
    }
}

/// Gives git a copy of the index to refresh, as the helper's git refreshes the real one. `git diff` writes the index
/// back even with `GIT_OPTIONAL_LOCKS=0`, and one that is not refreshed shows touched files to external diffs and as
/// sources of copies.
fn with_own_index(git: &Git, scratch: &Path) -> Result<Git, GitHashError> {
    let index = git.path(&["rev-parse", "--path-format=absolute", "--git-path", "index"])?;
    let copy = scratch.join("index");
    match File::open(&index) {
        Ok(from) => copy_with_time(from, &copy).map_err(GitHashError::Scratch)?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(GitHashError::Scratch(error)),
    }
    let git = git.clone().with_var("GIT_INDEX_FILE", copy);
    refresh(&git)?;
    Ok(git)
}

/// Brings the stat data of the index up to date, as `git status` does before the helper's diffs.
fn refresh(git: &Git) -> Result<(), GitHashError> {
    let refreshed = git.clone().with_config(&["core.splitIndex=false"]).run(&[
        "update-index",
        "-q",
        "--unmerged",
        "--refresh",
    ]);
    match refreshed {
        // It also fails when a file really differs.
        Ok(_) | Err(GitError::Failed { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Keeps the time of the last change, by which git knows entries that it must compare again.
fn copy_with_time(mut from: File, to: &Path) -> std::io::Result<()> {
    let mut copy = File::create_new(to)?;
    std::io::copy(&mut from, &mut copy)?;
    copy.set_modified(from.metadata()?.modified()?)
}

fn joined(
    handle: std::thread::ScopedJoinHandle<'_, Result<String, GitHashError>>,
) -> Result<String, GitHashError> {
    handle.join().unwrap_or_else(|_| {
        Err(GitHashError::Git(GitError::Failed {
            command: "diff".into(),
            message: "the thread that read it ended early".into(),
        }))
    })
}

fn root_and_head(git: &Git) -> Result<(String, String), GitHashError> {
    let root = text(git, "rev-parse", &["rev-parse", "--show-toplevel"])?;
    let head = text(git, "rev-parse", &["rev-parse", "HEAD"]).map_err(|error| match error {
        GitHashError::Git(GitError::Failed { .. }) => GitHashError::NoCommit,
        other => other,
    })?;
    Ok((
        python_strip(&root).to_owned(),
        python_strip(&head).to_owned(),
    ))
}

fn text(git: &Git, command: &'static str, arguments: &[&str]) -> Result<String, GitHashError> {
    let Output { stdout, stderr } = git.run(arguments)?;
    decode(stderr).ok_or(GitHashError::NotUtf8 { command })?;
    decode(stdout).ok_or(GitHashError::NotUtf8 { command })
}

/// Decodes as Python's `subprocess` does with `text=True`: strict UTF-8, then CRLF and CR become LF.
fn decode(bytes: Vec<u8>) -> Option<String> {
    let text = String::from_utf8(bytes).ok()?;
    Some(if text.contains('\r') {
        text.replace("\r\n", "\n").replace('\r', "\n")
    } else {
        text
    })
}

/// Trims what Python's `str.strip()` trims: Unicode white space and the four separators U+001C to U+001F.
fn python_strip(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c))
}

/// The names that the helper opens, in its order, from the output of `git status --porcelain -uall`.
fn opened_names(status: &str) -> impl Iterator<Item = &str> {
    let trimmed = python_strip(status);
    trimmed.split('\n').filter_map(|line| {
        let name_start = line
            .char_indices()
            .map(|(at, _)| at)
            .chain([line.len()])
            .nth(3)?;
        let code_end = line.char_indices().nth(2).map_or(line.len(), |(at, _)| at);
        let (code, name) = (line.get(..code_end)?, line.get(name_start..)?);
        code.contains(['?', 'M', 'A']).then_some(name)
    })
}

fn file_lines(root: &str, status: &str) -> Result<Vec<String>, GitHashError> {
    let mut lines = opened_names(status)
        .map(|name| {
            let hash = file_hash(&python_join(root, name)).map_err(|()| GitHashError::Endless {
                name: name.to_owned(),
            })?;
            Ok(format!(
                "{name}:{}",
                hash.as_deref().unwrap_or("unreadable")
            ))
        })
        .collect::<Result<Vec<_>, GitHashError>>()?;
    lines.sort_unstable();
    Ok(lines)
}

/// Joins as `os.path.join` does: an absolute `name` replaces `root`.
fn python_join(root: &str, name: &str) -> PathBuf {
    let joined: Cow<'_, str> = if name.starts_with('/') {
        name.into()
    } else if root.is_empty() || root.ends_with('/') {
        format!("{root}{name}").into()
    } else {
        format!("{root}/{name}").into()
    };
    Path::new(std::ffi::OsStr::from_bytes(joined.as_bytes())).to_owned()
}

/// Returns the SHA-256 of a file, `None` where the helper says "unreadable", and an error where it would not end.
fn file_hash(path: &Path) -> Result<Option<String>, ()> {
    let nonblocking = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let opened = File::options()
        .read(true)
        .custom_flags(nonblocking)
        .open(path);
    let Ok(file) = opened else { return Ok(None) };
    let Ok(metadata) = file.metadata() else {
        return Ok(None);
    };
    let kind = metadata.file_type();
    if kind.is_fifo() {
        return Err(());
    }
    let limit = if kind.is_file() {
        u64::MAX
    } else {
        DEVICE_LIMIT
    };
    match sha256_of(file.take(limit)) {
        Ok((_, length)) if length == limit => Err(()),
        Ok((hash, _)) => Ok(Some(hash)),
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Err(()),
        Err(_) => Ok(None),
    }
}

fn sha256_of(mut source: impl Read) -> std::io::Result<(String, u64)> {
    let mut hasher = Sha256::new();
    let length = std::io::copy(&mut source, &mut HashWriter(&mut hasher))?;
    Ok((hex(&hasher.finalize()), length))
}

struct HashWriter<'a>(&'a mut Sha256);

impl std::io::Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn digest(head: &str, staged: &str, unstaged: &str, files: &[String]) -> String {
    let mut hasher = Sha256::new();
    hasher.update(head);
    let files = files.join("\n");
    let parts = [
        ("STAGED:\n", staged),
        ("UNSTAGED:\n", unstaged),
        ("FILES:\n", &files),
    ];
    let present: Vec<_> = parts.iter().filter(|(_, body)| !body.is_empty()).collect();
    if present.is_empty() {
        hasher.update("\n");
    }
    for (title, body) in present {
        hasher.update("\n");
        hasher.update(title);
        hasher.update(body);
    }
    let mut digits = hex(&hasher.finalize());
    digits.truncate(8);
    digits
}

/// Returns lowercase hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_status_line_loses_its_space_and_its_name_a_letter() {
        let names: Vec<_> =
            opened_names(" M a.txt\n M b.txt\n?? c d.txt\nD  e\nR  f -> g\n").collect();
        assert_eq!(names, [".txt", "b.txt", "c d.txt"]);
    }

    #[test]
    fn a_one_letter_name_on_the_first_line_becomes_the_root_itself() {
        assert_eq!(opened_names(" M 0\n").collect::<Vec<_>>(), [""]);
        assert_eq!(python_join("/r", ""), Path::new("/r/"));
    }

    #[test]
    fn an_absolute_name_replaces_the_root() {
        assert_eq!(python_join("/r", "/proc/x"), Path::new("/proc/x"));
    }

    #[test]
    fn python_trims_the_information_separators_too() {
        assert_eq!(python_strip("\u{1c}\u{3000} a \u{85}\n"), "a");
    }

    #[test]
    fn a_state_without_any_part_still_hashes_head_and_a_newline() {
        let expected = hex(&Sha256::digest(b"abc\n"));
        assert_eq!(digest("abc", "", "", &[]), expected[..8]);
    }
}
