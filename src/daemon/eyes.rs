//! How the daemon comes to know that a worktree changed: by events, or, where none can be had, by looking at intervals.
//!
//! Owns the watches, the reader and what was touched and not read yet, moved into a look and back. Decides nothing.

use std::path::Path;
use std::time::{Duration, Instant};

use super::git_at_work::Patience;
use super::mounts::Mounts;
use super::remembered_files;
use super::worktree_job::FileStamp;
use crate::identity::Reading;
use crate::identity::reader::WorktreeReader;
use crate::registry::Registry;
use crate::repository::Worktree;
use crate::touched::Touched;
use crate::watch::{Watch, WatchError};

/// Events that do not come in this time are not waited for: everything is read instead.
const SYNC_TIME: Duration = Duration::from_millis(500);
/// How long a file system is given to send the first event.
const FIRST_SYNC_TIME: Duration = Duration::from_secs(2);
/// After so long events are tried for again.
const BLIND_TIME: Duration = Duration::from_mins(1);

/// Makes the watches of one worktree.
pub(super) type Opener = Box<dyn Fn() -> Result<Watch, WatchError> + Send>;

/// Whether events come, where that changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Sight {
    /// They do not come any more, and why.
    Lost(String),
    /// They come again.
    Back,
}

/// What moves into the job and comes back with its outcome.
pub(super) struct Eyes {
    opener: Opener,
    /// Where it is written down which repository is tracked here.
    registry: Registry,
    /// `None` while the worktree is read at intervals.
    watch: Option<Watch>,
    /// False before the first look, which watches everything.
    open: bool,
    /// False before the first look, which learns what the last daemon read.
    has_recalled: bool,
    /// What is mounted in the worktree.
    mounts: Mounts,
    /// When events were last tried for in vain.
    blind_since: Option<Instant>,
    pub(super) reader: WorktreeReader,
    /// What was last read.
    pub(super) last: Option<Reading>,
    /// What was touched before looks that saw nothing, the last ones.
    pub(super) unread: Touched,
    /// The store's file as it was at the last look.
    pub(super) store: Option<FileStamp>,
    /// What made the last look necessary.
    pub(super) last_cause: String,
    /// How long git's lock of the index has been waited for.
    pub(super) patience: Patience,
    /// HEAD's reflog as it was at the last look that saw something.
    pub(super) head_log: Option<FileStamp>,
}

impl Eyes {
    /// Opens them for a worktree. Returns also why no events can be had, where that is known already.
    pub(super) fn new(
        root: &Path,
        opener: Opener,
        reader: WorktreeReader,
        registry: Registry,
    ) -> (Self, Option<WatchError>) {
        let (watch, error) = match opener() {
            Ok(watch) => (Some(watch), None),
            Err(error) => (None, Some(error)),
        };
        let eyes = Self {
            blind_since: error.is_some().then(Instant::now),
            mounts: Mounts::below(root),
            opener,
            registry,
            watch,
            open: false,
            has_recalled: false,
            reader,
            last: None,
            unread: Touched::default(),
            store: None,
            last_cause: String::new(),
            patience: Patience::default(),
            head_log: None,
        };
        (eyes, error)
    }

    /// False once the worktree is gone or about to go, and where another one, or another repository, lies in its place.
    pub(super) fn are_on(&self, worktree: &Worktree) -> bool {
        worktree.is_there() && self.registry.may_know(&worktree.common_dir)
    }

    /// Returns how many directories are watched.
    pub(super) fn watches(&self) -> usize {
        self.watch.as_ref().map_or(0, Watch::count)
    }

    /// Lets go of every watch, as others take their place.
    pub(super) fn shut(&mut self) {
        self.watch = None;
    }

    /// Watches everything anew at the next look.
    pub(super) fn look_around(&mut self) {
        self.open = false;
    }

    /// Lets the reader know what the last daemon read, once.
    pub(super) fn recall(&mut self, worktree: &Worktree) {
        if !std::mem::replace(&mut self.has_recalled, true) {
            remembered_files::recall(&mut self.reader, &worktree.private_dir());
        }
    }

    /// Waits until every event of what was done before has come; false where that cannot be known.
    pub(super) fn is_synced(&self) -> bool {
        let watch = self.watch.as_ref().filter(|_| self.open);
        watch.is_some_and(|watch| watch.sync(SYNC_TIME))
    }

