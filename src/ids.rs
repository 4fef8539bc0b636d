//! Identifiers as types: what was checked once is not checked again.
//!
//! Pure: knows no disk, no network and no clock.

use std::fmt;
use std::str::FromStr;

/// A text that is not a valid identifier of the kind asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a valid {kind}: {text:?}")]
pub struct InvalidId {
    kind: &'static str,
    text: String,
}

impl InvalidId {
    fn new(kind: &'static str, text: &str) -> Self {
        Self {
            kind,
            text: text.chars().take(80).collect(),
        }
    }
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $accepts:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// Returns the identifier as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let accepts: fn(&str) -> bool = $accepts;
                if accepts(text) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(InvalidId::new($kind, text))
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_id! {
    /// The id of a LoggedModel: `m-` and 32 hexadecimal digits on an MLflow server; anything of 1 to 64
    /// characters out of `[A-Za-z0-9_-]` is accepted that begins with no hyphen, so that no value can become shell code in the env file.
    ModelId, "model id", |text| {
        (1..=64).contains(&text.len())
            && !text.starts_with('-')
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
    }
}

text_id! {
    /// The id of an MLflow experiment: a decimal number, as text (MLflow refuses a JSON number).
    ExperimentId, "experiment id", |text| {
        (1..=32).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())
    }
}

text_id! {
    /// A git object id: 40 (SHA-1) or 64 (SHA-256) lowercase hexadecimal digits.
    ObjectId, "object id", |text| {
        matches!(text.len(), 40 | 64) && text.bytes().all(is_lower_hex)
    }
}

text_id! {
    /// What the code on disk is: the tree id that `git add -A` would write and, where a submodule or nested
    /// repository is dirty, `+` and 12 hexadecimal digits of a hash over its own content.
    ContentId, "content id", |text| {
        let (tree, suffix) = text.split_once('+').map_or((text, None), |(tree, suffix)| (tree, Some(suffix)));
        matches!(tree.len(), 40 | 64)
            && tree.bytes().all(is_lower_hex)
            && suffix.is_none_or(|suffix| suffix.len() == 12 && suffix.bytes().all(is_lower_hex))
    }
}

fn is_lower_hex(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

impl ObjectId {
    /// Returns the first `digits` hexadecimal digits, at most all.
    pub fn short(&self, digits: usize) -> &str {
        self.0.get(..digits).unwrap_or(&self.0)
    }
}

/// What a version is remembered by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct VersionKey {
    /// The LoggedModel's name.
    pub name: String,
    /// The content id, `commit:` and the full HEAD under the naming `commit`, or `pin`; with params of its own, `#` and its variant
    /// behind. What one means, `version` says.
    pub key: String,
}

/// Returns whether no LoggedModel has a name with this character: MLflow 3.17.2 refuses the first of them
/// (`_validate_logged_model_name`), we the others.
pub fn is_refused_in_name(c: char) -> bool {
    "/:.%\"'".contains(c) || c.is_control()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_id_never_holds_shell_syntax() {
        for text in [
            "",
            "m-1$(touch x)",
            "m-1\nX=1",
            "m 1",
            "m-ü",
            &"a".repeat(65),
        ] {
            assert!(text.parse::<ModelId>().is_err(), "{text:?}");
        }
        assert!(
            "m-0123456789abcdef0123456789abcdef"
                .parse::<ModelId>()
                .is_ok()
        );
    }

    #[test]
    fn a_content_id_is_a_tree_id_with_an_optional_suffix() {
        let tree = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";
        assert!(tree.parse::<ContentId>().is_ok());
        assert!(format!("{tree}+0123456789ab").parse::<ContentId>().is_ok());
        assert!(format!("{tree}+0123").parse::<ContentId>().is_err());
        assert!("HEAD".parse::<ContentId>().is_err());
    }
}
