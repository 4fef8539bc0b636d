//! The tree id and the content id: what the code on disk is, whatever is staged or committed.
//!
//! The tree id is the git tree that `git add -A` from the root of the worktree would write into an index that starts
//! with the repository's entries but without their stat data, so that every file is read. Git converts and hashes the files
//! into an index of our own and writes no objects: `git add` would freshen the time of every object that exists already,
//! packs included. The trees over them are hashed here.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::FILE_LIMIT;
use super::candidates::RealDirs;
use super::diffs::PATHSPEC_VARS;
use super::digest::hex;
use super::file_content::{self, Content, is_absence};
use super::file_map::{self, Entry, FileMap, Mode};
use super::object::Format;
use super::scratch::Scratch;
use super::stamp::Stamp;
use super::{sparse_index, split_index};
use crate::git::{Git, GitError, records};
use crate::ids::{ContentId, ObjectId};

/// Settings under which `git add` is a function of the files alone.
pub(crate) const SETTINGS: [&str; 7] = [
    "core.safecrlf=false",
    "core.fsmonitor=false",
    "core.untrackedCache=false",
    "core.splitIndex=false",
    "core.sparseCheckout=false",
    "index.sparse=false",
    "core.hooksPath=/dev/null",
];
/// How many nested repositories deep the content id looks.
const DEPTH_LIMIT: usize = 16;

