//! How the tour speaks: its lines on standard output, names and words made fit for a line, its failures.
//!
//! Knows nothing of the steps.

use std::ffi::OsStr;

use crate::command::answer;
use crate::error::{Failure, FailureKind};
use crate::text::{printable, shell_quoted};

/// All of the tour is the answer: it goes to standard output.
pub(super) fn line(text: &str) -> Result<(), Failure> {
    let lines: String = text
        .split('\n')
        .map(|line| printable(line) + "\n")
        .collect();
    answer(&lines)
}

pub(super) fn title(text: &str) -> Result<(), Failure> {
    line(&format!("\n{text}"))
}

pub(super) fn indented(text: &str) -> Result<(), Failure> {
    line(&format!("   {text}"))
}

pub(super) fn shown(command: &str) -> Result<(), Failure> {
    indented(&format!("$ {command}"))
}

pub(super) fn negative(message: &str) -> Failure {
    Failure::new(FailureKind::Negative, message)
}

/// `3f2a…-dirty-…` and full hashes, shortened as git does.
pub(super) fn short(name: &str) -> String {
    let (head, rest) = name.split_once('-').unwrap_or((name, ""));
    let head: String = head.chars().take(7).collect();
    if rest.is_empty() {
        head
    } else {
        format!("{head}…-{rest}")
    }
}

/// Quotes a word for a shell where it needs that.
pub(super) fn quoted(word: impl AsRef<OsStr>) -> String {
    shell_quoted(&word.as_ref().to_string_lossy())
}

pub(super) fn last_line(text: &str) -> Option<&str> {
    text.lines()
        .rev()
        .map(str::trim)
        .find(|line| !line.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_shortened_to_what_tells_them_apart() {
        let head = "3f2a1b0c9d8e7f6a5b4c3d2e1f0a9b8c7d6e5f4a";
        assert_eq!(short(head), "3f2a1b0");
        let dirty = format!("{}-dirty-01234567", &head[..32]);
        assert_eq!(short(&dirty), "3f2a1b0…-dirty-01234567");
    }

    #[test]
    fn a_word_with_blanks_and_quotes_survives_a_shell() {
        assert_eq!(quoted("/tmp/a"), "/tmp/a");
        assert_eq!(quoted("/tmp/a b's"), "'/tmp/a b'\\''s'");
    }
}
