//! Text as a terminal, JSON and a shell can take it, whatever it holds.
//!
//! Pure.

/// Returns `text` with everything escaped that could move a terminal's cursor or hide what follows: control characters
/// (C0, C1, DEL), bidirectional marks and zero-width characters.
pub fn printable(text: &str) -> String {
    text.chars()
        .flat_map(|c| {
            let escaped: Vec<char> = if is_hidden(c) {
                c.escape_unicode().collect()
            } else {
                vec![c]
            };
            escaped
        })
        .collect()
}

/// Returns whether a character moves the cursor, hides others or changes their order.
pub fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// Returns a JSON text in which such characters ([`is_hidden`]) are written as JSON can write them; the same document.
pub fn json_plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        if c != '\n' && is_hidden(c) {
            plain.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            plain.push(c);
        }
    }
    plain
}

/// Returns a word as a shell reads it back: plain where it can be.
pub fn shell_quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "._/:@%+,=-".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        single_quoted(word)
    }
}

/// Returns a word between single quotes, as every shell of the Bourne kind reads it back.
pub fn single_quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Reads a number and its unit, the first of `units` that it ends in, and returns it in the smallest; `None` where it is none.
pub fn with_unit(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let text = text.trim();
    let (digits, unit) = units
        .iter()
        .find_map(|(name, unit)| Some((text.strip_suffix(name)?, unit)))?;
    digits.trim().parse::<u64>().ok()?.checked_mul(*unit)
}
