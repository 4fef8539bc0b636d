//! The parts of a git-hash, taken apart: how much, of what, and why a file could not be read.
//!
//! Knows no trap, and keeps no text of a diff: it is counted and hashed as it comes.

use std::io::Read as _;
use std::path::Path;

use sha2::{Digest as _, Sha256};

use super::state::{Entry, State, shown};
use crate::fs_util::open_without_waiting;
use crate::identity::digest::hex;
use crate::identity::digest::{self, Digest, TextDecoder};
use crate::identity::helper_text;
use crate::identity::line_starts::LineStarts;

/// How much of a line is looked at to tell whether it begins a file's diff; a path has at most 4096 bytes (limits.h).
const HEADER_MAX: usize = 16 * 1024;

/// What is hashed after HEAD.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parts {
    /// The output of `git diff --cached`.
    pub staged: Part,
    /// The output of `git diff`.
    pub unstaged: Part,
    /// A line for each name in `git status --porcelain -uall`, in their order; `None` when that is not UTF-8.
    pub files: Option<Vec<FileLine>>,
}

/// The output of one diff, as the helper reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// It is text.
    Text {
        /// Its length in bytes; a part of no bytes is left out of the hash.
        bytes: u64,
        /// How many files it is about.
        files: usize,
        /// The SHA-256 of the text, in hexadecimal digits.
        sha256: String,
    },
    /// It is not UTF-8, and the helper raises `UnicodeDecodeError`.
    NotUtf8 {
        /// The line that begins the file's diff, empty when it is in what git warns of.
        file: String,
    },
    /// Git failed, and the helper raises `RuntimeError`.
    Failed(String),
}

/// One line of the part FILES.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileLine {
    /// The name as the helper sees and opens it.
    pub name: String,
    /// The path that the line is about, where the helper took its first letter.
    pub meant: Option<String>,
    /// What the helper finds there.
    pub content: Content,
}

/// What stands beside a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// The SHA-256 of the file, in hexadecimal digits.
    Sha256(String),
    /// `unreadable`.
    Unreadable(Unreadable),
    /// Why it is not read at all: the helper would not finish, or it is above the limit.
    Refused(String),
}

/// Why a file cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unreadable {
    /// There is nothing of that name.
    Missing,
    /// Git quotes the name, and nothing is called that with the quotes.
    Quoted,
    /// `old -> new`, as git shows renames.
    Renamed,
    /// A directory.
    Directory,
    /// A submodule's directory.
    Submodule,
    /// The directory of a repository of its own.
    NestedRepository,
    /// A symbolic link that leads nowhere.
    BrokenLink,
    /// Symbolic links that lead to each other.
    LinkLoop,
    /// The file's or a directory's mode.
    Denied,
    /// What the system says.
    Other(String),
}

impl Parts {
    /// Reads every part; returns the digits that they hash to, too.
    pub(super) fn read(state: &State) -> (Self, String) {
        let mut digest = Digest::new(&state.head);
        let staged = read_diff(state, &["diff", "--cached"], digest.part("STAGED:\n"));
        let unstaged = read_diff(state, &["diff"], digest.part("UNSTAGED:\n"));
        let files = state
            .status
            .as_ref()
            .ok()
            .map(|status| file_lines(state, status));
        let lines: Vec<String> = files.iter().flatten().map(FileLine::text).collect();
        digest.part("FILES:\n").add(lines.join("\n").as_bytes());
        let parts = Self {
            staged,
            unstaged,
            files,
        };
        (parts, digest.finish())
    }

    /// Whether any part holds a diff.
    pub(super) fn has_diff(&self) -> bool {
        [&self.staged, &self.unstaged]
            .into_iter()
            .any(|part| !matches!(part, Part::Text { bytes: 0, .. }))
    }
}

fn read_diff(state: &State, arguments: &[&str], mut part: digest::Part<'_>) -> Part {
    let mut decoder = TextDecoder::default();
    let mut hasher = Sha256::new();
    let (mut bytes, mut headers, mut is_text) = (0, Headers::default(), true);
    let said = state.here.stream(arguments, |raw| {
        let Some(text) = decoder.decode(raw) else {
            headers.add(valid_start(raw));
            is_text = false;
            return false;
        };
        headers.add(raw);
        hasher.update(&text);
        part.add(&text);
        bytes += text.len() as u64;
        true
    });
    let whole = is_text && decoder.is_whole();
    match said {
        Ok(stderr) if whole && std::str::from_utf8(&stderr).is_err() => Part::NotUtf8 {
            file: String::new(),
        },
        Ok(_) if whole => Part::Text {
            bytes,
            files: headers.count,
            sha256: hex(&hasher.finalize()),
        },
        Err(error) if is_text => Part::Failed(error.to_string()),
        Ok(_) | Err(_) => Part::NotUtf8 {
            file: shown(&headers.last),
        },
    }
}

/// The bytes before the first that is not UTF-8; a character begun in the piece before may end here.
fn valid_start(raw: &[u8]) -> &[u8] {
    let ends_character = |byte: &&u8| (0x80..0xc0).contains(*byte);
    let skipped = raw.iter().take(3).take_while(ends_character).count();
    let rest = raw.get(skipped..).unwrap_or_default();
    let valid = std::str::from_utf8(rest).map_or_else(|error| error.valid_up_to(), str::len);
    rest.get(..valid).unwrap_or_default()
}

