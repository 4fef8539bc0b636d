//! A pack that is being written: objects whole, one after another (gitformat-pack(5)).
//!
//! Makes no deltas. Does not decide what counts: the store reads the pack back first.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use flate2::Compression;

use super::SnapshotError;
use super::compressed::{compress, deflate};
use super::held::Bytes;
use super::objects::Objects;
use crate::fs_util::PathError;
use crate::identity::file_content::open;
use crate::identity::file_map::Mode;
use crate::identity::object::{Format, ObjectHasher, RawId, object_id};

/// The kinds of objects, by their numbers.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Tree = 2,
    Blob = 3,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Tree => "tree",
            Self::Blob => "blob",
        }
    }
}

/// Objects on their way into the store.
#[derive(Debug)]
pub(super) struct PackWriter {
    path: PathBuf,
    file: File,
    format: Format,
    count: u32,
    written: std::collections::BTreeSet<RawId>,
}

impl PackWriter {
    pub(super) fn new(objects: &Objects) -> Result<Self, SnapshotError> {
        let path = objects.scratch().join("new.pack");
        let file = File::options()
            .create(true)
            .truncate(true)
            .read(true)
            .write(true)
            .open(&path)
            .and_then(|mut file| {
                file.write_all(b"PACK\0\0\0\x02\0\0\0\0")?;
                Ok(file)
            });
        Ok(Self {
            file: file.map_err(PathError::of("write", &path))?,
            path,
            format: objects.format,
            count: 0,
            written: std::collections::BTreeSet::new(),
        })
    }

    pub(super) fn has(&self, id: &RawId) -> bool {
        self.written.contains(id)
    }

    /// Adds an object that is at hand whole.
    pub(super) fn add(&mut self, kind: Kind, body: &[u8]) -> Result<(), SnapshotError> {
        let Some(id) = object_id(self.format, kind.name(), body) else {
            return Ok(());
        };
        if self.has(&id) {
            return Ok(());
        }
        let added = self.begin(kind, body.len() as u64).and_then(|()| {
            deflate(&mut self.file, Compression::default(), |out| {
                out.write_all(body)
            })
        });
        added.map_err(PathError::of("write", &self.path))?;
        self.count += 1;
        self.written.insert(id);
        Ok(())
    }

    /// Adds the bytes of the file or link at `path`; false, and nothing is added, where they are no longer those of `id`.
    pub(super) fn add_file(
        &mut self,
        path: &Path,
        mode: Mode,
        id: &RawId,
    ) -> Result<bool, SnapshotError> {
        if self.has(id) {
            return Ok(true);
        }
        if mode == Mode::Link {
            let Ok(target) = path.read_link() else {
                return Ok(false);
            };
            let target = target.as_os_str().as_bytes();
            let same = object_id(self.format, "blob", target).as_ref() == Some(id);
            if same {
                self.add(Kind::Blob, target)?;
            }
            return Ok(same);
        }
        let Ok(source) = open(path) else {
            return Ok(false);
        };
        let before = self.file.stream_position();
        let before = before.map_err(PathError::of("write", &self.path))?;
        let copied = self.copy(&source).map_err(PathError::of("keep", path))?;
        if copied.as_ref() == Some(id) {
            self.count += 1;
            self.written.insert(*id);
            return Ok(true);
        }
        let back = self
            .file
            .set_len(before)
            .and_then(|()| self.file.seek(SeekFrom::Start(before)));
        back.map_err(PathError::of("write", &self.path))?;
        Ok(false)
    }

    /// Adds bytes that were read and compressed before.
    pub(super) fn add_held(&mut self, id: &RawId, bytes: &Bytes) -> Result<(), SnapshotError> {
        if self.has(id) {
            return Ok(());
        }
        let added = self
            .begin(Kind::Blob, bytes.size)
            .and_then(|()| bytes.copy_to(&mut self.file));
        added.map_err(PathError::of("write", &self.path))?;
        self.count += 1;
        self.written.insert(*id);
        Ok(())
    }

    /// Returns the blob that was written; `None` where the file grew or shrank meanwhile.
    fn copy(&mut self, source: &File) -> io::Result<Option<RawId>> {
        let metadata = source.metadata()?;
        if !metadata.is_file() {
            return Ok(None);
        }
        self.begin(Kind::Blob, metadata.len())?;
        compress(source, metadata.len(), self.format, &mut self.file)
    }

    /// Kind and size: four bits of the size in the first byte, then seven a byte, the lowest first.
    fn begin(&mut self, kind: Kind, size: u64) -> io::Result<()> {
        let low = |value: u64, mask: u64| u8::try_from(value & mask).unwrap_or(0);
        let mut byte = (kind as u8) << 4 | low(size, 0x0f);
        let mut rest = size >> 4;
        let mut head = Vec::new();
        while rest > 0 {
            head.push(byte | 0x80);
            byte = low(rest, 0x7f);
            rest >>= 7;
        }
        head.push(byte);
        self.file.write_all(&head)
    }

    /// Makes the pack one of the store's.
    pub(super) fn finish(mut self, objects: &mut Objects) -> Result<(), SnapshotError> {
        if self.count == 0 {
            return Ok(());
        }
        self.seal().map_err(PathError::of("write", &self.path))?;
        objects.take_in(&self.path)
    }

    /// The number of objects into the head, a hash over all of it at the end.
    fn seal(&mut self) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(8))?;
        self.file.write_all(&self.count.to_be_bytes())?;
        self.file.seek(SeekFrom::Start(0))?;
        let mut hasher = ObjectHasher::plain(self.format);
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let count = self.file.read(&mut buffer)?;
            let bytes = buffer.get(..count).unwrap_or(&[]);
            if bytes.is_empty() {
                break;
            }
            hasher.update(bytes);
        }
        let sum = hasher.finish().ok_or(io::ErrorKind::InvalidData)?;
        self.file.write_all(sum.as_bytes())
    }
}
