//! One layer of settings as a file says it, and how it is read.
//!
//! Knows no other layer but the one that it is laid over.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};

use super::ConfigError;
use super::keys::{self, ConfigWarning, Reader};
use crate::fs_util::read_if_exists;
use crate::mlflow::{Connection, DatabricksPlace};
use crate::retention::{GcLayer, SnapshotLayer};

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
        let other_store = self.store.is_of_another_than(&lower.store);
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
            gc: self.gc.or(lower.gc),
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

    pub(super) fn into_connection(self) -> Connection {
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
    /// Returns whether this layer names a store that is not the one of `lower`: what that says of the way there counts for nothing.
    pub fn is_of_another_than(&self, lower: &Self) -> bool {
        self.uri.is_some() && self.uri != lower.uri
    }

    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Layer {
    /// Reads a settings file; one that does not exist says nothing. What is no setting, or none of this file, is left out.
    pub(super) fn read(
        file: &Path,
        reader: Reader,
    ) -> Result<(Self, Vec<ConfigWarning>), ConfigError> {
        let Some(bytes) = read_if_exists(file)? else {
            return Ok((Self::default(), Vec::new()));
        };
        Self::parse(&bytes, file, reader)
    }

    pub(super) fn parse(
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

/// What is wrong, and in which line, the first being 1.
fn at_line(text: &str, error: &toml::de::Error) -> String {
    let before = error.span().and_then(|span| text.get(..span.start));
    let line = before.map(|before| before.matches('\n').count() + 1);
    line.map_or_else(
        || error.message().to_owned(),
        |line| format!("line {line}: {}", error.message()),
    )
}
