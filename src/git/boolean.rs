//! Git's truth values (`git_parse_maybe_bool` in parse.c, git 2.47).
//!
//! Pure.

use std::ffi::OsStr;

const WORDS: [&str; 7] = ["", "true", "yes", "on", "false", "no", "off"];

/// Returns whether git takes the value for a truth value: one of its words, or a number that an `int` holds.
pub fn is_boolean(value: &OsStr) -> bool {
    let Some(text) = value.to_str() else {
        return false;
    };
    WORDS.iter().any(|word| word.eq_ignore_ascii_case(text)) || is_int(text)
}

/// As strtoimax(3) with any base reads it, with one of git's units behind it (git-config(1), "integer").
fn is_int(text: &str) -> bool {
    let text = text.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == '\u{b}');
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (digits, unit) = match digits.char_indices().next_back() {
        Some((at, 'k' | 'K')) => (digits.get(..at), 1 << 10),
        Some((at, 'm' | 'M')) => (digits.get(..at), 1 << 20),
        Some((at, 'g' | 'G')) => (digits.get(..at), 1 << 30),
        _ => (Some(digits), 1),
    };
    let number = digits.and_then(|digits| {
        let hexadecimal = digits.strip_prefix("0x").or(digits.strip_prefix("0X"));
        match (hexadecimal, digits.strip_prefix('0')) {
            (Some(rest), _) => unsigned(rest, 16),
            (None, Some(rest)) if !rest.is_empty() => unsigned(rest, 8),
            _ => unsigned(digits, 10),
        }
    });
    number
        .and_then(|number| number.checked_mul(unit))
        .is_some_and(|number| i32::try_from(number).is_ok())
}

fn unsigned(digits: &str, radix: u32) -> Option<u64> {
    digits
        .starts_with(|first: char| first.is_digit(radix))
        .then(|| u64::from_str_radix(digits, radix).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::Git;

    #[test]
    fn it_is_one_where_git_takes_it_for_one() {
        let dir = tempfile::tempdir().unwrap();
        let git = Git::at(dir.path());
        git.run(&["init", "-q"]).unwrap();
        let values = [
            "",
            "0",
            "1",
            "true",
            "YES",
            "oN",
            "False",
            "off",
            "2k",
            "0x1f",
            "017",
            "-1",
            "+3",
            " 4",
            "2g",
            "08",
            "0x",
            "1.5",
            "foo",
            "k",
            "-",
            "1 ",
            "99999999999",
            "2M",
            "++1",
            "+ 1",
        ];
        for value in values {
            let by_git = git.clone().with_var("GIT_OPTIONAL_LOCKS", value);
            let taken = by_git.run(&["status"]).is_ok();
            assert_eq!(is_boolean(OsStr::new(value)), taken, "{value:?}");
        }
    }
}
