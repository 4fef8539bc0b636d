//! What git is doing to a worktree right now, as far as its own files tell: knows nothing of what the code is.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use crate::fs_util::FileId;
use crate::worktree_state::Series;

/// Most operations of git hold their lock for less than this: it is waited for where it is met.
const SHORT: Duration = Duration::from_millis(100);
/// How often the lock is looked for meanwhile.
const GLANCE: Duration = Duration::from_millis(2);
/// After one that took longer git still moves HEAD, which would spoil a reading of many files.
const AFTERWARDS: Duration = Duration::from_millis(20);
/// One that takes longer is waited for by looking again, this long in all.
const LONG: Duration = Duration::from_secs(5);

/// How long git's lock of the index has been waited for: `index.lock`, which git makes with `O_EXCL` and renames over the index (lockfile.h, git
/// 2.47).
#[derive(Debug, Default)]
pub(super) struct Patience {
    since: Option<Instant>,
    /// A lock that outlived the patience: a crash left it, or a hook of git takes its time.
    outlived: Option<LockFile>,
}

/// Which file a lock is, however much is written to it, and when it was made where the system says so.
#[derive(Debug, PartialEq, Eq)]
struct LockFile {
    file: FileId,
    made: Option<SystemTime>,
}

impl LockFile {
    fn at(path: &Path) -> Option<Self> {
        let found = path.metadata().ok()?;
        Some(Self {
            file: FileId::of(&found),
            made: found.created().ok(),
        })
    }
}

impl Patience {
    /// Waits for a moment where git holds its lock; returns whether it is to be waited for longer, by looking again.
    pub(super) fn has_to_wait(&mut self, git_dir: &Path) -> bool {
        let lock = lock(git_dir);
        let Some(held) = held_after(&lock, SHORT, self.outlived.as_ref()) else {
            if self.since.take().is_some() {
                std::thread::sleep(AFTERWARDS);
            }
            return false;
        };
        let since = *self.since.get_or_insert_with(Instant::now);
        if since.elapsed() < LONG {
            return true;
        }
        self.since = None;
        self.outlived = Some(held);
        false
    }
}

/// Returns whether git holds its lock of the index.
pub(super) fn is_locked(git_dir: &Path) -> bool {
    lock(git_dir).symlink_metadata().is_ok()
}

fn lock(git_dir: &Path) -> PathBuf {
    git_dir.join("index.lock")
}

/// Returns the lock that is there during all of `time`, unless it is the one that was waited for already.
fn held_after(lock: &Path, time: Duration, outlived: Option<&LockFile>) -> Option<LockFile> {
    let began = Instant::now();
    loop {
        let held = LockFile::at(lock).filter(|held| outlived != Some(held))?;
        if began.elapsed() >= time {
            return Some(held);
        }
        std::thread::sleep(GLANCE);
    }
}

/// Returns whether git is in the middle of something that commits more than once (git-rebase(1), git-am(1), git-cherry-pick(1),
/// git-revert(1); the directories that its own prompt script looks for).
pub(super) fn series(git_dir: &Path) -> Series {
    let signs = ["rebase-merge", "rebase-apply", "sequencer"];
    if signs.iter().any(|sign| git_dir.join(sign).exists()) {
        Series::UnderWay
    } else {
        Series::No
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_that_a_crash_left_is_waited_for_once() {
        let dir = tempfile::tempdir().unwrap();
        let mut patience = Patience::default();
        assert!(!patience.has_to_wait(dir.path()));
        std::fs::write(dir.path().join("index.lock"), "").unwrap();
        let began = Instant::now();
        while patience.has_to_wait(dir.path()) {
            assert!(began.elapsed() < LONG * 10);
        }
        assert!(began.elapsed() >= LONG);
        std::fs::write(dir.path().join("index.lock"), "it grows").unwrap();
        assert!(!patience.has_to_wait(dir.path()), "it is known");
        std::fs::remove_file(dir.path().join("index.lock")).unwrap();
        std::fs::write(dir.path().join("index.lock"), "another").unwrap();
        assert!(
            patience.has_to_wait(dir.path()),
            "another one is waited for anew"
        );
    }
}
