//! What `git status --porcelain -uall` prints, as data: codes and the paths behind its quoting (git-status(1), "Short Format";
//! wt-status.c and quote.c, git 2.47), and back.
//!
//! Pure.

use std::collections::{BTreeMap, BTreeSet};

/// A path as git stores it.
pub(super) type PathBytes = Vec<u8>;

/// What git said of tracked files, by the path that they have now.
pub(super) type Changes = BTreeMap<PathBytes, Change>;

/// What git said of a tracked file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Change {
    /// HEAD against the index: `X`.
    pub(super) staged: u8,
    /// The index against the worktree: `Y`.
    pub(super) unstaged: u8,
    /// What it was called, where it was renamed or copied.
    pub(super) from: Option<PathBytes>,
}

impl Change {
    /// Of a file that is the same everywhere.
    pub(super) const NONE: Self = Self {
        staged: b' ',
        unstaged: b' ',
        from: None,
    };
}

/// All that a status lists.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Status {
    /// Tracked files that changed.
    pub(super) tracked: Changes,
    /// Untracked files and nested repositories, which end with a slash.
    pub(super) untracked: BTreeSet<PathBytes>,
}

impl Status {
    /// Reads the codes and paths; `None` for text that is none of git's.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut status = Self::default();
        for line in text.split_terminator('\n') {
            let bytes = line.as_bytes();
            let (&[staged, unstaged, b' '], rest) = bytes.split_first_chunk::<3>()? else {
                return None;
            };
            let (first, after) = read_path(rest)?;
            let (path, from, after) = match after.strip_prefix(b" -> ") {
                Some(second) => {
                    let (path, after) = read_path(second)?;
                    (path, Some(first), after)
                }
                None => (first, None, after),
            };
            after.is_empty().then_some(())?;
            if (staged, unstaged) == (b'?', b'?') {
                status.untracked.insert(path);
            } else {
                let change = Change {
                    staged,
                    unstaged,
                    from,
                };
                status.tracked.insert(path, change);
            }
        }
        Some(status)
    }

    /// Returns the text that git prints, `all_quoted` as `core.quotePath` is true. `None` where it would not be UTF-8.
    pub(super) fn render(&self, all_quoted: bool) -> Option<String> {
        let mut text = Vec::new();
        for (path, change) in &self.tracked {
            text.extend_from_slice(&[change.staged, change.unstaged, b' ']);
            if let Some(from) = &change.from {
                write_path(&mut text, from, all_quoted);
                text.extend_from_slice(b" -> ");
            }
            write_path(&mut text, path, all_quoted);
            text.push(b'\n');
        }
        for path in &self.untracked {
            text.extend_from_slice(b"?? ");
            write_path(&mut text, path, all_quoted);
            text.push(b'\n');
        }
        String::from_utf8(text).ok()
    }

    /// Returns whether nothing is listed.
    pub(super) fn is_empty(&self) -> bool {
        self.tracked.is_empty() && self.untracked.is_empty()
    }

    /// Returns whether the index differs from HEAD anywhere, or is unmerged.
    pub(super) fn has_staged(&self) -> bool {
        self.tracked.values().any(|change| change.staged != b' ')
    }

    /// Returns whether the worktree differs from the index anywhere, or is unmerged.
    /// Returns the tracked files that differ from the index, each with its letter.
    pub(super) fn unstaged(&self) -> impl Iterator<Item = (&PathBytes, u8)> {
        let all = self.tracked.iter();
        all.filter(|(_, change)| change.unstaged != b' ')
            .map(|(path, change)| (path, change.unstaged))
    }

    pub(super) fn has_unstaged(&self) -> bool {
        self.tracked.values().any(|change| change.unstaged != b' ')
    }

    /// Returns whether any path is unmerged (git-status(1), "Short Format").
    pub(super) fn has_unmerged(&self) -> bool {
        self.tracked.values().any(|change| {
            let codes = [change.staged, change.unstaged];
            codes.contains(&b'U') || codes == *b"AA" || codes == *b"DD"
        })
    }

    /// Returns every tracked path, both sides of renames.
    pub(super) fn tracked_paths(&self) -> BTreeSet<PathBytes> {
        self.tracked
            .iter()
            .flat_map(|(path, change)| [Some(path), change.from.as_ref()])
            .flatten()
            .cloned()
            .collect()
    }
}

