//! The bytes of one reading that the store lacks, held until they are packed: what happens to the files after the
//! reading no longer matters. In memory as long as they are few, then in a file without a name; compressed, but for
//! small files, which are when they are packed.
//!
//! Writes nothing into the store, and takes no lock of it.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::compressed::{compress, compress_bytes};
use super::index::Record;
use super::objects::{Known, giving, has_lost, present};
use super::secrets::looks_secret;
use super::whole::Whole;
use super::{Limits, SnapshotError, Snapshots, conversion, path_text};
use crate::fs_util::PathError;
use crate::git::Git;
use crate::identity::file_content::open;
use crate::identity::file_map::{Dir, Entry, FileMap, Mode, Node};
use crate::identity::files::Files;
use crate::identity::object::{Format, RawId, object_id};
use crate::identity::stamp::Stamp;

/// So many changed files are held without asking first whether store or repository have them: no save of a file waits for that.
const FEW: usize = 16;
/// Of so many changed files it is asked at once whether store or repository have them.
const AT_ONCE: usize = 8192;
/// So many compressed bytes are held in memory, more in a file.
const IN_MEMORY: u64 = 8 << 20;
/// Files of no more bytes than this are compressed when they are packed: nobody waits for that.
const TINY: u64 = 16 << 10;
/// Files of more bytes than this are not held in memory.
const SMALL: u64 = 1 << 20;
/// A code of more files than this is heavy, some ten megabytes where it shares none with another.
const HEAVY: usize = 20_000;
/// So many bytes of files are held for one reading; what is over is read again when it is packed.
const HELD_MAX: u64 = 1 << 30;

/// The code of one reading, with the bytes that the store lacks.
#[derive(Debug)]
pub struct Held {
    pub(super) whole: Whole,
    files: BTreeMap<Vec<u8>, HeldFile>,
    /// Objects that git made of files that it converts.
    converted: Vec<Arc<Converted>>,
    /// All of it is in the store by now.
    stored: AtomicBool,
}

#[derive(Debug, Clone)]
struct HeldFile {
    id: RawId,
    raw: RawId,
    bytes: Arc<Bytes>,
}

/// A git that has what came of files, and the directory where that lies.
#[derive(Debug)]
struct Converted {
    git: Git,
    ids: BTreeSet<RawId>,
    _objects: Arc<tempfile::TempDir>,
}

/// A blob.
#[derive(Debug)]
pub(super) struct Bytes {
    /// How many bytes it has when it is no longer compressed.
    pub(super) size: u64,
    place: Place,
}

#[derive(Debug)]
enum Place {
    /// Not compressed.
    Plain(Vec<u8>),
    Memory(Vec<u8>),
    File {
        file: Arc<File>,
        at: u64,
        length: u64,
    },
}

impl Bytes {
    /// Writes it, compressed.
    pub(super) fn copy_to(&self, out: &mut dyn io::Write) -> io::Result<()> {
        match &self.place {
            Place::Plain(bytes) => out.write_all(&compress_bytes(bytes)?),
            Place::Memory(bytes) => out.write_all(bytes),
            Place::File { file, at, length } => {
                let mut buffer = vec![0; 64 * 1024];
                let (mut at, end) = (*at, at + length);
                while at < end {
                    let left = usize::try_from(end - at).unwrap_or(usize::MAX);
                    let most = left.min(buffer.len());
                    let count = file.read_at(buffer.get_mut(..most).unwrap_or_default(), at)?;
                    if count == 0 {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                    out.write_all(buffer.get(..count).unwrap_or_default())?;
                    at += count as u64;
                }
                Ok(())
            }
        }
    }
}

impl Held {
    /// Returns the code of a reading of which nothing is held: all of it is read again when it is packed.
    pub fn unheld(root: &Path, head: Option<&str>, files: &Files) -> Self {
        Self {
            whole: Whole::of(root, head, files),
            files: BTreeMap::new(),
            converted: Vec::new(),
            stored: AtomicBool::new(false),
        }
    }

    /// Returns the same once all of it is in the store: without the bytes.
    #[must_use]
    pub fn stored(&self) -> Self {
        self.stored.store(true, Ordering::Relaxed);
        Self {
            whole: self.whole.clone(),
            files: BTreeMap::new(),
            converted: Vec::new(),
            stored: AtomicBool::new(true),
        }
    }

