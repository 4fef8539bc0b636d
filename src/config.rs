//! Settings and the layers that they come from.
//!
//! User-private settings of a repository (made by `up`) beat the repository's own `.tracemark.toml`, which beats the
//! user's `config.toml`, which beats the defaults. The repository's file is data from strangers: what chooses a server
//! is never read from it. Reads no variable of a shell, and writes no file.

mod keys;
mod origin;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};

use crate::fs_util::{PathError, read_if_exists};
use crate::identity::Naming;
use crate::ids::ExperimentId;
use crate::mlflow::{Connection, DatabricksPlace, ExperimentChoice};
use crate::retention::{GcLayer, Retention, SnapshotLayer};

use keys::Reader;
pub use origin::{DEFAULT_FILE, Origin, Origins, Setting};

/// The name of the repository's own settings file.
pub const REPOSITORY_FILE: &str = ".tracemark.toml";
/// How long a worktree must be quiet before an uncommitted state gets its LoggedModel.
const DEFAULT_SETTLE: Duration = Duration::from_millis(500);
/// The longest `settle` that makes sense; longer is a mistyped unit.
const MAX_SETTLE: Duration = Duration::from_mins(1);

/// Why settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A settings file cannot be read.
    #[error(transparent)]
    Read(#[from] PathError),
    /// A settings file is not valid: syntax, an unknown key, a value of the wrong kind.
    #[error("{}: {message}", file.display())]
    Invalid {
        /// The file.
        file: PathBuf,
        /// What is wrong, with the place.
        message: String,
    },
}

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

/// When a LoggedModel is created without anybody asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Create {
    /// Once the worktree is quiet, and at each commit.
    #[default]
    Settled,
    /// At each commit only.
    Commit,
    /// Never.
    Asked,
}

/// What the env file carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EnvContents {
    /// The active model and what it stands for.
    #[default]
    Ids,
    /// The tracking URI and the experiment id too.
    Full,
}

/// One layer of settings: what a file says, and nothing for what it does not say.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Layer {
    /// `git-hash`, `commit` or `tree`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub naming: Option<String>,
    /// The app's name, used by the namings `commit` and `tree`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app: Option<String>,
    /// When versions are created.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub create: Option<Create>,
    /// Quiet time with its unit: `500ms`, `2s`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub settle: Option<String>,
    /// What the env file carries.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub env: Option<EnvContents>,
    /// Whether a second copy is kept at `.tracemark/env` in the worktree.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub env_copy: Option<bool>,
    /// The LoggedModel's `model_type`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model_type: Option<String>,
    /// Parameters of each new LoggedModel: text, numbers, true or false.
    #[serde(
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "scalars"
    )]
    pub params: BTreeMap<String, String>,
    /// Tells versions of the same code apart; only in user-private settings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// The name of the version, whatever the code; only in user-private settings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pin: Option<String>,
    /// What snapshots keep; not in a repository's file.
    #[serde(skip_serializing_if = "SnapshotLayer::is_empty")]
    pub snapshots: SnapshotLayer,
    /// What `gc` removes; not in a repository's file.
    #[serde(skip_serializing_if = "GcLayer::is_empty")]
    pub gc: GcLayer,
    /// Where LoggedModels live.
    #[serde(skip_serializing_if = "StoreLayer::is_empty")]
    pub store: StoreLayer,
}

impl Layer {
    /// Returns this layer over a lower one; an experiment in it replaces name and id together, and what the lower one says of another
    /// store counts for nothing.
    #[must_use]
    pub fn over(self, mut lower: Self) -> Self {
        let other_store = self.store.uri.is_some() && self.store.uri != lower.store.uri;
        if other_store || self.store.experiment.is_some() || self.store.experiment_id.is_some() {
            lower.store.experiment = None;
            lower.store.experiment_id = None;
        }
        if other_store {
            lower.store.connection = ConnectionLayer::default();
        }
        Self {
            naming: self.naming.or(lower.naming),
            app: self.app.or(lower.app),
            create: self.create.or(lower.create),
            settle: self.settle.or(lower.settle),
            env: self.env.or(lower.env),
            env_copy: self.env_copy.or(lower.env_copy),
            model_type: self.model_type.or(lower.model_type),
            params: lower.params.into_iter().chain(self.params).collect(),
            variant: self.variant.or(lower.variant),
            pin: self.pin.or(lower.pin),
            snapshots: self.snapshots.or(lower.snapshots),
            gc: GcLayer {
                keep: self.gc.keep.or(lower.gc.keep),
            },
            store: StoreLayer {
                uri: self.store.uri.or(lower.store.uri),
                experiment: self.store.experiment.or(lower.store.experiment),
                experiment_id: self.store.experiment_id.or(lower.store.experiment_id),
                connection: self.store.connection.or(lower.store.connection),
            },
        }
    }
}