/// Why there is no tree or content id for a state.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// Git itself refused or failed: an unreadable file, a pipe in place of a file, a corrupt index.
    #[error(transparent)]
    Git(#[from] GitError),
    /// The directory has no worktree: a bare repository, or inside `.git`.
    #[error("this operation must be run in a work tree")]
    NoWorkTree,
    /// No scratch directory could be made.
    #[error("cannot make a scratch directory")]
    Scratch(#[source] std::io::Error),
    /// Git printed something that is not an object id.
    #[error("git write-tree printed no object id")]
    NotAnObjectId,
    /// A sparse checkout hides every file, as `git add -A :/` finds too (git 2.47).
    #[error("nothing is checked out: the sparse checkout hides every file")]
    NothingCheckedOut,
    /// A file is larger than is read.
    #[error("{path:?} is larger than {} GiB, which is more than is read", FILE_LIMIT >> 30)]
    TooLarge {
        /// The file.
        path: String,
    },
    /// Files changed while they were read.
    #[error("files changed while they were read")]
    Torn,
    /// Nested repositories contain each other too deeply.
    #[error("nested repositories are more than {DEPTH_LIMIT} deep")]
    TooDeep,
}

/// An index and an object directory of our own that hold the state of one worktree, removed when dropped.
#[derive(Debug)]
pub struct CapturedTree {
    git: Git,
    top: PathBuf,
    unborn: Vec<Vec<u8>>,
    id: ObjectId,
    map: FileMap,
    format: Format,
    stamps: BTreeMap<Vec<u8>, Option<Stamp>>,
    has_gitlinks: bool,
    _scratch: Scratch,
}

impl CapturedTree {
    /// Reads every file of the worktree that `git` stands in. `scratch` is where the temporary directory is made,
    /// the system's own when `None`.
    ///
    /// # Errors
    /// [`TreeError`] when git refuses, or when there is no worktree.
    pub fn read(git: &Git, scratch: Option<&Path>) -> Result<Self, TreeError> {
        let git = PATHSPEC_VARS
            .into_iter()
            .fold(super::safe::disarmed(git)?, Git::without_var)
            .with_config(&SETTINGS);
        let top = path_line(&git, &["rev-parse", "--show-toplevel"])?;
        if top.as_os_str().is_empty() {
            return Err(TreeError::NoWorkTree);
        }
        let scratch = super::scratch::new(&git, &top, scratch).map_err(TreeError::Scratch)?;
        let git = pinned(&git, &top, scratch.path())?.in_dir(&top);
        let mut start = StartingIndex::read(&git, &top)?;
        let git = git.with_var("GIT_INDEX_FILE", scratch.path().join("index"));
        start.write(&git)?;
        // Without a path it reads its settings and does nothing: it dies of more of them than other commands do.
        git.run(&["-c", "advice.addEmptyPathspec=false", "add"])?;
        start.find_untracked(&git, &top)?;
        if !start.hidden.is_empty() && start.files.is_empty() && start.replaced.is_empty() {
            return Err(TreeError::NothingCheckedOut);
        }
        refuse_broken_submodules(&git, &top, &start.gitlinks)?;
        refuse_contested_submodules(&git, &top, &start.entries)?;
        let stamps = stamps(&top, &start.files);
        let is_too_large = |stamp: &Option<Stamp>| stamp.is_some_and(|it| it.size() > FILE_LIMIT);
        if let Some((path, _)) = stamps.iter().find(|(_, stamp)| is_too_large(stamp)) {
            let path = String::from_utf8_lossy(path).into_owned();
            return Err(TreeError::TooLarge { path });
        }
        let links = start.update(&git, &top)?;
        let entries = git.run(&["ls-files", "-s", "-z"])?.stdout;
        let sha256 = git.run(&["rev-parse", "--show-object-format"])?.stdout == b"sha256\n";
        let format = if sha256 { Format::Sha256 } else { Format::Sha1 };
        let mut map = file_map::listed(&entries).ok_or(TreeError::NotAnObjectId)?;
        for path in links {
            // One that was staged as a link is not in this index, and new to it.
            if map.get(&path).is_none() {
                return Err(invalid_path(&path));
            }
            let entry = link(&top, &path, format)?;
            map.insert(&path, entry);
        }
        let id = map.tree_id(format).and_then(|id| id.to_hex().parse().ok());
        Ok(Self {
            git,
            top,
            unborn: start.unborn,
            id: id.ok_or(TreeError::NotAnObjectId)?,
            map,
            format,
            stamps,
            has_gitlinks: records(&entries).any(|entry| entry.starts_with(b"160000 ")),
            _scratch: scratch,
        })
    }

    /// Stands at the top, on the index that holds what was read.
    pub(super) fn git(&self) -> &Git {
        &self.git
    }

    /// Returns the top of the worktree that was read.
    pub fn top(&self) -> &Path {
        &self.top
    }

    /// Returns whether there are submodules or nested repositories, which the content id looks into.
    pub fn has_nested(&self) -> bool {
        self.has_gitlinks || !self.unborn.is_empty()
    }

    /// Returns every file as git took it in, and how objects are named here.
    pub(super) fn map(&self) -> (FileMap, Format) {
        (self.map.clone(), self.format)
    }

    /// Returns how each file lay that was read, `None` for directories, which are nested repositories.
    pub(super) fn stamps(&self) -> &BTreeMap<Vec<u8>, Option<Stamp>> {
        &self.stamps
    }

    /// Returns the tree id.
    pub fn id(&self) -> &ObjectId {
        &self.id
    }

    /// Checks that no file was written since it was read, not even with the same bytes: what was read of it in between
    /// may have been other bytes. Git's own comparison goes by whole seconds, and by content when in doubt.
    ///
    /// # Errors
    /// [`TreeError::Torn`] when one was, appeared or went away.
    pub fn verify(&self) -> Result<(), TreeError> {
        if stamps(&self.top, self.stamps.keys()) != self.stamps {
            return Err(TreeError::Torn);
        }
        if self.has_gitlinks && self.a_gitlink_moved()? {
            return Err(TreeError::Torn);
        }
        let untracked = self
            .git
            .run(&["ls-files", "-o", "--exclude-standard", "-z"])?
            .stdout;
        let mut appeared = records(&untracked)
            .map(|path| path.strip_suffix(b"/").unwrap_or(path))
            .filter(|path| !self.unborn.iter().any(|unborn| unborn == path));
        match appeared.next() {
            None => Ok(()),
            Some(_) => Err(TreeError::Torn),
        }
    }

    fn a_gitlink_moved(&self) -> Result<bool, TreeError> {
        let changed = self
            .git
            .run(&["diff-files", "--raw", "-z", "--ignore-submodules=dirty"])?
            .stdout;
        Ok(changed
            .split(|byte| *byte == 0)
            .any(|line| line.starts_with(b":160000")))
    }

    /// Returns the content id: the tree id, and a hash over the content of each dirty submodule and nested repository.
    ///
    /// # Errors
    /// [`TreeError`] when one of them cannot be read.
    pub fn content(&self) -> Result<ContentId, TreeError> {
        self.content_at_depth(0)
    }

    fn content_at_depth(&self, depth: usize) -> Result<ContentId, TreeError> {
        if depth > DEPTH_LIMIT {
            return Err(TreeError::TooDeep);
        }
        let dirty = self.dirty_at_depth(depth)?;
        let text = if dirty.is_empty() {
            self.id.to_string()
        } else {
            format!("{}+{}", self.id, nested_digest(&dirty))
        };
        text.parse().map_err(|_| TreeError::NotAnObjectId)
    }

    /// The dirty submodules and nested repositories by path, and their content.
    pub(super) fn dirty(&self) -> Result<BTreeMap<Vec<u8>, ContentId>, TreeError> {
        self.dirty_at_depth(0)
    }

    fn dirty_at_depth(&self, depth: usize) -> Result<BTreeMap<Vec<u8>, ContentId>, TreeError> {
        let mut dirty = BTreeMap::new();
        for path in self.nested()? {
            let dir = self.top.join(OsStr::from_bytes(&path));
            if let Some(content) = dirty_content(&self.git, &dir, depth + 1)? {
                dirty.insert(path, content);
            }
        }
        Ok(dirty)
    }

    /// The paths of submodules and nested repositories that have a repository on disk.
    pub(super) fn nested(&self) -> Result<Vec<Vec<u8>>, TreeError> {
        let entries = self.git.run(&["ls-files", "-s", "-z"])?.stdout;
        let gitlinks = records(&entries)
            .filter(|entry| entry.starts_with(b"160000 "))
            .filter_map(|entry| entry.splitn(2, |byte| *byte == b'\t').nth(1))
            .map(<[u8]>::to_vec);
        Ok(gitlinks
            .chain(self.unborn.iter().cloned())
            .filter(|path| self.top.join(OsStr::from_bytes(path)).join(".git").exists())
            .collect())
    }
}

/// Returns when and where each file was last written; nothing for directories, which are nested repositories.
fn stamps<'a>(
    top: &Path,
    paths: impl IntoIterator<Item = &'a Vec<u8>>,
) -> BTreeMap<Vec<u8>, Option<Stamp>> {
    paths
        .into_iter()
        .map(|path| {
            let stamp = Stamp::of(&top.join(OsStr::from_bytes(path)));
            (path.clone(), stamp)
        })
        .collect()
}