    /// Returns whether it takes so much memory that no more of its kind are held than are needed.
    pub fn is_heavy(&self) -> bool {
        self.whole.map.count() > HEAVY || self.files.len() > HEAVY
    }

    /// Returns whether any file lies on the disk in other bytes than in `before`, or in another repository.
    pub fn lies_otherwise(&self, before: &Self) -> bool {
        let (now, then) = (&self.whole, &before.whole);
        let places = |whole: &Whole| {
            let repositories = whole.repositories.iter();
            repositories.map(|one| one.path.clone()).collect::<Vec<_>>()
        };
        let differs = |from: &FileMap, to: &FileMap| {
            let mut found = false;
            let told = differing(from.root(), to.root(), &mut Vec::new(), &mut |_, _| {
                found = true;
                Ok(())
            });
            found || told.is_err()
        };
        places(now) != places(then) || differs(&then.map, &now.map) || differs(&now.map, &then.map)
    }

    /// Returns the bytes that are held, by their blobs.
    pub(super) fn by_blob(&self) -> BTreeMap<RawId, Arc<Bytes>> {
        let files = self.files.values();
        files
            .map(|file| (file.raw, Arc::clone(&file.bytes)))
            .collect()
    }

    /// Returns the gits that have what came of files that git converts.
    pub(super) fn converted(&self) -> impl Iterator<Item = (&Git, &BTreeSet<RawId>)> {
        self.converted.iter().map(|made| (&made.git, &made.ids))
    }
}

impl Snapshots {
    /// Takes the bytes of `files` that neither store nor repository have. What `before` holds, the reading before it in the same
    /// worktree, is taken over. Whatever needs a file needs it in `scratch`, which no reading sees.
    ///
    /// # Errors
    /// [`SnapshotError::Changed`] when a file is no longer what `files` says, and whatever keeps bytes from being held.
    pub fn hold(
        &self,
        (root, head): (&Path, Option<&str>),
        files: &Files,
        limits: &Limits,
        before: Option<&Held>,
        scratch: &Path,
    ) -> Result<Held, SnapshotError> {
        let mut held = Held::unheld(root, head, files);
        let before = before.filter(|_| self.exist());
        held.take_over(before);
        let is_large = is_large_step(before, &held);
        if is_large && self.is_kept(&held.whole) {
            return Ok(held.stored());
        }
        if is_large && self.is_full(limits) {
            return Ok(Held::unheld(root, head, files));
        }
        let mut holder = Holder {
            root,
            files,
            scratch,
            format: files.format,
            in_memory: 0,
            seen: 0,
            file: None,
        };
        let none = FileMap::default();
        let before = before.map_or(&none, |before| &before.whole.map);
        match self.hold_differing(&mut held, before, &mut holder, limits)? {
            Some(to_convert) => held.convert(root, &to_convert, scratch)?,
            None => return Ok(Held::unheld(root, head, files)),
        }
        Ok(held)
    }

    fn is_full(&self, limits: &Limits) -> bool {
        self.bytes() > limits.quota
    }

    /// Holds what differs from the files before. Returns those that git is to convert once more, `None` where the store is full.
    fn hold_differing(
        &self,
        held: &mut Held,
        before: &FileMap,
        holder: &mut Holder<'_>,
        limits: &Limits,
    ) -> Result<Option<BTreeMap<Vec<u8>, Entry>>, SnapshotError> {
        let now = held.whole.map.clone();
        let (mut changed, mut to_convert) = (BTreeMap::new(), BTreeMap::new());
        differing(
            before.root(),
            now.root(),
            &mut Vec::new(),
            &mut |path, entry| {
                if is_to_be_held(path, entry, limits) {
                    changed.insert(path.to_vec(), *entry);
                }
                if changed.len() >= AT_ONCE {
                    let all = std::mem::take(&mut changed);
                    to_convert.extend(self.hold_changed(held, all, holder)?);
                }
                Ok(())
            },
        )?;
        if !changed.is_empty() {
            if self.is_full(limits) {
                return Ok(None);
            }
            to_convert.extend(self.hold_changed(held, changed, holder)?);
        }
        Ok(Some(to_convert))
    }