/// The part of a layer that chooses a server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StoreLayer {
    /// An MLflow tracking URI.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
    /// The experiment's name, created if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub experiment: Option<String>,
    /// The experiment's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub experiment_id: Option<String>,
    /// How the server is reached.
    #[serde(skip_serializing_if = "ConnectionLayer::is_empty")]
    pub connection: ConnectionLayer,
}

/// The part of a layer that says how a server is reached. Holds no secret.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConnectionLayer {
    /// A PEM file with the certificates to trust instead of the system's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_cert: Option<PathBuf>,
    /// A PEM file with our own certificate and its key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_cert: Option<PathBuf>,
    /// Whether the server's certificate is not checked at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub insecure_tls: Option<bool>,
    /// The MLflow workspace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workspace: Option<String>,
    /// How many seconds one request may take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u64>,
    /// The proxy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy: Option<String>,
    /// What is reached without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_proxy: Option<String>,
    /// Whether a password or token may be sent over plain http to another machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_http_credentials: Option<bool>,
    /// The address of the Databricks workspace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub databricks_host: Option<String>,
    /// The Databricks profile where the tracking URI names none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub databricks_profile: Option<String>,
    /// The file of Databricks profiles.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub databricks_config_file: Option<PathBuf>,
    /// The kind of Databricks login.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub databricks_auth_type: Option<String>,
    /// The `databricks` command.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub databricks_cli_path: Option<PathBuf>,
    /// The names of the variables with a password or token that `up` saw; their values are kept nowhere.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub credentials_seen: Vec<String>,
}

impl ConnectionLayer {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Returns what this layer says, and what `lower` says where this one says nothing.
    #[must_use]
    pub fn or(self, lower: Self) -> Self {
        Self {
            server_cert: self.server_cert.or(lower.server_cert),
            client_cert: self.client_cert.or(lower.client_cert),
            insecure_tls: self.insecure_tls.or(lower.insecure_tls),
            workspace: self.workspace.or(lower.workspace),
            timeout: self.timeout.or(lower.timeout),
            proxy: self.proxy.or(lower.proxy),
            no_proxy: self.no_proxy.or(lower.no_proxy),
            allow_http_credentials: self.allow_http_credentials.or(lower.allow_http_credentials),
            databricks_host: self.databricks_host.or(lower.databricks_host),
            databricks_profile: self.databricks_profile.or(lower.databricks_profile),
            databricks_config_file: self.databricks_config_file.or(lower.databricks_config_file),
            databricks_auth_type: self.databricks_auth_type.or(lower.databricks_auth_type),
            databricks_cli_path: self.databricks_cli_path.or(lower.databricks_cli_path),
            credentials_seen: if self.credentials_seen.is_empty() {
                lower.credentials_seen
            } else {
                self.credentials_seen
            },
        }
    }

    fn into_connection(self) -> Connection {
        Connection {
            server_cert: self.server_cert,
            client_cert: self.client_cert,
            insecure_tls: self.insecure_tls.unwrap_or_default(),
            workspace: self.workspace,
            timeout: self.timeout.map(Duration::from_secs),
            proxy: self.proxy,
            no_proxy: self.no_proxy,
            allow_http_credentials: self.allow_http_credentials.unwrap_or_default(),
            databricks: DatabricksPlace {
                host: self.databricks_host,
                profile: self.databricks_profile,
                config_file: self.databricks_config_file,
                auth_type: self.databricks_auth_type,
                command_line: self.databricks_cli_path,
            },
            credentials_seen: self.credentials_seen,
        }
    }
}

