//! Bringing code back into a directory of its own: raw bytes, no filter, no hook, and each file compared at the end.
//!
//! Owns what it wrote until it is complete, and nothing else: a directory that is there is never touched.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use super::read::{BlobSink, TreeFile, list, read_blobs};
use super::{LeftOut, Record, SnapshotError, Snapshots, path_bytes, path_text};
use crate::fs_util::{FileId, PathError};
use crate::git::{Git, GitError, records};
use crate::identity::file_content;
use crate::identity::file_map::Mode;
use crate::identity::object::{Format, RawId};

/// Why code was not brought back.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// Something lies there.
    #[error("{} exists", .0.display())]
    Exists(PathBuf),
    /// Nothing lies there, and git knows it as a linked worktree all the same.
    #[error("{} is a linked worktree whose directory is missing", .0.display())]
    Registered(PathBuf),
    /// What was written is not what was kept.
    #[error("{} of {} files are not as they were kept, {:?} among them", .wrong.len(), .files, .wrong.first().map(String::as_str).unwrap_or_default())]
    Wrong {
        /// How many files there are.
        files: usize,
        /// Those that differ.
        wrong: Vec<String>,
    },
    /// The snapshot cannot be read.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The directory cannot be written.
    #[error(transparent)]
    Path(#[from] PathError),
}

/// What was brought back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// How many files were written and compared.
    pub files: usize,
    /// True for a linked worktree at the version's commit, false for plain files.
    pub linked: bool,
    /// What was not kept.
    pub left_out: Vec<LeftOut>,
}

impl Snapshots {
    /// Brings a version back that a snapshot holds, into `dir`, which must not exist: as a linked worktree of the repository
    /// at `root` with HEAD detached at the version's commit, or as plain files where `plain` says so or that commit is gone. Ends
    /// early once `stop` is set.
    ///
    /// # Errors
    /// [`RestoreError`]; what was written so far is removed.
    pub fn restore(
        &self,
        record: &Record,
        root: &Path,
        dir: &Path,
        plain: bool,
        stop: &AtomicBool,
    ) -> Result<Restored, RestoreError> {
        restore_from(&self.git(), record, root, dir, plain, stop)
    }

    /// Brings code back that the repository at `root` holds itself, as [`Snapshots::restore`] does.
    ///
    /// # Errors
    /// [`RestoreError`]; what was written so far is removed.
    pub fn restore_committed(
        record: &Record,
        root: &Path,
        dir: &Path,
        plain: bool,
        stop: &AtomicBool,
    ) -> Result<Restored, RestoreError> {
        restore_from(&Self::repository(root), record, root, dir, plain, stop)
    }
}

/// `from` is the git that has the objects.
fn restore_from(
    from: &Git,
    record: &Record,
    root: &Path,
    dir: &Path,
    plain: bool,
    stop: &AtomicBool,
) -> Result<Restored, RestoreError> {
    if dir.symlink_metadata().is_ok() {
        return Err(RestoreError::Exists(dir.to_owned()));
    }
    let files = list(from, record.disk())?;
    let head = record.head.as_deref().filter(|_| !plain);
    let user = quiet(Git::at(root)).map_err(SnapshotError::Git)?;
    let is_linked = head.is_some_and(|head| has_commit(&user, head));
    // Taking back removes what git knows of that directory: it must all be ours.
    if is_linked && is_registered(&user, dir).map_err(SnapshotError::Git)? {
        return Err(RestoreError::Registered(dir.to_owned()));
    }
    let around = dir.parent().unwrap_or(dir);
    fs::create_dir_all(around).map_err(PathError::of("create", around))?;
    // Nobody takes half of it for code: it is where it belongs once it is complete and compared.
    let partial = tempfile::Builder::new()
        .prefix(".tracemark-restore-")
        .tempdir_in(around)
        .map_err(PathError::of("write", around))?;
    let count = fill(from, record, &files, partial.path(), stop)?;
    put(&user, head.filter(|_| is_linked), partial.path(), dir)?;
    Ok(Restored {
        files: count,
        linked: is_linked,
        left_out: record.left_out.clone(),
    })
}