    /// Takes what was touched; everything where no events told.
    pub(super) fn take_touched(&mut self) -> (Touched, Option<Sight>) {
        let was_blind = self.blind_since;
        if self.mounts.have_changed() {
            self.look_around();
        }
        if self.watch.is_none() {
            if was_blind.is_some_and(|since| since.elapsed() < BLIND_TIME) {
                return (Touched::Everything, None);
            }
            self.open = false;
            self.watch = (self.opener)().ok();
        }
        let Some(watch) = &mut self.watch else {
            self.blind_since = Some(Instant::now());
            return (Touched::Everything, None);
        };
        let taken = if self.open {
            watch.take()
        } else if !watch.has_ground() {
            // Moved away, or unmounted: it may come back, and can be watched then.
            return (Touched::Everything, None);
        } else {
            self.open = true;
            first_look(watch)
        };
        match taken {
            Ok(touched) => {
                self.blind_since = None;
                (touched, was_blind.map(|_| Sight::Back))
            }
            Err(error) => {
                self.watch = None;
                self.blind_since = Some(Instant::now());
                let lost = was_blind.is_none().then(|| Sight::Lost(explain(&error)));
                (Touched::Everything, lost)
            }
        }
    }
}

/// Network file systems and the like take watches and send no events.
fn first_look(watch: &mut Watch) -> Result<Touched, WatchError> {
    watch.watch_everything()?;
    if watch.sync(FIRST_SYNC_TIME) || watch.sync(FIRST_SYNC_TIME) {
        Ok(Touched::Everything)
    } else {
        Err(WatchError::Silent)
    }
}

/// Returns why a worktree is read at intervals, and what helps.
pub(super) fn explain(error: &WatchError) -> String {
    match error {
        WatchError::LimitReached => format!(
            "{error}: read at intervals instead; sudo sysctl fs.inotify.max_user_watches=524288 fs.inotify.max_user_instances=512"
        ),
        WatchError::Silent | WatchError::Remote(_) | WatchError::Refused { .. } => {
            format!("{error}: read at intervals instead")
        }
    }
}

/// Returns what made a look necessary, for people: files saved, git at work, `asked`, or `rescan`.
pub(super) fn cause_of(touched: &Touched, root: &Path, git_dirs: [&Path; 2]) -> String {
    let Touched::Paths(paths) = touched else {
        return "rescan".to_owned();
    };
    let is_of_git = |path: &Path| git_dirs.iter().any(|dir| path.starts_with(dir));
    let (of_git, others): (Vec<_>, Vec<_>) = paths.iter().partition(|path| is_of_git(path));
    let (saved, outside): (Vec<_>, Vec<_>) =
        others.into_iter().partition(|path| path.starts_with(root));
    let name = |path: &Path| {
        let inside = [root].into_iter().chain(git_dirs);
        let shortened = inside
            .filter_map(|dir| path.strip_prefix(dir).ok())
            .next_back();
        crate::text::printable(&shortened.unwrap_or(path).to_string_lossy())
    };
    let kinds = [("saved", saved), ("git", of_git), ("saved", outside)];
    let Some((word, paths)) = kinds.into_iter().find(|(_, paths)| !paths.is_empty()) else {
        return "asked".to_owned();
    };
    let first = paths.first().map(|path| name(path)).unwrap_or_default();
    match paths.len() {
        1 => format!("{word} {first}"),
        more => format!("{word} {first} (+{})", more - 1),
    }
}

/// Returns what git did to HEAD last, in its own word: `commit`, `checkout`, `rebase (pick)` (git-reflog(1)).
pub(super) fn how_head_moved(git_dir: &Path) -> String {
    let unknown = || "HEAD moved".to_owned();
    let log = std::fs::read(git_dir.join("logs/HEAD")).unwrap_or_default();
    let last = log
        .rsplit(|byte| *byte == b'\n')
        .find(|line| !line.is_empty());
    let Some(last) = last.map(String::from_utf8_lossy) else {
        return unknown();
    };
    let word = last
        .split_once('\t')
        .and_then(|(_, message)| message.split(':').next());
    word.map_or_else(unknown, crate::text::printable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_names_what_was_saved_before_what_git_did() {
        let root = Path::new("/r");
        let git_dir = Path::new("/r/.git");
        let of = |paths: &[&str]| {
            let paths = paths.iter().map(Into::into).collect();
            cause_of(&Touched::Paths(paths), root, [git_dir, git_dir])
        };
        assert_eq!(
            of(&["/r/app.py", "/r/b.py", "/r/.git/index"]),
            "saved app.py (+1)"
        );
        assert_eq!(of(&["/db/mlflow.db", "/r/app.py"]), "saved app.py");
        assert_eq!(of(&["/r/.git/index"]), "git index");
        assert_eq!(of(&[]), "asked");
        let everything = cause_of(&Touched::Everything, root, [git_dir, git_dir]);
        assert_eq!(everything, "rescan");
    }
}
