//! What the helper hashes, in the order in which it does, taken in piece by piece: no text is kept whole.
//!
//! Pure.

use sha2::{Digest as _, Sha256};

/// A hash over HEAD and the parts that are not empty. A copy continues from where it was made.
#[derive(Debug, Clone)]
pub(super) struct Digest {
    hasher: Sha256,
    has_parts: bool,
}

impl Digest {
    /// Begins with the full HEAD.
    pub(super) fn new(head: &str) -> Self {
        Self {
            hasher: Sha256::new().chain_update(head),
            has_parts: false,
        }
    }

    /// Begins a part, which leaves no trace when nothing is added to it.
    pub(super) fn part(&mut self, title: &'static str) -> Part<'_> {
        Part {
            digest: self,
            title: Some(title),
        }
    }

    /// Returns what tells this state from every other.
    pub(super) fn state(&self) -> [u8; 32] {
        let has_parts = [u8::from(self.has_parts)];
        self.hasher
            .clone()
            .chain_update(has_parts)
            .finalize()
            .into()
    }

    /// Returns the first eight hexadecimal digits.
    pub(super) fn finish(mut self) -> String {
        if !self.has_parts {
            self.hasher.update("\n");
        }
        let mut digits = hex(&self.hasher.finalize());
        digits.truncate(8);
        digits
    }
}

/// One part of a hash.
pub(super) struct Part<'a> {
    digest: &'a mut Digest,
    /// Until the first text.
    title: Option<&'static str>,
}

impl Part<'_> {
    pub(super) fn add(&mut self, text: &[u8]) {
        if text.is_empty() {
            return;
        }
        if let Some(title) = self.title.take() {
            self.digest.has_parts = true;
            self.digest.hasher.update("\n");
            self.digest.hasher.update(title);
        }
        self.digest.hasher.update(text);
    }
}

/// Reads bytes as Python's `subprocess` does with `text=True`: strict UTF-8, CRLF and CR become LF. Takes any pieces.
#[derive(Debug, Default)]
pub(super) struct TextDecoder {
    /// The beginning of a character whose rest has not come yet.
    begun: Vec<u8>,
    after_return: bool,
}

impl TextDecoder {
    /// Returns the text so far, `None` where it is not UTF-8.
    pub(super) fn decode(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        let joined;
        let bytes = if self.begun.is_empty() {
            bytes
        } else {
            self.begun.extend_from_slice(bytes);
            joined = std::mem::take(&mut self.begun);
            joined.as_slice()
        };
        let valid = match std::str::from_utf8(bytes) {
            Ok(_) => bytes.len(),
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            Err(_) => return None,
        };
        let (whole, rest) = bytes.split_at_checked(valid)?;
        self.begun = rest.to_vec();
        Some(self.newlines(whole))
    }

    /// Returns whether the text ended with a whole character.
    pub(super) fn is_whole(&self) -> bool {
        self.begun.is_empty()
    }

    fn newlines(&mut self, bytes: &[u8]) -> Vec<u8> {
        if !self.after_return && !bytes.contains(&b'\r') {
            return bytes.to_vec();
        }
        let mut text = Vec::with_capacity(bytes.len());
        for byte in bytes {
            match byte {
                b'\n' if self.after_return => {}
                b'\r' => text.push(b'\n'),
                other => text.push(*other),
            }
            self.after_return = *byte == b'\r';
        }
        text
    }
}

/// Returns lowercase hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(pieces: &[&[u8]]) -> Option<String> {
        let mut decoder = TextDecoder::default();
        let mut text = Vec::new();
        for piece in pieces {
            text.extend(decoder.decode(piece)?);
        }
        decoder.is_whole().then(|| String::from_utf8(text).unwrap())
    }

    #[test]
    fn a_state_without_any_part_still_hashes_head_and_a_newline() {
        let expected = hex(&Sha256::digest(b"abc\n"));
        let mut digest = Digest::new("abc");
        digest.part("STAGED:\n").add(b"");
        assert_eq!(digest.finish(), expected[..8]);
    }

    #[test]
    fn parts_follow_each_other_after_a_newline() {
        let expected = hex(&Sha256::digest(b"abc\nSTAGED:\nx\n\nFILES:\ny"));
        let mut digest = Digest::new("abc");
        let mut staged = digest.part("STAGED:\n");
        staged.add(b"x");
        staged.add(b"\n");
        digest.part("UNSTAGED:\n").add(b"");
        digest.part("FILES:\n").add(b"y");
        assert_eq!(digest.finish(), expected[..8]);
    }

    #[test]
    fn wherever_the_pieces_end_the_text_is_the_same() {
        let bytes = "a\r\n\u{e9}\r\r\n\u{1f600}\n\rz".as_bytes();
        let expected = "a\n\u{e9}\n\n\u{1f600}\n\nz";
        for end in 0..=bytes.len() {
            let (start, rest) = bytes.split_at(end);
            assert_eq!(decoded(&[start, rest]).as_deref(), Some(expected), "{end}");
        }
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(decoded(&single).as_deref(), Some(expected));
    }

    #[test]
    fn text_that_is_not_utf8_is_refused_wherever_it_is_cut() {
        assert_eq!(decoded(&[b"caf\xe9 "]), None);
        assert_eq!(decoded(&[b"caf\xe9"]), None);
        assert_eq!(decoded(&[b"caf\xc3", b"x"]), None);
    }
}
