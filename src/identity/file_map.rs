//! Every file of the code by its path: what it is, and how it lay on the disk when it was read. Its trees are hashed
//! when asked for, only those that changed (git-mktree(1) for the format).
//!
//! Pure. Copies share what they have in common.

mod ordered;
mod runs;

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

use super::object::{Format, RawId, object_id};
use super::stamp::Stamp;
pub(super) use ordered::Ordered;
use runs::{Held, Runs};

/// What a file is to git.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Plain,
    Executable,
    Link,
    Gitlink,
}

impl Mode {
    /// Reads the digits that `git ls-files -s` prints.
    pub(crate) fn from_digits(digits: &[u8]) -> Option<Self> {
        [Self::Plain, Self::Executable, Self::Link, Self::Gitlink]
            .into_iter()
            .find(|mode| mode.digits() == digits)
    }

    /// Returns the digits that git's trees hold.
    pub(crate) fn digits(self) -> &'static [u8] {
        match self {
            Self::Plain => b"100644",
            Self::Executable => b"100755",
            Self::Link => b"120000",
            Self::Gitlink => b"160000",
        }
    }
}

/// What a path holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) mode: Mode,
    pub(crate) id: RawId,
    /// The blob of its bytes as they lie on the disk: another one where git converts them. As `id` where it was not read by
    /// a path.
    pub(crate) raw: RawId,
    /// How it lay on the disk when it was read, `None` where it was not read by a path.
    pub(crate) stamp: Option<Stamp>,
    /// False when it had been written so shortly before that another write could leave the same stamp.
    pub(crate) settled: bool,
}

/// All files of one worktree.
#[derive(Debug, Default, Clone)]
pub(crate) struct FileMap {
    root: Arc<Dir>,
    count: usize,
    /// How many files there were when directories were last packed.
    packed: usize,
    /// Files with several names (link(2)).
    linked: Arc<BTreeSet<Vec<u8>>>,
}

/// What lies in one directory; copies share most of it.
#[derive(Debug, Default, Clone)]
pub(crate) struct Dir {
    runs: Runs,
    /// Empty after a change.
    id: OnceLock<RawId>,
    /// Whether a file below lies on the disk in other bytes than git takes in; empty after a change.
    is_converted: OnceLock<bool>,
}

