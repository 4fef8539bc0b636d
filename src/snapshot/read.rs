//! Reading back: what a tree holds, and the bytes of its files.
//!
//! Writes nothing, and takes no lock.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use super::{Record, SnapshotError, Snapshots, objects, path_text};
use crate::git::{Git, GitError, records};
use crate::identity::file_map::Mode;
use crate::identity::object::RawId;

/// A file of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TreeFile {
    pub(super) path: Vec<u8>,
    pub(super) mode: Mode,
    pub(super) id: RawId,
}

impl Snapshots {
    /// Returns the bytes of one file of a tree, `None` where there is no such file.
    ///
    /// # Errors
    /// [`SnapshotError::Git`] where the file is there and not kept.
    pub fn file(&self, tree: &str, path: &[u8]) -> Result<Option<Vec<u8>>, SnapshotError> {
        let git = self.git();
        let Some(id) = blob_of(&git, tree, path)? else {
            return Ok(None);
        };
        Ok(Some(git.run(&["cat-file", "blob", &id])?.stdout))
    }

    /// Returns whether the store still has every file of a version that was kept. Costs nothing while no pack was lost.
    ///
    /// # Errors
    /// [`SnapshotError::Git`] where git cannot be asked.
    pub fn still_holds(&self, record: &Record) -> Result<bool, SnapshotError> {
        if !objects::has_lost(&self.git_dir()) {
            return Ok(true);
        }
        let git = self.git();
        let Ok(files) = list(&git, record.disk()) else {
            return Ok(false);
        };
        let left_out: BTreeSet<_> = record.left_out.iter().map(|it| it.path.as_str()).collect();
        let is_kept = |file: &&TreeFile| {
            file.mode != Mode::Gitlink && !left_out.contains(path_text(&file.path).as_str())
        };
        let kept: BTreeSet<_> = files.iter().filter(is_kept).map(|file| file.id).collect();
        Ok(objects::present(&git, &kept)?.len() == kept.len())
    }
}

/// Returns the blob at a path of a tree, `None` where there is no such file.
///
/// # Errors
/// [`GitError`] where `git` does not have the tree.
pub fn blob_of(git: &Git, tree: &str, path: &[u8]) -> Result<Option<String>, GitError> {
    let arguments = ["ls-tree", "-r", "-z", "--full-tree", tree, "--"].map(OsStr::new);
    let arguments = [&arguments[..], &[OsStr::from_bytes(path)]].concat();
    let listed = git.run(&arguments)?.stdout;
    Ok(records(&listed).find_map(|record| {
        let tab = record.iter().position(|byte| *byte == b'\t')?;
        (record.get(tab + 1..)? == path).then_some(())?;
        let id = record.get(..tab)?.rsplit(|byte| *byte == b' ').next()?;
        String::from_utf8(id.to_vec()).ok()
    }))
}

/// Returns every file of a tree.
pub(super) fn list(git: &Git, tree: &str) -> Result<Vec<TreeFile>, SnapshotError> {
    let arguments = ["ls-tree", "-r", "-z", "--full-tree", tree];
    let listed = git.run(&arguments)?.stdout;
    let file = |record: &[u8]| {
        let tab = record.iter().position(|byte| *byte == b'\t')?;
        let (head, path) = (record.get(..tab)?, record.get(tab + 1..)?);
        let mut words = head.split(|byte| *byte == b' ');
        Some(TreeFile {
            mode: Mode::from_digits(words.next()?)?,
            id: RawId::from_hex(words.nth(1)?)?,
            path: path.to_vec(),
        })
    };
    let unread = || SnapshotError::Damaged(format!("tree {tree}"));
    records(&listed)
        .map(|record| file(record).ok_or_else(unread))
        .collect()
}

/// Hands the bytes of blobs to `sink`, one after another, as they come.
pub(super) fn read_blobs(
    git: &Git,
    ids: &[RawId],
    sink: &mut dyn BlobSink,
) -> Result<(), SnapshotError> {
    let input = ids.iter().flat_map(|id| (id.to_hex() + "\n").into_bytes());
    let mut parser = Parser {
        state: State::Head(Vec::new()),
        next: 0,
        sink,
        failed: None,
    };
    let arguments = ["cat-file", "--batch", "--buffer"];
    let streamed = git.stream_with_input(&arguments, Some(input.collect()), |bytes| {
        parser.take(bytes)
    });
    if let Some(error) = parser.failed {
        return Err(error);
    }
    streamed?;
    if parser.next == ids.len() {
        Ok(())
    } else {
        Err(SnapshotError::Damaged("objects are missing".to_owned()))
    }
}

/// Takes blobs.
pub(super) trait BlobSink {
    /// The blob of that place in the list follows; `None` where the store does not have it.
    fn begin(&mut self, place: usize, size: Option<u64>) -> Result<(), SnapshotError>;
    /// Some of its bytes.
    fn bytes(&mut self, bytes: &[u8]) -> Result<(), SnapshotError>;
    /// It is complete.
    fn end(&mut self) -> Result<(), SnapshotError>;
}

enum State {
    Head(Vec<u8>),
    Body(u64),
    Tail,
}

/// `ID blob SIZE LF BYTES LF`, or `ID missing LF` (git-cat-file(1)).
struct Parser<'a> {
    state: State,
    next: usize,
    sink: &'a mut dyn BlobSink,
    failed: Option<SnapshotError>,
}

impl Parser<'_> {
    fn take(&mut self, bytes: &[u8]) -> bool {
        match self.parse(bytes) {
            Ok(()) => true,
            Err(error) => {
                self.failed = Some(error);
                false
            }
        }
    }

    fn parse(&mut self, mut bytes: &[u8]) -> Result<(), SnapshotError> {
        while !bytes.is_empty() {
            match &mut self.state {
                State::Head(line) => {
                    let end = bytes.iter().position(|byte| *byte == b'\n');
                    let (now, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
                    line.extend_from_slice(now);
                    bytes = rest;
                    if end.is_some() {
                        bytes = rest.get(1..).unwrap_or_default();
                        let line = std::mem::take(line);
                        self.begin(&line)?;
                    }
                }
                State::Body(left) => {
                    let count = usize::try_from(*left)
                        .unwrap_or(usize::MAX)
                        .min(bytes.len());
                    let (now, rest) = bytes.split_at(count);
                    *left -= count as u64;
                    let is_done = *left == 0;
                    bytes = rest;
                    self.sink.bytes(now)?;
                    if is_done {
                        self.sink.end()?;
                        self.state = State::Tail;
                    }
                }
                State::Tail => {
                    bytes = bytes.get(1..).unwrap_or_default();
                    self.state = State::Head(Vec::new());
                }
            }
        }
        Ok(())
    }

    fn begin(&mut self, line: &[u8]) -> Result<(), SnapshotError> {
        let line = String::from_utf8_lossy(line);
        let mut words = line.split(' ').skip(1);
        let place = self.next;
        self.next += 1;
        match (words.next(), words.next().map(str::parse::<u64>)) {
            (Some("blob"), Some(Ok(size))) => {
                self.sink.begin(place, Some(size))?;
                if size == 0 {
                    self.sink.end()?;
                    self.state = State::Tail;
                } else {
                    self.state = State::Body(size);
                }
                Ok(())
            }
            (Some("missing"), None) => self.sink.begin(place, None),
            _ => Err(SnapshotError::Damaged(line.into_owned())),
        }
    }
}