    /// Returns whether these very files were kept for some version, all of them.
    fn is_kept(&self, whole: &Whole) -> bool {
        let kept = || {
            let known = Known::read(&self.objects_dir().join("pack"), whole.format).ok()?;
            let records = self.records().ok()?;
            let tree = whole.map.tree_id(whole.format).map(RawId::to_hex)?;
            let is_whole = |record: &&Record| record.is_whole() && record.tree == tree;
            let record = whole.first_alike(records.iter().rev().filter(is_whole))?;
            (known.has_trees_of(record) && !has_lost(&self.git_dir())).then_some(())
        };
        kept().is_some()
    }

    /// Holds those of the files that neither store nor repository have. Returns those that git is to convert once more.
    fn hold_changed(
        &self,
        held: &mut Held,
        mut changed: BTreeMap<Vec<u8>, Entry>,
        holder: &mut Holder<'_>,
    ) -> Result<BTreeMap<Vec<u8>, Entry>, SnapshotError> {
        let is_converted = |entry: &Entry| entry.raw != entry.id;
        let mut have = BTreeSet::new();
        if changed.len() > FEW || changed.values().any(is_converted) {
            have = self.have(&held.whole, &changed)?;
        }
        for (path, entry) in changed
            .iter()
            .filter(|(_, entry)| !have.contains(&entry.raw))
        {
            let Some(bytes) = holder.take(path, entry)? else {
                continue;
            };
            let (id, raw, bytes) = (entry.id, entry.raw, Arc::new(bytes));
            held.files.insert(path.clone(), HeldFile { id, raw, bytes });
        }
        changed.retain(|_, entry| is_converted(entry) && !have.contains(&entry.id));
        Ok(changed)
    }

    /// Returns the blobs of files that the store has, or the repository.
    fn have(
        &self,
        whole: &Whole,
        files: &BTreeMap<Vec<u8>, Entry>,
    ) -> Result<BTreeSet<RawId>, SnapshotError> {
        let blobs = |entry: &Entry| [entry.id, entry.raw];
        let mut have = BTreeSet::new();
        // Another process may be putting packs together right now: what is not found is held.
        if let Ok(known) = Known::read(&self.objects_dir().join("pack"), whole.format) {
            let all = files.values().flat_map(blobs);
            have.extend(all.filter(|id| known.has(id)));
        }
        for repository in &whole.repositories {
            let own = files
                .iter()
                .filter(|(path, _)| whole.inner(repository, path).is_some());
            let unknown: BTreeSet<_> = own
                .flat_map(|(_, entry)| blobs(entry))
                .filter(|id| !have.contains(id))
                .collect();
            let git = giving(whole.git(repository));
            have.extend(present(&git, &unknown)?);
        }
        Ok(have)
    }
}

/// Returns whether more files differ than are held without a question.
fn is_large_step(before: Option<&Held>, now: &Held) -> bool {
    let none = FileMap::default();
    let before = before.map_or(&none, |before| &before.whole.map);
    let mut count = 0;
    let counted = differing(
        before.root(),
        now.whole.map.root(),
        &mut Vec::new(),
        &mut |_, _| {
            count += 1;
            if count > FEW {
                return Err(SnapshotError::Unknown);
            }
            Ok(())
        },
    );
    counted.is_err()
}

/// What looks like a secret, or is larger than is kept, is not held either.
fn is_to_be_held(path: &[u8], entry: &Entry, limits: &Limits) -> bool {
    let size = entry.stamp.map(|stamp| stamp.size());
    entry.mode != Mode::Gitlink
        && size.is_some_and(|size| size <= limits.file)
        && !looks_secret(path)
}

impl Held {
    /// Takes over what is held of files that are the same.
    fn take_over(&mut self, before: Option<&Self>) {
        let Some(before) = before.filter(|before| !before.stored.load(Ordering::Relaxed)) else {
            return;
        };
        for (path, file) in &before.files {
            let now = self.whole.map.get(path);
            if now.is_some_and(|now| (now.id, now.raw) == (file.id, file.raw)) {
                self.files.insert(path.clone(), file.clone());
            }
        }
        let ids: BTreeSet<_> = self.files.values().map(|file| file.id).collect();
        let converted = before.converted.iter();
        self.converted = converted
            .filter(|made| !made.ids.is_disjoint(&ids))
            .cloned()
            .collect();
    }

