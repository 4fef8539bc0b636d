//! Paths as text that can be turned back into their bytes: git's paths need not be UTF-8.
//!
//! Pure.

/// Returns a path as text: a backslash as two, a byte that is no UTF-8 as `\xNN`.
pub fn path_text(path: &[u8]) -> String {
    let mut text = String::new();
    for chunk in path.utf8_chunks() {
        text += &chunk.valid().replace('\\', "\\\\");
        for byte in chunk.invalid() {
            text += &format!("\\x{byte:02x}");
        }
    }
    text
}

/// Returns the path of a text that [`path_text`] made; anything else is taken as it is.
pub fn path_bytes(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        bytes.extend_from_slice(before.as_bytes());
        let number = escape
            .strip_prefix("\\x")
            .and_then(|digits| digits.get(..2));
        if let Some(byte) = number.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            bytes.push(byte);
            rest = escape.get(4..).unwrap_or_default();
        } else {
            bytes.push(b'\\');
            let length = if escape.starts_with("\\\\") { 2 } else { 1 };
            rest = escape.get(length..).unwrap_or_default();
        }
    }
    bytes.extend_from_slice(rest.as_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_comes_back() {
        for path in [
            &b"plain/app.py"[..],
            b"back\\slash \\x41",
            b"\\",
            b"lat\xe9in",
            b"\xff\xfe",
            "sch\u{f6}n".as_bytes(),
            b"new\nline",
        ] {
            assert_eq!(path_bytes(&path_text(path)), path, "{:?}", path_text(path));
        }
    }
}
