//! Which file systems are mounted below a directory, and whether that changed: no event of any file tells of it.
//!
//! Reads the list of mounts alone: waits for no file system, and knows nothing on systems that keep no such list.

use std::fs::File;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Lists the mounts; the kernel marks an open file when they change (proc(5)).
pub(super) const LIST: &str = "/proc/self/mountinfo";
const AT_ONCE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 0,
};

/// The lines about mounts below a directory.
pub(super) type Below = Vec<Vec<u8>>;

/// Returns what is mounted below a directory, itself included.
pub(super) fn below(dir: &Path) -> Below {
    let list = std::fs::read(LIST).unwrap_or_default();
    let dir = escaped(dir);
    let dir = dir.strip_suffix(b"/").unwrap_or(&dir);
    let is_below = |line: &&[u8]| {
        let place = line.split(|byte| *byte == b' ').nth(4);
        let rest = place.and_then(|place| place.strip_prefix(dir));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
    };
    let lines = list.split(|byte| *byte == b'\n');
    lines.filter(is_below).map(<[u8]>::to_vec).collect()
}

/// As the list has it: white space and backslashes in octal (`show_mountinfo` in `fs/proc_namespace.c`, Linux 6).
fn escaped(dir: &Path) -> Vec<u8> {
    let bytes = dir.as_os_str().as_bytes().iter();
    bytes
        .flat_map(|byte| match byte {
            b' ' | b'\t' | b'\n' | b'\\' => format!("\\{byte:03o}").into_bytes(),
            byte => vec![*byte],
        })
        .collect()
}

/// Notices when something is mounted or unmounted below a directory.
#[derive(Debug)]
pub(super) struct Mounts {
    dir: PathBuf,
    list: Option<File>,
    below: Below,
}

impl Mounts {
    /// Knows what is mounted below `dir` from now on.
    pub(super) fn below(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
            list: File::open(LIST).ok(),
            below: below(dir),
        }
    }

    /// Returns whether something was mounted or unmounted there since the last call.
    pub(super) fn have_changed(&mut self) -> bool {
        let Some(list) = &self.list else {
            return false;
        };
        let mut watched = [PollFd::new(list, PollFlags::PRI)];
        if poll(&mut watched, Some(&AT_ONCE)) == Ok(0) {
            return false;
        }
        let now = below(&self.dir);
        std::mem::replace(&mut self.below, now.clone()) != now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_written_as_the_kernel_writes_it() {
        assert_eq!(escaped(Path::new("/a b\\c\nd")), b"/a\\040b\\134c\\012d");
    }

    #[test]
    fn only_what_lies_below_counts() {
        let all = below(Path::new("/"));
        assert!(all.len() > 1, "{all:?}");
        assert!(!below(Path::new("/proc")).is_empty());
        assert!(below(Path::new("/pro")).is_empty());
    }
}
