//! The tree id and the content id: what the code on disk is, whatever is staged or committed.
//!
//! The tree id is the git tree that `git add -A` from the root of the worktree would write into an index that starts
//! with the repository's entries but without their stat data, so that every file is read. Git converts and hashes the files
//! into an index of our own and writes no objects: `git add` would freshen the time of every object that exists already,
//! packs included. The trees over them are hashed here.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::add_refusals::{invalid_path, refuse_broken_submodules, refuse_contested_submodules};
use super::diffs::PATHSPEC_VARS;
use super::file_content::{self, Content};
use super::file_map::{self, Entry, FileMap, Mode};
use super::nested::{DEPTH_LIMIT, is_empty_tree, is_own_root, nested_digest};
use super::object::Format;
use super::scratch::Scratch;
use super::stamp::Stamp;
use super::starting_index::StartingIndex;
use super::{FILE_LIMIT, TreeError, sparse_index, split_index};
use crate::git::{self, Git, records};
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

/// An index of our own that holds the state of one worktree, removed when dropped.
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
        let top = git.path(&["rev-parse", "--show-toplevel"])?;
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
        if start.hides_all() {
            return Err(TreeError::NothingCheckedOut);
        }
        refuse_broken_submodules(&git, &top, &start.gitlinks)?;
        refuse_contested_submodules(&git, &top, &start.entries)?;
        let stamps = stamps(&top, &start.files);
        refuse_too_large(&stamps)?;
        let links = start.update(&git, &top)?;
        let entries = git.run(&["ls-files", "-s", "-z"])?.stdout;
        let sha256 = git.run(&["rev-parse", "--show-object-format"])?.stdout == b"sha256\n";
        let format = if sha256 { Format::Sha256 } else { Format::Sha1 };
        let mut map = file_map::listed(&entries).ok_or(TreeError::NotAnObjectId)?;
        insert_links(&mut map, links, &top, format)?;
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
        let gitlinks = git::gitlinks(&entries).map(<[u8]>::to_vec);
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

fn refuse_too_large(stamps: &BTreeMap<Vec<u8>, Option<Stamp>>) -> Result<(), TreeError> {
    let is_too_large = |stamp: &Option<Stamp>| stamp.is_some_and(|it| it.size() > FILE_LIMIT);
    match stamps.iter().find(|(_, stamp)| is_too_large(stamp)) {
        None => Ok(()),
        Some((path, _)) => Err(TreeError::TooLarge {
            path: String::from_utf8_lossy(path).into_owned(),
        }),
    }
}

fn insert_links(
    map: &mut FileMap,
    links: Vec<Vec<u8>>,
    top: &Path,
    format: Format,
) -> Result<(), TreeError> {
    for path in links {
        // One that was staged as a link is not in this index, and new to it.
        if map.get(&path).is_none() {
            return Err(invalid_path(&path));
        }
        let entry = link(top, &path, format)?;
        map.insert(&path, entry);
    }
    Ok(())
}

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

/// Names repository, worktree and index outright, so that the directory of a call no longer matters; in place of a split
/// index, one made whole in `scratch`.
fn pinned(git: &Git, top: &Path, scratch: &Path) -> Result<Git, TreeError> {
    let git_dir = git.path(&["rev-parse", "--absolute-git-dir"])?;
    let mut index = git.path(&["rev-parse", "--path-format=absolute", "--git-path", "index"])?;
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