/// Returns the content of a nested repository where it is not that of its own HEAD.
fn dirty_content(outer: &Git, dir: &Path, depth: usize) -> Result<Option<ContentId>, TreeError> {
    let git = super::safe::inside(outer, dir);
    if !is_own_root(&git, dir) {
        return Ok(None);
    }
    let content = CapturedTree::read(&git, None)?.content_at_depth(depth)?;
    let head = git
        .line(&["rev-parse", "-q", "--verify", "HEAD^{tree}"])
        .ok();
    let clean = match head {
        Some(tree) => tree == content.as_str().as_bytes(),
        None => is_empty_tree(&content),
    };
    Ok((!clean).then_some(content))
}

/// False where `.git` leads nowhere, so that git refuses or answers for a repository around it.
pub(crate) fn is_own_root(git: &Git, dir: &Path) -> bool {
    let top = path_line(git, &["rev-parse", "--show-toplevel"]);
    match (top.map(|top| top.canonicalize()), dir.canonicalize()) {
        (Ok(Ok(top)), Ok(dir)) => top == dir,
        _ => false,
    }
}

fn is_empty_tree(content: &ContentId) -> bool {
    matches!(
        content.as_str(),
        "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
            | "6ef19b41225c5369f1c104d45d8d85efa9b057b53b14b4b9b939dd74decc5321"
    )
}

/// Hashes `path NUL content LF` for each dirty nested repository, in byte order of the paths.
fn nested_digest(dirty: &BTreeMap<Vec<u8>, ContentId>) -> String {
    let mut hasher = Sha256::new();
    for (path, content) in dirty {
        hasher.update(path);
        hasher.update([0]);
        hasher.update(content.as_str());
        hasher.update(b"\n");
    }
    let mut digits = hex(&hasher.finalize());
    digits.truncate(12);
    digits
}

/// What the repository's own index says, taken over into the scratch index, and what is to be read from the disk.
struct StartingIndex {
    entries: Vec<u8>,
    hidden: Vec<Vec<u8>>,
    unborn: Vec<Vec<u8>>,
    /// Tracked files where a directory is now, or a link in the place of a directory above.
    replaced: Vec<Vec<u8>>,
    /// What is tracked as a repository of its own.
    gitlinks: Vec<Vec<u8>>,
    tracked: BTreeSet<Vec<u8>>,
    files: Vec<Vec<u8>>,
}

