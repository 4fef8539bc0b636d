//! Who we are to an MLflow server: what MLflow's own client would send, or what our own credentials file says for the
//! server. Reads small files; blocks for as long as that takes.
//!
//! Asks the environment nothing itself, writes nothing and sends nothing: `http` does, and knows whether the way is
//! safe.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use reqwest::header::HeaderValue;

use super::StoreError;
use super::ini::{Percent, Section, sections};
use super::netrc;
use super::secret::{Secret, hidden};
use crate::fs_util::text_of;

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
const COMPANIONS: [&str; 6] = [
    "MLFLOW_TRACKING_URI",
    "DATABRICKS_HOST",
    "DATABRICKS_CONFIG_PROFILE",
    "DATABRICKS_CONFIG_FILE",
    "DATABRICKS_CLIENT_ID",
    "NETRC",
];

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

    /// Returns the path of a file below the home directory.
    pub(super) fn in_home(&self, name: &str) -> Option<PathBuf> {
        self.home.as_ref().map(|home| home.join(name))
    }

    /// Returns our own credentials file, for messages.
    pub(super) fn file(&self) -> &Path {
        self.file.as_deref().unwrap_or(Path::new("credentials"))
    }

    /// Returns what an MLflow server at `authority` (host, and port where the URL has one) is told.
    ///
    /// As MLflow 3.17.2 does it (`mlflow/utils/credentials.py`, `mlflow/utils/rest_utils.py`): user name and password,
    /// each from its variable, else from the `[mlflow]` section of `~/.mlflow/credentials`, win when both are there;
    /// then `MLFLOW_TRACKING_TOKEN`. A section for this very server in our own file comes before what is in
    /// `~/.mlflow/credentials`, which is for every server. Where nothing of that says anything, the entry of the host in
    /// `$NETRC`, else `~/.netrc`, does: MLflow's client reads it through `requests`, which even prefers it to a token.
    pub(super) fn for_server(&self, authority: &str) -> Result<Credentials, StoreError> {
        let own = self.own_section(authority)?;
        let shared = match (&own, self.in_home(".mlflow/credentials")) {
            (None, Some(file)) => text_of(&file)
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
            None if found == Credentials::None => Ok(self.in_netrc(host_of(authority))),
            _ => Ok(found),
        }
    }

    fn in_netrc(&self, host: &str) -> Credentials {
        let given = self.environment.get("NETRC");
        let file = given.map_or_else(|| self.in_home(".netrc"), |file| Some(file.expose().into()));
        let text = file.and_then(|file| text_of(&file));
        let login = text.and_then(|text| netrc::login(&text, host));
        login.map_or(Credentials::None, |(user, password)| Credentials::Basic {
            user,
            password,
        })
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

/// Returns an authority without its port.
fn host_of(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => authority,
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    const SERVER: &str = "mlflow.example:5000";

    fn home(shared: &str, own: &str) -> tempfile::TempDir {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join(".mlflow")).unwrap();
        std::fs::write(home.path().join(".mlflow/credentials"), shared).unwrap();
        let file = home.path().join("credentials");
        std::fs::write(&file, own).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        home
    }

    fn found(home: &tempfile::TempDir, set: &[(&str, &str)]) -> Credentials {
        let var = |name: &str| {
            let found = set.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        Keys::new(var, home.path(), home.path().join("credentials"))
            .for_server(SERVER)
            .unwrap()
    }

    fn basic(user: &str, password: &str) -> Credentials {
        Credentials::Basic {
            user: Secret::new(user),
            password: Secret::new(password),
        }
    }

    fn bearer(token: &str) -> Credentials {
        Credentials::Bearer(Secret::new(token))
    }

    #[test]
    fn credentials_are_found_as_mlflow_finds_them() {
        let text = "[other]\nmlflow_tracking_username = x\n[mlflow]\n# c\nMLflow_Tracking_Username = ann\nmlflow_tracking_password: p;50%%\n";
        let (file, none) = (home(text, ""), home("", ""));
        let token = [("MLFLOW_TRACKING_TOKEN", "t")];
        let user = [("MLFLOW_TRACKING_USERNAME", "bob")];
        assert_eq!(found(&file, &[]), basic("ann", "p;50%"));
        assert_eq!(found(&file, &token), basic("ann", "p;50%"));
        assert_eq!(found(&file, &user), basic("bob", "p;50%"));
        assert_eq!(found(&none, &token), bearer("t"));
        assert_eq!(found(&none, &user), Credentials::None);
        assert_eq!(
            found(&none, &[("MLFLOW_TRACKING_TOKEN", "")]),
            Credentials::None
        );
    }

    #[test]
    fn a_section_for_the_very_server_comes_between_shell_and_shared_file() {
        let shared = "[mlflow]\nmlflow_tracking_username = ann\nmlflow_tracking_password = p\n";
        let own = "[mlflow.example]\nmlflow_tracking_token = other\n[mlflow.example:5000]\nmlflow_tracking_token = own%\n";
        let home = home(shared, own);
        assert_eq!(found(&home, &[]), bearer("own%"));
        assert_eq!(
            found(&home, &[("MLFLOW_TRACKING_TOKEN", "shell")]),
            bearer("shell")
        );
    }

    #[test]
    fn netrc_counts_where_nothing_else_does() {
        let shared = "[mlflow]\nmlflow_tracking_username = ann\nmlflow_tracking_password = p\n";
        let (plain, with_shared) = (home("", ""), home(shared, ""));
        for home in [&plain, &with_shared] {
            let text = "machine mlflow.example login bob password n";
            std::fs::write(home.path().join(".netrc"), text).unwrap();
        }
        assert_eq!(found(&plain, &[]), basic("bob", "n"));
        assert_eq!(
            found(&plain, &[("MLFLOW_TRACKING_TOKEN", "t")]),
            bearer("t")
        );
        assert_eq!(found(&with_shared, &[]), basic("ann", "p"));
        let other = plain.path().join("other");
        std::fs::write(&other, "machine mlflow.example login eve password o").unwrap();
        let variable = [("NETRC", other.to_str().unwrap())];
        assert_eq!(found(&plain, &variable), basic("eve", "o"));
    }

    #[test]
    fn a_file_that_others_may_read_is_refused() {
        let home = home("", "");
        let file = home.path().join("credentials");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
        let keys = Keys::new(|_| None, home.path(), file);
        let error = keys.for_server(SERVER).unwrap_err();
        assert!(
            error.to_string().contains("0640") && error.hint().starts_with("chmod 600 "),
            "{error}"
        );
    }

    #[test]
    fn debug_shows_no_secret() {
        let keys = Keys::new(|_| Some("s3cret".to_owned()), Path::new("/"), "/c".into());
        let shown = format!("{keys:?} {:?}", bearer("s3cret"));
        assert!(!shown.contains("s3cret"), "{shown}");
    }
}
