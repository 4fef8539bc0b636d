//! Which directories hold no others, told by their number of links, so that nobody has to list them.
//!
//! Each directory has one link from above, one from itself, and one from each directory in it. That holds on the file
//! systems that are named here (as fts(3) of gnulib has it); others count otherwise, or not at all. Lists nothing: one
//! that is not sure to be a leaf is left to whoever asks.

use std::path::Path;

/// Tells leaves apart on the file system of one worktree.
#[derive(Debug, Clone, Copy)]
pub(super) struct Leaves {
    /// The device; `None` where links say nothing.
    device: Option<u64>,
}

impl Leaves {
    /// Looks at the file system below `root`.
    pub(super) fn below(root: &Path) -> Self {
        let device = system::counts_links(root).then(|| system::device(root));
        Self {
            device: device.flatten(),
        }
    }

    /// Returns whether `dir` is sure to hold no directory.
    pub(super) fn has(self, dir: &Path) -> bool {
        self.device.is_some() && self.device == system::device_of_leaf(dir)
    }
}

#[cfg(target_os = "linux")]
mod system {
    use std::os::unix::fs::MetadataExt as _;
    use std::path::Path;

    /// ext2, ext3, ext4; XFS; tmpfs (statfs(2)).
    const KINDS: [u64; 3] = [0xef53, 0x5846_5342, 0x0102_1994];

    #[allow(
        clippy::cast_sign_loss,
        clippy::unnecessary_cast,
        trivial_numeric_casts,
        reason = "the type differs by system"
    )]
    pub(super) fn counts_links(root: &Path) -> bool {
        rustix::fs::statfs(root).is_ok_and(|found| KINDS.contains(&(found.f_type as u64)))
    }

    pub(super) fn device(root: &Path) -> Option<u64> {
        root.symlink_metadata().ok().map(|found| found.dev())
    }

    pub(super) fn device_of_leaf(dir: &Path) -> Option<u64> {
        let found = dir.symlink_metadata().ok()?;
        (found.is_dir() && found.nlink() == 2).then(|| found.dev())
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use std::path::Path;

    pub(super) fn counts_links(_: &Path) -> bool {
        false
    }

    pub(super) fn device(_: &Path) -> Option<u64> {
        None
    }

    pub(super) fn device_of_leaf(_: &Path) -> Option<u64> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_a_leaf_until_another_is_made_in_it() {
        let dir = tempfile::tempdir().unwrap();
        let leaf = dir.path().join("leaf");
        std::fs::create_dir(&leaf).unwrap();
        std::fs::write(leaf.join("file"), "x").unwrap();
        std::os::unix::fs::symlink(dir.path(), leaf.join("link")).unwrap();
        let leaves = Leaves::below(dir.path());
        assert_eq!(leaves.has(&leaf), leaves.device.is_some());
        assert!(!leaves.has(dir.path()));
        assert!(!leaves.has(&leaf.join("file")));
        assert!(!leaves.has(&leaf.join("link")));
        std::fs::create_dir(leaf.join("inner")).unwrap();
        assert!(!leaves.has(&leaf));
        std::fs::remove_dir(leaf.join("inner")).unwrap();
        assert_eq!(leaves.has(&leaf), leaves.device.is_some());
    }
}
