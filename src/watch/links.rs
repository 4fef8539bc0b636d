//! Whether a path leads over symbolic links, asked in one call where the system has one.
//!
//! Walks no path itself: where the system does not tell at once, neither does this.

use std::path::Path;

/// Returns whether any part of `path` is a link; `None` where the system does not tell at once.
pub(super) fn are_on_the_way_to(path: &Path) -> Option<bool> {
    system::opens_without_links(path).map(|opens| !opens)
}

#[cfg(target_os = "linux")]
mod system {
    use std::path::Path;

    use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
    use rustix::io::Errno;

    /// Since Linux 5.6 (openat2(2)); what keeps processes in may refuse it.
    pub(super) fn opens_without_links(path: &Path) -> Option<bool> {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        match openat2(CWD, path, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS) {
            Ok(_) => Some(true),
            Err(Errno::LOOP) => Some(false),
            Err(_) => None,
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use std::path::Path;

    pub(super) fn opens_without_links(_: &Path) -> Option<bool> {
        None
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_told_wherever_it_is_on_the_way() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        std::fs::create_dir_all(root.join("a/b")).unwrap();
        std::os::unix::fs::symlink("a", root.join("link")).unwrap();
        std::os::unix::fs::symlink("b", root.join("a/last")).unwrap();
        for (path, leads) in [("a/b", false), ("link/b", true), ("a/last", true)] {
            let path = root.join(path);
            let told = are_on_the_way_to(&path).unwrap_or(leads);
            assert_eq!(told, leads, "{}", path.display());
            assert_eq!(path.canonicalize().unwrap() != path, leads);
        }
        assert_eq!(are_on_the_way_to(&root.join("none")), None);
    }
}
