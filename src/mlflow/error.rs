//! What can go wrong between this program and the place where `LoggedModels` live.
//!
//! Display is the cause in one line, [`StoreError::hint`] what to do next. Text that a server sent is cut and its
//! control characters are escaped here, before anyone can print it. Says whether another try may help, and makes none.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use crate::text::is_hidden;

/// Characters of a server's own text that are kept.
const TEXT_LIMIT: usize = 200;

/// Why a store did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// No answer: refused, unknown host, time-out, or a connection that broke in the middle.
    #[error("no answer from the MLflow server at {url}: {cause}")]
    Unreachable {
        /// The base of the server, without credentials.
        url: String,
        /// What the operating system or the TLS layer said.
        cause: String,
    },
    /// The server's certificate is not trusted, or the server does not trust ours.
    #[error(
        "no trusted connection to the MLflow server at {url}: {}",
        certificate_words(cause)
    )]
    Certificate {
        /// The base of the server.
        url: String,
        /// What the TLS layer said.
        cause: String,
    },
    /// `up` saw a password or token in its shell that this process does not have.
    #[error(
        "no credentials for {server} here: {seen} was set in the shell of `tracemark up`, this process does not have it"
    )]
    CredentialsNotHere {
        /// Host and port.
        server: String,
        /// The names of the variables.
        seen: String,
        /// What to write, and where.
        remedy: String,
    },
    /// Nothing says who we are in a Databricks workspace.
    #[error("no login for the Databricks workspace {server}")]
    NoLogin {
        /// The workspace's host.
        server: String,
    },
    /// Our own credentials file is not private, or cannot be read.
    #[error("the credentials in {} are not used: {problem}", path.display())]
    CredentialsFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A password or token would travel readable for everybody on the way.
    #[error("a password or token is not sent to {server} over plain http")]
    PlainHttp {
        /// Host and port.
        server: String,
    },
    /// `databricks auth token` failed.
    #[error("`databricks auth token` failed: {cause}")]
    Login {
        /// What it said.
        cause: String,
    },
    /// The user name, password or token cannot be part of an HTTP header.
    #[error("the MLflow user name, password or token holds characters that HTTP does not allow")]
    UnusableCredentials,
    /// The server wants other credentials, or refuses the request (401, 403).
    #[error("the MLflow server refused (HTTP {status}): {message}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The server's own text.
        message: String,
    },
    /// The server's owner has not allowed the name under which it is reached (403 of its security middleware).
    #[error("the MLflow server accepts no requests for the host {host} (HTTP 403)")]
    HostRefused {
        /// Host and port as sent.
        host: String,
    },
    /// The server found the request wrong (other 4xx).
    #[error("the MLflow server rejected the request (HTTP {status}, {code}): {message}")]
    Rejected {
        /// The HTTP status.
        status: u16,
        /// MLflow's `error_code`, empty where there was none.
        code: String,
        /// The server's own text.
        message: String,
    },
    /// The server is in trouble or asks to wait (408, 429, 5xx).
    #[error("the MLflow server failed (HTTP {status}): {message}")]
    Server {
        /// The HTTP status.
        status: u16,
        /// The server's own text.
        message: String,
        /// How long the server asks to wait.
        retry_after: Option<Duration>,
    },
    /// The server answers, but not as an MLflow server with `LoggedModels` does.
    #[error("not a usable MLflow store: {reason}")]
    Unsuitable {
        /// What was seen.
        reason: String,
    },
    /// The server sends requests elsewhere (3xx), which is not followed.
    #[error("the MLflow server redirects to {target}")]
    Redirected {
        /// The `Location` header.
        target: String,
    },
    /// An answer that does not say what it must say, or says something impossible.
    #[error("invalid answer from the MLflow store: {0}")]
    InvalidAnswer(String),
    /// The experiment that was asked for does not exist.
    #[error("experiment {id} does not exist in the MLflow store")]
    ExperimentNotFound {
        /// The id that was asked for.
        id: String,
    },
    /// Name and id of the experiment are both given and name two different ones.
    #[error("the experiment with the id {id} is called {name:?}, not {wanted:?}")]
    ExperimentMismatch {
        /// The id that was given.
        id: String,
        /// The name of that one.
        name: String,
        /// The name that was given.
        wanted: String,
    },
    /// Databricks has no default experiment, and names are paths in the workspace.
    #[error("{}", unnamed(name.as_deref()))]
    ExperimentPath {
        /// The name that was given.
        name: Option<String>,
    },
    /// The MLflow workspace does not exist on this server.
    #[error("the MLflow server has no workspaces, but the workspace {workspace:?} is asked for")]
    NoWorkspaces {
        /// The workspace.
        workspace: String,
    },
    /// The experiment that was asked for is in MLflow's trash.
    #[error("experiment {name:?} is deleted in the MLflow store")]
    ExperimentDeleted {
        /// Its name.
        name: String,
    },
    /// A row that was asked for does not exist, or was deleted.
    #[error("not found in the MLflow store: {message}")]
    NotFound {
        /// The store's own text.
        message: String,
    },
    /// MLflow refuses this name for a LoggedModel.
    #[error("MLflow accepts no LoggedModel named {name:?}")]
    UnusableName {
        /// The name.
        name: String,
    },
    /// The SQLite file does not exist yet.
    #[error("no MLflow database at {}", path.display())]
    NoDatabase {
        /// Where it was expected.
        path: PathBuf,
    },
    /// The SQLite file is being created or migrated by MLflow.
    #[error("MLflow has not finished setting up {}", path.display())]
    Migrating {
        /// The file.
        path: PathBuf,
    },
    /// Another process kept the SQLite file locked for too long.
    #[error("{} stayed locked by another process", path.display())]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// The SQLite file or its directory, where the journal goes, may not be written by this user.
    #[error("{} cannot be written, but the LoggedModel has to be put into {}", place.display(), path.display())]
    ReadOnly {
        /// The file.
        path: PathBuf,
        /// The file, or its directory.
        place: PathBuf,
    },
    /// SQLite failed in another way.
    #[error("cannot use {}: {message}", path.display())]
    Database {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        message: String,
    },
}