impl StoreLayer {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The settings of one worktree, layers merged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// How LoggedModels are named.
    pub naming: Naming,
    /// The app's name as MLflow accepts it, `None` to derive it from the repository.
    pub app: Option<String>,
    /// When versions are created.
    pub create: Create,
    /// Quiet time before an unasked version.
    pub settle: Duration,
    /// What the env file carries.
    pub env: EnvContents,
    /// Whether `.tracemark/env` is kept in the worktree.
    pub env_copy: bool,
    /// The LoggedModel's `model_type`.
    pub model_type: Option<String>,
    /// Parameters of each new LoggedModel.
    pub params: BTreeMap<String, String>,
    /// Tells versions of the same code apart, where there are several.
    pub variant: Option<String>,
    /// The name of the version, whatever the code, where `tracemark pin` chose one.
    pub pin: Option<String>,
    /// The tracking URI as written, `None` for MLflow's default.
    pub store_uri: Option<String>,
    /// The experiment.
    pub experiment: ExperimentChoice,
    /// The id that an experiment chosen by name must have.
    pub experiment_id: Option<ExperimentId>,
    /// How the store is reached.
    pub connection: Connection,
    /// How much of the past is kept.
    pub retention: Retention,
}

impl Settings {
    /// Merges `private` over the repository's file at `root` over the user's file.
    ///
    /// # Errors
    /// [`ConfigError`] naming the file and what is wrong in it.
    pub fn load(private: &Layer, root: &Path, user_file: &Path) -> Result<Self, ConfigError> {
        let repository_file = root.join(REPOSITORY_FILE);
        let repository = Layer::read(&repository_file, Reader::Repository)?.0;
        let user = Layer::read(user_file, Reader::User)?.0;
        let sources = [
            (
                private,
                Path::new("flags of `tracemark up` or MLFLOW_* and TRACEMARK_* variables"),
            ),
            (&repository, repository_file.as_path()),
            (&user, user_file),
        ];
        Ok(Self {
            naming: parsed(&sources, |layer| layer.naming.as_ref(), str::parse)?
                .unwrap_or_default(),
            app: parsed(&sources, |layer| layer.app.as_ref(), valid_app)?,
            create: first(&sources, |layer| layer.create.as_ref()).unwrap_or_default(),
            settle: parsed(&sources, |layer| layer.settle.as_ref(), duration)?
                .unwrap_or(DEFAULT_SETTLE),
            env: first(&sources, |layer| layer.env.as_ref()).unwrap_or_default(),
            env_copy: first(&sources, |layer| layer.env_copy.as_ref()).unwrap_or_default(),
            model_type: first(&sources, |layer| layer.model_type.as_ref()),
            params: merged_params(&sources),
            variant: private.variant.clone(),
            pin: private.pin.clone(),
            store_uri: first(&sources, |layer| layer.store.uri.as_ref()),
            experiment: experiment(&sources)?.0,
            experiment_id: experiment(&sources)?.1,
            connection: connection(private, &user),
            retention: retention(private, &user, user_file)?,
        })
    }
}

/// Each param of each layer, the upper layer's value where several name one.
fn merged_params(sources: &Sources<'_>) -> BTreeMap<String, String> {
    let lowest_first = sources.iter().rev();
    lowest_first
        .flat_map(|(layer, _)| layer.params.clone())
        .collect()
}

/// Reads a map whose values are text, or numbers and truth values, which are kept as they are written in TOML.
fn scalars<'de, D: Deserializer<'de>>(input: D) -> Result<BTreeMap<String, String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "a param is text, a number, true or false")]
    enum Scalar {
        Text(String),
        Whole(i64),
        Real(f64),
        Truth(bool),
    }
    let map = BTreeMap::<String, Scalar>::deserialize(input)?;
    Ok(map
        .into_iter()
        .map(|(key, value)| match value {
            Scalar::Text(text) => (key, text),
            Scalar::Whole(number) => (key, number.to_string()),
            // As `str()` of Python writes it: 1.0, not 1.
            Scalar::Real(number) => (key, format!("{number:?}")),
            Scalar::Truth(truth) => (key, truth.to_string()),
        })
        .collect())
}

type Sources<'a> = [(&'a Layer, &'a Path); 3];

fn first<T: Clone>(sources: &Sources<'_>, get: impl Fn(&Layer) -> Option<&T>) -> Option<T> {
    sources.iter().find_map(|(layer, _)| get(layer).cloned())
}