impl StartingIndex {
    fn read(git: &Git, top: &Path) -> Result<Self, TreeError> {
        let entries = git.run(&["ls-files", "-s", "-z"])?.stdout;
        let flags = git.run(&["ls-files", "-t", "-z"])?.stdout;
        let is_absent = |path: &[u8]| {
            let on_disk = top.join(OsStr::from_bytes(path));
            on_disk.symlink_metadata().is_err()
        };
        let (hidden, files): (Vec<_>, Vec<_>) = records(&flags)
            .filter_map(|record| Some((record.first()? == &b'S', record.get(2..)?)))
            .filter(|(_, path)| !is_out_of_sight(&top.join(OsStr::from_bytes(path))))
            .map(|(skip, path)| (skip && is_absent(path), path.to_vec()))
            .partition(|(is_hidden, _)| *is_hidden);
        let is_dir = |path: &[u8]| {
            let on_disk = top.join(OsStr::from_bytes(path));
            on_disk.symlink_metadata().is_ok_and(|found| found.is_dir())
        };
        let gitlinks: BTreeSet<_> = records(&entries)
            .filter(|entry| entry.starts_with(b"160000 "))
            .filter_map(|entry| entry.splitn(2, |byte| *byte == b'\t').nth(1))
            .map(<[u8]>::to_vec)
            .collect();
        let mut real_dirs = RealDirs::new(top);
        let (replaced, mut files): (Vec<_>, Vec<_>) = files.into_iter().partition(|(_, path)| {
            let is_replaced = !gitlinks.contains(path) && is_dir(path);
            is_replaced || !real_dirs.hold(path)
        });
        files.sort();
        files.dedup();
        let tracked = files.iter().map(|(_, path)| path.clone()).collect();
        Ok(Self {
            entries,
            hidden: hidden.into_iter().map(|(_, path)| path).collect(),
            gitlinks: gitlinks.into_iter().collect(),
            tracked,
            unborn: Vec::new(),
            replaced: replaced.into_iter().map(|(_, path)| path).collect(),
            files: files.into_iter().map(|(_, path)| path).collect(),
        })
    }

    /// Adds what is not tracked, given the index that [`Self::write`] made: a repository may have taken the place of a file.
    fn find_untracked(&mut self, git: &Git, top: &Path) -> Result<(), TreeError> {
        let untracked = git
            .run(&["ls-files", "-o", "--exclude-standard", "-z"])?
            .stdout;
        let (nested, plain): (Vec<_>, Vec<_>) =
            records(&untracked).partition(|path| path.ends_with(b"/"));
        let (born, unborn): (Vec<_>, Vec<_>) = nested
            .into_iter()
            .filter_map(|path| path.strip_suffix(b"/"))
            .partition(|path| has_commit(git, &top.join(OsStr::from_bytes(path))));
        self.unborn = unborn.into_iter().map(<[u8]>::to_vec).collect();
        // After the tracked ones: attribute files that are gone count until git comes to them (builtin/add.c, git 2.47).
        let mut added: Vec<_> = plain.into_iter().chain(born).map(<[u8]>::to_vec).collect();
        for path in self.repositories_in_place_of_files(git, top) {
            if !has_commit(git, &top.join(OsStr::from_bytes(&path))) {
                return Err(no_commit(&path));
            }
            added.push(path);
        }
        added.sort();
        added.dedup();
        self.files.extend(added);
        Ok(())
    }

    /// What is tracked is not ignored, whatever it has become.
    fn repositories_in_place_of_files(&self, git: &Git, top: &Path) -> Vec<Vec<u8>> {
        let mut real_dirs = RealDirs::new(top);
        let replaced = self.replaced.iter().filter(|path| real_dirs.hold(path));
        let is_repository = |path: &&Vec<u8>| {
            let dir = top.join(OsStr::from_bytes(path));
            dir.join(".git").exists() && is_own_root(&git.in_other_repository(&dir), &dir)
        };
        replaced.filter(is_repository).cloned().collect()
    }

    /// Has git read the files into the index that [`Self::write`] made. Returns the links that it left out.
    fn update(&self, git: &Git, top: &Path) -> Result<Vec<Vec<u8>>, TreeError> {
        let update = [
            "update-index",
            "--add",
            "--remove",
            "--replace",
            "--info-only",
        ];
        let update = [&update[..], &["-z", "--stdin"]].concat();
        let said = git
            .clone()
            .with_var("LANGUAGE", "C")
            .run_with_input(&update, Some(nul_terminated(&self.files)))?;
        let ignored = |line: &[u8]| {
            let path = line.strip_prefix(IGNORING.as_bytes())?.to_vec();
            let is_link = top.join(OsStr::from_bytes(&path)).is_symlink();
            (is_link && self.tracked.contains(&path)).then_some(path)
        };
        let (mut links, mut rest) = (Vec::new(), Vec::new());
        for line in said.stderr.split_inclusive(|byte| *byte == b'\n') {
            match ignored(line.trim_ascii_end()) {
                Some(path) => links.push(path),
                None => rest.extend_from_slice(line),
            }
        }
        refuse_wrong_encoding(&rest)?;
        Ok(links)
    }

