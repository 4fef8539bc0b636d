//! Keeping the code of a version: the objects that the store lacks, then a line in the index.
//!
//! What HEAD holds comes from the repository with the deltas that it has there; what is not committed is read from the
//! disk and must be what the reading of the version read. A tree that the store holds has been kept with all that is
//! below it, but for the blobs in `absent`: so only what changed is looked at. Lets no version go (`prune` does), and
//! writes no object of the repository's.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::Arc;

use super::absent::Absent;
use super::held::lies_as;
use super::held::{Bytes, Held};
use super::index::{self, Changes, Inside, LeftOut, Record, Why};
use super::objects::{Import, Objects, giving};
use super::pack::{Kind, PackWriter};
use super::secrets::looks_secret;
use super::whole::Whole;
use super::{SnapshotError, Snapshots, conversion, path_text, unseen};
use crate::git::{Git, records};
use crate::identity::file_map::{Dir, Entry, FileMap, Mode, Node};
use crate::identity::files::Files;
use crate::identity::object::{Format, RawId};

/// How much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The largest file that is kept, in bytes.
    pub file: u64,
    /// How many bytes all snapshots of a repository may take before no more are kept.
    pub quota: u64,
}

/// What is said of a version beside its files.
#[derive(Debug, Clone, Copy)]
pub struct Occasion<'a> {
    /// The top of the worktree.
    pub root: &'a Path,
    /// The LoggedModel's name.
    pub name: &'a str,
    /// What the version is found by, next to its name.
    pub key: &'a str,
    /// The content id.
    pub content: &'a str,
    /// The full HEAD.
    pub head: Option<&'a str>,
    /// The branch that is checked out.
    pub branch: Option<&'a str>,
    /// False when it is exactly what HEAD holds.
    pub dirty: bool,
    /// Now, in Unix milliseconds.
    pub at_ms: u64,
}

/// The trees that files were kept in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Captured {
    /// As git takes them in.
    pub tree: String,
    /// With the bytes of the disk, where they differ.
    pub disk: Option<String>,
    /// Repositories inside.
    pub inside: Vec<Inside>,
    /// What is not kept.
    pub left_out: Vec<LeftOut>,
}

impl Captured {
    fn is_as(&self, known: &Record) -> bool {
        let disk = self.disk.as_ref().unwrap_or(&self.tree);
        disk == known.disk() && self.inside == known.inside && self.left_out == known.left_out
    }

    /// What is not kept at all stays what it is.
    fn without(mut self, unseen: Vec<LeftOut>) -> Self {
        let known: BTreeSet<_> = self.left_out.iter().map(|file| file.path.clone()).collect();
        let new = unseen
            .into_iter()
            .filter(|file| !known.contains(&file.path));
        self.left_out.extend(new);
        self.left_out
            .sort_by(|one, other| one.path.cmp(&other.path));
        self
    }
}

impl Snapshots {
    /// Returns the record of a version that is kept.
    ///
    /// # Errors
    /// [`SnapshotError::Path`] when the index cannot be read.
    pub fn find(
        &self,
        name: &str,
        key: &str,
        head: Option<&str>,
        content: &str,
    ) -> Result<Option<Record>, SnapshotError> {
        let is_it = |record: &Record| {
            (record.name == name && record.key == key)
                && (record.head.as_deref() == head && record.content == content)
        };
        Ok(self.records()?.into_iter().rev().find(is_it))
    }

