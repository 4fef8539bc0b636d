//! Where a store is, and with whose credentials. Reads the disk only to look for MLflow's old file store and its
//! credentials file; blocks for as long as that takes.

use std::fmt;
use std::path::{Path, PathBuf};

use url::Url;

use super::error::clean;

/// Where `LoggedModels` live, parsed from an MLflow tracking URI.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreUri {
    /// The base of a tracking server; its path, if any, is the server's prefix.
    Rest(Url),
    /// The absolute path of MLflow's SQLite file.
    Sqlite(PathBuf),
}

/// A tracking URI that cannot be used. Neither the text nor the hint repeats a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreUriError {
    /// MLflow's file store (`mlruns` directory), which MLflow 3.17.2 itself refuses by default.
    #[error("MLflow's file store is not supported: {location}")]
    FileStore {
        /// The directory or URI.
        location: String,
    },
    /// A Databricks workspace.
    #[error("Databricks tracking URIs are not supported yet")]
    Databricks,
    /// A database other than SQLite.
    #[error("{scheme} databases are not supported as a tracking URI")]
    Database {
        /// The scheme of the URI.
        scheme: String,
    },
    /// An SQLite database that lives in one process only, or is named by an SQLite `file:` URI.
    #[error("only SQLite databases named by a plain path are supported")]
    NotAFile,
    /// The URI holds a user name or a password.
    #[error("the tracking URI holds a user name or password")]
    Credentials,
    /// The path cannot be written in a tracking URI.
    #[error("{} cannot be written in a tracking URI", path.display())]
    UnusablePath {
        /// The path.
        path: PathBuf,
    },
    /// Another scheme.
    #[error("tracking URIs with the scheme {scheme:?} are not supported")]
    Scheme {
        /// The scheme.
        scheme: String,
    },
    /// Not a URL.
    #[error("malformed tracking URI: {cause}")]
    Malformed {
        /// What is wrong with it.
        cause: String,
    },
}

impl StoreUriError {
    /// Returns one line that says what to type or do next.
    pub fn hint(&self) -> String {
        match self {
            Self::FileStore { location } => format!(
                "start `mlflow server --backend-store-uri {location}` and set MLFLOW_TRACKING_URI to its http:// address, or remove the directory to use sqlite:///mlflow.db"
            ),
            Self::Databricks => {
                "set MLFLOW_TRACKING_URI to an MLflow server (http://…) or to sqlite:///mlflow.db".into()
            }
            Self::Database { .. } => {
                "start `mlflow server --backend-store-uri` with that URI and set MLFLOW_TRACKING_URI to its http:// address".into()
            }
            Self::NotAFile => "set MLFLOW_TRACKING_URI to sqlite:///mlflow.db or sqlite:////absolute/path".into(),
            Self::Credentials => {
                "remove them from the URI and set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD".into()
            }
            Self::UnusablePath { .. } => "choose a path of UTF-8 text without ? and control characters".into(),
            Self::Scheme { .. } | Self::Malformed { .. } => {
                "set MLFLOW_TRACKING_URI to http://host:port or sqlite:///mlflow.db".into()
            }
        }
    }
}

impl StoreUri {
    /// Returns the store that a tracking URI names; a relative SQLite path is resolved against `root`.
    ///
    /// `sqlite:///rel.db` is relative and `sqlite:////abs.db` absolute, as in `SQLAlchemy`. An empty text counts as
    /// unset (MLflow 3.17.2, `mlflow/tracking/_tracking_service/utils.py`) and gives [`Self::default_for`].
    ///
    /// # Errors
    /// One [`StoreUriError`] for each kind of URI that cannot be used.
    pub fn parse(text: &str, root: &Path) -> Result<Self, StoreUriError> {
        let text = text.trim();
        if text.is_empty() {
            return Self::default_for(root);
        }
        let Some((scheme, rest)) = split_scheme(text) else {
            return if text == "databricks" || text == "databricks-uc" {
                Err(StoreUriError::Databricks)
            } else {
                Err(StoreUriError::FileStore {
                    location: clean(text),
                })
            };
        };
        let dialect = scheme.split('+').next().unwrap_or_default();
        match dialect {
            "http" | "https" if scheme == dialect => parse_rest(text),
            "sqlite" => parse_sqlite(rest, root),
            "file" => Err(StoreUriError::FileStore {
                location: clean(text),
            }),
            "postgresql" | "postgres" | "mysql" | "mssql" => Err(StoreUriError::Database {
                scheme: dialect.to_owned(),
            }),
            _ if scheme.starts_with("databricks") => Err(StoreUriError::Databricks),
            _ => Err(StoreUriError::Scheme {
                scheme: clean(&scheme),
            }),
        }
    }

