//! Where a store is. Reads the disk only to look for MLflow's old file store; blocks for as long as that takes.

use std::path::{Path, PathBuf};

use url::Url;

use super::error::clean;

/// Where `LoggedModels` live, parsed from an MLflow tracking URI.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreUri {
    /// The base of a tracking server; its path, if any, is the server's prefix.
    Rest(Url),
    /// A Databricks workspace, found through the profile of Databricks' own configuration.
    Databricks {
        /// The profile that the URI names.
        profile: Option<String>,
    },
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
    /// A Databricks workspace whose token lies in a Databricks secret scope, which only code inside Databricks can read.
    #[error(
        "Databricks secret scopes (databricks://scope:prefix) cannot be read from outside Databricks"
    )]
    SecretScope,
    /// The name of a profile that none can have.
    #[error("{profile:?} cannot be the name of a Databricks profile")]
    Profile {
        /// The name.
        profile: String,
    },
    /// A model registry, where no LoggedModels are.
    #[error("{scheme} names a model registry, not a tracking server")]
    Registry {
        /// The scheme of the URI.
        scheme: String,
    },
    /// A database other than SQLite.
    #[error(
        "only MLflow's own server can use {scheme} databases: they are not supported as a tracking URI"
    )]
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
                "`mlflow migrate-filestore --source {dir} --target sqlite:///mlflow.db` and set MLFLOW_TRACKING_URI=sqlite:///mlflow.db; or start `MLFLOW_ALLOW_FILE_STORE=true mlflow server --backend-store-uri {dir}` and set MLFLOW_TRACKING_URI to its http:// address",
                dir = location.strip_prefix("file://").unwrap_or(location)
            ),
            Self::SecretScope | Self::Profile { .. } => {
                "set MLFLOW_TRACKING_URI to databricks or databricks://PROFILE, a profile of ~/.databrickscfg".into()
            }
            Self::Registry { .. } => {
                "set MLFLOW_TRACKING_URI to databricks or databricks://PROFILE; MLFLOW_REGISTRY_URI may stay".into()
            }
            Self::Database { scheme } => format!(
                "start `mlflow server --backend-store-uri {scheme}://…` with that URI and set MLFLOW_TRACKING_URI to the server's address, http://HOST:5000"
            ),
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
            return match text {
                "databricks" => Ok(Self::Databricks { profile: None }),
                "databricks-uc" => Err(StoreUriError::Registry {
                    scheme: text.to_owned(),
                }),
                _ => Err(StoreUriError::FileStore {
                    location: clean(text),
                }),
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
            "databricks" => parse_databricks(rest),
            "databricks-uc" | "uc" => Err(StoreUriError::Registry { scheme }),
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

    /// Returns the text for `MLFLOW_TRACKING_URI` of an app: `sqlite:////abs/mlflow.db`, `http://host:port/prefix`,
    /// `databricks` or `databricks://profile`.
    pub fn to_tracking_uri(&self) -> String {
        match self {
            Self::Rest(base) => base.as_str().trim_end_matches('/').to_owned(),
            Self::Databricks { profile: None } => "databricks".to_owned(),
            Self::Databricks {
                profile: Some(profile),
            } => format!("databricks://{profile}"),
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

/// The part after `databricks:`. MLflow 3.17.2 takes what stands between `//` and the next `/` for the profile, or for
/// a secret scope where it holds a `:` (`get_db_info_from_uri` of `mlflow/utils/uri.py`).
fn parse_databricks(rest: &str) -> Result<StoreUri, StoreUriError> {
    let place = rest.strip_prefix("//").unwrap_or_default();
    let profile = place.split('/').next().unwrap_or_default();
    if profile.contains(':') {
        return Err(StoreUriError::SecretScope);
    }
    let usable = profile.starts_with(|c: char| c.is_ascii_alphanumeric())
        && profile
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._@+-".contains(&b));
    if !usable {
        return Err(StoreUriError::Profile {
            profile: clean(profile),
        });
    }
    Ok(StoreUri::Databricks {
        profile: Some(profile.to_owned()),
    })
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
            ("databricks", "databricks"),
            ("databricks://Prod.eu", "databricks://Prod.eu"),
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
        assert_eq!(
            parse("databricks://scope:key"),
            Err(StoreUriError::SecretScope)
        );
        for text in ["databricks-uc", "databricks-uc://profile", "uc:http://h"] {
            let error = parse(text).unwrap_err();
            assert!(matches!(error, StoreUriError::Registry { .. }), "{text}");
        }
        for text in [
            "databricks:",
            "databricks:/p",
            "databricks://",
            "databricks://$(x)",
        ] {
            let error = parse(text).unwrap_err();
            assert!(matches!(error, StoreUriError::Profile { .. }), "{text}");
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
            let hint = error.hint();
            assert!(
                hint.contains("mlflow server --backend-store-uri")
                    && hint.contains("mlflow migrate-filestore --source")
            );
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
}
