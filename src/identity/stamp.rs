//! What changes whenever a file is written, replaced or renamed over.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Seconds and nanoseconds since 1970.
type Time = (i64, i64);

/// How far apart two writes are sure to get two times, where times have fractions of a second (a tick of the kernel is at
/// most 10 ms), and where they have whole seconds or two (FAT).
const TICK: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(2500));

/// Device, inode, mode, size, and the times of the last write and the last change in nanoseconds. The last cannot be set
/// by a program (utimensat(2)), so equal stamps mean that nothing was written in between, ticks of the clock aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    place: (u64, u64),
    mode: u32,
    size: u64,
    written: Time,
    changed: Time,
}

impl Stamp {
    /// Returns the stamp of what lies at `path` itself, links not followed; `None` for nothing and for directories.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let metadata = path.symlink_metadata().ok()?;
        (!metadata.is_dir()).then(|| Self::from(&metadata))
    }

    /// Returns the stamp of what lies at `path` itself, directories too.
    pub(super) fn of_any(path: &Path) -> Option<Self> {
        path.symlink_metadata().ok().as_ref().map(Self::from)
    }

    /// Returns device and inode.
    pub(super) fn place(&self) -> (u64, u64) {
        self.place
    }

    /// Returns the seconds of the last write and the size, both cut to 32 bits as in git's index.
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "git cuts them so"
    )]
    pub(super) fn written_and_size(&self) -> (u32, u32) {
        (self.written.0 as u32, self.size as u32)
    }

    /// Returns the size in bytes.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }
}

impl From<&Metadata> for Stamp {
    fn from(metadata: &Metadata) -> Self {
        Self {
            place: (metadata.dev(), metadata.ino()),
            mode: metadata.mode(),
            size: metadata.size(),
            written: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// The time of a moment as the file system tells it: what changed well before can no longer change without a new stamp.
/// Git's rule for racily clean entries, with what a private file shows in place of the index (racy-git.adoc, git 2.47).
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    device: u64,
    settled_before: Time,
    settled_before_elsewhere: Time,
}

impl Moment {
    /// Writes to `probe` and looks at its time.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(super) fn now(probe: &File) -> io::Result<Self> {
        probe.write_all_at(b".", 0)?;
        let metadata = probe.metadata()?;
        let time = (metadata.mtime(), metadata.mtime_nsec());
        let tick = if time.1 == 0 { TICK.1 } else { TICK.0 };
        let clock = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let seconds = i64::try_from(clock.as_secs()).unwrap_or(i64::MAX);
        Ok(Self {
            device: metadata.dev(),
            settled_before: earlier(time, tick),
            settled_before_elsewhere: earlier((seconds, 0), TICK.1),
        })
    }

    /// Returns whether another write since would have left another stamp.
    pub(super) fn settles(&self, stamp: &Stamp) -> bool {
        let limit = if stamp.place.0 == self.device {
            self.settled_before
        } else {
            self.settled_before_elsewhere
        };
        stamp.written < limit && stamp.changed < limit
    }
}

fn earlier((seconds, nanoseconds): Time, by: Duration) -> Time {
    let billion = 1_000_000_000;
    let nanoseconds = nanoseconds - i64::from(by.subsec_nanos());
    let seconds = seconds - i64::try_from(by.as_secs()).unwrap_or(0);
    if nanoseconds < 0 {
        (seconds - 1, nanoseconds + billion)
    } else {
        (seconds, nanoseconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_just_written_is_not_settled_and_what_is_old_is() {
        let dir = tempfile::tempdir().unwrap();
        let probe = File::create(dir.path().join("probe")).unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "x").unwrap();
        let stamp = Stamp::of(&file).unwrap();
        assert!(!Moment::now(&probe).unwrap().settles(&stamp));
        let old = Stamp {
            written: earlier(stamp.written, Duration::from_hours(1)),
            changed: earlier(stamp.changed, Duration::from_hours(1)),
            ..stamp
        };
        assert!(Moment::now(&probe).unwrap().settles(&old));
    }

    #[test]
    fn times_go_back_over_a_second() {
        assert_eq!(earlier((10, 5), Duration::from_nanos(6)), (9, 999_999_999));
    }
}