    /// Returns the store that MLflow uses where no tracking URI is set: `mlflow.db` in `root`, as for an app that
    /// runs there.
    ///
    /// # Errors
    /// [`StoreUriError::FileStore`] where `root/mlruns` holds experiments: MLflow then stays with its file store,
    /// whether `mlflow.db` exists or not (MLflow 3.17.2, `_has_existing_mlruns_data` in
    /// `mlflow/tracking/_tracking_service/utils.py`). [`StoreUriError::UnusablePath`].
    pub fn default_for(root: &Path) -> Result<Self, StoreUriError> {
        let runs = root.join("mlruns");
        if holds_file_store(&runs) {
            return Err(StoreUriError::FileStore {
                location: clean(&runs.to_string_lossy()),
            });
        }
        sqlite_at(&root.join("mlflow.db"))
    }

    /// Returns the text for `MLFLOW_TRACKING_URI` of an app: `sqlite:////abs/mlflow.db` or `http://host:port/prefix`.
    pub fn to_tracking_uri(&self) -> String {
        match self {
            Self::Rest(base) => base.as_str().trim_end_matches('/').to_owned(),
            Self::Sqlite(path) => format!("sqlite:///{}", path.display()),
        }
    }
}

/// Splits at the first `:` where what stands before it is a URI scheme (RFC 3986, section 3.1), in lower case.
fn split_scheme(text: &str) -> Option<(String, &str)> {
    let (scheme, rest) = text.split_once(':')?;
    let valid = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.' | b'_'));
    valid.then(|| (scheme.to_ascii_lowercase(), rest))
}

fn parse_rest(text: &str) -> Result<StoreUri, StoreUriError> {
    let mut url = Url::parse(text).map_err(|error| StoreUriError::Malformed {
        cause: error.to_string(),
    })?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(StoreUriError::Credentials);
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(StoreUriError::Malformed {
            cause: "a server's address has no ? and no #".into(),
        });
    }
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(&path);
    Ok(StoreUri::Rest(url))
}

fn parse_sqlite(rest: &str, root: &Path) -> Result<StoreUri, StoreUriError> {
    let database = rest.strip_prefix("///").unwrap_or_default();
    let path = database.split('?').next().unwrap_or_default();
    if path.is_empty() || path == ":memory:" || path.starts_with("file:") {
        return Err(StoreUriError::NotAFile);
    }
    sqlite_at(&root.join(path))
}

fn sqlite_at(path: &Path) -> Result<StoreUri, StoreUriError> {
    let usable = path
        .to_str()
        .is_some_and(|text| !text.contains(|c: char| c == '?' || c.is_control()));
    let unusable = || StoreUriError::UnusablePath {
        path: path.to_owned(),
    };
    if !usable {
        return Err(unusable());
    }
    std::path::absolute(path)
        .map(StoreUri::Sqlite)
        .map_err(|_| unusable())
}

fn holds_file_store(runs: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(runs) else {
        return false;
    };
    entries.flatten().any(|entry| {
        let name = entry.file_name();
        let numbered = name
            .to_str()
            .is_some_and(|name| !name.is_empty() && name.bytes().all(|b| b.is_ascii_digit()));
        numbered && entry.path().join("meta.yaml").symlink_metadata().is_ok()
    })
}

/// How requests to a tracking server are signed. Debug shows the kind and no secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials(Kind);

#[derive(Clone, PartialEq, Eq)]
enum Kind {
    None,
    Basic { user: String, password: String },
    Bearer { token: String },
}

impl Credentials {
    /// Returns the credentials of a server that asks for none.
    pub fn none() -> Self {
        Self(Kind::None)
    }