    fn write(&self, git: &Git) -> Result<(), TreeError> {
        git.run(&["read-tree", "--empty"])?;
        git.run_with_input(
            &["update-index", "-z", "--index-info"],
            Some(with_ours(&self.entries)),
        )?;
        if !self.replaced.is_empty() {
            git.run_with_input(
                &["update-index", "--force-remove", "-z", "--stdin"],
                Some(nul_terminated(&self.replaced)),
            )?;
        }
        if !self.hidden.is_empty() {
            git.run_with_input(
                &["update-index", "--skip-worktree", "-z", "--stdin"],
                Some(nul_terminated(&self.hidden)),
            )?;
        }
        Ok(())
    }
}

/// Git keeps what it has of a file of which the system does not say whether it is there (`check_removed` in diff-lib.c, git 2.47).
fn is_out_of_sight(path: &Path) -> bool {
    path.symlink_metadata()
        .is_err_and(|error| !is_absence(&error))
}

/// Returns the stage of an entry, and its path behind a tab.
fn stage_and_path(entry: &[u8]) -> Option<(u8, Vec<u8>)> {
    let tab = entry.iter().position(|byte| *byte == b'\t')?;
    let stage = *entry.get(tab.checked_sub(1)?)?;
    Some((stage, entry.get(tab..)?.to_vec()))
}

/// Where a conflict is not resolved `git add` takes our side for what was tracked (`index_name_pos_also_unmerged` and
/// `read_blob_data_from_index` in read-cache.c, git 2.47), where `git update-index` takes none: by it goes the mode where modes do not count.
fn with_ours(entries: &[u8]) -> Vec<u8> {
    let ours: BTreeSet<_> = records(entries)
        .filter_map(stage_and_path)
        .filter_map(|(stage, path)| (stage == b'2').then_some(path))
        .collect();
    let mut text = Vec::with_capacity(entries.len());
    for entry in records(entries) {
        match stage_and_path(entry) {
            Some((b'2', path)) => {
                let head = entry.len() - path.len() - 1;
                text.extend_from_slice(entry.get(..head).unwrap_or_default());
                text.push(b'0');
                text.extend(path);
            }
            Some((b'1' | b'3', path)) if ours.contains(&path) => continue,
            _ => text.extend_from_slice(entry),
        }
        text.push(0);
    }
    text
}

fn no_commit(path: &[u8]) -> TreeError {
    let path = String::from_utf8_lossy(path);
    refusal(format!("'{path}' does not have a commit checked out"))
}

fn invalid_path(path: &[u8]) -> TreeError {
    refusal(format!("invalid path '{}'", String::from_utf8_lossy(path)))
}

fn refusal(message: String) -> TreeError {
    TreeError::Git(GitError::Failed {
        command: "add".to_owned(),
        message,
    })
}

/// Before it adds anything `git add` looks whether submodules are clean, and dies where one is broken, or changed and without a
/// commit (submodule.c, object-file.c, git 2.47). Its look runs what submodules name, so none is taken where that may not be.
fn refuse_broken_submodules(git: &Git, top: &Path, gitlinks: &[Vec<u8>]) -> Result<(), TreeError> {
    if git.distrusts() {
        return Ok(());
    }
    let outer = git;
    let git = git.clone().with_var("GIT_LITERAL_PATHSPECS", "1");
    for some in gitlinks.chunks(ARGUMENTS_MAX) {
        let look = [
            "diff-files",
            "--raw",
            "-z",
            "--ignore-submodules=untracked",
            "--",
        ];
        let paths = some.iter().map(|path| OsStr::from_bytes(path));
        let arguments: Vec<_> = look.into_iter().map(OsStr::new).chain(paths).collect();
        let changed = git.run(&arguments)?.stdout;
        let mut fields = changed.split(|byte| *byte == 0);
        while let (Some(change), Some(path)) = (fields.next(), fields.next()) {
            let is_there = change.starts_with(b":160000 160000 ");
            if is_there && !has_commit(outer, &top.join(OsStr::from_bytes(path))) {
                return Err(no_commit(path));
            }
        }
    }
    Ok(())
}