/// What lies in a directory.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Node<'a> {
    Dir(&'a Arc<Dir>),
    File(&'a Entry),
}

impl FileMap {
    /// Sets what `path` holds. Nothing may lie at one of its directories.
    pub(crate) fn insert(&mut self, path: &[u8], entry: Entry) {
        let mut dir = Arc::make_mut(&mut self.root);
        let mut rest = path;
        while let Some((name, after)) = first_dir(rest) {
            let Some(inner) = dir.dir_mut(name) else {
                return;
            };
            (dir, rest) = (inner, after);
        }
        if dir.put(rest, entry) {
            self.count += 1;
        }
        self.note_names(
            path,
            entry.stamp.is_some_and(|stamp| stamp.has_other_names()),
        );
    }

    fn note_names(&mut self, path: &[u8], has_others: bool) {
        match (self.linked.contains(path), has_others) {
            (false, true) => drop(Arc::make_mut(&mut self.linked).insert(path.to_vec())),
            (true, false) => drop(Arc::make_mut(&mut self.linked).remove(path)),
            _ => {}
        }
    }

    /// Returns the files that had other names too when they were read.
    pub(super) fn linked(&self) -> &BTreeSet<Vec<u8>> {
        &self.linked
    }

    /// Takes `path` out, and the directories that are empty without it.
    pub(crate) fn remove(&mut self, path: &[u8]) {
        if self.get(path).is_some() && Arc::make_mut(&mut self.root).remove(path) {
            self.count -= 1;
            self.note_names(path, false);
        }
    }

    /// Gives back the memory that directories leave free which were filled name by name, once a good part of the files is new.
    pub(crate) fn pack(&mut self) {
        if self.count > self.packed.saturating_mul(2) {
            Arc::make_mut(&mut self.root).pack();
            self.packed = self.count;
        }
    }

    /// Returns how many files there are.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// Returns every path.
    pub(super) fn paths(&self) -> Vec<Vec<u8>> {
        let mut paths = Vec::with_capacity(self.count);
        self.root.paths(&mut Vec::new(), &mut paths);
        paths
    }

    /// Returns what `path` holds.
    pub(crate) fn get(&self, path: &[u8]) -> Option<&Entry> {
        let (dir, name) = self.dir_of(path)?;
        dir.file(name)
    }

    /// Returns a way to ask for many files one after the other, most of which lie beside the one before.
    pub(super) fn neighbours<'p>(&self) -> Neighbours<'_, 'p> {
        Neighbours {
            map: self,
            last: None,
        }
    }

    /// Returns whether any file lies below the directory `path`, given without a slash at its end.
    pub(super) fn has_dir(&self, path: &[u8]) -> bool {
        let Some((dir, name)) = self.dir_of(path) else {
            return false;
        };
        dir.runs.get(&[name, b"/"].concat()).is_some()
    }

    fn dir_of<'a, 'p>(&'a self, path: &'p [u8]) -> Option<(&'a Dir, &'p [u8])> {
        let (mut dir, mut rest): (&Dir, _) = (&self.root, path);
        while let Some((name, after)) = first_dir(rest) {
            (dir, rest) = (dir.dir(name)?, after);
        }
        Some((dir, rest))
    }

    /// Returns the id of the tree over all files.
    pub(crate) fn tree_id(&self, format: Format) -> Option<RawId> {
        self.root.tree_id(format)
    }

    /// Returns the top directory.
    pub(crate) fn root(&self) -> &Dir {
        &self.root
    }

    /// Hands every path to `look` that lies on the disk in other bytes than git takes in, in the order of git's trees.
    pub(crate) fn each_converted<'a>(&'a self, mut look: impl FnMut(&[u8], &'a Entry)) {
        let mut look = |path: &[u8], entry: &'a Entry| {
            if entry.raw != entry.id {
                look(path, entry);
            }
        };
        let wanted = |dir: &Dir| dir.is_converted();
        self.root.each(&mut Vec::new(), &wanted, &mut look);
    }

    /// Hands every path and what it holds to `look`, in the order of git's trees.
    pub(crate) fn each<'a>(&'a self, mut look: impl FnMut(&[u8], &'a Entry)) {
        self.root.each(&mut Vec::new(), &|_| true, &mut look);
    }
}

/// Asks a map for files, and remembers the directory of the last one.
pub(super) struct Neighbours<'m, 'p> {
    map: &'m FileMap,
    last: Option<(&'p [u8], Option<&'m Dir>)>,
}

impl<'m, 'p> Neighbours<'m, 'p> {
    /// Returns what `path` holds.
    pub(super) fn get(&mut self, path: &'p [u8]) -> Option<&'m Entry> {
        let end = path.iter().rposition(|byte| *byte == b'/');
        let (dir, name) = path.split_at_checked(end.map_or(0, |end| end + 1))?;
        let known = self.last.filter(|(last, _)| *last == dir);
        let (_, found) = known.unwrap_or_else(|| (dir, self.map.dir_of(path).map(|(dir, _)| dir)));
        self.last = Some((dir, found));
        found?.file(name)
    }
}

impl Dir {
    fn of(runs: Runs) -> Self {
        Self {
            runs,
            ..Self::default()
        }
    }

    fn pack(&mut self) {
        let dirs: Vec<_> = self.dirs().map(|(name, _)| name.to_vec()).collect();
        for name in dirs {
            if let Some(Held::Dir(dir)) = self.runs.get_mut(&name) {
                Arc::make_mut(dir).pack();
            }
        }
        self.runs.pack();
    }

    fn file(&self, name: &[u8]) -> Option<&Entry> {
        match self.runs.get(name)? {
            Held::File(entry) => Some(entry),
            Held::Dir(_) => None,
        }
    }

