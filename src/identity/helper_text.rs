//! What the guide's helper makes of texts and files, as Python does it, its quirks included: the trimmed status loses the first space of its
//! first line, quoted names are opened with their quotes, an absolute name leaves the repository. Knows no git.

use std::borrow::Cow;
use std::io::Read;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::FILE_LIMIT;
use super::GitHashError;
use super::digest::hex;
use crate::fs_util::open_without_waiting;

/// How much of something that is no regular file (a device) is read before giving up.
const DEVICE_LIMIT: u64 = 16 * 1024 * 1024;

/// Decodes as Python's `subprocess` does with `text=True`: strict UTF-8, then CRLF and CR become LF.
pub(super) fn decode(bytes: Vec<u8>) -> Option<String> {
    let text = String::from_utf8(bytes).ok()?;
    Some(if text.contains('\r') {
        text.replace("\r\n", "\n").replace('\r', "\n")
    } else {
        text
    })
}

/// Trims what Python's `str.strip()` trims: Unicode white space and the four separators U+001C to U+001F.
pub(super) fn python_strip(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c))
}

/// The names that the helper opens, in its order, from the output of `git status --porcelain -uall`.
pub(super) fn opened_names(status: &str) -> impl Iterator<Item = &str> {
    let trimmed = python_strip(status);
    trimmed.split('\n').filter_map(|line| {
        let name_start = line
            .char_indices()
            .map(|(at, _)| at)
            .chain([line.len()])
            .nth(3)?;
        let code_end = line.char_indices().nth(2).map_or(line.len(), |(at, _)| at);
        let (code, name) = (line.get(..code_end)?, line.get(name_start..)?);
        code.contains(['?', 'M', 'A']).then_some(name)
    })
}

/// The lines that the helper makes of those files, sorted.
pub(super) fn file_lines(root: &str, status: &str) -> Result<Vec<String>, GitHashError> {
    let mut lines = opened_names(status)
        .map(|name| {
            let hash = file_hash(&python_join(root, name), name)?;
            Ok(format!(
                "{name}:{}",
                hash.as_deref().unwrap_or("unreadable")
            ))
        })
        .collect::<Result<Vec<_>, GitHashError>>()?;
    lines.sort_unstable();
    Ok(lines)
}

/// Joins as `os.path.join` does: an absolute `name` replaces `root`.
pub(super) fn python_join(root: &str, name: &str) -> PathBuf {
    let joined: Cow<'_, str> = if name.starts_with('/') {
        name.into()
    } else if root.is_empty() || root.ends_with('/') {
        format!("{root}{name}").into()
    } else {
        format!("{root}/{name}").into()
    };
    Path::new(std::ffi::OsStr::from_bytes(joined.as_bytes())).to_owned()
}

/// Returns the SHA-256 of the file that the helper calls `name`, `None` where it says "unreadable".
pub(super) fn file_hash(path: &Path, name: &str) -> Result<Option<String>, GitHashError> {
    let endless = || GitHashError::Endless {
        name: name.to_owned(),
    };
    let Ok(file) = open_without_waiting(path) else {
        return Ok(None);
    };
    let Ok(metadata) = file.metadata() else {
        return Ok(None);
    };
    let kind = metadata.file_type();
    if kind.is_fifo() {
        return Err(endless());
    }
    if kind.is_file() && metadata.len() > FILE_LIMIT {
        return Err(GitHashError::TooLarge {
            name: name.to_owned(),
        });
    }
    let limit = if kind.is_file() {
        FILE_LIMIT
    } else {
        DEVICE_LIMIT
    };
    match sha256_of(file.take(limit + 1)) {
        Ok((_, length)) if length > limit => Err(endless()),
        Ok((hash, _)) => Ok(Some(hash)),
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Err(endless()),
        Err(_) => Ok(None),
    }
}

fn sha256_of(mut source: impl Read) -> std::io::Result<(String, u64)> {
    let mut hasher = Sha256::new();
    let length = std::io::copy(&mut source, &mut HashWriter(&mut hasher))?;
    Ok((hex(&hasher.finalize()), length))
}

struct HashWriter<'a>(&'a mut Sha256);

impl std::io::Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_status_line_loses_its_space_and_its_name_a_letter() {
        let names: Vec<_> =
            opened_names(" M a.txt\n M b.txt\n?? c d.txt\nD  e\nR  f -> g\n").collect();
        assert_eq!(names, [".txt", "b.txt", "c d.txt"]);
    }

    #[test]
    fn a_one_letter_name_on_the_first_line_becomes_the_root_itself() {
        assert_eq!(opened_names(" M 0\n").collect::<Vec<_>>(), [""]);
        assert_eq!(python_join("/r", ""), Path::new("/r/"));
    }

    #[test]
    fn an_absolute_name_replaces_the_root() {
        assert_eq!(python_join("/r", "/proc/x"), Path::new("/proc/x"));
    }

    #[test]
    fn python_trims_the_information_separators_too() {
        assert_eq!(python_strip("\u{1c}\u{3000} a \u{85}\n"), "a");
    }
}
