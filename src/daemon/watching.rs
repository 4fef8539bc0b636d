//! The watches of one worktree from one look to the next: whether events come at all, what they told, and when they are tried for
//! again.
//!
//! Owns the [`Watch`]. Reads no file.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::mounts::Mounts;
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

/// Watches a worktree as far as that can be had.
pub(super) struct Watching {
    opener: Opener,
    /// `None` while the worktree is read at intervals.
    watch: Option<Watch>,
    /// False before the first look, which watches everything.
    open: bool,
    /// What is mounted in the worktree.
    mounts: Mounts,
    /// When events were last tried for in vain.
    blind_since: Option<Instant>,
}

impl Watching {
    /// Opens the watches. Returns also why no events can be had, where that is known already.
    pub(super) fn of(root: &Path, opener: Opener) -> (Self, Option<WatchError>) {
        let (watch, error) = match opener() {
            Ok(watch) => (Some(watch), None),
            Err(error) => (None, Some(error)),
        };
        let watching = Self {
            blind_since: error.is_some().then(Instant::now),
            mounts: Mounts::below(root),
            opener,
            watch,
            open: false,
        };
        (watching, error)
    }

    /// Returns how many directories are watched.
    pub(super) fn count(&self) -> usize {
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

    /// Waits until every event of what was done before has come; false where that cannot be known.
    pub(super) fn is_synced(&self) -> bool {
        let watch = self.watch.as_ref().filter(|_| self.open);
        watch.is_some_and(|watch| watch.sync(SYNC_TIME))
    }

    /// Takes files that were written, where they are too many to be touched one by one.
    pub(super) fn take_written(&self) -> BTreeSet<PathBuf> {
        let watch = self.watch.as_ref().filter(|_| self.open);
        watch.map(Watch::take_written).unwrap_or_default()
    }

    /// Returns whether nothing was touched since that was taken last; false where that cannot be known.
    pub(super) fn is_undisturbed(&self) -> bool {
        let watch = self.watch.as_ref().filter(|_| self.open);
        watch.is_some_and(|watch| watch.is_undisturbed(SYNC_TIME))
    }

    /// Returns what was touched since that was taken last: as far as events have told by now or, if `is_asked`, all that was done until
    /// now. `None` where no events come.
    pub(super) fn touched_since(&self, is_asked: bool) -> Option<Touched> {
        let watch = self.watch.as_ref().filter(|_| self.open)?;
        if is_asked && !watch.sync(SYNC_TIME) {
            return Some(Touched::Everything);
        }
        Some(watch.touched_since())
    }

    /// Returns whether a directory may have lain there since events come.
    pub(super) fn may_have_been_dir(&self, path: &Path) -> bool {
        let watch = self.watch.as_ref();
        watch.is_none_or(|watch| watch.may_have_been_dir(path))
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