    fn dir(&self, name: &[u8]) -> Option<&Self> {
        match self.runs.get(name)? {
            Held::Dir(dir) => Some(dir),
            Held::File(_) => None,
        }
    }

    fn dirs(&self) -> impl Iterator<Item = (&[u8], &Self)> {
        self.nodes().filter_map(|(name, node)| match node {
            Node::Dir(dir) => Some((name, dir.as_ref())),
            Node::File(_) => None,
        })
    }

    /// Returns the directory of that name, which ends with a slash, to be changed; made where there is none.
    fn dir_mut(&mut self, name: &[u8]) -> Option<&mut Self> {
        self.forget();
        if self.runs.get(name).is_none() {
            self.runs.insert(name, Held::Dir(Arc::default()));
        }
        self.runs.forget(name);
        match self.runs.get_mut(name)? {
            Held::Dir(dir) => Some(Arc::make_mut(dir)),
            Held::File(_) => None,
        }
    }

    /// Returns whether there was nothing of that name.
    fn put(&mut self, name: &[u8], entry: Entry) -> bool {
        let Some(Held::File(known)) = self.runs.get_mut(name) else {
            self.forget();
            self.runs.insert(name, Held::File(entry));
            return true;
        };
        let is_same = (known.mode, known.id, known.raw) == (entry.mode, entry.id, entry.raw);
        *known = entry;
        if !is_same {
            self.forget();
            self.runs.forget(name);
        }
        false
    }

    fn paths(&self, prefix: &mut Vec<u8>, found: &mut Vec<Vec<u8>>) {
        let length = prefix.len();
        for (name, node) in self.nodes() {
            prefix.extend_from_slice(name);
            match node {
                Node::File(_) => found.push(prefix.clone()),
                Node::Dir(dir) => dir.paths(prefix, found),
            }
            prefix.truncate(length);
        }
    }

    /// Returns whether something was taken out.
    fn remove(&mut self, path: &[u8]) -> bool {
        let removed = match first_dir(path) {
            None => self.runs.remove(path),
            Some((name, rest)) => {
                let dir = match self.runs.get_mut(name) {
                    Some(Held::Dir(dir)) => Arc::make_mut(dir),
                    Some(Held::File(_)) | None => return false,
                };
                let (removed, is_empty) = (dir.remove(rest), dir.runs.is_empty());
                if is_empty {
                    self.runs.remove(name);
                } else {
                    self.runs.forget(name);
                }
                removed
            }
        };
        if removed {
            self.forget();
        }
        removed
    }

    fn forget(&mut self) {
        (self.id, self.is_converted) = (OnceLock::new(), OnceLock::new());
    }

    fn is_converted(&self) -> bool {
        *self.is_converted.get_or_init(|| {
            self.nodes().any(|(_, node)| match node {
                Node::File(entry) => entry.raw != entry.id,
                Node::Dir(dir) => dir.is_converted(),
            })
        })
    }

    fn each<'a>(
        &'a self,
        prefix: &mut Vec<u8>,
        wanted: &impl Fn(&Self) -> bool,
        look: &mut impl FnMut(&[u8], &'a Entry),
    ) {
        if !wanted(self) {
            return;
        }
        let length = prefix.len();
        for (name, node) in self.nodes() {
            prefix.extend_from_slice(name);
            match node {
                Node::File(entry) => look(prefix, entry),
                Node::Dir(dir) => dir.each(prefix, wanted, look),
            }
            prefix.truncate(length);
        }
    }

    /// Returns its names, which end with a slash where they are directories, and what they hold, in the order of git's trees.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = (&[u8], Node<'_>)> {
        self.runs.nodes()
    }

