//! How a server is reached: certificates, proxies, time limits, workspace. Reads certificate files when a client is set
//! up; blocks for as long as that takes.
//!
//! Sends nothing and signs nothing. A `Connection` holds no secret.

use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::{Certificate, Client, ClientBuilder, Identity, NoProxy, Proxy};
use url::{Host, Url};

use super::credentials::Keys;
use super::error::{clean, innermost};

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a request may take in all where nobody says otherwise.
const TOTAL_TIMEOUT: Duration = Duration::from_secs(20);
/// Below the five seconds after which uvicorn, MLflow's web server, closes an idle connection.
const IDLE_TIMEOUT: Duration = Duration::from_secs(4);

/// How a tracking server is reached, beside its address.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Connection {
    /// A PEM file with the certificates to trust instead of the system's.
    pub server_cert: Option<PathBuf>,
    /// A PEM file with our own certificate and its key.
    pub client_cert: Option<PathBuf>,
    /// Whether the server's certificate is not checked at all.
    pub insecure_tls: bool,
    /// The MLflow workspace.
    pub workspace: Option<String>,
    /// How long one request may take.
    pub timeout: Option<Duration>,
    /// The proxy, instead of the one that this process's environment names.
    pub proxy: Option<String>,
    /// What is reached without that proxy, as in `NO_PROXY`.
    pub no_proxy: Option<String>,
    /// Whether a password or token may be sent over plain http to another machine.
    pub allow_http_credentials: bool,
    /// Where a Databricks workspace is.
    pub databricks: DatabricksPlace,
    /// The names of the variables with a password or token that `up` saw.
    pub credentials_seen: Vec<String>,
}

/// What the environment of `up` said of a Databricks workspace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DatabricksPlace {
    /// Its address.
    pub host: Option<String>,
    /// The profile to use where the tracking URI names none.
    pub profile: Option<String>,
    /// The file of profiles, instead of `~/.databrickscfg`.
    pub config_file: Option<PathBuf>,
    /// The kind of login, in the Databricks SDK's own word.
    pub auth_type: Option<String>,
    /// The `databricks` command, instead of the one on the PATH.
    pub command_line: Option<PathBuf>,
}

/// Everything beside its address that it takes to talk to a store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Access {
    /// How it is reached.
    pub connection: Connection,
    /// Where credentials are looked for.
    pub keys: Keys,
}

/// Why a server cannot be talked to as it is configured.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AccessError {
    /// The HTTP client cannot be set up.
    #[error("cannot set up the HTTP client: {cause}")]
    Client {
        /// What the HTTP library said.
        cause: String,
    },
    /// A certificate file cannot be used.
    #[error("cannot use the certificates in {}: {cause}", path.display())]
    CertificateFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// The server's certificate shall be checked and not be checked.
    #[error("MLFLOW_TRACKING_INSECURE_TLS and MLFLOW_TRACKING_SERVER_CERT_PATH exclude each other")]
    InsecureAndChecked,
    /// The proxy is no URL.
    #[error("the proxy's address cannot be used: {cause}")]
    Proxy {
        /// What is wrong with it.
        cause: String,
    },
    /// The workspace cannot be written in a header.
    #[error("{workspace:?} cannot be the name of an MLflow workspace")]
    Workspace {
        /// The name.
        workspace: String,
    },
    /// A way to sign requests that only MLflow's own client knows.
    #[error("{variable} is set, which only MLflow's own Python client can do")]
    Unsupported {
        /// The variable.
        variable: &'static str,
    },
    /// The profile is in no file.
    #[error("{} has no profile {profile:?}", file.display())]
    NoProfile {
        /// The profile.
        profile: String,
        /// The file that was looked into.
        file: PathBuf,
    },
    /// Nothing says where the Databricks workspace is.
    #[error("no Databricks workspace: neither DATABRICKS_HOST nor a profile of {} says where it is", file.display())]
    NoHost {
        /// The file that was looked into.
        file: PathBuf,
    },
    /// The workspace's address is no URL of a server.
    #[error("the address of the Databricks workspace cannot be used: {cause}")]
    Host {
        /// What is wrong with it.
        cause: String,
    },
    /// A kind of Databricks login that only Databricks' own SDK knows.
    #[error("Databricks logins of the kind {kind:?} are not supported")]
    Login {
        /// The kind, in the SDK's own word.
        kind: String,
    },
    /// Two kinds of login are configured and nothing says which one counts.
    #[error("more than one Databricks login is configured: {kinds}")]
    Logins {
        /// The kinds.
        kinds: String,
    },
}