/// Has what is complete in `from` lie at `dir`, as a linked worktree of the commit `head` where there is one.
fn put(user: &Git, head: Option<&str>, from: &Path, dir: &Path) -> Result<(), RestoreError> {
    // From here on the directory is ours: whoever made one meanwhile keeps it.
    fs::create_dir(dir).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => RestoreError::Exists(dir.to_owned()),
        _ => PathError::of("create", dir)(error).into(),
    })?;
    let made = Made::at(dir);
    if let Some(head) = head
        && let Err(error) = link(user, head, dir)
    {
        // Only while it is empty: somebody else may have made a worktree of it.
        drop(fs::remove_dir(dir));
        return Err(SnapshotError::Git(error).into());
    }
    let placed = match head {
        Some(head) => place_linked(user, head, from, dir),
        None => move_into(from, dir),
    };
    if placed.is_err() && made.is_some_and(|made| made.is_at(dir)) {
        take_back(user, dir, head.is_some());
    }
    placed
}

/// Which directory was made.
struct Made(FileId);

impl Made {
    fn at(dir: &Path) -> Option<Self> {
        FileId::at(dir).ok().map(Self)
    }

    fn is_at(&self, dir: &Path) -> bool {
        Self::at(dir).is_some_and(|found| found.0 == self.0)
    }
}

/// Its index is that of its commit. Until it is complete, git says of the worktree that it is being made.
fn place_linked(git: &Git, head: &str, from: &Path, dir: &Path) -> Result<(), RestoreError> {
    let read = git
        .clone()
        .in_dir(dir)
        .run(&["read-tree", "--no-sparse-checkout", head]);
    read.map_err(SnapshotError::Git)?;
    move_into(from, dir)?;
    let unlock = ["worktree", "unlock"].map(OsStr::new);
    let unlocked = git.run(&[&unlock[..], &[dir.as_os_str()]].concat());
    unlocked.map_err(SnapshotError::Git)?;
    Ok(())
}

fn move_into(from: &Path, dir: &Path) -> Result<(), RestoreError> {
    let entries = fs::read_dir(from).map_err(PathError::of("read", from))?;
    for entry in entries {
        let entry = entry.map_err(PathError::of("read", from))?;
        let to = dir.join(entry.file_name());
        fs::rename(entry.path(), &to).map_err(PathError::of("write", &to))?;
    }
    Ok(())
}

fn fill(
    from: &Git,
    record: &Record,
    files: &[TreeFile],
    dir: &Path,
    stop: &AtomicBool,
) -> Result<usize, RestoreError> {
    let left_out: BTreeSet<_> = record
        .left_out
        .iter()
        .filter(|file| file.is_absent())
        .map(|file| file.path.as_str())
        .collect();
    let is_kept = |file: &&TreeFile| !left_out.contains(path_text(&file.path).as_str());
    let (gitlinks, files): (Vec<_>, Vec<_>) = files
        .iter()
        .filter(is_kept)
        .partition(|file| file.mode == Mode::Gitlink);
    let mut dirs = Dirs::new(dir);
    // Also of a repository inside that has no file.
    let inside: Vec<_> = record
        .inside
        .iter()
        .map(|one| path_bytes(&one.path))
        .collect();
    for path in gitlinks.iter().map(|file| &file.path).chain(&inside) {
        let path = dirs.ready(path)?;
        make_dir(&path)?;
    }
    let ids: Vec<_> = files.iter().map(|file| file.id).collect();
    let mut writer = Writer {
        files: &files,
        dirs,
        open: None,
        stop,
    };
    read_blobs(from, &ids, &mut writer)?;
    let wrong: Vec<_> = files
        .iter()
        .filter(|file| !is_as_kept(dir, file))
        .map(|file| path_text(&file.path))
        .collect();
    if wrong.is_empty() {
        Ok(files.len())
    } else {
        Err(RestoreError::Wrong {
            files: files.len(),
            wrong,
        })
    }
}

