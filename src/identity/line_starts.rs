//! The beginnings of the lines of a text that comes in pieces, however long they are.
//!
//! Pure. Knows no line: what one means is for whoever is handed its beginning.

/// The beginning of the line that is being read, of at most `MAX` bytes.
#[derive(Debug, Default)]
pub(super) struct LineStarts<const MAX: usize>(Vec<u8>);

impl<const MAX: usize> LineStarts<MAX> {
    /// Takes the next piece, and hands the first `MAX` bytes of each line that ends in it to `sink`, its end included where it is there.
    pub(super) fn add(&mut self, text: &[u8], mut sink: impl FnMut(&[u8])) {
        for piece in text.split_inclusive(|byte| *byte == b'\n') {
            let room = MAX.saturating_sub(self.0.len()).min(piece.len());
            self.0.extend_from_slice(piece.get(..room).unwrap_or(piece));
            if piece.ends_with(b"\n") {
                sink(&self.0);
                self.0.clear();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_handed_over_once_however_it_is_cut_and_no_longer_than_its_beginning() {
        let long = "x".repeat(60);
        let text = format!("index 1..2\n{long}\n\nlast");
        for size in 1..text.len() {
            let (mut starts, mut lines) = (LineStarts::<20>::default(), Vec::new());
            for piece in text.as_bytes().chunks(size) {
                starts.add(piece, |line| lines.push(line.to_vec()));
            }
            let expected = [&b"index 1..2\n"[..], &long.as_bytes()[..20], b"\n"];
            assert_eq!(lines, expected, "in pieces of {size}");
        }
    }
}