impl StoreError {
    /// Returns whether the same request may succeed later though nobody corrected it: what is away comes back, what is missing is made
    /// by an app.
    ///
    /// The statuses are those that MLflow's own client retries (MLflow 3.17.2, `mlflow/utils/request_utils.py`).
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. }
            | Self::NoDatabase { .. }
            | Self::Migrating { .. }
            | Self::Locked { .. } => true,
            Self::Server { status, .. } => matches!(status, 408 | 429 | 500 | 502 | 503 | 504),
            _ => false,
        }
    }

    /// Returns whether a store that answers refuses what it was sent, so that it may take something else.
    pub fn is_rejection(&self) -> bool {
        matches!(self, Self::Rejected { .. } | Self::UnusableName { .. })
    }

    /// Returns whether waiting alone cannot mend it: somebody has to do something first, be it to run an app.
    pub fn is_lasting(&self) -> bool {
        match self {
            // A server or a way there that is being put right.
            Self::Server { .. } | Self::NotFound { .. } | Self::Database { .. } => false,
            // The app's first run makes it, which may wait for this answer.
            Self::NoDatabase { .. } => true,
            other => !other.is_transient(),
        }
    }

    /// Returns how long the server itself asks to wait before the next request (`Retry-After`).
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Server { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// Returns one line that says what to type or do next.
    pub fn hint(&self) -> String {
        match self {
            Self::Unreachable { .. } => "start the MLflow server, or correct MLFLOW_TRACKING_URI".into(),
            Self::Certificate { cause, .. } => certificate_hint(cause).into(),
            Self::CredentialsNotHere { remedy, .. } => remedy.clone(),
            Self::NoLogin { server } => format!("databricks auth login --host https://{server}, or a token in ~/.databrickscfg"),
            Self::CredentialsFile { path, .. } => format!("chmod 600 {}", path.display()),
            Self::PlainHttp { .. } => {
                "use an https:// tracking URI, or tracemark up --allow-http-credentials where the way there is safe".into()
            }
            Self::Login { .. } => "databricks auth login, then tracemark up".into(),
            Self::UnusableCredentials => {
                "correct MLFLOW_TRACKING_USERNAME, MLFLOW_TRACKING_PASSWORD or MLFLOW_TRACKING_TOKEN (a line end at its end?)".into()
            }
            Self::Refused { .. } => {
                "correct MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and _PASSWORD or the host's entry in ~/.netrc (Databricks: the profile in ~/.databrickscfg): a user who may write to the experiment".into()
            }
            Self::HostRefused { host } => format!(
                "the server's owner starts it with `mlflow server --allowed-hosts '{host}'`, or sets MLFLOW_SERVER_ALLOWED_HOSTS='{host}' there"
            ),
            Self::Rejected { .. } => "read the server's text above; tracemark status".into(),
            Self::Server { status: 429, .. } | Self::Server { retry_after: Some(_), .. } => {
                "wait: the server asks for a pause, and is tried again".into()
            }
            Self::Server { .. } => "look at the log of the MLflow server; it is tried again".into(),
            Self::Unsuitable { .. } => {
                "point MLFLOW_TRACKING_URI to an MLflow server or database of version 3.1 or newer, with its path prefix if it has one".into()
            }
            Self::Redirected { .. } => "put the address that is redirected to into MLFLOW_TRACKING_URI".into(),
            Self::InvalidAnswer(_) => "check that MLFLOW_TRACKING_URI names an MLflow server and no other service".into(),
            Self::ExperimentNotFound { .. } => "correct MLFLOW_EXPERIMENT_ID, or set MLFLOW_EXPERIMENT_NAME instead".into(),
            Self::ExperimentMismatch { .. } => "unset MLFLOW_EXPERIMENT_ID or MLFLOW_EXPERIMENT_NAME, then tracemark up".into(),
            Self::ExperimentPath { .. } => {
                "set MLFLOW_EXPERIMENT_NAME=/Users/you@example.com/app, or tracemark up --experiment with such a path".into()
            }
            Self::NoWorkspaces { .. } => {
                "unset MLFLOW_WORKSPACE; or the server's owner starts it with `mlflow server --enable-workspaces`".into()
            }
            Self::ExperimentDeleted { .. } => {
                "restore it with `mlflow experiments restore --experiment-id ID`, or set another MLFLOW_EXPERIMENT_NAME".into()
            }
            Self::NotFound { .. } => "it was deleted in MLflow; a new one is made when it is asked for again".into(),
            Self::UnusableName { .. } => r#"choose a name without / : . % " '"#.into(),
            Self::NoDatabase { .. } => "run the app once, so that its MLflow creates the database".into(),
            Self::Migrating { .. } => "wait until the app's first MLflow call has ended".into(),
            Self::Locked { .. } => "wait, or end the process that keeps it locked".into(),
            Self::ReadOnly { place, .. } => format!(
                "chmod u+w {}, if it is yours; or tracemark up --store with a file or server that you may write to",
                place.display()
            ),
            Self::Database { .. } => "check that the file is a SQLite database and that you may write to it and its directory".into(),
        }
    }
}

