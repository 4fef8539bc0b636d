//! What changes whenever a file is written, replaced or renamed over.
//!
//! Reads no content. The clock is asked nowhere else in `identity`: that of the file system, by a probe, and the
//! system's for what lies on other disks.

use std::fs::{File, Metadata};
use std::io;
use std::num::NonZeroU32;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::Stat;

/// Seconds and nanoseconds since 1970.
type Time = (i64, i64);

/// How far apart two writes are sure to get two times, where times have fractions of a second (a tick of the kernel is at
/// most 10 ms), and where they have whole seconds or two (FAT).
const TICK: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(2500));

/// How many bytes a stamp is as bytes.
pub(super) const STAMP_BYTES: usize = 56;

/// Device, inode, mode, size, and the times of the last write and the last change in nanoseconds. The last cannot be set
/// by a program (utimensat(2)), so equal stamps mean that nothing was written in between, ticks of the clock aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    place: (u64, u64),
    /// Never zero, as it says what kind of file it is (inode(7)): so that there may be none at no cost.
    mode: NonZeroU32,
    size: u64,
    seconds: [i64; 2],
    nanoseconds: [u32; 2],
    /// How many names it has.
    names: u32,
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

    /// Returns the stamp of what `path` leads to; `None` where it leads nowhere.
    pub(crate) fn of_followed(path: &Path) -> Option<Self> {
        path.metadata().ok().as_ref().map(Self::from)
    }

    /// Returns device and inode.
    pub(super) fn place(&self) -> (u64, u64) {
        self.place
    }

    /// Returns all of it as bytes.
    pub(super) fn to_bytes(self) -> [u8; STAMP_BYTES] {
        let longs = [self.place.0, self.place.1, self.size].map(u64::to_le_bytes);
        let seconds = self.seconds.map(i64::to_le_bytes);
        let [written, changed] = self.nanoseconds;
        let shorts = [self.mode.get(), written, changed, self.names].map(u32::to_le_bytes);
        let mut bytes = [0; STAMP_BYTES];
        let parts = longs.iter().chain(&seconds).flatten();
        let parts = parts.chain(shorts.iter().flatten());
        bytes
            .iter_mut()
            .zip(parts)
            .for_each(|(to, from)| *to = *from);
        bytes
    }

    /// Returns what [`Self::to_bytes`] made bytes of.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (longs, rest) = bytes.as_chunks::<8>();
        let [device, inode, size, written, changed, ..] = longs else {
            return None;
        };
        let shorts = bytes.get(40..)?;
        let (shorts, _) = shorts.as_chunks::<4>();
        let [mode, written_ns, changed_ns, names] = shorts else {
            return None;
        };
        rest.is_empty().then_some(())?;
        Some(Self {
            place: (u64::from_le_bytes(*device), u64::from_le_bytes(*inode)),
            mode: NonZeroU32::new(u32::from_le_bytes(*mode))?,
            size: u64::from_le_bytes(*size),
            seconds: [written, changed].map(|bytes| i64::from_le_bytes(*bytes)),
            nanoseconds: [written_ns, changed_ns].map(|bytes| u32::from_le_bytes(*bytes)),
            names: u32::from_le_bytes(*names),
        })
    }

    /// Returns the second of the last write, since 1970.
    pub(super) fn written(&self) -> i64 {
        self.seconds[0]
    }

    /// Returns the seconds of the last write and the size, both cut to 32 bits as in git's index.
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "git cuts them so"
    )]
    pub(super) fn written_and_size(&self) -> (u32, u32) {
        (self.seconds[0] as u32, self.size as u32)
    }

    /// Returns whether it has another name too, through which it can be written.
    pub(crate) fn has_other_names(&self) -> bool {
        self.names > 1
    }

    /// Returns the size in bytes.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// The times of the last write and the last change.
    fn times(&self) -> [Time; 2] {
        let ([written, changed], [written_ns, changed_ns]) = (self.seconds, self.nanoseconds);
        [(written, written_ns.into()), (changed, changed_ns.into())]
    }
}

impl From<&Stat> for Stamp {
    #[allow(
        clippy::cast_sign_loss,
        clippy::cast_lossless,
        clippy::unnecessary_cast,
        trivial_numeric_casts,
        reason = "the types differ by system, as in the standard library's own metadata"
    )]
    fn from(found: &Stat) -> Self {
        let nanoseconds = [found.st_mtime_nsec as u64, found.st_ctime_nsec as u64];
        Self {
            place: (found.st_dev as u64, found.st_ino as u64),
            mode: NonZeroU32::new(found.st_mode as u32).unwrap_or(NonZeroU32::MIN),
            size: found.st_size as u64,
            seconds: [found.st_mtime as i64, found.st_ctime as i64],
            nanoseconds: nanoseconds
                .map(|nanoseconds| u32::try_from(nanoseconds).unwrap_or(u32::MAX)),
            names: u32::try_from(found.st_nlink as u64).unwrap_or(u32::MAX),
        }
    }
}

impl From<&Metadata> for Stamp {
    fn from(metadata: &Metadata) -> Self {
        Self {
            place: (metadata.dev(), metadata.ino()),
            mode: NonZeroU32::new(metadata.mode()).unwrap_or(NonZeroU32::MIN),
            size: metadata.size(),
            seconds: [metadata.mtime(), metadata.ctime()],
            nanoseconds: [metadata.mtime_nsec(), metadata.ctime_nsec()]
                .map(|nanoseconds| u32::try_from(nanoseconds).unwrap_or(u32::MAX)),
            names: u32::try_from(metadata.nlink()).unwrap_or(u32::MAX),
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
        stamp.times().into_iter().all(|time| time < limit)
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
            seconds: stamp.seconds.map(|seconds| seconds - 3600),
            ..stamp
        };
        assert!(Moment::now(&probe).unwrap().settles(&old));
    }

    #[test]
    fn it_is_the_same_whichever_way_the_system_is_asked() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "x").unwrap();
        std::os::unix::fs::symlink("file", dir.path().join("link")).unwrap();
        for name in ["file", "link"] {
            let path = dir.path().join(name);
            let found = rustix::fs::lstat(&path).unwrap();
            assert_eq!(Stamp::of(&path), Some(Stamp::from(&found)), "{name}");
        }
    }

    #[test]
    fn times_go_back_over_a_second() {
        assert_eq!(earlier((10, 5), Duration::from_nanos(6)), (9, 999_999_999));
    }
}
