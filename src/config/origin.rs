//! Where each setting comes from: the layers one by one, for people.
//!
//! Decides nothing: what is in use, the merged settings say, and this must say the same.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::keys::{self, Reader};
use super::{ConfigError, ConfigWarning, ConnectionLayer, Layer, REPOSITORY_FILE, StoreLayer};

/// The defaults, with what each is for.
pub const DEFAULT_FILE: &str = include_str!("../../docs/config.toml");

/// A layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A variable of this shell's environment.
    Environment,
    /// What `up`, `params` and `pin` keep for a repository, in this file.
    Private(PathBuf),
    /// The repository's own file.
    Repository(PathBuf),
    /// The user's file.
    User(PathBuf),
    /// Nobody said anything.
    Default,
}

/// One setting.
#[derive(Debug, Clone, PartialEq)]
pub struct Setting {
    /// Tables and key joined by dots.
    pub key: String,
    /// Its value.
    pub value: Value,
    /// Who said so.
    pub origin: Origin,
}

/// Every setting that has a value.
#[derive(Debug, Clone, PartialEq)]
pub struct Origins {
    /// In alphabetical order of their keys.
    pub settings: Vec<Setting>,
    /// What is wrong in the files, with the file.
    pub warnings: Vec<(PathBuf, ConfigWarning)>,
}

impl Origins {
    /// Reads all layers: `environment` over `private`, which is kept in a file, over the file of the repository at `root`,
    /// if there is one, over the user's.
    ///
    /// # Errors
    /// [`ConfigError`] naming the file and what is wrong in it.
    pub fn read(
        mut environment: Layer,
        private: (Layer, PathBuf),
        root: Option<&Path>,
        user_file: &Path,
    ) -> Result<Self, ConfigError> {
        let (mut private, private_file) = private;
        let mut warnings = Vec::new();
        let mut read = |file: &Path, reader| {
            let (layer, wrong) = Layer::read(file, reader)?;
            warnings.extend(wrong.into_iter().map(|warning| (file.to_owned(), warning)));
            Ok::<_, ConfigError>(layer)
        };
        let repository_file = root.map(|root| root.join(REPOSITORY_FILE));
        let repository = match &repository_file {
            Some(file) => read(file, Reader::Repository)?,
            None => Layer::default(),
        };
        let mut user = read(user_file, Reader::User)?;
        couple([&mut environment, &mut private, &mut user]);
        let layers = [
            (Origin::Environment, environment),
            (Origin::Private(private_file), private),
            (
                Origin::Repository(repository_file.unwrap_or_default()),
                repository,
            ),
            (Origin::User(user_file.to_owned()), user),
        ];
        Ok(Self {
            settings: merged(layers),
            warnings,
        })
    }
}

/// An experiment, and the way to a server, belong together: what a lower layer says of another one counts for nothing.
fn couple(layers: [&mut Layer; 3]) {
    let (mut above, mut has_experiment) = (StoreLayer::default(), false);
    for (layer, is_kept) in layers.into_iter().zip([false, true, false]) {
        let store = &mut layer.store;
        let is_other = above.is_of_another_than(store);
        if has_experiment || is_other && is_kept {
            (store.experiment, store.experiment_id) = (None, None);
        }
        if is_other {
            store.connection = ConnectionLayer::default();
        }
        has_experiment |= store.experiment.is_some() || store.experiment_id.is_some();
        above.uri = above.uri.or_else(|| store.uri.clone());
    }
}