fn unnamed(name: Option<&str>) -> String {
    match name {
        None => "Databricks has no default experiment".to_owned(),
        Some(name) => format!(
            "{name:?} is no path in the Databricks workspace, as names of experiments are there"
        ),
    }
}

/// What can be wrong with a certificate: a word of rustls 0.23 (`CertificateError`, `AlertDescription`), what it means,
/// and what to do.
const CERTIFICATE_TROUBLES: [(&str, &str, &str); 8] = [
    ("NotValidYet", NOT_VALID_YET.0, NOT_VALID_YET.1),
    ("not valid yet", NOT_VALID_YET.0, NOT_VALID_YET.1),
    (
        "xpired",
        "the certificate has expired",
        "the server's owner renews its certificate; check the clock of this machine",
    ),
    (
        "CertificateRequired",
        CERTIFICATE_REQUIRED.0,
        CERTIFICATE_REQUIRED.1,
    ),
    (
        "certificate required",
        CERTIFICATE_REQUIRED.0,
        CERTIFICATE_REQUIRED.1,
    ),
    (
        "UnknownIssuer",
        "nobody who is trusted here has signed the server's certificate",
        "set MLFLOW_TRACKING_SERVER_CERT_PATH to a PEM file with the certificate of the server's CA, then tracemark up",
    ),
    (
        "CaUsedAsEndEntity",
        "the server's certificate is marked as a CA",
        "its owner makes one with -addext basicConstraints=critical,CA:FALSE (openssl req -x509 marks it as a CA)",
    ),
    (
        "alid for",
        "the server's certificate is made for another name",
        "use the name that the certificate is made for in MLFLOW_TRACKING_URI",
    ),
];
const NOT_VALID_YET: (&str, &str) = (
    "the certificate is not valid yet",
    "check the clock of this machine, and the server's certificate",
);
const CERTIFICATE_REQUIRED: (&str, &str) = (
    "the server asks for a certificate of ours",
    "set MLFLOW_TRACKING_CLIENT_CERT_PATH to a PEM file with your certificate and key, then tracemark up",
);

