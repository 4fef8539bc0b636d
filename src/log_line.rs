//! Lines of a log that are harmless, whatever names stand in them.
//!
//! Knows no file, and nothing of what is worth a line.

use std::io;

use crate::text::printable;

/// A writer of log lines, in which names that somebody else chose move no cursor and begin no line of their own.
#[derive(Debug)]
pub struct Escaped<W>(pub W);

impl<W: io::Write> io::Write for Escaped<W> {
    /// Takes one line, as `tracing_subscriber` writes it.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        let (text, end) = text
            .strip_suffix('\n')
            .map_or((text.as_ref(), ""), |text| (text, "\n"));
        self.0.write_all((printable(text) + end).as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
