//! Git object ids, hashed here and written nowhere (gitformat-pack(5); git-hash-object(1)).
//!
//! Pure.

use sha1::Sha1;
use sha2::{Digest as _, Sha256};

use super::digest::hex;

/// How a repository names its objects (`git rev-parse --show-object-format`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Sha1,
    Sha256,
}

impl Format {
    /// Returns the format whose ids have as many hexadecimal digits as `id`.
    pub(crate) fn of(id: &str) -> Option<Self> {
        match id.len() {
            40 => Some(Self::Sha1),
            64 => Some(Self::Sha256),
            _ => None,
        }
    }

    /// Returns the number of bytes of an id.
    pub(crate) fn id_length(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
        }
    }
}

/// An object id as bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct RawId {
    bytes: [u8; 32],
    length: u8,
}

impl RawId {
    /// Takes over the bytes of an id; `None` where there are neither 20 nor 32.
    pub(crate) fn new(id: &[u8]) -> Option<Self> {
        let length = u8::try_from(id.len()).ok()?;
        matches!(length, 20 | 32).then_some(())?;
        let mut bytes = [0; 32];
        bytes.get_mut(..id.len())?.copy_from_slice(id);
        Some(Self { bytes, length })
    }

    /// Reads hexadecimal digits.
    pub(crate) fn from_hex(digits: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(digits).ok()?;
        let bytes: Option<Vec<u8>> = (0..text.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok())
            .collect();
        Self::new(&bytes?)
    }

    /// Returns the id's bytes.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.length)).unwrap_or(&[])
    }

    /// Returns lowercase hexadecimal digits.
    pub(crate) fn to_hex(self) -> String {
        hex(self.as_bytes())
    }
}

/// Hashes one object as its bytes come in.
pub(crate) enum ObjectHasher {
    Sha1(Sha1),
    Sha256(Sha256),
}

impl ObjectHasher {
    /// Begins an object of `kind` (`blob`, `tree`) that will have `size` bytes.
    pub(crate) fn new(format: Format, kind: &str, size: u64) -> Self {
        let mut hasher = Self::plain(format);
        hasher.update(format!("{kind} {size}\0").as_bytes());
        hasher
    }

    /// Begins a hash over bytes that are no object.
    pub(crate) fn plain(format: Format) -> Self {
        match format {
            Format::Sha1 => Self::Sha1(Sha1::new()),
            Format::Sha256 => Self::Sha256(Sha256::new()),
        }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha1(hasher) => hasher.update(bytes),
            Self::Sha256(hasher) => hasher.update(bytes),
        }
    }

    pub(crate) fn finish(self) -> Option<RawId> {
        match self {
            Self::Sha1(hasher) => RawId::new(&hasher.finalize()),
            Self::Sha256(hasher) => RawId::new(&hasher.finalize()),
        }
    }
}

/// Hashes an object that is at hand whole.
pub(crate) fn object_id(format: Format, kind: &str, body: &[u8]) -> Option<RawId> {
    let mut hasher = ObjectHasher::new(format, kind, body.len() as u64);
    hasher.update(body);
    hasher.finish()
}