/// Finds the lines that begin the diff of a file (git-diff(1), "Generating patch text"), colours or not.
#[derive(Debug, Default)]
struct Headers {
    lines: LineStarts<HEADER_MAX>,
    last: Vec<u8>,
    count: usize,
}

impl Headers {
    fn add(&mut self, text: &[u8]) {
        let mut lines = std::mem::take(&mut self.lines);
        lines.add(text, |line| self.end_line(line));
        self.lines = lines;
    }

    fn end_line(&mut self, line: &[u8]) {
        let line = without_colour(line.trim_ascii_end());
        let begins = [&b"diff --"[..], b"* Unmerged path ", b"Submodule "];
        if begins.iter().any(|begin| line.starts_with(begin)) {
            let continues = match self.last.strip_prefix(b"* Unmerged path ") {
                Some(path) => line.ends_with(path),
                // A file that became a link has two diffs.
                None => line == self.last,
            };
            self.count += usize::from(!continues);
            self.last = line.to_vec();
        }
    }
}

fn without_colour(line: &[u8]) -> &[u8] {
    let coloured = line
        .strip_prefix(b"\x1b[")
        .and_then(|rest| rest.splitn(2, |byte| *byte == b'm').nth(1));
    coloured.map_or(line, |line| line.strip_suffix(b"\x1b[m").unwrap_or(line))
}

impl FileLine {
    /// As it is hashed.
    fn text(&self) -> String {
        let content = match &self.content {
            Content::Sha256(digits) => digits,
            Content::Unreadable(_) | Content::Refused(_) => "unreadable",
        };
        format!("{}:{content}", self.name)
    }
}

fn file_lines(state: &State, status: &str) -> Vec<FileLine> {
    let meant = damaged_first(state, status).map(|entry| shown(&entry.path));
    let mut lines: Vec<FileLine> = helper_text::opened_names(status)
        .enumerate()
        .map(|(at, name)| FileLine {
            name: name.to_owned(),
            meant: meant.clone().filter(|_| at == 0),
            content: content(state, name),
        })
        .collect();
    lines.sort_by_cached_key(FileLine::text);
    lines
}

/// The entry whose name loses its first letter and is opened all the same: when the first line begins with a space, which
/// the helper trims.
pub(super) fn damaged_first<'a>(state: &'a State, status: &str) -> Option<&'a Entry> {
    let line = status.strip_prefix(' ')?.split('\n').next()?;
    helper_text::opened_names(line).next()?;
    state.first()
}

fn content(state: &State, name: &str) -> Content {
    let path = helper_text::python_join(&state.root, name);
    match helper_text::file_hash(&path, name) {
        Ok(Some(digits)) => Content::Sha256(digits),
        Ok(None) => Content::Unreadable(why_unreadable(state, name, &path)),
        Err(error) => Content::Refused(error.to_string()),
    }
}

fn why_unreadable(state: &State, name: &str, path: &Path) -> Unreadable {
    let error = match path.metadata() {
        Ok(found) if found.is_dir() => return directory(state, name),
        Ok(_) => match read_error(path) {
            Some(error) => error,
            None => return Unreadable::Other("it changed meanwhile".to_owned()),
        },
        Err(error) => error,
    };
    match error.kind() {
        std::io::ErrorKind::PermissionDenied => Unreadable::Denied,
        std::io::ErrorKind::NotFound if super::state::is_link(path) => Unreadable::BrokenLink,
        std::io::ErrorKind::NotFound if name.starts_with('"') => Unreadable::Quoted,
        std::io::ErrorKind::NotFound if name.contains(" -> ") => Unreadable::Renamed,
        std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory => Unreadable::Missing,
        _ if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
            Unreadable::LinkLoop
        }
        _ => Unreadable::Other(error.to_string()),
    }
}

fn directory(state: &State, name: &str) -> Unreadable {
    let is_submodule = |entry: &&Entry| entry.is_submodule() && entry.path == name.as_bytes();
    if state.changed().any(|entry| is_submodule(&entry)) {
        Unreadable::Submodule
    } else if name.ends_with('/') {
        Unreadable::NestedRepository
    } else {
        Unreadable::Directory
    }
}

fn read_error(path: &Path) -> Option<std::io::Error> {
    open_without_waiting(path)
        .and_then(|mut file| file.read(&mut [0; 1]))
        .err()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(text: &str) -> (usize, String) {
        let mut headers = Headers::default();
        for piece in text.as_bytes().chunks(7) {
            headers.add(piece);
        }
        (headers.count, shown(&headers.last))
    }

    #[test]
    fn each_file_of_a_diff_is_counted_once() {
        let link = "diff --git a/x b/x\n-a\ndiff --git a/x b/x\n+b\n";
        assert_eq!(counted(link).0, 1);
        let unmerged = "* Unmerged path d/x\ndiff --git a/d/x b/d/x\n+diff --git a/y b/y\n";
        assert_eq!(counted(unmerged).0, 1);
        let coloured = "\x1b[1mdiff --git a/x b/x\x1b[m\n\x1b[1mdiff --cc y\x1b[m\n";
        assert_eq!(counted(coloured), (2, "diff --cc y".to_owned()));
    }

    #[test]
    fn what_comes_before_wrong_bytes_is_valid() {
        assert_eq!(valid_start(b"ab\xe9 cd"), b"ab");
        assert_eq!(valid_start(b"\xa9ab\xe9"), b"ab");
    }
}
