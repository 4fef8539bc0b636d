//! A password or token: a value that nothing prints, writes or sends by accident.
//!
//! Does not know what it is for, and never shows it: whoever exposes it says so.

use std::fmt;

use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret as _, SecretString};

/// A password or token. Debug shows that there is one; there is no Display and no serialization; its memory is
/// overwritten when it is dropped.
#[derive(Clone)]
pub struct Secret(SecretString);

impl Secret {
    /// Takes a text in.
    pub fn new(text: impl Into<String>) -> Self {
        Self(SecretString::from(text.into()))
    }

    /// Returns the text, for what is put on the wire, and for paths and addresses that stand in the same files as passwords.
    pub(super) fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// Returns `Bearer` and the text as a header value that no log shows, `None` where HTTP does not allow it.
    pub(super) fn bearer(&self) -> Option<HeaderValue> {
        hidden(&format!("Bearer {}", self.expose()))
    }
}

/// Returns a header value that no log shows, `None` where HTTP does not allow it.
pub(super) fn hidden(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.expose() == other.expose()
    }
}

impl Eq for Secret {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_a_secret_nor_its_header_is_shown() {
        let secret = Secret::new("s3cret");
        assert_eq!(
            format!("{secret:?} {:?}", secret.bearer()),
            "Secret Some(Sensitive)"
        );
        assert_eq!(Secret::new("a\nb").bearer(), None);
    }
}