/// Quotes as git does for a terminal-safe line; a space alone is reason enough in a status.
fn write_path(text: &mut Vec<u8>, path: &[u8], all_quoted: bool) {
    let plain = |byte: &u8| !needs_escape(*byte, all_quoted);
    if path.iter().all(plain) && !path.contains(&b' ') {
        text.extend_from_slice(path);
        return;
    }
    text.push(b'"');
    for byte in path {
        if plain(byte) {
            text.push(*byte);
        } else {
            text.push(b'\\');
            match named_escape(*byte) {
                Some(letter) => text.push(letter),
                None => text.extend_from_slice(format!("{byte:03o}").as_bytes()),
            }
        }
    }
    text.push(b'"');
}

fn needs_escape(byte: u8, all_quoted: bool) -> bool {
    matches!(byte, 0..=0x1f | 0x7f | b'"' | b'\\') || all_quoted && byte >= 0x80
}

fn named_escape(byte: u8) -> Option<u8> {
    Some(match byte {
        7 => b'a',
        8 => b'b',
        9 => b't',
        10 => b'n',
        11 => b'v',
        12 => b'f',
        13 => b'r',
        b'"' => b'"',
        b'\\' => b'\\',
        _ => return None,
    })
}

/// A name with a space is quoted there, so an unquoted one ends at the first space.
fn read_path(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    if let Some(quoted) = text.strip_prefix(b"\"") {
        return unquote(quoted);
    }
    let end = text
        .iter()
        .position(|byte| *byte == b' ')
        .unwrap_or(text.len());
    Some((text.get(..end)?.to_vec(), text.get(end..)?))
}

/// Undoes git's C-style quoting (`core.quotePath` in git-config(1)) up to the closing quote.
pub(super) fn unquote(mut text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut path = Vec::new();
    loop {
        let (byte, rest) = text.split_first()?;
        text = rest;
        match byte {
            b'"' => return Some((path, text)),
            b'\\' => {
                let (escaped, used) = escape(text)?;
                path.push(escaped);
                text = text.get(used..)?;
            }
            plain => path.push(*plain),
        }
    }
}

fn escape(text: &[u8]) -> Option<(u8, usize)> {
    let plain = match text.first()? {
        b'a' => 7,
        b'b' => 8,
        b't' => 9,
        b'n' => 10,
        b'v' => 11,
        b'f' => 12,
        b'r' => 13,
        quoted @ (b'"' | b'\\') => *quoted,
        _ => {
            let digits = std::str::from_utf8(text.get(..3)?).ok()?;
            return Some((u8::from_str_radix(digits, 8).ok()?, 3));
        }
    };
    Some((plain, 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_come_out_of_their_quotes_and_go_back() {
        let text =
            "UU both\nR  old -> \"n\\303\\251 \\\"w\\\"\\t\"\n M plain\n?? \"a b\"\n?? new\n";
        let status = Status::parse(text).unwrap();
        let paths: Vec<_> = status
            .tracked_paths()
            .iter()
            .map(|path| String::from_utf8_lossy(path).into_owned())
            .collect();
        assert_eq!(paths, ["both", "né \"w\"\t", "old", "plain"]);
        assert!(status.has_staged() && status.has_unstaged());
        let again = status.render(true).unwrap();
        let sorted = |text: &str| text.lines().map(str::to_owned).collect::<BTreeSet<_>>();
        assert_eq!(sorted(&again), sorted(text));
        assert!(status.render(false).unwrap().contains("né"));
    }

    #[test]
    fn codes_tell_which_diffs_there_are() {
        let of = |text| {
            let status = Status::parse(text)?;
            Some((status.has_staged(), status.has_unstaged()))
        };
        assert_eq!(of("?? a\n"), Some((false, false)));
        assert_eq!(of("M  a\n"), Some((true, false)));
        assert_eq!(of(" M a\n"), Some((false, true)));
        assert_eq!(of("AM a\n"), Some((true, true)));
        assert_eq!(of(" M a b\n"), None);
        assert_eq!(of("M\n"), None);
    }
}