    /// Returns HTTP Basic credentials.
    pub fn basic(user: impl Into<String>, password: impl Into<String>) -> Self {
        Self(Kind::Basic {
            user: user.into(),
            password: password.into(),
        })
    }

    /// Returns a bearer token.
    pub fn bearer(token: impl Into<String>) -> Self {
        Self(Kind::Bearer {
            token: token.into(),
        })
    }

    /// Returns the credentials that MLflow's own client would use.
    ///
    /// `MLFLOW_TRACKING_USERNAME` and `MLFLOW_TRACKING_PASSWORD`, each completed by the `[mlflow]` section of
    /// `.mlflow/credentials` below `home`, win when both are set; then `MLFLOW_TRACKING_TOKEN`; an empty variable
    /// counts as unset (MLflow 3.17.2, `mlflow/utils/credentials.py`, `mlflow/utils/rest_utils.py`). A credentials
    /// file that cannot be read counts as absent.
    pub fn discover(var: impl Fn(&str) -> Option<String>, home: Option<&Path>) -> Self {
        let file = home
            .and_then(|home| std::fs::read_to_string(home.join(".mlflow/credentials")).ok())
            .unwrap_or_default();
        let set = |name: &str| var(name).filter(|value| !value.is_empty());
        let either = |name: &str| {
            set(name).or_else(|| ini_value(&file, "mlflow", &name.to_ascii_lowercase()))
        };
        let user = either("MLFLOW_TRACKING_USERNAME");
        let password = either("MLFLOW_TRACKING_PASSWORD");
        match (user, password, set("MLFLOW_TRACKING_TOKEN")) {
            (Some(user), Some(password), _) => Self::basic(user, password),
            (_, _, Some(token)) => Self::bearer(token),
            _ => Self::none(),
        }
    }

    pub(super) fn sign(&self, request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
        match &self.0 {
            Kind::None => request,
            Kind::Basic { user, password } => request.basic_auth(user, Some(password)),
            Kind::Bearer { token } => request.bearer_auth(token),
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Kind::None => "Credentials(none)",
            Kind::Basic { .. } => "Credentials(basic)",
            Kind::Bearer { .. } => "Credentials(bearer)",
        })
    }
}

