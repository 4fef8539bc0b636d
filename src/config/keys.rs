//! Every key that a settings file may hold, who may set it, and what is said of a key that is none.
//!
//! Pure.

use std::path::Path;

use toml::{Table, Value};

/// What is wrong in a settings file and does not keep it from being read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigWarning {
    /// There is no such key.
    #[error("there is no setting {key}")]
    Unknown {
        /// The name, tables and key joined by dots.
        key: String,
        /// The key that was most likely meant.
        nearest: Option<String>,
    },
    /// There is such a key, and this file may not set it.
    #[error("{key} is not read from this file")]
    NotHere {
        /// The name, tables and key joined by dots.
        key: String,
        /// Whether only commands set it.
        is_commands: bool,
    },
}

impl ConfigWarning {
    /// Returns what to do about it; `user_file` is where a user's own settings are.
    pub fn hint(&self, user_file: &Path) -> String {
        match self {
            Self::Unknown {
                nearest: Some(nearest),
                ..
            } => format!("{nearest}, if that was meant"),
            Self::Unknown { nearest: None, .. } => "tracemark config default".to_owned(),
            Self::NotHere {
                key,
                is_commands: false,
            } => format!(
                "a repository's file is data from strangers; put {key} into {}",
                user_file.display()
            ),
            Self::NotHere { key, .. } if key == "pin" => "tracemark pin NAME".to_owned(),
            Self::NotHere { .. } => "take it out".to_owned(),
        }
    }
}

/// Who may set a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Setter {
    /// A repository's file too, which is data from strangers.
    Anybody,
    /// The user: `config.toml`, and the settings that `up` keeps.
    User,
    /// Only commands, which keep it with what `up` keeps.
    Command,
}

/// What kind of file is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reader {
    Repository,
    User,
}

use Setter::{Anybody, Command, User};

/// Names as they stand in a file, tables and keys joined by dots. Below `params.` every name is a key.
pub(super) const KEYS: [(&str, Setter); 32] = [
    ("naming", Anybody),
    ("app", Anybody),
    ("create", Anybody),
    ("settle", Anybody),
    ("env", Anybody),
    ("env_copy", Anybody),
    ("model_type", Anybody),
    ("params", Anybody),
    ("variant", Command),
    ("pin", Command),
    ("snapshots.enabled", User),
    ("snapshots.file_limit", User),
    ("snapshots.quota", User),
    ("snapshots.keep", User),
    ("gc.keep", User),
    ("store.uri", User),
    ("store.experiment", User),
    ("store.experiment_id", User),
    ("store.connection.server_cert", User),
    ("store.connection.client_cert", User),
    ("store.connection.insecure_tls", User),
    ("store.connection.workspace", User),
    ("store.connection.timeout", User),
    ("store.connection.proxy", User),
    ("store.connection.no_proxy", User),
    ("store.connection.allow_http_credentials", User),
    ("store.connection.databricks_host", User),
    ("store.connection.databricks_profile", User),
    ("store.connection.databricks_config_file", User),
    ("store.connection.databricks_auth_type", User),
    ("store.connection.databricks_cli_path", User),
    ("store.connection.credentials_seen", Command),
];
/// The largest number of mistakes in a name that is still taken for a mistyped one.
const MISTAKES_MAX: usize = 3;

/// Takes out of `table` what is no key, or none that this file may set, and returns what to say of it.
pub(super) fn sort_out(table: &mut Table, reader: Reader) -> Vec<ConfigWarning> {
    let mut warnings = Vec::new();
    sort_out_below("", table, reader, &mut warnings);
    warnings
}

fn sort_out_below(
    prefix: &str,
    table: &mut Table,
    reader: Reader,
    warnings: &mut Vec<ConfigWarning>,
) {
    let names: Vec<String> = table.keys().cloned().collect();
    for name in names {
        let path = format!("{prefix}{name}");
        let below = format!("{path}.");
        let setter = KEYS.iter().find(|(key, _)| *key == path);
        let is_table = KEYS.iter().any(|(key, _)| key.starts_with(&below));
        match (setter, table.get_mut(&name)) {
            (None, Some(Value::Table(inner))) if is_table => {
                sort_out_below(&below, inner, reader, warnings);
            }
            (Some((_, setter)), _) if may_set(*setter, reader) => {}
            // Serde says what kind of value a table's name wants.
            (None, Some(_)) if is_table => {}
            (Some((_, setter)), _) => {
                table.remove(&name);
                warnings.push(ConfigWarning::NotHere {
                    key: path,
                    is_commands: *setter == Command,
                });
            }
            (None, _) => {
                table.remove(&name);
                let nearest = nearest(&path).map(str::to_owned);
                warnings.push(ConfigWarning::Unknown { key: path, nearest });
            }
        }
    }
}

fn may_set(setter: Setter, reader: Reader) -> bool {
    match setter {
        Anybody => true,
        User => reader == Reader::User,
        Command => false,
    }
}

/// Returns the key that was most likely meant: the same name in another table, or the one with the fewest mistakes.
fn nearest(path: &str) -> Option<&'static str> {
    let last = |path: &str| path.rsplit('.').next().unwrap_or_default().to_owned();
    let mistakes = |key: &str| {
        let whole = strsim::damerau_levenshtein(path, key);
        let parts = strsim::damerau_levenshtein(&last(path), &last(key));
        (parts.min(whole), whole)
    };
    let settable = KEYS.iter().filter(|(_, setter)| *setter != Command);
    let (key, _) = settable.min_by_key(|(key, _)| mistakes(key))?;
    let limit = MISTAKES_MAX.min(last(path).chars().count() / 2);
    (mistakes(key).0 <= limit).then_some(key)
}

/// Returns every value of a table with its dotted name.
pub(super) fn flattened(table: &Table) -> Vec<(String, Value)> {
    let mut values = Vec::new();
    flatten_below("", table, &mut values);
    values
}

fn flatten_below(prefix: &str, table: &Table, values: &mut Vec<(String, Value)>) {
    for (name, value) in table {
        let path = format!("{prefix}{name}");
        match value {
            Value::Table(inner) => flatten_below(&format!("{path}."), inner, values),
            value => values.push((path, value.clone())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistyped_key_is_led_to_the_nearest_and_nonsense_to_none() {
        for (typed, meant) in [
            ("namming", Some("naming")),
            ("settel", Some("settle")),
            ("uri", Some("store.uri")),
            ("store.experimnet", Some("store.experiment")),
            ("store.proxy", Some("store.connection.proxy")),
            ("favourite_colour", None),
        ] {
            assert_eq!(nearest(typed), meant, "{typed}");
        }
    }
}