/// In a conflict `git add` takes what is checked out, and dies where a directory stays in which nothing is (`check_removed` in
/// diff-lib.c, `add_to_index` in read-cache.c, git 2.47).
fn refuse_contested_submodules(git: &Git, top: &Path, entries: &[u8]) -> Result<(), TreeError> {
    let mut seen = BTreeSet::new();
    for entry in records(entries) {
        let Some((_, path)) = stage_and_path(entry).filter(|(stage, _)| *stage != b'0') else {
            continue;
        };
        let is_first = seen.insert(path.clone());
        let path = path.strip_prefix(b"\t").unwrap_or(&path);
        let on_disk = top.join(OsStr::from_bytes(path));
        let is_dir = || {
            let found = on_disk.symlink_metadata();
            found.is_ok_and(|found| found.is_dir()) && RealDirs::new(top).hold(path)
        };
        let is_checked_out = || on_disk.join(".git").exists() && has_commit(git, &on_disk);
        if is_first && entry.starts_with(b"160000 ") && is_dir() && !is_checked_out() {
            return Err(no_commit(path));
        }
    }
    Ok(())
}

/// How many paths one command is given.
const ARGUMENTS_MAX: usize = 256;

/// Returns what a link is to git.
fn link(top: &Path, path: &[u8], format: Format) -> Result<Entry, TreeError> {
    let content = file_content::read(&top.join(OsStr::from_bytes(path)), format);
    let Ok(Some(Content {
        mode: Mode::Link,
        blob,
        stamp,
        ..
    })) = content
    else {
        return Err(TreeError::Torn);
    };
    Ok(Entry {
        mode: Mode::Link,
        id: blob,
        raw: blob,
        stamp: Some(stamp),
        settled: false,
    })
}

/// Where it writes objects git dies of text in another encoding than `working-tree-encoding` says; where it only hashes,
/// it says so and goes on (convert.c, git 2.47).
pub(super) fn refuse_wrong_encoding(stderr: &[u8]) -> Result<(), TreeError> {
    let text = String::from_utf8_lossy(stderr);
    let complaint = text.lines().find(|line| {
        [
            "failed to encode",
            "BOM is prohibited",
            "BOM is required",
            IGNORING,
        ]
        .iter()
        .any(|words| line.contains(words))
    });
    complaint.map_or(Ok(()), |line| {
        Err(TreeError::Git(GitError::Failed {
            command: "update-index".to_owned(),
            message: line.to_owned(),
        }))
    })
}

/// What `git update-index` says before the path of a file that may not be added; before that of a link too that stands where
/// a file was, which `git add` takes.
const IGNORING: &str = "Ignoring path ";

/// Returns whether the repository in `dir` has a commit checked out, so that `git add` takes it.
pub(super) fn has_commit(git: &Git, dir: &Path) -> bool {
    git.in_other_repository(dir)
        .run(&["rev-parse", "-q", "--verify", "HEAD"])
        .is_ok()
}

fn nul_terminated(paths: &[Vec<u8>]) -> Vec<u8> {
    paths
        .iter()
        .flat_map(|path| path.iter().copied().chain([0]))
        .collect()
}

fn path_line(git: &Git, arguments: &[&str]) -> Result<PathBuf, TreeError> {
    Ok(PathBuf::from(OsString::from_vec(git.line(arguments)?)))
}

/// Names repository, worktree and index outright, so that the directory of a call no longer matters; in place of a split
/// index, one made whole in `scratch`.
fn pinned(git: &Git, top: &Path, scratch: &Path) -> Result<Git, TreeError> {
    let git_dir = path_line(git, &["rev-parse", "--absolute-git-dir"])?;
    let mut index = git_path(git, "index")?;
    let is_parts = split_index::is_likely(&git_dir) || sparse_index::is_likely(&git_dir);
    if is_parts && index.is_file() {
        let bytes = std::fs::read(&index).map_err(TreeError::Scratch)?;
        let copy = scratch.join("whole-index");
        let bytes = sparse_index::full(split_index::whole(bytes, &git_dir), git)?;
        std::fs::write(&copy, bytes).map_err(TreeError::Scratch)?;
        index = copy;
    }
    Ok(git
        .clone()
        .with_var("GIT_DIR", git_dir)
        .with_var("GIT_WORK_TREE", top)
        .with_var("GIT_INDEX_FILE", index))
}

fn git_path(git: &Git, name: &str) -> Result<PathBuf, TreeError> {
    path_line(
        git,
        &["rev-parse", "--path-format=absolute", "--git-path", name],
    )
}