    /// Has git convert files once more and keeps what comes of it.
    fn convert(
        &mut self,
        root: &Path,
        files: &BTreeMap<Vec<u8>, Entry>,
        scratch: &Path,
    ) -> Result<(), SnapshotError> {
        if files.is_empty() {
            return Ok(());
        }
        let objects = tempfile::Builder::new()
            .prefix("tracemark-")
            .tempdir_in(scratch)
            .map_err(PathError::of("write", scratch))?;
        let objects = Arc::new(objects);
        let mut made = Vec::new();
        for repository in &self.whole.repositories {
            let own: BTreeMap<_, _> = files
                .iter()
                .filter_map(|(path, entry)| Some((self.whole.inner(repository, path)?, entry)))
                .collect();
            if own.is_empty() {
                continue;
            }
            let paths = own.keys().copied().collect();
            let git = self.whole.git(repository);
            let converted = conversion::converted(&git, objects.path(), &paths);
            let ids: BTreeSet<_> = own.values().map(|entry| entry.id).collect();
            let git = match converted {
                Ok(git) if present(&giving(git.clone()), &ids)? == ids => git,
                Ok(_) => return Err(changed_among(files)),
                Err(_) if have_moved(root, files) => return Err(changed_among(files)),
                Err(error) => return Err(error),
            };
            made.push(Arc::new(Converted {
                git,
                ids,
                _objects: Arc::clone(&objects),
            }));
        }
        self.converted.append(&mut made);
        Ok(())
    }
}

fn changed_among(files: &BTreeMap<Vec<u8>, Entry>) -> SnapshotError {
    let first = files.keys().next().map(|path| path_text(path));
    SnapshotError::Changed(first.unwrap_or_default())
}

fn have_moved(root: &Path, files: &BTreeMap<Vec<u8>, Entry>) -> bool {
    files
        .iter()
        .any(|(path, entry)| Stamp::of(&root.join(OsStr::from_bytes(path))) != entry.stamp)
}

/// Takes a file and its path.
type Take<'a> = dyn FnMut(&[u8], &Entry) -> Result<(), SnapshotError> + 'a;

/// Hands out the files that are not in `before`, or not the same there, with their paths.
fn differing(
    before: &Dir,
    now: &Dir,
    path: &mut Vec<u8>,
    take: &mut Take<'_>,
) -> Result<(), SnapshotError> {
    if std::ptr::eq(before, now) {
        return Ok(());
    }
    let none = Dir::default();
    let length = path.len();
    for (name, node) in now.nodes_beside(before) {
        path.extend_from_slice(name);
        match (before.node(name), node) {
            (Some(Node::Dir(before)), Node::Dir(now)) => differing(before, now, path, take)?,
            (_, Node::Dir(now)) => differing(&none, now, path, take)?,
            (Some(Node::File(before)), Node::File(now))
                if (before.id, before.raw) == (now.id, now.raw) => {}
            (_, Node::File(now)) => take(path, now)?,
        }
        path.truncate(length);
    }
    Ok(())
}

/// Returns what lies at `file`, whose mode may be that of git's index.
pub(super) fn lies_as(file: &Path, mode: Mode) -> Mode {
    let found = file.symlink_metadata();
    match mode {
        _ if found.is_ok_and(|found| found.is_symlink()) => Mode::Link,
        Mode::Link => Mode::Plain,
        other => other,
    }
}

/// Reads files and compresses them.
struct Holder<'a> {
    root: &'a Path,
    files: &'a Files,
    scratch: &'a Path,
    format: Format,
    in_memory: u64,
    seen: u64,
    file: Option<Arc<File>>,
}

