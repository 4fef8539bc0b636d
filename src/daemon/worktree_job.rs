//! One look at a worktree, on a thread for blocking work: watch what is new, then read what was touched.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use crate::config::REPOSITORY_FILE;
use crate::identity::ReadError;
use crate::repository::{IgnoreRules, ignored_by_git};
use crate::session::Session;
use crate::watch::{Touched, Watch, WatchError};
use crate::worktree_state::{PassFailure, Seen};

/// What moves into the job and comes back with its outcome.
pub(super) struct Eyes {
    /// `None` when watching failed: the worktree is read at intervals.
    pub(super) watch: Option<Watch>,
    /// False before the first look, which watches everything.
    pub(super) open: bool,
}

/// What a look brought.
pub(super) struct Look {
    pub(super) eyes: Eyes,
    pub(super) outcome: Result<Seen, PassFailure>,
    /// What made the look necessary, for people.
    pub(super) cause: String,
    /// The settings file was touched: the session is to be opened anew.
    pub(super) settings_touched: bool,
    /// The store's file was touched.
    pub(super) store_touched: bool,
    /// Why the worktree is no longer watched, the first time that this is so.
    pub(super) watch_failure: Option<String>,
}

/// Looks at a worktree.
pub(super) fn look(mut eyes: Eyes, session: &Arc<Session>, everything: bool) -> Look {
    let (touched, watch_failure) = take_touched(&mut eyes);
    let outcome = if !everything && only_ignored(session, &touched) {
        Ok(Seen::Same)
    } else {
        observe(session)
    };
    let root = &session.worktree.root;
    let is_touched = |path: &Path| match &touched {
        Touched::Everything => true,
        Touched::Paths(paths) => paths.contains(path),
    };
    Look {
        cause: cause_of(&touched, root),
        settings_touched: matches!(&touched, Touched::Paths(_))
            && is_touched(&root.join(REPOSITORY_FILE)),
        store_touched: session.store_file().is_some_and(is_touched),
        eyes,
        outcome,
        watch_failure,
    }
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

fn observe(session: &Arc<Session>) -> Result<Seen, PassFailure> {
    match session.observe() {
        Ok(observation) => {
            let known = session.remembered(&observation);
            Ok(Seen::Observed(Box::new(observation), known))
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