/// The upper layer's value of each key.
fn merged(layers: [(Origin, Layer); 4]) -> Vec<Setting> {
    let defaults = DEFAULT_FILE.parse::<Table>().unwrap_or_default();
    let mut merged: BTreeMap<String, Setting> = BTreeMap::new();
    let tables = layers.into_iter().filter_map(|(origin, layer)| {
        let table = Table::try_from(layer).ok()?;
        Some((origin, table))
    });
    for (origin, table) in tables.chain([(Origin::Default, defaults)]) {
        for (key, value) in keys::flattened(&table) {
            merged.entry(key.clone()).or_insert_with(|| Setting {
                key,
                value,
                origin: origin.clone(),
            });
        }
    }
    merged.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;
    use crate::retention::{GcLayer, SnapshotLayer};

    /// The default file as it is, and with its commented settings switched on.
    fn default_files() -> [String; 2] {
        let is_setting = |line: &str| {
            let name = line.split(" = ").next().unwrap_or_default();
            line.contains(" = ") && name.chars().all(|c| c.is_ascii_lowercase() || c == '_')
        };
        let switched_on = DEFAULT_FILE
            .lines()
            .map(|line| match line.strip_prefix("# ") {
                Some(rest) if is_setting(rest) => rest,
                _ => line,
            })
            .map(|line| line.to_owned() + "\n");
        [DEFAULT_FILE.to_owned(), switched_on.collect()]
    }

    #[test]
    fn the_default_file_says_what_holds_without_it() {
        let dir = tempfile::tempdir().unwrap();
        let load = |text: &str| {
            let file = dir.path().join("config.toml");
            std::fs::write(&file, text).unwrap();
            Settings::load(&Layer::default(), dir.path(), &file).unwrap()
        };
        assert_eq!(load(DEFAULT_FILE), load(""));
    }

    #[test]
    fn the_default_file_names_every_setting_and_no_other() {
        let [_, all] = default_files();
        let mut table: Table = all.parse().unwrap();
        assert_eq!(keys::sort_out(&mut table, Reader::User), []);
        let named: Vec<String> = keys::flattened(&table)
            .into_iter()
            .map(|(key, _)| key)
            .collect();
        for (key, setter) in keys::KEYS {
            let is_named = named
                .iter()
                .any(|name| name == key || name.starts_with("params."));
            assert!(is_named || setter == keys::Setter::Command, "{key}");
            let plain = named.iter().any(|name| name == key);
            assert!(
                plain || key == "params" || setter == keys::Setter::Command,
                "{key}"
            );
        }
    }

    /// A field that is added to a layer does not compile here until it is named, and then has to be among the keys.
    #[test]
    fn every_field_of_a_layer_is_a_key() {
        let text = || Some("x".to_owned());
        let path = || Some(PathBuf::from("/x"));
        let layer = Layer {
            naming: text(),
            app: text(),
            create: Some(crate::config::Create::Asked),
            settle: text(),
            env: Some(crate::config::EnvContents::Full),
            env_copy: Some(true),
            model_type: text(),
            params: BTreeMap::from([("llm".to_owned(), "x".to_owned())]),
            variant: text(),
            pin: text(),
            snapshots: SnapshotLayer {
                enabled: Some(true),
                file_limit: text(),
                quota: text(),
                keep: text(),
            },
            gc: GcLayer { keep: text() },
            store: StoreLayer {
                uri: text(),
                experiment: text(),
                experiment_id: text(),
                connection: ConnectionLayer {
                    server_cert: path(),
                    client_cert: path(),
                    insecure_tls: Some(true),
                    workspace: text(),
                    timeout: Some(1),
                    proxy: text(),
                    no_proxy: text(),
                    allow_http_credentials: Some(true),
                    databricks_host: text(),
                    databricks_profile: text(),
                    databricks_config_file: path(),
                    databricks_auth_type: text(),
                    databricks_cli_path: path(),
                    credentials_seen: vec!["x".to_owned()],
                },
            },
        };
        let fields = keys::flattened(&Table::try_from(layer).unwrap());
        assert_eq!(fields.len(), keys::KEYS.len());
        for (field, _) in fields {
            let is_key = |key: &str| field == key || key == "params" && field == "params.llm";
            assert!(keys::KEYS.iter().any(|(key, _)| is_key(key)), "{field}");
        }
    }

    #[test]
    fn each_value_is_that_of_the_uppermost_layer_and_says_so() {
        const USER: &str = "settle = '2s'\nnaming = 'commit'\n[store]\nuri = 'http://a'\nexperiment = 'x'\n[store.connection]\ntimeout = 3";
        const REPOSITORY: &str = "naming = 'tree'\nset_up = 1\n[store]\nuri = 'http://evil'";
        let dir = tempfile::tempdir().unwrap();
        let user = dir.path().join("config.toml");
        let repository = dir.path().join(REPOSITORY_FILE);
        std::fs::write(&user, USER).unwrap();
        std::fs::write(&repository, REPOSITORY).unwrap();
        let mut private = Layer {
            app: Some("kept".into()),
            ..Layer::default()
        };
        private.store.uri = Some("http://b".into());
        let environment = Layer {
            app: Some("shell".into()),
            ..Layer::default()
        };
        let private = (private, PathBuf::from("record"));
        let origins = Origins::read(environment, private.clone(), Some(dir.path()), &user).unwrap();
        let said = |key: &str| {
            let setting = origins.settings.iter().find(|setting| setting.key == key);
            setting.map(|setting| (setting.value.to_string(), setting.origin.clone()))
        };
        let expect = |key, value: &str, origin| {
            assert_eq!(said(key), Some((value.to_owned(), origin)), "{key}");
        };
        expect("app", "\"shell\"", Origin::Environment);
        expect(
            "store.uri",
            "\"http://b\"",
            Origin::Private("record".into()),
        );
        expect("naming", "\"tree\"", Origin::Repository(repository.clone()));
        expect("settle", "\"2s\"", Origin::User(user.clone()));
        expect("create", "\"settled\"", Origin::Default);
        assert_eq!(said("store.connection.timeout"), None, "of another server");
        let wrong: Vec<String> = origins
            .warnings
            .iter()
            .map(|(_, warning)| warning.to_string())
            .collect();
        assert_eq!(
            wrong,
            [
                "there is no setting set_up",
                "store.uri is not read from this file"
            ]
        );
        let loaded = Settings::load(&private.0, dir.path(), &user).unwrap();
        assert_eq!(loaded.connection.timeout, None, "as the daemon reads it");
    }
}