    /// Keeps a version whose bytes are held, as far as they are; the others are read again. What is returned is on the disk.
    ///
    /// # Errors
    /// [`SnapshotError::Changed`] when a file is no longer what was read, [`SnapshotError::Full`] over the quota, and
    /// whatever keeps the store from being written.
    pub fn keep_held(
        &self,
        occasion: &Occasion<'_>,
        held: &Held,
        limits: &Limits,
    ) -> Result<Record, SnapshotError> {
        let (lock, mut objects) = self.open(held.whole.format)?;
        let known = self.find(occasion.name, occasion.key, occasion.head, occasion.content)?;
        let is_here = |known: &&Record| {
            let is_kept =
                known.is_whole() && !objects.has_lost && objects.known.has_trees_of(known);
            is_kept && held.whole.first_alike([*known].into_iter()).is_some()
        };
        if let Some(known) = known.as_ref().filter(is_here) {
            return Ok(known.clone());
        }
        let captured = self.capture_into(&mut objects, occasion.root, held, limits);
        let captured = match (captured, &known) {
            (Ok(captured), Some(known)) if captured.is_as(known) => {
                return Ok(known.clone());
            }
            (Err(error), Some(known)) => {
                tracing::debug!(%error, "what is kept of this version stays as it is");
                return Ok(known.clone());
            }
            (captured, _) => captured?,
        };
        let record = self.write_down(occasion, captured)?;
        objects.tidy();
        drop(lock);
        Ok(record)
    }

    /// Keeps a commit that nobody saw on the disk, as the repository has it. What is returned is on the disk.
    ///
    /// # Errors
    /// [`SnapshotError::Unknown`] for what is no commit, [`SnapshotError::Git`] where the repository does not have it, and as
    /// [`Snapshots::keep`].
    pub fn keep_commit(
        &self,
        occasion: &Occasion<'_>,
        limits: &Limits,
    ) -> Result<Record, SnapshotError> {
        let commit = occasion.head.filter(|_| !occasion.dirty);
        let commit = commit.ok_or(SnapshotError::Unknown)?;
        let format = Format::of(commit).ok_or(SnapshotError::Unknown)?;
        let (lock, mut objects) = self.open(format)?;
        let known = self.find(occasion.name, occasion.key, occasion.head, occasion.content)?;
        if let Some(known) = known
            .as_ref()
            .filter(|known| objects.known.has_trees_of(known))
        {
            return Ok(known.clone());
        }
        let scratch = objects.scratch();
        let unseen = unseen::read(occasion.root, commit, occasion.content, &scratch)?;
        let held = Held::unheld(occasion.root, occasion.head, &unseen.files);
        let captured = self.capture_into(&mut objects, occasion.root, &held, limits)?;
        if let Some(known) = known {
            return Ok(known);
        }
        let captured = captured.without(unseen.left_out);
        let record = self.write_down(occasion, captured)?;
        objects.tidy();
        drop(lock);
        Ok(record)
    }

    fn write_down(
        &self,
        occasion: &Occasion<'_>,
        captured: Captured,
    ) -> Result<Record, SnapshotError> {
        let worktree = occasion.root.to_string_lossy().into_owned();
        let before = self
            .records()?
            .into_iter()
            .rev()
            .find(|record| record.worktree == worktree);
        // What came before may be damaged.
        let changes = before.and_then(|before| {
            let changes = self.changes(&before.tree, &captured.tree);
            changes
                .inspect_err(|error| tracing::warn!(%error, "what changed is not known"))
                .ok()
        });
        let record = Record {
            at_ms: occasion.at_ms,
            name: occasion.name.to_owned(),
            key: occasion.key.to_owned(),
            content: occasion.content.to_owned(),
            head: occasion.head.map(str::to_owned),
            branch: occasion.branch.map(str::to_owned),
            dirty: occasion.dirty,
            worktree,
            tree: captured.tree,
            disk: captured.disk,
            inside: captured.inside,
            left_out: captured.left_out,
            changes,
        };
        index::append(&self.index_file(), &record)?;
        Ok(record)
    }

    /// Puts files into the store without making a version of them.
    ///
    /// # Errors
    /// As [`Snapshots::keep`].
    pub fn capture(
        &self,
        root: &Path,
        head: Option<&str>,
        files: &Files,
        limits: &Limits,
    ) -> Result<Captured, SnapshotError> {
        let (lock, mut objects) = self.open(files.format)?;
        let held = Held::unheld(root, head, files);
        let captured = self.capture_into(&mut objects, root, &held, limits);
        drop(lock);
        captured
    }

