//! What may change everything without an event of any file: the machine slept, or file systems were mounted and
//! unmounted.
//!
//! Only notices: what is read again the event loop says.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use tokio::sync::mpsc;

use super::lifecycle::News;
use super::mounts::{self, Below};
use crate::fs_util::FileId;

/// Clocks that drift apart by less are those of a machine that is awake.
const NAP: Duration = Duration::from_secs(1);

/// Tells the loop when mounts change, for as long as it listens; tells nothing where the system does not.
pub(super) fn watch_mounts(news: mpsc::Sender<News>) {
    let Ok(mounts) = File::open(mounts::LIST) else {
        return;
    };
    std::thread::spawn(move || {
        while wait_for_change(&mounts).is_some() {
            if news.blocking_send(News::Mounts).is_err() {
                return;
            }
        }
    });
}

fn wait_for_change(mounts: &File) -> Option<()> {
    let mut watched = [PollFd::new(mounts, PollFlags::PRI)];
    poll(&mut watched, None).ok().map(drop)
}

/// Which file a path leads to, `None` where nothing is; and what is mounted below.
pub(super) type Spot = (Option<FileId>, Below);

/// Returns what lies at a path now. May wait for the file system.
pub(super) fn spot(path: &Path) -> Spot {
    (FileId::behind(path).ok(), mounts::below(path))
}

/// Returns the worktrees whose root is no longer what it was, or which have other mounts, and what is there now. May wait for
/// their file systems.
pub(super) fn displaced<Id>(roots: Vec<(Id, PathBuf, Spot)>) -> Vec<(Id, Spot)> {
    let now = roots
        .into_iter()
        .map(|(id, root, was)| (id, was, spot(&root)));
    now.filter(|(_, was, now)| was != now)
        .map(|(id, _, now)| (id, now))
        .collect()
}

/// Notices that the machine was suspended: one clock counts that time, the other does not (`clock_gettime(2)`).
#[derive(Debug, Default)]
pub(super) struct Sleep {
    slept: Option<Duration>,
}

impl Sleep {
    /// Returns whether the machine slept since the last call.
    pub(super) fn is_over(&mut self) -> bool {
        let slept = time_asleep();
        let before = std::mem::replace(&mut self.slept, slept);
        is_nap(before, slept)
    }
}

fn is_nap(before: Option<Duration>, now: Option<Duration>) -> bool {
    match (before, now) {
        (Some(before), Some(now)) => now.saturating_sub(before) >= NAP,
        _ => false,
    }
}

#[cfg(target_os = "linux")]
fn time_asleep() -> Option<Duration> {
    use rustix::time::{ClockId, clock_gettime};
    let read = |clock| Duration::try_from(clock_gettime(clock)).ok();
    Some(read(ClockId::Boottime)?.saturating_sub(read(ClockId::Monotonic)?))
}

#[cfg(not(target_os = "linux"))]
fn time_asleep() -> Option<Duration> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_that_is_awake_does_not_sleep_and_one_that_slept_did() {
        let mut sleep = Sleep::default();
        assert!(!sleep.is_over());
        assert!(!sleep.is_over());
        let minute = Some(Duration::from_mins(1));
        assert!(is_nap(Some(Duration::ZERO), minute));
        assert!(!is_nap(minute, minute));
        assert!(!is_nap(None, minute), "before the first look");
    }

    #[test]
    fn a_root_that_is_another_directory_now_is_displaced() {
        let dir = tempfile::tempdir().unwrap();
        let (stays, goes) = (dir.path().join("stays"), dir.path().join("goes"));
        std::fs::create_dir(&stays).unwrap();
        std::fs::create_dir(&goes).unwrap();
        let roots = [
            (1, stays.clone(), spot(&stays)),
            (2, goes.clone(), spot(&goes)),
        ];
        std::fs::remove_dir(&goes).unwrap();
        assert_eq!(displaced(roots.into()), [(2, (None, Below::new()))]);
    }
}
