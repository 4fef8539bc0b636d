//! A block of ours in a file of somebody else's, between two marks, which comes and goes and leaves the rest byte for byte.
//!
//! Pure.

/// The first and the last line of a block.
#[derive(Debug, Clone, Copy)]
pub struct Marks {
    /// How the first line begins.
    pub begin: &'static [u8],
    /// The last line, with its line end.
    pub end: &'static [u8],
}

/// How every block that we write begins and ends, in whatever file; more may follow in the first line.
pub const OURS: Marks = Marks {
    begin: b"# >>> tracemark >>>",
    end: b"# <<< tracemark <<<\n",
};

impl Marks {
    /// Returns the text without the block, all of it where there is none.
    pub fn without_block(self, text: &[u8]) -> Vec<u8> {
        let Some((begin, end)) = self.span(text) else {
            return text.to_vec();
        };
        let (before, after) = (text.get(..begin), text.get(end..));
        [before.unwrap_or_default(), after.unwrap_or_default()].concat()
    }

    /// True where a block begins and does not end.
    pub fn is_cut_off(self, text: &[u8]) -> bool {
        find(text, self.begin).is_some() && self.span(text).is_none()
    }

    /// Returns the lines between the marks, none where there is no block.
    pub fn lines_inside(self, text: &[u8]) -> Vec<String> {
        let inside = self
            .span(text)
            .and_then(|(begin, end)| text.get(begin..end - self.end.len()));
        String::from_utf8_lossy(inside.unwrap_or_default())
            .lines()
            .skip(1)
            .map(str::to_owned)
            .collect()
    }

    fn span(self, text: &[u8]) -> Option<(usize, usize)> {
        let begin = find(text, self.begin)?;
        let length = find(text.get(begin..)?, self.end)?;
        Some((begin, begin + length + self.end.len()))
    }
}

/// Returns where `part` first begins.
pub fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}