    fn capture_into(
        &self,
        objects: &mut Objects,
        root: &Path,
        held: &Held,
        limits: &Limits,
    ) -> Result<Captured, SnapshotError> {
        if self.bytes() > limits.quota {
            return Err(SnapshotError::Full {
                quota: limits.quota,
            });
        }
        let whole = &held.whole;
        let mut capture = Capture {
            absent: Absent::read(&self.absent_file())?,
            pack: PackWriter::new(objects)?,
            objects,
            root,
            limits,
            whole,
            held,
            bytes: held.by_blob(),
        };
        capture.keep_heads()?;
        let missing = capture.keep_files()?;
        let (tree, disk) = capture.keep_trees(missing)?;
        let Capture { absent, pack, .. } = capture;
        absent.write(&self.absent_file())?;
        pack.finish(objects)?;
        Ok(Captured {
            left_out: left_out(&whole.map, objects, &absent),
            inside: whole.inside(),
            tree,
            disk,
        })
    }

    /// Counts what differs between two trees.
    pub(super) fn changes(&self, before: &str, after: &str) -> Result<Changes, SnapshotError> {
        let git = self.git();
        let arguments = |what| ["diff-tree", "-r", "-z", what, "--no-renames", before, after];
        if let Ok(output) = git.run(&arguments("--numstat")) {
            return Ok(Changes::read(&output.stdout));
        }
        // A blob that is not kept cannot be counted.
        let names = git.run(&arguments("--name-only"))?.stdout;
        let lines = records(&names).flat_map(|name| [b"-\t-\t", name, b"\0"].concat());
        Ok(Changes::read(&lines.collect::<Vec<_>>()))
    }
}

/// Trees and blobs that the store lacks.
#[derive(Default)]
struct Missing {
    trees: Vec<Vec<u8>>,
    blobs: BTreeMap<Vec<u8>, Entry>,
    seen: BTreeSet<RawId>,
}

struct Capture<'a> {
    objects: &'a mut Objects,
    root: &'a Path,
    limits: &'a Limits,
    absent: Absent,
    pack: PackWriter,
    whole: &'a Whole,
    held: &'a Held,
    bytes: BTreeMap<RawId, Arc<Bytes>>,
}