/// A git that runs nothing that the repository names: hooks above all.
fn quiet(git: Git) -> Result<Git, GitError> {
    let git = git.distrusting().with_config(&[
        "core.hooksPath=/dev/null",
        "core.fsmonitor=false",
        "core.untrackedCache=false",
        "core.sparseCheckout=false",
        "submodule.recurse=false",
        "gc.auto=0",
        "maintenance.auto=false",
    ]);
    let listed = git.run(&["config", "--list", "--name-only", "-z"])?.stdout;
    // Hooks by configuration (git-config(1) of git 2.54): an empty event is none.
    let hooks: Vec<_> = records(&listed)
        .filter(|key| key.starts_with(b"hook.") && key.ends_with(b".event"))
        .map(|key| OsString::from_vec(key.to_vec()))
        .collect();
    Ok(if hooks.is_empty() {
        git
    } else {
        git.with_emptied(hooks)
    })
}

fn has_commit(git: &Git, head: &str) -> bool {
    let tree = format!("{head}^{{tree}}");
    git.run(&["cat-file", "-e", &tree]).is_ok()
        && git
            .run(&["ls-tree", "-r", "-t", "-z", "--name-only", head])
            .is_ok()
}

/// Returns whether a worktree of the repository is said to lie at `dir`, where nothing lies.
fn is_registered(git: &Git, dir: &Path) -> Result<bool, GitError> {
    let above = dir.ancestors().skip(1);
    let mut there = above.filter_map(|above| {
        let below = dir.strip_prefix(above).ok()?;
        Some(above.canonicalize().ok()?.join(below))
    });
    let dir = there.next().unwrap_or_else(|| dir.to_owned());
    let listed = git.run(&["worktree", "list", "--porcelain"])?.stdout;
    let mut lines = listed.split(|byte| *byte == b'\n');
    Ok(lines.any(|line| line.strip_prefix(b"worktree ") == Some(dir.as_os_str().as_bytes())))
}

/// The word that git itself writes while it makes one (builtin/worktree.c), and who does it.
const BEING_MADE: &str = "initializing (tracemark restore)";

/// Makes a linked worktree without files and without an index.
fn link(git: &Git, head: &str, dir: &Path) -> Result<(), GitError> {
    let arguments = [
        "worktree",
        "add",
        "-q",
        "--detach",
        "--no-checkout",
        "--lock",
        "--reason",
        BEING_MADE,
    ]
    .map(OsStr::new);
    let arguments = [&arguments[..], &[dir.as_os_str(), OsStr::new(head)]].concat();
    git.run(&arguments)?;
    Ok(())
}

/// Returns the worktrees that git says are being made by a restore: one is under way there, or was cut short.
///
/// # Errors
/// [`GitError`] when git does not list the worktrees.
pub fn unfinished(git: &Git) -> Result<Vec<PathBuf>, GitError> {
    let listed = git.run(&["worktree", "list", "--porcelain", "-z"])?.stdout;
    let (mut found, mut dir) = (Vec::new(), None);
    for line in listed.split(|byte| *byte == 0) {
        if let Some(path) = line.strip_prefix(b"worktree ") {
            dir = Some(PathBuf::from(OsStr::from_bytes(path)));
        } else if line.strip_prefix(b"locked ") == Some(BEING_MADE.as_bytes()) {
            found.extend(dir.take());
        }
    }
    Ok(found)
}

fn take_back(git: &Git, dir: &Path, linked: bool) {
    let removed = if linked {
        // Twice, as it is locked while it is being made.
        let arguments = ["worktree", "remove", "--force", "--force"].map(OsStr::new);
        git.run(&[&arguments[..], &[dir.as_os_str()]].concat())
            .is_ok()
    } else {
        fs::remove_dir_all(dir).is_ok()
    };
    tracing::debug!(removed, dir = %dir.display(), "what was written is taken back");
}

