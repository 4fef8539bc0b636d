//! Bytes as git's objects hold them: compressed (gitformat-pack(5)), and their blob named while they are read.
//!
//! Opens no file and knows none by its path.

use std::fs::File;
use std::io::{self, Read as _, Write};

use flate2::Compression;
use flate2::write::ZlibEncoder;

use crate::identity::object::{Format, ObjectHasher, RawId};

/// Files of more bytes are compressed quickly rather than well: somebody may be waiting.
const LARGE: u64 = 256 << 10;

/// Compresses a regular file of that size; returns the blob that was read, `None` where the file grew or shrank meanwhile.
pub(super) fn compress(
    mut source: &File,
    size: u64,
    format: Format,
    out: &mut dyn Write,
) -> io::Result<Option<RawId>> {
    let mut hasher = ObjectHasher::new(format, "blob", size);
    let mut seen: u64 = 0;
    let level = if size > LARGE {
        Compression::fast()
    } else {
        Compression::default()
    };
    deflate(out, level, |out| {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let count = source.read(&mut buffer)?;
            let bytes = buffer.get(..count).unwrap_or(&[]);
            seen += count as u64;
            if bytes.is_empty() || seen > size {
                return Ok(());
            }
            hasher.update(bytes);
            out.write_all(bytes)?;
        }
    })?;
    Ok(if seen == size { hasher.finish() } else { None })
}

/// Compresses bytes.
pub(super) fn compress_bytes(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    deflate(&mut out, Compression::default(), |out| out.write_all(bytes))?;
    Ok(out)
}

pub(super) fn deflate(
    out: &mut dyn Write,
    level: Compression,
    fill: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    let mut encoder = ZlibEncoder::new(io::BufWriter::new(out), level);
    fill(&mut encoder)?;
    encoder.finish()?.flush()
}
