//! What git noted of a file when it looked last, held against what lstat(2) says now.
//!
//! Looks at no file: what lstat(2) says comes in. Cut as git cuts it, to 32 bits.

use rustix::fs::{FileType, Stat};

use super::{FILES, INODE, IndexEntry, MODE, SIZE, number};

/// How far a file is as git noted it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::identity) enum Described {
    /// In everything.
    Exactly,
    /// But for nanoseconds, which only some builds of git compare (`USE_NSEC` in its Makefile, 2.47).
    ToTheSecond,
    /// Not.
    No,
}

impl IndexEntry<'_> {
    /// Returns whether what git noted is what lstat(2) says of the file now, mode and device aside.
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "git cuts them so"
    )]
    pub(in crate::identity) fn describes(&self, file: &Stat) -> Described {
        let seconds = [(0, file.st_ctime as u32), (8, file.st_mtime as u32)];
        let nanoseconds = [
            (4, file.st_ctime_nsec as u32),
            (12, file.st_mtime_nsec as u32),
        ];
        let others = [
            (INODE, file.st_ino as u32),
            (MODE.end, file.st_uid),
            (MODE.end + 4, file.st_gid),
            (SIZE.start, file.st_size as u32),
        ];
        let noted = |at: usize| self.head.get(at..at + 4).and_then(number);
        let all = |expected: &[(usize, u32)]| {
            let mut expected = expected.iter();
            expected.all(|(at, expected)| noted(*at) == Some(*expected))
        };
        match (all(&seconds) && all(&others), all(&nanoseconds)) {
            (true, true) => Described::Exactly,
            (true, false) => Described::ToTheSecond,
            (false, _) => Described::No,
        }
    }
}

/// Returns whether a file differs by its size alone, whatever is in it (`ie_modified` in read-cache.c, git 2.47): where the index notes
/// a size, and another than the file has.
pub(in crate::identity) fn is_other_size(noted: u32, found: u32) -> bool {
    noted != 0 && noted != found
}

/// Returns the size of a file, cut as in git's index.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "git cuts it so"
)]
pub(in crate::identity) fn found_size(file: &Stat) -> u32 {
    file.st_size as u32
}

/// The mode that git gives a file (gitformat-index(5)); `None` for what is neither file nor link.
pub(in crate::identity) fn mode_of(file: &Stat) -> Option<u32> {
    let [plain, executable, link] = FILES;
    match FileType::from_raw_mode(file.st_mode) {
        FileType::Symlink => Some(link),
        FileType::RegularFile if file.st_mode & 0o100 == 0 => Some(plain),
        FileType::RegularFile => Some(executable),
        _ => None,
    }
}