fn certificate_trouble(cause: &str) -> Option<&'static (&'static str, &'static str, &'static str)> {
    let mut known = CERTIFICATE_TROUBLES.iter();
    known.find(|(word, _, _)| cause.contains(word))
}

/// What the TLS layer said of a certificate, in plain words where it is a known trouble.
fn certificate_words(cause: &str) -> String {
    certificate_trouble(cause).map_or_else(|| cause.to_owned(), |(_, words, _)| (*words).to_owned())
}

fn certificate_hint(cause: &str) -> &'static str {
    certificate_trouble(cause).map_or(
        "check MLFLOW_TRACKING_SERVER_CERT_PATH and MLFLOW_TRACKING_CLIENT_CERT_PATH, then tracemark up",
        |(_, _, hint)| hint,
    )
}

/// The last cause of a chain: what the operating system or the peer did, without the layers in between.
pub(super) fn innermost(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    if std::error::Error::source(error).is_none() {
        clean("the request failed")
    } else {
        clean(&cause.to_string())
    }
}

/// Returns at most 200 characters of `text` on one line, with what a terminal could act on escaped.
pub(super) fn clean(text: &str) -> String {
    let text = text.trim();
    let mut cleaned = String::new();
    for c in text.chars().take(TEXT_LIMIT) {
        if is_hidden(c) {
            // Writing to a String cannot fail.
            let _written = write!(cleaned, "{}", c.escape_default());
        } else {
            cleaned.push(c);
        }
    }
    if text.chars().nth(TEXT_LIMIT).is_some() {
        cleaned.push('…');
    }
    cleaned
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_text_is_cut_and_escaped() {
        assert_eq!(clean("a\x1b[31mb\u{202e}c\n"), "a\\u{1b}[31mb\\u{202e}c");
        let long = clean(&"x".repeat(5000));
        assert_eq!(long.chars().count(), 201);
    }

    #[test]
    fn only_what_can_heal_by_itself_is_transient() {
        let server = |status| StoreError::Server {
            status,
            message: String::new(),
            retry_after: None,
        };
        assert!(server(503).is_transient());
        assert!(!server(501).is_transient());
        assert!(StoreError::NoDatabase { path: "x".into() }.is_transient());
        assert!(
            !StoreError::Refused {
                status: 403,
                message: String::new()
            }
            .is_transient()
        );
    }
}