impl Capture<'_> {
    /// Takes over each HEAD with all that it holds, where it is a new one.
    fn keep_heads(&mut self) -> Result<(), SnapshotError> {
        for repository in &self.whole.repositories {
            let Some(head) = &repository.head else {
                continue;
            };
            let id = RawId::from_hex(head.as_bytes());
            let is_new = id.is_some_and(|id| !self.objects.known.has(&id));
            if !is_new {
                continue;
            }
            let git = self.whole.git(repository);
            match closure(&giving(git.clone()), head) {
                Ok(ids) => {
                    let import = self.objects.import(&git, &ids, self.limits.file)?;
                    self.without(&import);
                }
                // A partial clone may lack trees.
                Err(error) => {
                    tracing::debug!(%error, head, "what this commit holds is not all here");
                }
            }
        }
        Ok(())
    }

    fn without(&mut self, import: &Import) {
        let large = import.too_large.iter().map(|id| (*id, Why::TooLarge));
        let missing = import.missing.iter().map(|id| (*id, Why::NotHere));
        self.absent.blobs.extend(large.chain(missing));
    }

    fn has(&self, id: &RawId) -> bool {
        self.objects.known.has(id) || self.pack.has(id)
    }

    /// Keeps the blobs that the store lacks, as far as they are to be kept.
    fn keep_files(&mut self) -> Result<Missing, SnapshotError> {
        let mut missing = Missing::default();
        self.look_into(self.whole.map.root(), &mut Vec::new(), &mut missing);
        self.whole.map.each_converted(|path, entry| {
            if !self.has(&entry.raw) {
                missing.blobs.insert(path.to_vec(), *entry);
            }
        });
        let absent = &self.absent.blobs;
        if !absent.is_empty() {
            self.whole.map.each(|path, entry| {
                if absent.contains_key(&entry.id) || absent.contains_key(&entry.raw) {
                    missing.blobs.insert(path.to_vec(), *entry);
                }
            });
        }
        let mut by_git = BTreeMap::new();
        for (path, entry) in &missing.blobs {
            if entry.mode != Mode::Gitlink {
                self.keep_file(path, entry, &mut by_git)?;
            }
        }
        self.keep_by_git(&by_git)?;
        Ok(missing)
    }

    fn look_into(&self, dir: &Dir, path: &mut Vec<u8>, missing: &mut Missing) {
        let format = self.whole.format;
        let Some((id, body)) = dir.tree_id(format).zip(dir.tree_body(format)) else {
            return;
        };
        let is_here = self.has(&id);
        if is_here && !self.objects.has_lost || !missing.seen.insert(id) {
            return;
        }
        if !is_here {
            missing.trees.push(body);
        }
        let length = path.len();
        for (name, node) in dir.nodes() {
            path.extend_from_slice(name);
            match node {
                Node::Dir(dir) => self.look_into(dir, path, missing),
                Node::File(entry) if !self.has(&entry.id) => {
                    missing.blobs.insert(path.clone(), *entry);
                }
                Node::File(_) => {}
            }
            path.truncate(length);
        }
    }

    /// Files that git has to be asked for go to `by_git`.
    fn keep_file(
        &mut self,
        path: &[u8],
        entry: &Entry,
        by_git: &mut BTreeMap<Vec<u8>, Entry>,
    ) -> Result<(), SnapshotError> {
        let size = entry.stamp.map_or(0, |stamp| stamp.size());
        let is_converted = entry.raw != entry.id;
        let mut why_not = None;
        if !self.has(&entry.id) {
            if looks_secret(path) {
                why_not = Some(Why::Secret);
            } else if entry.stamp.is_none() || is_converted {
                by_git.insert(path.to_vec(), *entry);
            } else if size > self.limits.file {
                why_not = Some(Why::TooLarge);
            } else if !self.keep_bytes(path, entry.mode, &entry.id)? {
                by_git.insert(path.to_vec(), *entry);
            }
            if let Some(why) = why_not {
                self.absent.blobs.insert(entry.id, why);
            }
        }
        if is_converted && !self.has(&entry.raw) {
            let too_large = (size > self.limits.file).then_some(Why::TooLarge);
            match why_not.or(too_large) {
                Some(why) => {
                    self.absent.blobs.insert(entry.raw, why);
                }
                None if self.keep_bytes(path, entry.mode, &entry.raw)? => {}
                None => return Err(SnapshotError::Changed(path_text(path))),
            }
        }
        Ok(())
    }

    /// Keeps the bytes that are held, else those on the disk; false where they are no longer those of `id`.
    fn keep_bytes(&mut self, path: &[u8], mode: Mode, id: &RawId) -> Result<bool, SnapshotError> {
        let file = self.root.join(OsStr::from_bytes(path));
        let is_kept = match self.bytes.get(id) {
            Some(bytes) => self.pack.add_held(id, bytes).map(|()| true)?,
            None => self.pack.add_file(&file, lies_as(&file, mode), id)?,
        };
        if is_kept {
            self.absent.blobs.remove(id);
        }
        Ok(is_kept)
    }

    /// Takes over what git made of files when they were read.
    fn keep_converted(&mut self, ids: &BTreeSet<RawId>) -> Result<(), SnapshotError> {
        let held = self.held;
        for (git, made) in held.converted() {
            let wanted = ids.intersection(made).copied().collect();
            self.objects.import(git, &wanted, self.limits.file)?;
        }
        Ok(())
    }

    /// Files that git converted, and those that are not on the disk as they were: the repository has them, else git converts
    /// once more.
    fn keep_by_git(&mut self, files: &BTreeMap<Vec<u8>, Entry>) -> Result<(), SnapshotError> {
        for repository in &self.whole.repositories {
            let own: Vec<_> = files
                .iter()
                .filter_map(|(path, entry)| {
                    Some((path, self.whole.inner(repository, path)?, entry))
                })
                .collect();
            if own.is_empty() {
                continue;
            }
            let git = self.whole.git(repository);
            let ids: BTreeSet<_> = own.iter().map(|(_, _, entry)| entry.id).collect();
            self.keep_converted(&ids)?;
            let import = self.objects.import(&git, &ids, self.limits.file)?;
            self.kept(&ids);
            let unknown = |entry: &Entry| import.missing.contains(&entry.id);
            let (on_disk, gone): (Vec<_>, Vec<_>) = own
                .into_iter()
                .filter(|(_, _, entry)| unknown(entry))
                .partition(|(_, _, entry)| entry.stamp.is_some());
            let missing = gone.iter().map(|(_, _, entry)| entry.id).collect();
            self.without(&Import {
                missing,
                too_large: import.too_large,
            });
            if on_disk.is_empty() {
                continue;
            }
            // What git takes in as it lies is no longer what was read.
            let changed = on_disk.iter().find(|(_, _, entry)| entry.raw == entry.id);
            if let Some((path, _, _)) = changed {
                return Err(SnapshotError::Changed(path_text(path)));
            }
            let paths = on_disk.iter().map(|(_, inner, _)| *inner).collect();
            let converted = conversion::converted(&git, &self.objects.scratch(), &paths);
            let converted = converted.map_err(|error| {
                tracing::debug!(%error, "files are not converted once more");
                SnapshotError::Changed(path_text(on_disk.first().map_or(&[], |(path, _, _)| path)))
            })?;
            let ids = on_disk.iter().map(|(_, _, entry)| entry.id).collect();
            let import = self.objects.import(&converted, &ids, self.limits.file)?;
            self.kept(&ids);
            if let Some((path, _, _)) = on_disk
                .iter()
                .find(|(_, _, entry)| import.missing.contains(&entry.id))
            {
                return Err(SnapshotError::Changed(path_text(path)));
            }
            self.without(&import);
        }
        Ok(())
    }

    fn kept(&mut self, ids: &BTreeSet<RawId>) {
        let known = &self.objects.known;
        self.absent
            .blobs
            .retain(|id, _| !(ids.contains(id) && known.has(id)));
    }

    /// Adds the trees that the store lacks; returns the tree as git takes files in, and as they lie on the disk.
    fn keep_trees(&mut self, missing: Missing) -> Result<(String, Option<String>), SnapshotError> {
        for body in missing.trees {
            self.pack.add(Kind::Tree, &body)?;
        }
        let id_of = |map: &FileMap| {
            let id = map.tree_id(self.whole.format).map(RawId::to_hex);
            id.ok_or_else(|| SnapshotError::Damaged("a tree without an id".to_owned()))
        };
        let disk = self.whole.on_disk();
        let (tree, on_disk) = (id_of(&self.whole.map)?, id_of(&disk)?);
        if on_disk == tree {
            return Ok((tree, None));
        }
        let mut missing = Missing::default();
        self.look_into(disk.root(), &mut Vec::new(), &mut missing);
        for body in missing.trees {
            self.pack.add(Kind::Tree, &body)?;
        }
        Ok((tree, Some(on_disk)))
    }
}

