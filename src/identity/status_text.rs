//! What `git status --porcelain -uall` prints, as data: codes and the paths behind its quoting (git-status(1), "Short Format").
//!
//! Pure. Only for finding out which paths changed; what is hashed is the text itself.

use std::collections::BTreeSet;

/// What changed, as far as the codes tell.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    /// Every path named by a line of a tracked file, both sides of a rename.
    pub(super) tracked: BTreeSet<Vec<u8>>,
    /// Whether any line says that the index differs from HEAD, or is unmerged.
    pub(super) staged: bool,
    /// Whether any line says that the worktree differs from the index, or is unmerged.
    pub(super) unstaged: bool,
}

/// Reads the codes and paths; `None` for text that is none of git's.
pub(super) fn changes(status: &str) -> Option<Changes> {
    let mut changes = Changes::default();
    for line in status.split_terminator('\n') {
        let bytes = line.as_bytes();
        let (code, rest) = (bytes.get(..2)?, bytes.get(3..)?);
        if code == b"??" {
            continue;
        }
        changes.staged |= code.first() != Some(&b' ');
        changes.unstaged |= code.get(1) != Some(&b' ');
        let (path, after) = read_path(rest)?;
        changes.tracked.insert(path);
        if let Some(after) = after.strip_prefix(b" -> ") {
            let (to, end) = read_path(after)?;
            changes.tracked.insert(to);
            end.is_empty().then_some(())?;
        } else if !after.is_empty() {
            return None;
        }
    }
    Some(changes)
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
fn unquote(mut text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
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
    fn paths_come_out_of_their_quotes() {
        let text = " M plain\n?? new\nR  old -> \"n\\303\\251 \\\"w\\\"\\t\"\nUU both\n";
        let changes = changes(text).unwrap();
        let paths: Vec<_> = changes
            .tracked
            .iter()
            .map(|path| String::from_utf8_lossy(path))
            .collect();
        assert_eq!(paths, ["both", "né \"w\"\t", "old", "plain"]);
        assert!(changes.staged && changes.unstaged);
    }

    #[test]
    fn codes_tell_which_diffs_there_are() {
        let of = |text| changes(text).map(|changes| (changes.staged, changes.unstaged));
        assert_eq!(of("?? a\n"), Some((false, false)));
        assert_eq!(of("M  a\n"), Some((true, false)));
        assert_eq!(of(" M a\n"), Some((false, true)));
        assert_eq!(of("AM a\n"), Some((true, true)));
        assert_eq!(of(" M a b\n"), None);
    }
}
