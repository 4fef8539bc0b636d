//! What an index names, for those who need to know no more of it. It is read here as git reads it, in a fraction of the
//! time that libgit2 takes, which checks the hash over all of it.
//!
//! Tells no id, no mode and nothing of the disk.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::index_file::IndexFile;
use super::object::Format;
use super::split_index;

/// The names in an index.
#[derive(Debug)]
pub struct IndexNames(Arc<IndexFile>);

impl IndexNames {
    /// Reads the index in a git directory whose objects have SHA-1 names; where there is none, nothing is named. `None` for what is
    /// left to git: a sparse index, one that cannot be read.
    pub fn read(git_dir: &Path) -> Option<Self> {
        match std::fs::read(git_dir.join("index")) {
            Ok(bytes) => {
                let bytes = split_index::whole(bytes, git_dir);
                let index = IndexFile::read(bytes, Format::Sha1.id_length());
                index.map(|index| Self(Arc::new(index)))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Some(Self(Arc::default())),
            Err(_) => None,
        }
    }

    /// Returns those of an index that was read.
    pub(super) fn of(index: Arc<IndexFile>) -> Self {
        Self(index)
    }

    /// Returns the directories, relative to the top, that hold files: the top is empty, and always one of them.
    pub fn dirs(&self) -> BTreeSet<PathBuf> {
        let mut dirs = BTreeSet::from([PathBuf::new()]);
        let mut last: &[u8] = b"";
        for entry in self.0.entries() {
            let length = entry.path().iter().rposition(|byte| *byte == b'/');
            let dir = entry.path().get(..length.unwrap_or(0)).unwrap_or_default();
            // Most lie beside the one before.
            if std::mem::replace(&mut last, dir) == dir {
                continue;
            }
            for dir in Path::new(OsStr::from_bytes(dir)).ancestors() {
                if !dirs.insert(dir.to_owned()) {
                    break;
                }
            }
        }
        dirs
    }

    /// Returns where submodules lie, relative to the top.
    pub fn gitlinks(&self) -> Vec<PathBuf> {
        let links = self.0.gitlinks();
        links.map(|path| OsStr::from_bytes(path).into()).collect()
    }

    /// Returns whether the index has the file at `path`, relative to the top.
    pub fn has(&self, path: &Path) -> bool {
        self.0.find(path.as_os_str().as_bytes()).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::records;
    use crate::scratch_repository::ScratchRepository;

    #[test]
    fn an_index_names_what_git_lists_also_where_it_is_split_or_none() {
        let repository = ScratchRepository::new();
        let root = repository.root();
        let git = |arguments: &[&str]| repository.git(arguments);
        let names = || IndexNames::read(&root.join(".git")).unwrap();
        assert_eq!(names().dirs(), BTreeSet::from([PathBuf::new()]));
        for path in ["top.py", "a/b/deep.py", "a-b/x.py", "a/one.py"] {
            repository.write(path, "x");
        }
        git(&["add", "."]);
        let commit = "160000,4b825dc642cb6eb9a060e54bf8d69288fbee4904,a/module";
        git(&["update-index", "--add", "--cacheinfo", commit]);
        for _ in 0..2 {
            let dirs = ["", "a", "a-b", "a/b"].map(PathBuf::from);
            assert_eq!(names().dirs(), BTreeSet::from(dirs));
            assert_eq!(names().gitlinks(), [PathBuf::from("a/module")]);
            let listed = git(&["ls-files", "-z"]);
            for path in records(&listed) {
                assert!(names().has(Path::new(OsStr::from_bytes(path))));
            }
            assert!(!names().has(Path::new("a")) && !names().has(Path::new("a/two.py")));
            git(&["update-index", "--split-index"]);
        }
        std::fs::write(root.join(".git/index"), "no index").unwrap();
        assert!(IndexNames::read(&root.join(".git")).is_none());
    }
}
