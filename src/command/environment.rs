//! What this shell's environment says of naming, store and the way there, in MLflow's own variables.
//!
//! Takes no password and no token, and reads no file.

use std::path::PathBuf;

use super::app_variables::non_empty;
use crate::config::{ConnectionLayer, Layer};
use crate::error::{Failure, FailureKind};
use crate::mlflow::truth;

/// Settings and the variables that make them.
const VARIABLES: [(&str, &str); 5] = [
    ("naming", "TRACEMARK_NAMING"),
    ("app", "TRACEMARK_APP"),
    ("store.uri", "MLFLOW_TRACKING_URI"),
    ("store.experiment", "MLFLOW_EXPERIMENT_NAME"),
    ("store.experiment_id", "MLFLOW_EXPERIMENT_ID"),
];

/// Returns the variable that makes a setting.
pub(super) fn variable(key: &str) -> Option<&'static str> {
    let found = VARIABLES.iter().find(|(made, _)| *made == key);
    found.map(|(_, variable)| *variable)
}

/// Returns the settings that this shell's environment makes, but for the way to the server.
pub(super) fn layer() -> Layer {
    let of = |key: &str| variable(key).and_then(non_empty);
    let mut layer = Layer {
        naming: of("naming"),
        app: of("app"),
        ..Layer::default()
    };
    layer.store.uri = of("store.uri");
    layer.store.experiment = of("store.experiment");
    layer.store.experiment_id = of("store.experiment_id");
    layer
}

/// As [`layer`], with the way to the server that it names, or that `store` names where it names none.
pub(super) fn layer_for(store: Option<&str>) -> Result<Layer, Failure> {
    let mut layer = layer();
    if layer.store.uri.is_none() {
        layer.store.uri = store.map(str::to_owned);
    }
    let uri = layer.store.uri.as_deref().unwrap_or_default();
    layer.store.connection = connection(uri)?;
    Ok(layer)
}

/// Lays what was asked for over what is kept for a repository: naming a store takes the way there anew.
pub(super) fn over_kept(asked: Layer, mut kept: Layer) -> Layer {
    if asked.store.uri.is_some() {
        let is_other = asked.store.is_of_another_than(&kept.store);
        let allowed = kept.store.connection.allow_http_credentials;
        let allowed = allowed.filter(|_| !is_other);
        kept.store.connection = ConnectionLayer {
            allow_http_credentials: allowed,
            ..ConnectionLayer::default()
        };
    }
    asked.over(kept)
}

fn path(name: &str) -> Option<PathBuf> {
    let path = PathBuf::from(non_empty(name)?);
    Some(std::path::absolute(&path).unwrap_or(path))
}

/// What is kept of the environment: the daemon has no login shell. Passwords and tokens are not among it.
fn connection(uri: &str) -> Result<ConnectionLayer, Failure> {
    let is_databricks = uri.starts_with("databricks");
    let is_server = uri.starts_with("http://") || uri.starts_with("https://");
    let mut layer = ConnectionLayer::default();
    if is_databricks {
        layer.databricks_host = non_empty("DATABRICKS_HOST");
        layer.databricks_profile = non_empty("DATABRICKS_CONFIG_PROFILE");
        layer.databricks_config_file = path("DATABRICKS_CONFIG_FILE");
        layer.databricks_auth_type = non_empty("DATABRICKS_AUTH_TYPE");
        layer.databricks_cli_path = non_empty("DATABRICKS_CLI_PATH").map(PathBuf::from);
    }
    if is_server {
        let insecure = "MLFLOW_TRACKING_INSECURE_TLS";
        layer.insecure_tls = truth(insecure, non_empty(insecure))?;
        layer.server_cert = path("MLFLOW_TRACKING_SERVER_CERT_PATH");
        layer.client_cert = path("MLFLOW_TRACKING_CLIENT_CERT_PATH");
        layer.workspace = non_empty("MLFLOW_WORKSPACE").map(|name| name.trim().to_owned());
    }
    if is_databricks || is_server {
        layer.timeout = timeout()?;
        layer.proxy = proxy(uri);
        layer.no_proxy = non_empty("no_proxy").or_else(|| non_empty("NO_PROXY"));
        if layer.insecure_tls != Some(true) {
            // The `requests` library, which MLflow and the Databricks SDK use, reads these.
            let bundle = || path("REQUESTS_CA_BUNDLE").or_else(|| path("CURL_CA_BUNDLE"));
            layer.server_cert = layer.server_cert.or_else(bundle);
        }
    }
    Ok(layer)
}

fn timeout() -> Result<Option<u64>, Failure> {
    let name = "MLFLOW_HTTP_REQUEST_TIMEOUT";
    let Some(text) = non_empty(name) else {
        return Ok(None);
    };
    match text.trim().parse() {
        Ok(seconds) if seconds > 0 => Ok(Some(seconds)),
        _ => Err(Failure::new(
            FailureKind::Configuration,
            &format!("{name} is {text:?}, not a number of seconds"),
        )
        .hint(&format!("set {name}=20, or unset it"))),
    }
}

/// A proxy with a password in its address is not kept.
fn proxy(uri: &str) -> Option<String> {
    let scheme = if uri.starts_with("http://") {
        ["http_proxy", "HTTP_PROXY"]
    } else {
        ["https_proxy", "HTTPS_PROXY"]
    };
    let names = scheme.into_iter().chain(["all_proxy", "ALL_PROXY"]);
    let address = names.into_iter().find_map(non_empty)?;
    (!address.contains('@')).then_some(address)
}