impl AccessError {
    /// Returns one line that says what to type or do next.
    pub fn hint(&self) -> String {
        match self {
            Self::Client { .. } => "install the system's CA certificates, or use an http:// tracking URI".into(),
            Self::CertificateFile { .. } => {
                "MLFLOW_TRACKING_SERVER_CERT_PATH is a PEM file of certificates, MLFLOW_TRACKING_CLIENT_CERT_PATH one of a certificate and its key; then tracemark up".into()
            }
            Self::InsecureAndChecked => "unset MLFLOW_TRACKING_INSECURE_TLS, then tracemark up".into(),
            Self::Proxy { .. } => "correct HTTPS_PROXY or HTTP_PROXY, http://HOST:PORT, then tracemark up".into(),
            Self::Workspace { .. } => "correct MLFLOW_WORKSPACE, then tracemark up".into(),
            Self::Unsupported { variable } => format!(
                "unset {variable} and set MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, if the server takes them; or point MLFLOW_TRACKING_URI to a proxy on this machine that signs"
            ),
            Self::NoProfile { .. } => "databricks auth login --profile NAME, or correct MLFLOW_TRACKING_URI or DATABRICKS_CONFIG_PROFILE".into(),
            Self::NoHost { .. } | Self::Host { .. } => {
                "databricks auth login --host https://WORKSPACE, or set DATABRICKS_HOST=https://WORKSPACE, then tracemark up".into()
            }
            Self::Login { .. } => {
                "use a personal access token, a service principal (client_id, client_secret), or databricks auth login with auth_type = databricks-cli".into()
            }
            Self::Logins { .. } => "keep one of them, or set auth_type in the profile (pat, oauth-m2m, databricks-cli)".into(),
        }
    }
}

impl Connection {
    /// Returns the client: it follows no redirect, repeats no request, and gives up after a time.
    pub(super) fn client(&self, base: &Url, headers: HeaderMap) -> Result<Client, AccessError> {
        if self.insecure_tls && self.server_cert.is_some() {
            return Err(AccessError::InsecureAndChecked);
        }
        with_ciphers();
        let total = self.timeout.unwrap_or(TOTAL_TIMEOUT);
        let builder = Client::builder()
            .user_agent(concat!("tracemark/", env!("CARGO_PKG_VERSION")))
            .default_headers(headers)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .connect_timeout(CONNECT_TIMEOUT.min(total))
            .timeout(total)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .referer(false);
        let builder = self.with_proxy(builder, base)?;
        let builder = match base.scheme() {
            // Without TLS no CA certificates are read, which costs time and fails where a system has none.
            "http" => builder.tls_certs_only([]),
            _ => self.with_certificates(builder)?,
        };
        builder.build().map_err(|error| AccessError::Client {
            cause: innermost(&error),
        })
    }

    /// What this machine itself serves is never asked for elsewhere.
    fn with_proxy(&self, builder: ClientBuilder, base: &Url) -> Result<ClientBuilder, AccessError> {
        if is_loopback(base) {
            return Ok(builder.no_proxy());
        }
        let Some(address) = &self.proxy else {
            return Ok(builder);
        };
        let except = self.no_proxy.as_deref().and_then(NoProxy::from_string);
        let proxy = Proxy::all(address).map_err(|error| AccessError::Proxy {
            cause: innermost(&error),
        })?;
        Ok(builder.proxy(proxy.no_proxy(except)))
    }

    fn with_certificates(&self, builder: ClientBuilder) -> Result<ClientBuilder, AccessError> {
        let builder = match &self.server_cert {
            Some(path) => builder.tls_certs_only(trusted(path)?),
            None => builder.tls_danger_accept_invalid_certs(self.insecure_tls),
        };
        Ok(match &self.client_cert {
            Some(path) => builder.identity(identity(path)?),
            None => builder,
        })
    }
}

/// Whoever comes first chooses for the whole process; the next finds it done.
fn with_ciphers() {
    if rustls::crypto::CryptoProvider::get_default().is_none()
        && rustls::crypto::ring::default_provider()
            .install_default()
            .is_err()
    {
        tracing::debug!("another thread has just chosen the ciphers");
    }
}

fn trusted(path: &Path) -> Result<Vec<Certificate>, AccessError> {
    let found = Certificate::from_pem_bundle(&read(path)?)
        .map_err(|error| unusable(path, &innermost(&error)))?;
    if found.is_empty() {
        return Err(unusable(path, "no certificate in it"));
    }
    Ok(found)
}

fn identity(path: &Path) -> Result<Identity, AccessError> {
    Identity::from_pem(&read(path)?).map_err(|error| unusable(path, &innermost(&error)))
}

fn read(path: &Path) -> Result<Vec<u8>, AccessError> {
    std::fs::read(path).map_err(|error| unusable(path, &error.to_string()))
}

fn unusable(path: &Path, cause: &str) -> AccessError {
    AccessError::CertificateFile {
        path: path.to_owned(),
        cause: clean(cause),
    }
}

/// Whether a server is reached without leaving this machine.
pub(super) fn is_loopback(base: &Url) -> bool {
    match base.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// Returns host and, where the URL has one, port: what names a server in messages and in our credentials file.
pub(super) fn authority(base: &Url) -> String {
    let host = base.host_str().unwrap_or_default();
    base.port()
        .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}