/// Reads one value as Python's `configparser` does: keys in any case, `=` or `:`, whole-line comments, `%%` for `%`.
fn ini_value(text: &str, section: &str, key: &str) -> Option<String> {
    let mut inside = false;
    let mut found = None;
    for line in text.lines().map(str::trim) {
        if let Some(name) = line
            .strip_prefix('[')
            .and_then(|rest| rest.split(']').next())
        {
            inside = name == section;
        } else if inside
            && !line.starts_with(['#', ';'])
            && let Some((name, value)) = line.split_once(['=', ':'])
            && name.trim().eq_ignore_ascii_case(key)
        {
            found = Some(value.trim().replace("%%", "%"));
        }
    }
    found.filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<StoreUri, StoreUriError> {
        StoreUri::parse(text, Path::new("/repo"))
    }

    #[test]
    fn sqlite_paths_are_relative_after_three_slashes_and_absolute_after_four() {
        let at = |path: &str| Ok(StoreUri::Sqlite(path.into()));
        assert_eq!(parse("sqlite:///mlflow.db"), at("/repo/mlflow.db"));
        assert_eq!(
            parse("sqlite:///./a b/mlflow.db"),
            at("/repo/a b/mlflow.db")
        );
        assert_eq!(parse("sqlite:////abs/x.db?timeout=3"), at("/abs/x.db"));
        assert_eq!(parse("sqlite+pysqlite:////abs/x.db"), at("/abs/x.db"));
        for text in [
            "sqlite://",
            "sqlite:///",
            "sqlite:///:memory:",
            "sqlite:///file:x?uri=true",
        ] {
            assert_eq!(parse(text), Err(StoreUriError::NotAFile), "{text}");
        }
    }

    #[test]
    fn the_text_for_an_app_names_the_same_store() {
        for (text, expected) in [
            ("sqlite:///mlflow.db", "sqlite:////repo/mlflow.db"),
            ("http://h:5000", "http://h:5000"),
            ("http://h:5000/", "http://h:5000"),
            ("https://h/ml/", "https://h/ml"),
        ] {
            let uri = parse(text).unwrap();
            assert_eq!(uri.to_tracking_uri(), expected);
            assert_eq!(parse(expected), Ok(uri));
        }
    }

    #[test]
    fn a_password_in_a_uri_is_refused_and_not_repeated() {
        for text in [
            "http://u:s3cret@h:5000",
            "postgresql://u:s3cret@h/db",
            "mysql+pymysql://u:s3cret@h/db",
        ] {
            let error = parse(text).unwrap_err();
            assert!(
                !format!("{error}{error:?}{}", error.hint()).contains("s3cret"),
                "{text}"
            );
        }
        assert_eq!(parse("http://u@h"), Err(StoreUriError::Credentials));
    }

    #[test]
    fn what_is_not_supported_says_so() {
        for text in ["databricks", "databricks://profile", "databricks-uc"] {
            assert_eq!(parse(text), Err(StoreUriError::Databricks), "{text}");
        }
        for text in [
            "mlruns",
            "/abs/mlruns",
            "./mlruns",
            "file:///x",
            "file:mlruns",
        ] {
            let error = parse(text).unwrap_err();
            assert!(matches!(error, StoreUriError::FileStore { .. }), "{text}");
            assert!(error.hint().contains("mlflow server --backend-store-uri"));
        }
        assert_eq!(
            parse("mssql+pyodbc://h/db"),
            Err(StoreUriError::Database {
                scheme: "mssql".into()
            })
        );
        assert!(matches!(
            parse("gs://bucket"),
            Err(StoreUriError::Scheme { .. })
        ));
        assert!(matches!(
            parse("http://"),
            Err(StoreUriError::Malformed { .. })
        ));
        assert!(matches!(
            parse("http://h/?x=1"),
            Err(StoreUriError::Malformed { .. })
        ));
    }

    #[test]
    fn the_default_is_the_file_store_where_it_has_experiments() {
        let dir = tempfile::tempdir().unwrap();
        let expected = StoreUri::Sqlite(dir.path().join("mlflow.db"));
        assert_eq!(StoreUri::parse("", dir.path()), Ok(expected.clone()));
        std::fs::create_dir_all(dir.path().join("mlruns/models")).unwrap();
        assert_eq!(StoreUri::default_for(dir.path()), Ok(expected));
        std::fs::create_dir_all(dir.path().join("mlruns/0")).unwrap();
        std::fs::write(dir.path().join("mlruns/0/meta.yaml"), "").unwrap();
        assert!(matches!(
            StoreUri::default_for(dir.path()),
            Err(StoreUriError::FileStore { .. })
        ));
    }

    #[test]
    fn credentials_are_found_as_mlflow_finds_them() {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join(".mlflow")).unwrap();
        let text = "[other]\nmlflow_tracking_username = x\n[mlflow]\n# c\nMLflow_Tracking_Username = ann\nmlflow_tracking_password: p;50%%\n";
        std::fs::write(home.path().join(".mlflow/credentials"), text).unwrap();
        let none = |_: &str| None;
        let token = |name: &str| (name == "MLFLOW_TRACKING_TOKEN").then(|| "t".to_owned());
        let user = |name: &str| (name == "MLFLOW_TRACKING_USERNAME").then(|| "bob".to_owned());
        assert_eq!(
            Credentials::discover(none, Some(home.path())),
            Credentials::basic("ann", "p;50%")
        );
        assert_eq!(
            Credentials::discover(token, Some(home.path())),
            Credentials::basic("ann", "p;50%")
        );
        assert_eq!(
            Credentials::discover(user, Some(home.path())),
            Credentials::basic("bob", "p;50%")
        );
        assert_eq!(Credentials::discover(token, None), Credentials::bearer("t"));
        assert_eq!(Credentials::discover(user, None), Credentials::none());
    }

    #[test]
    fn debug_shows_no_secret() {
        let shown = format!(
            "{:?}{:?}",
            Credentials::basic("ann", "s3cret"),
            Credentials::bearer("s3cret")
        );
        assert!(
            !shown.contains("s3cret") && !shown.contains("ann"),
            "{shown}"
        );
    }
}