impl Holder<'_> {
    /// Returns nothing of files that are too many to be held.
    fn take(&mut self, path: &[u8], entry: &Entry) -> Result<Option<Bytes>, SnapshotError> {
        let copy = self.files.copy_of(path);
        let file = copy.unwrap_or_else(|| self.root.join(OsStr::from_bytes(path)));
        let changed = || SnapshotError::Changed(path_text(path));
        if lies_as(&file, entry.mode) == Mode::Link {
            let target = file.read_link().map_err(|_| changed())?;
            let target = target.as_os_str().as_bytes();
            if object_id(self.format, "blob", target) != Some(entry.raw) {
                return Err(changed());
            }
            let (size, place) = (target.len() as u64, Place::Plain(target.to_vec()));
            return Ok(Some(Bytes { size, place }));
        }
        let source = open(&file).map_err(|_| changed())?;
        let metadata = source.metadata().map_err(PathError::of("read", &file))?;
        let size = metadata.len();
        if !metadata.is_file() {
            return Err(changed());
        }
        self.seen += size;
        if self.seen > HELD_MAX {
            return Ok(None);
        }
        let taken = self.compress(&source, size);
        let (blob, place) = taken.map_err(PathError::of("keep", &file))?;
        if blob != Some(entry.raw) {
            return Err(changed());
        }
        Ok(Some(Bytes { size, place }))
    }

    fn compress(&mut self, source: &File, size: u64) -> io::Result<(Option<RawId>, Place)> {
        if size <= TINY && self.in_memory < IN_MEMORY {
            let mut bytes = Vec::new();
            source.take(size + 1).read_to_end(&mut bytes)?;
            self.in_memory += bytes.len() as u64;
            let is_whole = bytes.len() as u64 == size;
            let blob = object_id(self.format, "blob", &bytes).filter(|_| is_whole);
            return Ok((blob, Place::Plain(bytes)));
        }
        if size <= SMALL && self.in_memory < IN_MEMORY {
            let mut bytes = Vec::new();
            let blob = compress(source, size, self.format, &mut bytes)?;
            bytes.shrink_to_fit();
            self.in_memory += bytes.len() as u64;
            return Ok((blob, Place::Memory(bytes)));
        }
        let file = match &self.file {
            Some(file) => Arc::clone(file),
            None => Arc::new(tempfile::tempfile_in(self.scratch)?),
        };
        self.file = Some(Arc::clone(&file));
        let at = (&*file).seek(SeekFrom::End(0))?;
        let blob = compress(source, size, self.format, &mut &*file)?;
        let length = (&*file).stream_position()? - at;
        Ok((blob, Place::File { file, at, length }))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Occasion;
    use super::*;
    use crate::identity::reader::WorktreeReader;
    use crate::scratch_repository::ScratchRepository;
    use crate::touched::Touched;

    #[test]
    fn of_files_that_were_all_kept_once_none_is_asked_for_again_while_the_store_has_them() {
        let repository = ScratchRepository::new();
        repository.commit_all();
        for n in 0..=FEW {
            repository.write(&format!("{n}.py"), &format!("{n}\r\n"));
        }
        let root = repository.root().to_owned();
        let private = root.join(".git/tracemark");
        std::fs::create_dir(&private).unwrap();
        let read = || {
            let mut reader = WorktreeReader::new(&root, &root.join(".git"), &private);
            let reading = reader.read(&Touched::Everything).unwrap();
            (reading, reader.files().unwrap())
        };
        let (reading, files) = read();
        let head = reading.head.unwrap().to_string();
        let snapshots = Snapshots::of(&root.join(".git"));
        let limits = Limits {
            file: 1 << 20,
            quota: 1 << 30,
        };
        let hold = |files: &Files| {
            let place = (root.as_path(), Some(head.as_str()));
            let held = snapshots.hold(place, files, &limits, None, &private);
            held.unwrap()
        };
        let is_stored = |held: &Held| held.stored.load(Ordering::Relaxed);
        let first = hold(&files);
        assert_eq!((first.files.len(), is_stored(&first)), (FEW + 1, false));
        let occasion = Occasion {
            root: &root,
            name: "name",
            key: "key",
            content: reading.content.as_str(),
            head: Some(&head),
            branch: None,
            dirty: true,
            at_ms: 1,
        };
        snapshots.keep_held(&occasion, &first, &limits).unwrap();
        let second = hold(&files);
        assert_eq!((second.files.len(), is_stored(&second)), (0, true));
        repository.git(&["config", "core.autocrlf", "input"]);
        let converted = hold(&read().1);
        assert!(
            !is_stored(&converted),
            "git takes in other objects of the same bytes"
        );
        assert_eq!(converted.converted().count(), 1);
        std::fs::remove_dir_all(snapshots.objects_dir().join("pack")).unwrap();
        std::fs::create_dir(snapshots.objects_dir().join("pack")).unwrap();
        let third = hold(&files);
        assert_eq!((third.files.len(), is_stored(&third)), (FEW + 1, false));
    }
}
