//! One look at a worktree, on a thread for blocking work: watch what is new, then read what was touched.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::identity::ReadError;
use crate::identity::reader::WorktreeReader;
use crate::repository::{IgnoreRules, ignored_by_git};
use crate::session::Session;
use crate::touched::Touched;
use crate::watch::{Watch, WatchError};
use crate::worktree_state::{Depth, Memory, PassFailure, Seen};

/// Events that do not come in this time are not waited for: everything is read instead.
const SYNC_TIME: Duration = Duration::from_millis(500);

/// What moves into the job and comes back with its outcome.
pub(super) struct Eyes {
    /// `None` when watching failed: the worktree is read at intervals.
    pub(super) watch: Option<Watch>,
    /// False before the first look, which watches everything.
    pub(super) open: bool,
    pub(super) reader: WorktreeReader,
    /// The store's file as it was at the last look.
    pub(super) store: Option<FileStamp>,
}

/// What changes when a file is written, replaced, or allowed to be written: device, inode, size, times of its bytes and
/// of its status in nanoseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FileStamp([i128; 5]);

impl FileStamp {
    fn of(path: &Path) -> Option<Self> {
        let file = path.metadata().ok()?;
        let time =
            |seconds: i64, nanos: i64| i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
        Some(Self([
            file.dev().into(),
            file.ino().into(),
            file.size().into(),
            time(file.mtime(), file.mtime_nsec()),
            time(file.ctime(), file.ctime_nsec()),
        ]))
    }
}

impl Eyes {
    /// Waits until every event of what was done before has come; false where that cannot be known.
    fn is_synced(&self) -> bool {
        let watch = self.watch.as_ref().filter(|_| self.open);
        watch.is_some_and(|watch| watch.sync(SYNC_TIME))
    }
}

/// What a look brought.
pub(super) struct Look {
    pub(super) outcome: Result<Seen, PassFailure>,
    /// What was touched before it.
    pub(super) touched: Touched,
    /// What made the look necessary, for people.
    pub(super) cause: String,
    /// A settings file says something else: the session is to be opened anew, nothing was read.
    pub(super) settings_changed: bool,
    /// The store's file is another than at the last look.
    pub(super) store_changed: bool,
    /// Why the worktree is no longer watched, the first time that this is so.
    pub(super) watch_failure: Option<String>,
}

/// Looks at a worktree. A bug on the way makes it broken for now, not the daemon.
pub(super) fn look(eyes: &mut Eyes, session: &Arc<Session>, depth: Depth) -> Look {
    let looked = catch_unwind(AssertUnwindSafe(|| look_unguarded(eyes, session, depth)));
    looked.unwrap_or_else(|_| {
        eyes.open = false;
        Look {
            outcome: Err(PassFailure::Broken(
                "a bug of tracemark, see its log".to_owned(),
            )),
            touched: Touched::Everything,
            cause: String::new(),
            settings_changed: false,
            store_changed: false,
            watch_failure: None,
        }
    })
}

fn look_unguarded(eyes: &mut Eyes, session: &Arc<Session>, depth: Depth) -> Look {
    let is_synced = depth == Depth::Synced && eyes.is_synced();
    let (touched, watch_failure) = take_touched(eyes);
    let is_there = session.worktree.root.join(".git").exists();
    let settings_changed = is_there && !session.has_current_settings();
    let nothing_new = || session.trusts_store() && only_ignored(session, &touched);
    let outcome = if settings_changed {
        Err(PassFailure::Torn)
    } else if depth == Depth::Touched && nothing_new() {
        Ok(Seen::Same)
    } else {
        let what = if depth == Depth::Touched || is_synced {
            &touched
        } else {
            &Touched::Everything
        };
        observe(&mut eyes.reader, session, what)
    };
    if matches!(outcome, Err(PassFailure::Broken(_))) {
        eyes.open = false;
    }
    Look {
        cause: cause_of(&touched, &session.worktree.root),
        touched,
        settings_changed,
        store_changed: store_changed(eyes, session),
        outcome,
        watch_failure,
    }
}

/// An event alone says nothing: whoever opens the file, as every try to use it does, causes one.
fn store_changed(eyes: &mut Eyes, session: &Session) -> bool {
    let now = session.store_file().and_then(FileStamp::of);
    let before = std::mem::replace(&mut eyes.store, now);
    eyes.store != before
}

fn take_touched(eyes: &mut Eyes) -> (Touched, Option<String>) {
    let Some(watch) = &mut eyes.watch else {
        return (Touched::Everything, None);
    };
    let taken = if eyes.open {
        watch.take()
    } else {
        eyes.open = true;
        watch.watch_everything().map(|()| Touched::Everything)
    };
    match taken {
        Ok(touched) => (touched, None),
        Err(error) => {
            eyes.watch = None;
            (Touched::Everything, Some(explain(&error)))
        }
    }
}

fn explain(error: &WatchError) -> String {
    match error {
        WatchError::LimitReached => format!(
            "{error}: read at intervals instead; sudo sysctl fs.inotify.max_user_watches=524288 fs.inotify.max_user_instances=512"
        ),
        WatchError::Refused { .. } => format!("{error}: read at intervals instead"),
    }
}

fn observe(
    reader: &mut WorktreeReader,
    session: &Arc<Session>,
    touched: &Touched,
) -> Result<Seen, PassFailure> {
    match reader.read(touched) {
        Ok(reading) => {
            let observation = session.observed(reading);
            let memory = if session.trusts_store() {
                session
                    .remembered(&observation)
                    .map_or(Memory::Nothing, Memory::Model)
            } else {
                Memory::Distrusted
            };
            Ok(Seen::Observed(Box::new(observation), memory))
        }
        Err(ReadError::Torn) => Err(PassFailure::Torn),
        Err(error @ (ReadError::Gone(_) | ReadError::Tree(_))) => {
            Err(PassFailure::Broken(error.to_string()))
        }
    }
}

/// True when nothing was touched that git would look at, such as a database beside the code.
fn only_ignored(session: &Arc<Session>, touched: &Touched) -> bool {
    let Touched::Paths(paths) = touched else {
        return false;
    };
    let worktree = &session.worktree;
    if !paths
        .iter()
        .all(|path| path.starts_with(&worktree.root) && !path.starts_with(&worktree.git_dir))
    {
        return false;
    }
    let relative: BTreeSet<_> = paths
        .iter()
        .filter_map(|path| path.strip_prefix(&worktree.root).ok())
        .map(Path::to_owned)
        .collect();
    let candidates = IgnoreRules::read(worktree)
        .is_some_and(|rules| relative.iter().all(|path| rules.ignores(path)));
    candidates && ignored_by_git(worktree, &relative) == relative
}

fn cause_of(touched: &Touched, root: &Path) -> String {
    let Touched::Paths(paths) = touched else {
        return "everything".to_owned();
    };
    let Some(first) = paths.first() else {
        return "asked".to_owned();
    };
    let name = first.strip_prefix(root).unwrap_or(first).to_string_lossy();
    let name = crate::fs_util::printable(&name);
    match paths.len() {
        1 => format!("touched {name}"),
        more => format!("touched {name} (+{})", more - 1),
    }
}