    /// Returns the same, but for much of what is certainly the same in `other`.
    pub(crate) fn nodes_beside<'a>(
        &'a self,
        other: &'a Self,
    ) -> impl Iterator<Item = (&'a [u8], Node<'a>)> {
        self.runs.nodes_beside(&other.runs)
    }

    /// Returns what a name holds, which ends with a slash where it is a directory.
    pub(crate) fn node(&self, name: &[u8]) -> Option<Node<'_>> {
        self.runs.get(name).map(Held::node)
    }

    /// Returns the directories in it of which the id is not known.
    pub(super) fn unhashed(&self) -> impl Iterator<Item = &Self> {
        let dirs = self.dirs().map(|(_, dir)| dir);
        dirs.filter(|dir| dir.id.get().is_none())
    }

    /// Returns the id of its tree.
    pub(crate) fn tree_id(&self, format: Format) -> Option<RawId> {
        if let Some(id) = self.id.get() {
            return Some(*id);
        }
        let id = object_id(format, "tree", &self.tree_body(format)?)?;
        Some(*self.id.get_or_init(|| id))
    }

    /// Returns its tree as git writes it.
    pub(crate) fn tree_body(&self, format: Format) -> Option<Vec<u8>> {
        self.runs.tree_body(format)
    }
}

/// Splits `a/b/c` into `a/` and `b/c`; `None` for a path without directories.
fn first_dir(path: &[u8]) -> Option<(&[u8], &[u8])> {
    let slash = path.iter().position(|byte| *byte == b'/')?;
    path.split_at_checked(slash + 1)
}

/// Returns the entries that `git ls-files -s -z` printed; `None` for unmerged entries and for text that is none of git's.
pub(crate) fn listed(records: &[u8]) -> Option<FileMap> {
    let mut map = FileMap::default();
    for record in crate::git::records(records) {
        let (path, entry) = listed_entry(record)?;
        map.insert(path, entry);
    }
    Some(map)
}

