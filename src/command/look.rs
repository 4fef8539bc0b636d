//! How answers look on a terminal: colours, its width, and times as people say them.
//!
//! Prints nothing itself, and knows nothing of what is said.

use std::io::IsTerminal as _;
use std::time::{Duration, UNIX_EPOCH};

/// A kind of word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    /// As it should be.
    Good,
    /// Not yet, or worth a look.
    Open,
    /// Wrong.
    Bad,
    /// What to type.
    Cure,
    /// A heading.
    Head,
    /// A label.
    Quiet,
}

impl Tone {
    /// The parameters of SGR (ECMA-48, 8.3.117).
    fn code(self) -> &'static str {
        match self {
            Self::Good => "32",
            Self::Open => "33",
            Self::Bad => "31",
            Self::Cure => "36",
            Self::Head => "1",
            Self::Quiet => "2",
        }
    }
}

/// Whether words are coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Paint {
    coloured: bool,
}

impl Paint {
    /// Colours where standard output is a terminal that has any, or where `CLICOLOR_FORCE` or `FORCE_COLOR` asks for them
    /// (bixense.com/clicolors, force-color.org), unless `NO_COLOR` says no (no-color.org).
    pub(super) fn of_stdout() -> Self {
        let value = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let is_forced = |name| value(name).is_some_and(|value| value != "0");
        let is_dumb = value("TERM").is_some_and(|term| term == "dumb");
        let is_wanted = std::io::stdout().is_terminal() && !is_dumb
            || is_forced("CLICOLOR_FORCE")
            || is_forced("FORCE_COLOR");
        Self {
            coloured: is_wanted && value("NO_COLOR").is_none(),
        }
    }

    /// Returns a word in its colour; nothing stays nothing.
    pub(super) fn tone(self, tone: Tone, text: &str) -> String {
        if self.coloured && !text.is_empty() {
            format!("\u{1b}[{}m{text}\u{1b}[0m", tone.code())
        } else {
            text.to_owned()
        }
    }
}

/// Returns how many columns the terminal of standard output has, where it says.
pub(super) fn columns() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok()?;
    Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
}

/// Returns as much of a text as fits into so many columns; a character outside of ASCII may take two.
pub(super) fn fitting(text: &str, columns: usize) -> String {
    let width = |c: char| if c.is_ascii() { 1 } else { 2 };
    if text.chars().map(width).sum::<usize>() <= columns {
        return text.to_owned();
    }
    let mut left = columns.saturating_sub(width('…'));
    let fits = |c: &char| {
        let rest = left.checked_sub(width(*c));
        left = rest.unwrap_or(0);
        rest.is_some()
    };
    text.chars().take_while(fits).chain(['…']).collect()
}

/// Returns how long ago a moment was, in its largest unit; nothing where it lies ahead.
pub(super) fn ago(unix_ms: u64) -> Option<String> {
    let at = UNIX_EPOCH.checked_add(Duration::from_millis(unix_ms))?;
    let passed = at.elapsed().ok()?;
    Some(format!("{} ago", length(passed)))
}

/// Returns a time in its largest unit.
pub(super) fn length(time: Duration) -> String {
    let seconds = time.as_secs();
    let units = [(86_400, "day"), (3_600, "hour"), (60, "min"), (1, "s")];
    let (size, unit) = units
        .into_iter()
        .find(|(size, _)| seconds >= *size)
        .unwrap_or((1, "s"));
    let count = seconds / size;
    let is_word = matches!(unit, "day" | "hour");
    let plural = if is_word && count != 1 { "s" } else { "" };
    format!("{count} {unit}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_said_in_its_largest_unit() {
        for (seconds, said) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (7_199, "1 hour"),
            (7_200, "2 hours"),
            (200_000, "2 days"),
        ] {
            assert_eq!(length(Duration::from_secs(seconds)), said);
        }
    }

    #[test]
    fn a_text_is_cut_where_the_columns_end() {
        assert_eq!(fitting("abcdef", 6), "abcdef");
        assert_eq!(fitting("abcdefg", 6), "abcd…");
        assert_eq!(fitting("日本語", 5), "日…");
        assert_eq!(fitting("ab", 1), "…");
    }

    #[test]
    fn nothing_is_not_coloured() {
        let paint = Paint { coloured: true };
        assert_eq!(paint.tone(Tone::Good, ""), "");
        assert_eq!(paint.tone(Tone::Good, "x"), "\u{1b}[32mx\u{1b}[0m");
    }
}