/// Returns a commit, its tree, and every tree and blob below.
fn closure(git: &Git, commit: &str) -> Result<BTreeSet<RawId>, crate::git::GitError> {
    let top = git.line(&["rev-parse", "--verify", &format!("{commit}^{{tree}}")])?;
    let listed = git
        .run(&["ls-tree", "-r", "-t", "-z", "--full-tree", commit])?
        .stdout;
    let below = records(&listed).filter_map(|record| {
        let mut words = record.splitn(3, |byte| *byte == b' ');
        let kind = words.nth(1)?;
        let id = words.next()?.split(|byte| *byte == b'\t').next()?;
        (kind != b"commit").then_some(id)
    });
    let ids = [commit.as_bytes(), &top];
    Ok(ids
        .into_iter()
        .chain(below)
        .filter_map(RawId::from_hex)
        .collect())
}

fn left_out(map: &FileMap, objects: &Objects, absent: &Absent) -> Vec<LeftOut> {
    let mut left_out = Vec::new();
    if absent.blobs.is_empty() {
        return left_out;
    }
    map.each(|path, entry| {
        let lacks = [&entry.id, &entry.raw]
            .into_iter()
            .find(|id| !objects.known.has(id));
        if let Some(id) = lacks.filter(|_| entry.mode != Mode::Gitlink) {
            left_out.push(LeftOut {
                path: path_text(path),
                why: absent.blobs.get(id).copied().unwrap_or(Why::NotHere),
            });
        }
    });
    left_out
}