/// `MODE ID STAGE TAB PATH`
pub(super) fn listed_entry(record: &[u8]) -> Option<(&[u8], Entry)> {
    let tab = record.iter().position(|byte| *byte == b'\t')?;
    let mut fields = record.get(..tab)?.split(|byte| *byte == b' ');
    let (mode, id, stage) = (fields.next()?, fields.next()?, fields.next()?);
    (stage == b"0").then_some(())?;
    let id = RawId::from_hex(id)?;
    let entry = Entry {
        mode: Mode::from_digits(mode)?,
        id,
        raw: id,
        stamp: None,
        settled: false,
    };
    Some((record.get(tab + 1..)?, entry))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::Git;
    use crate::scratch_repository::ScratchRepository;

    const PATHS: [&str; 7] = ["a-b", "a/b/c", "a/b.c", "a0", "a/z/y", "\u{e9}", "run.sh"];

    fn repository(format: &str) -> (ScratchRepository, Git) {
        let repository = ScratchRepository::of_format(format);
        for path in PATHS {
            repository.write(path, path);
        }
        repository.git(&["add", "."]);
        repository.git(&["update-index", "--chmod=+x", "run.sh"]);
        let git = Git::at(repository.root());
        (repository, git)
    }

    fn map_of(git: &Git) -> FileMap {
        listed(&git.run(&["ls-files", "-s", "-z"]).unwrap().stdout).unwrap()
    }

    fn written(git: &Git) -> String {
        String::from_utf8(git.line(&["write-tree"]).unwrap()).unwrap()
    }

    #[test]
    fn neighbours_are_the_files_that_are_found_one_by_one() {
        let (_dir, git) = repository("sha1");
        let map = map_of(&git);
        let others = ["", "none", "none/none", "a", "a/none", "a/b/none"];
        let asked: Vec<_> = PATHS.into_iter().chain(others).collect();
        let mut neighbours = map.neighbours();
        for first in &asked {
            for second in &asked {
                for path in [first, second] {
                    let path = path.as_bytes();
                    assert_eq!(neighbours.get(path), map.get(path), "{first} {second}");
                }
            }
        }
    }

    #[test]
    fn the_tree_is_the_one_that_git_writes_also_after_changes() {
        for (name, format) in [("sha1", Format::Sha1), ("sha256", Format::Sha256)] {
            let (_dir, git) = repository(name);
            let mut map = map_of(&git);
            assert_eq!(map.tree_id(format).unwrap().to_hex(), written(&git));
            for path in PATHS {
                git.run(&["update-index", "--force-remove", path]).unwrap();
                map.remove(path.as_bytes());
                assert_eq!(
                    map.tree_id(format).unwrap().to_hex(),
                    written(&git),
                    "{path}"
                );
            }
            assert!(map.root.runs.is_empty());
        }
    }

    #[test]
    fn a_file_takes_the_place_of_a_directory_and_back() {
        let (_dir, git) = repository("sha1");
        let mut map = map_of(&git);
        let before = map.tree_id(Format::Sha1).unwrap();
        let inside: Vec<_> = ["a/b/c", "a/b.c", "a/z/y"]
            .map(|path| (path, *map.get(path.as_bytes()).unwrap()))
            .to_vec();
        for (path, _) in &inside {
            map.remove(path.as_bytes());
        }
        assert!(!map.has_dir(b"a"));
        map.insert(b"a", inside[0].1);
        assert_ne!(map.tree_id(Format::Sha1).unwrap(), before);
        map.remove(b"a");
        for (path, entry) in inside {
            map.insert(path.as_bytes(), entry);
        }
        assert!(map.has_dir(b"a/b") && !map.has_dir(b"a/b.c"));
        assert_eq!(map.tree_id(Format::Sha1).unwrap(), before);
    }

    #[test]
    fn a_copy_stays_as_it_was_when_the_other_changes() {
        let (_dir, git) = repository("sha1");
        let mut map = map_of(&git);
        let (copy, before) = (map.clone(), map.tree_id(Format::Sha1));
        map.remove(b"a/b/c");
        let entry = *map.get(b"a0").unwrap();
        map.insert(b"a/new", entry);
        assert_ne!(map.tree_id(Format::Sha1), before);
        let mut seen = Vec::new();
        copy.each(|path, _| seen.push(String::from_utf8(path.to_vec()).unwrap()));
        assert_eq!(seen.len(), PATHS.len());
        assert!(seen.contains(&"a/b/c".to_owned()) && !seen.contains(&"a/new".to_owned()));
        assert_eq!(copy.tree_id(Format::Sha1), before);
    }

    #[test]
    fn what_git_converts_is_found_after_every_change_and_nothing_else() {
        let (_dir, git) = repository("sha1");
        let mut map = map_of(&git);
        let found = |map: &FileMap| {
            let (mut found, mut expected) = (Vec::new(), Vec::new());
            map.each_converted(|path, entry| found.push((path.to_vec(), *entry)));
            map.each(|path, entry| {
                if entry.raw != entry.id {
                    expected.push((path.to_vec(), *entry));
                }
            });
            assert_eq!(found, expected);
            found.len()
        };
        assert_eq!(found(&map), 0);
        let other = map.get(b"run.sh").unwrap().id;
        for (number, path) in PATHS.iter().enumerate() {
            let entry = *map.get(path.as_bytes()).unwrap();
            let copy = map.clone();
            map.insert(
                path.as_bytes(),
                Entry {
                    raw: other,
                    ..entry
                },
            );
            assert_eq!(found(&copy), number.min(PATHS.len() - 1));
            let is_other = usize::from(entry.id != other);
            assert_eq!(found(&map), number + is_other, "{path}");
        }
        map.remove(b"a/b/c");
        assert_eq!(found(&map), PATHS.len() - 2);
        let entry = *map.get(b"a0").unwrap();
        map.insert(
            b"a0",
            Entry {
                raw: entry.id,
                ..entry
            },
        );
        assert_eq!(found(&map), PATHS.len() - 3);
    }

    #[test]
    fn without_entries_it_is_the_empty_tree() {
        let id = FileMap::default().tree_id(Format::Sha1).unwrap();
        assert_eq!(id.to_hex(), "4b825dc642cb6eb9a060e54bf8d69288fbee4904");
    }
}