/// Directories that were made, so that nothing is ever written through a link.
struct Dirs<'a> {
    top: &'a Path,
    made: BTreeSet<PathBuf>,
}

impl<'a> Dirs<'a> {
    fn new(top: &'a Path) -> Self {
        Self {
            top,
            made: BTreeSet::new(),
        }
    }

    /// Returns where the file of that path goes; its directories are there.
    fn ready(&mut self, path: &[u8]) -> Result<PathBuf, PathError> {
        let to = self.top.join(OsStr::from_bytes(path));
        let is_odd =
            |part: &[u8]| matches!(part, b"" | b"." | b"..") || part.eq_ignore_ascii_case(b".git");
        if path.split(|byte| *byte == b'/').any(is_odd) {
            let wrong = std::io::Error::new(ErrorKind::InvalidInput, "no path that git takes in");
            return Err(PathError::of("write", &to)(wrong));
        }
        let above = to.ancestors().skip(1).take_while(|dir| *dir != self.top);
        let mut above: Vec<_> = above
            .filter(|dir| !self.made.contains(*dir))
            .map(Path::to_owned)
            .collect();
        while let Some(dir) = above.pop() {
            make_dir(&dir)?;
            self.made.insert(dir);
        }
        Ok(to)
    }
}

fn make_dir(dir: &Path) -> Result<(), PathError> {
    let made = match fs::create_dir(dir) {
        Err(error) if dir.symlink_metadata().is_ok_and(|found| found.is_dir()) => {
            drop(error);
            Ok(())
        }
        made => made,
    };
    made.map_err(PathError::of("create", dir))
}

struct Writer<'a> {
    files: &'a [&'a TreeFile],
    dirs: Dirs<'a>,
    open: Option<Open>,
    stop: &'a AtomicBool,
}

enum Open {
    File(PathBuf, File),
    Link(PathBuf, Vec<u8>),
}

impl BlobSink for Writer<'_> {
    fn begin(&mut self, place: usize, size: Option<u64>) -> Result<(), SnapshotError> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(SnapshotError::Interrupted);
        }
        let Some(file) = self.files.get(place) else {
            return Err(SnapshotError::Damaged(
                "more objects than asked for".to_owned(),
            ));
        };
        if size.is_none() {
            return Err(SnapshotError::Damaged(format!(
                "{} is missing",
                path_text(&file.path)
            )));
        }
        let path = self.dirs.ready(&file.path)?;
        let mode = match file.mode {
            Mode::Link => {
                self.open = Some(Open::Link(path, Vec::new()));
                return Ok(());
            }
            Mode::Executable => 0o777,
            Mode::Plain | Mode::Gitlink => 0o666,
        };
        let made = File::options()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&path);
        self.open = Some(Open::File(
            path.clone(),
            made.map_err(PathError::of("write", &path))?,
        ));
        Ok(())
    }

    fn bytes(&mut self, bytes: &[u8]) -> Result<(), SnapshotError> {
        match &mut self.open {
            Some(Open::File(path, file)) => {
                file.write_all(bytes)
                    .map_err(PathError::of("write", path))?;
            }
            Some(Open::Link(_, target)) => target.extend_from_slice(bytes),
            None => {}
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), SnapshotError> {
        if let Some(Open::Link(path, target)) = self.open.take() {
            std::os::unix::fs::symlink(OsStr::from_bytes(&target), &path)
                .map_err(PathError::of("write", &path))?;
        }
        Ok(())
    }
}

fn is_as_kept(dir: &Path, file: &TreeFile) -> bool {
    let format = if file.id.as_bytes().len() == Format::Sha1.id_length() {
        Format::Sha1
    } else {
        Format::Sha256
    };
    let found = file_content::read(&dir.join(OsStr::from_bytes(&file.path)), format);
    found.is_ok_and(|content| {
        content.is_some_and(|content| is_same((content.mode, content.blob), file))
    })
}

fn is_same((mode, blob): (Mode, RawId), file: &TreeFile) -> bool {
    mode == file.mode && blob == file.id
}