fn parsed<T>(
    sources: &Sources<'_>,
    get: impl Fn(&Layer) -> Option<&String>,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Result<Option<T>, ConfigError> {
    let found = sources
        .iter()
        .find_map(|(layer, file)| get(layer).map(|text| (text, *file)));
    found
        .map(|(text, file)| {
            parse(text).map_err(|message| ConfigError::Invalid {
                file: file.to_owned(),
                message,
            })
        })
        .transpose()
}

/// What is kept for the repository comes first, as long as it is about the same server.
fn connection(private: &Layer, user: &Layer) -> Connection {
    let theirs = private.store.uri.is_none() || private.store.uri == user.store.uri;
    let user = if theirs {
        user.store.connection.clone()
    } else {
        ConnectionLayer::default()
    };
    private.store.connection.clone().or(user).into_connection()
}

/// A repository's file has no say in what is kept on this machine.
fn retention(private: &Layer, user: &Layer, file: &Path) -> Result<Retention, ConfigError> {
    let snapshots = private.snapshots.clone().or(user.snapshots.clone());
    let gc = if private.gc.is_empty() {
        &user.gc
    } else {
        &private.gc
    };
    Retention::of(&snapshots, gc).map_err(|message| ConfigError::Invalid {
        file: file.to_owned(),
        message,
    })
}

/// MLflow 3.17.2, `MAX_EXPERIMENT_NAME_LENGTH` of `mlflow/utils/validation.py`.
const EXPERIMENT_NAME_MAX: usize = 500;

/// The name wins over the id within a layer, and an id beside it must be that of the name, as in MLflow's client
/// (3.17.2, `_get_experiment_id_from_env` of `mlflow/tracking/fluent.py`).
fn experiment(
    sources: &Sources<'_>,
) -> Result<(ExperimentChoice, Option<ExperimentId>), ConfigError> {
    for (layer, file) in sources {
        let invalid = |message: String| ConfigError::Invalid {
            file: file.to_path_buf(),
            message,
        };
        let id = layer.store.experiment_id.as_ref().map(|id| {
            let id = id.trim().parse::<ExperimentId>();
            id.map_err(|error| invalid(error.to_string()))
        });
        let id = id.transpose()?;
        if let Some(name) = &layer.store.experiment {
            let length = name.chars().count();
            if length > EXPERIMENT_NAME_MAX {
                return Err(invalid(format!(
                    "an experiment's name has at most {EXPERIMENT_NAME_MAX} characters, this one {length}"
                )));
            }
            return Ok((ExperimentChoice::Name(name.clone()), id));
        }
        if let Some(id) = id {
            return Ok((ExperimentChoice::Id(id), None));
        }
    }
    Ok((ExperimentChoice::Default, None))
}

fn valid_app(text: &str) -> Result<String, String> {
    let app = crate::identity::sanitize_app(text);
    if app.is_empty() {
        Err("app is empty".to_owned())
    } else {
        Ok(app)
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let number = |digits: &str| digits.trim().parse::<u64>().ok();
    let parsed = if let Some(digits) = text.strip_suffix("ms") {
        number(digits).map(Duration::from_millis)
    } else {
        text.strip_suffix('s')
            .and_then(number)
            .map(Duration::from_secs)
    };
    parsed
        .filter(|duration| *duration <= MAX_SETTLE)
        .ok_or_else(|| format!("settle {text:?} is not a time of at most 60s such as 500ms or 2s"))
}

/// What is wrong, and in which line, the first being 1.
fn at_line(text: &str, error: &toml::de::Error) -> String {
    let before = error.span().and_then(|span| text.get(..span.start));
    let line = before.map(|before| before.matches('\n').count() + 1);
    line.map_or_else(
        || error.message().to_owned(),
        |line| format!("line {line}: {}", error.message()),
    )
}

/// Reads settings that nobody thought of (`fuzz/`), as those of a user and of a repository.
#[cfg(any(test, fuzzing))]
pub fn fuzz(bytes: &[u8]) {
    for reader in [Reader::User, Reader::Repository] {
        drop(Layer::parse(bytes, Path::new("fuzz"), reader));
    }
    let text = String::from_utf8_lossy(bytes);
    drop(duration(&text));
    drop(crate::retention::age(&text));
}

impl Layer {
    /// Reads a settings file; one that does not exist says nothing. What is no setting, or none of this file, is left out.
    fn read(file: &Path, reader: Reader) -> Result<(Self, Vec<ConfigWarning>), ConfigError> {
        let Some(bytes) = read_if_exists(file)? else {
            return Ok((Self::default(), Vec::new()));
        };
        Self::parse(&bytes, file, reader)
    }

    fn parse(
        bytes: &[u8],
        file: &Path,
        reader: Reader,
    ) -> Result<(Self, Vec<ConfigWarning>), ConfigError> {
        let invalid = |message: &str| ConfigError::Invalid {
            file: file.to_owned(),
            message: message.to_owned(),
        };
        let text = std::str::from_utf8(bytes).map_err(|_| invalid("not UTF-8"))?;
        let mut table: toml::Table =
            toml::from_str(text).map_err(|error| invalid(&at_line(text, &error)))?;
        let warnings = keys::sort_out(&mut table, reader);
        for warning in &warnings {
            tracing::debug!(%warning, file = %file.display(), "left out");
        }
        // With the key, in a line of its own.
        let layer = Self::deserialize(table)
            .map_err(|error| invalid(&error.to_string().trim_end().replace('\n', " ")))?;
        Ok((layer, warnings))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(private: &Layer, repository: &str, user: &str) -> Result<Settings, ConfigError> {
        let dir = tempfile::tempdir().unwrap();
        let user_file = dir.path().join("config.toml");
        std::fs::write(dir.path().join(REPOSITORY_FILE), repository).unwrap();
        std::fs::write(&user_file, user).unwrap();
        Settings::load(private, dir.path(), &user_file)
    }

    #[test]
    fn private_settings_beat_the_repository_which_beats_the_user() {
        let private = Layer {
            app: Some("mine".into()),
            ..Layer::default()
        };
        let settings = load(
            &private,
            "app = 'theirs'\nnaming = 'tree'",
            "naming = 'commit'\nsettle = '2s'",
        )
        .unwrap();
        assert_eq!(settings.app.as_deref(), Some("mine"));
        assert_eq!(settings.naming, Naming::Tree);
        assert_eq!(settings.settle, Duration::from_secs(2));
    }

    #[test]
    fn an_experiment_is_chosen_as_mlflow_reads_it() {
        let of = |name: Option<String>, id: &str| {
            let mut private = Layer::default();
            private.store.experiment = name;
            private.store.experiment_id = Some(id.to_owned());
            load(&private, "", "")
        };
        let chosen = of(None, " 1").unwrap().experiment;
        assert_eq!(chosen, ExperimentChoice::Id("1".parse().unwrap()));
        assert!(of(Some("n".repeat(500)), "1").is_ok());
        assert!(of(Some("n".repeat(501)), "1").is_err());
    }

    #[test]
    fn a_repository_never_chooses_the_server() {
        let settings = load(
            &Layer::default(),
            "[store]\nuri = 'http://evil.example'",
            "",
        )
        .unwrap();
        assert_eq!(settings.store_uri, None);
    }

    #[test]
    fn params_of_all_layers_count_and_may_be_numbers() {
        let private = Layer {
            params: BTreeMap::from([("llm".into(), "mine".into())]),
            ..Layer::default()
        };
        let settings = load(
            &private,
            "[params]\nllm = 'theirs'\ntemperature = 0.7\ntop = 3\nstream = true\nscale = 1.0",
            "",
        )
        .unwrap();
        let expected = [
            ("llm", "mine"),
            ("scale", "1.0"),
            ("stream", "true"),
            ("temperature", "0.7"),
            ("top", "3"),
        ];
        let expected = expected.map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(settings.params, BTreeMap::from(expected));
    }

    #[test]
    fn a_repository_pins_nothing() {
        let settings = load(&Layer::default(), "pin = 'x'\nvariant = 'y'", "").unwrap();
        assert_eq!((settings.pin, settings.variant), (None, None));
    }

    #[test]
    fn a_mistyped_key_is_left_out_and_a_value_of_the_wrong_kind_is_an_error() {
        let settings = load(&Layer::default(), "namming = 'tree'", "env_copy = true").unwrap();
        assert!(settings.env_copy && settings.naming == Naming::GitHash);
        let error = load(&Layer::default(), "env_copy = 3", "").unwrap_err();
        assert!(error.to_string().contains(REPOSITORY_FILE), "{error}");
    }

    #[test]
    fn a_repository_has_no_say_in_what_is_kept_on_this_machine() {
        let file = "[snapshots]\nenabled = false\n[gc]\nkeep = '1s'";
        let settings = load(&Layer::default(), file, "").unwrap();
        assert_eq!(
            settings.retention,
            load(&Layer::default(), "", "").unwrap().retention
        );
    }
}
