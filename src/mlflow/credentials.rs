//! Who we are to an MLflow server: what MLflow's own client would send, or what our own credentials file says for the
//! server. Reads small files; blocks for as long as that takes.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use reqwest::header::HeaderValue;

use super::StoreError;
use super::ini::{Percent, Section, sections};
use super::secret::{Secret, hidden};

/// What may be secret in the environment of a shell: MLflow's variables, then those of the Databricks SDK.
pub const SECRET_VARIABLES: [&str; 7] = [
    "MLFLOW_TRACKING_USERNAME",
    "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_TRACKING_TOKEN",
    "DATABRICKS_TOKEN",
    "DATABRICKS_CLIENT_SECRET",
    "DATABRICKS_PASSWORD",
    "DATABRICKS_USERNAME",
];

/// What is read beside them and goes with them.
const COMPANIONS: [&str; 2] = ["DATABRICKS_HOST", "DATABRICKS_CLIENT_ID"];

/// Where credentials are looked for. Debug shows no secret.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keys {
    environment: BTreeMap<&'static str, Secret>,
    home: Option<PathBuf>,
    file: Option<PathBuf>,
}

impl Keys {
    /// Returns the places: the variables of this process as `var` gives them, MLflow's and Databricks' own files below
    /// `home`, and our own `file`. An empty variable counts as unset.
    pub fn new(var: impl Fn(&str) -> Option<String>, home: &Path, file: PathBuf) -> Self {
        let environment = SECRET_VARIABLES
            .into_iter()
            .chain(COMPANIONS)
            .filter_map(|name| Some((name, var(name).filter(|value| !value.is_empty())?)))
            .map(|(name, value)| (name, Secret::new(value)))
            .collect();
        Self {
            environment,
            home: Some(home.to_owned()),
            file: Some(file),
        }
    }

    /// Returns the names of the variables that hold a secret for an MLflow server or, with `databricks`, a workspace.
    pub fn seen(&self, databricks: bool) -> Vec<String> {
        SECRET_VARIABLES
            .into_iter()
            .filter(|name| {
                name.starts_with("DATABRICKS_") == databricks && !name.ends_with("_USERNAME")
            })
            .filter(|name| self.environment.contains_key(name))
            .map(str::to_owned)
            .collect()
    }

    /// Returns a variable of the environment.
    pub(super) fn variable(&self, name: &str) -> Option<&Secret> {
        self.environment.get(name)
    }

    /// Returns a file below the home directory, and our own credentials file, for messages.
    pub(super) fn in_home(&self, name: &str) -> Option<PathBuf> {
        self.home.as_ref().map(|home| home.join(name))
    }

    /// Returns our own credentials file.
    pub(super) fn file(&self) -> &Path {
        self.file.as_deref().unwrap_or(Path::new("credentials"))
    }

    /// Returns what an MLflow server at `authority` (host, and port where the URL has one) is told.
    ///
    /// As MLflow 3.17.2 does it (`mlflow/utils/credentials.py`, `mlflow/utils/rest_utils.py`): user name and password,
    /// each from its variable, else from the `[mlflow]` section of `~/.mlflow/credentials`, win when both are there;
    /// then `MLFLOW_TRACKING_TOKEN`. A section for this very server in our own file comes before what is in
    /// `~/.mlflow/credentials`, which is for every server.
    pub(super) fn for_server(&self, authority: &str) -> Result<Credentials, StoreError> {
        let own = self.own_section(authority)?;
        let shared = match (&own, self.in_home(".mlflow/credentials")) {
            (None, Some(file)) => std::fs::read_to_string(file)
                .ok()
                .and_then(|text| sections(&text, Percent::Doubled).remove("mlflow"))
                .unwrap_or_default(),
            _ => Section::new(),
        };
        let user = self.either("MLFLOW_TRACKING_USERNAME", &shared);
        let password = self.either("MLFLOW_TRACKING_PASSWORD", &shared);
        let token = self.either("MLFLOW_TRACKING_TOKEN", &Section::new());
        let found = Credentials::of(user, password, token);
        match own {
            Some(section) if found == Credentials::None => {
                let value = |name: &str| section.get(name).map(Secret::new);
                Ok(Credentials::of(
                    value("mlflow_tracking_username"),
                    value("mlflow_tracking_password"),
                    value("mlflow_tracking_token"),
                ))
            }
            _ => Ok(found),
        }
    }

    fn either(&self, name: &str, section: &Section) -> Option<Secret> {
        let in_file = || section.get(&name.to_ascii_lowercase()).map(Secret::new);
        self.environment.get(name).cloned().or_else(in_file)
    }

    fn own_section(&self, authority: &str) -> Result<Option<Section>, StoreError> {
        let Some(file) = &self.file else {
            return Ok(None);
        };
        let Some(text) = read_private(file)? else {
            return Ok(None);
        };
        let mut sections = sections(&text, Percent::Plain);
        Ok(sections.remove(authority))
    }
}

/// Reads a file that nobody else may read; `None` where there is none.
fn read_private(file: &Path) -> Result<Option<String>, StoreError> {
    let refused = |problem: String| StoreError::CredentialsFile {
        path: file.to_owned(),
        problem,
    };
    let metadata = match file.metadata() {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(refused(error.to_string())),
    };
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err(refused("it belongs to another user".to_owned()));
    }
    if metadata.mode() & 0o077 != 0 {
        let mode = metadata.mode() & 0o777;
        return Err(refused(format!(
            "its mode is {mode:04o}: others may read it"
        )));
    }
    match std::fs::read_to_string(file) {
        Ok(text) => Ok(Some(text)),
        Err(error) => Err(refused(error.to_string())),
    }
}

/// How requests to an MLflow server are signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Credentials {
    None,
    Basic { user: Secret, password: Secret },
    Bearer(Secret),
}

impl Credentials {
    fn of(user: Option<Secret>, password: Option<Secret>, token: Option<Secret>) -> Self {
        match (user, password, token) {
            (Some(user), Some(password), _) => Self::Basic { user, password },
            (_, _, Some(token)) => Self::Bearer(token),
            _ => Self::None,
        }
    }

    /// Returns the header that says so, `None` for credentials that are none.
    pub(super) fn header(&self) -> Result<Option<HeaderValue>, StoreError> {
        let header = match self {
            Self::None => return Ok(None),
            Self::Basic { user, password } => basic(user, password),
            Self::Bearer(token) => token.bearer(),
        };
        header.map(Some).ok_or(StoreError::UnusableCredentials)
    }
}

/// Returns the header of HTTP Basic authentication (RFC 7617, in UTF-8).
pub(super) fn basic(user: &Secret, password: &Secret) -> Option<HeaderValue> {
    let pair = format!("{}:{}", user.expose(), password.expose());
    hidden(&format!("Basic {}", BASE64.encode(pair)))
}
