//! What an app is told of the way to its store, beside the address: what `up` kept of its shell, none of it secret.

use std::ffi::OsString;
use std::path::PathBuf;

use super::Context;
use crate::config::Settings;
use crate::error::{Failure, FailureKind};
use crate::mlflow::{Connection, DatabricksPlace, Keys, workspace_address};
use crate::repository::Worktree;

/// Returns how the store of a repository is reached, as far as a record of `up` or a settings file says.
pub(super) fn connection(context: &Context, worktree: &Worktree) -> Connection {
    let record = context.registry().find(&worktree.common_dir).ok().flatten();
    let settings = record.and_then(|record| {
        Settings::load(
            &record.settings,
            &worktree.root,
            &context.paths.user_config(),
        )
        .ok()
    });
    settings.map_or_else(Connection::default, |settings| settings.connection)
}

/// Returns the variables by which MLflow and the Databricks SDK find the same server with the same certificates.
pub(super) fn variables(connection: &Connection, store: &str) -> Vec<(&'static str, OsString)> {
    let text = |value: &Option<String>| value.clone().map(OsString::from);
    let path = |value: &Option<PathBuf>| value.clone().map(OsString::from);
    let place = &connection.databricks;
    let found = if store.starts_with("databricks") {
        vec![
            ("DATABRICKS_HOST", text(&place.host)),
            ("DATABRICKS_CONFIG_PROFILE", text(&place.profile)),
            ("DATABRICKS_CONFIG_FILE", path(&place.config_file)),
            ("DATABRICKS_AUTH_TYPE", text(&place.auth_type)),
            ("DATABRICKS_CLI_PATH", path(&place.command_line)),
        ]
    } else {
        let insecure = connection.insecure_tls.then(|| OsString::from("true"));
        vec![
            (
                "MLFLOW_TRACKING_SERVER_CERT_PATH",
                path(&connection.server_cert),
            ),
            (
                "MLFLOW_TRACKING_CLIENT_CERT_PATH",
                path(&connection.client_cert),
            ),
            ("MLFLOW_TRACKING_INSECURE_TLS", insecure),
            ("MLFLOW_WORKSPACE", text(&connection.workspace)),
        ]
    };
    found
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect()
}

/// An id is of no use in another workspace than the one that it lives in: where an app that is started from this shell would
/// send its traces, given what [`variables`] adds where the shell names no server.
///
/// # Errors
/// [`Failure`] that names the variable that leads elsewhere.
pub(super) fn check_workspace(
    context: &Context,
    connection: &Connection,
    store: &str,
) -> Result<(), Failure> {
    let names_server = non_empty("MLFLOW_TRACKING_URI").is_some();
    if !store.starts_with("databricks") {
        let theirs = non_empty("MLFLOW_WORKSPACE").map(|name| name.trim().to_owned());
        let is_same = match &theirs {
            None => !names_server || connection.workspace.is_none(),
            _ => theirs == connection.workspace,
        };
        let is_server = store.starts_with("http");
        return match &connection.workspace {
            _ if is_same || !is_server => Ok(()),
            Some(ours) => Err(elsewhere("MLFLOW_WORKSPACE", "MLflow").hint(&format!(
                "export MLFLOW_WORKSPACE={ours}, or tracemark up to track it there"
            ))),
            None => Err(elsewhere("MLFLOW_WORKSPACE", "MLflow")
                .hint("unset MLFLOW_WORKSPACE, or tracemark up to track it there")),
        };
    }
    let place = &connection.databricks;
    let or_ours = |theirs: Option<String>, ours: &Option<String>| {
        theirs.or_else(|| ours.clone().filter(|_| !names_server))
    };
    let profile = non_empty("DATABRICKS_CONFIG_PROFILE");
    // A profile that this shell chose says where, and not what was kept.
    let kept_host = place.host.clone().filter(|_| profile.is_none());
    let theirs = DatabricksPlace {
        host: or_ours(non_empty("DATABRICKS_HOST"), &kept_host),
        profile: or_ours(profile, &place.profile),
        config_file: non_empty("DATABRICKS_CONFIG_FILE")
            .map(PathBuf::from)
            .or_else(|| place.config_file.clone().filter(|_| !names_server)),
        ..DatabricksPlace::default()
    };
    let keys = Keys::new(|_| None, &context.paths.home, context.paths.credentials());
    let profile = store.strip_prefix("databricks://");
    let address = |place| workspace_address(profile, place, &keys);
    let ours = address(place);
    if ours.is_some() && address(&theirs) == ours {
        return Ok(());
    }
    let names = [
        "DATABRICKS_HOST",
        "DATABRICKS_CONFIG_PROFILE",
        "DATABRICKS_CONFIG_FILE",
    ];
    let set = names.into_iter().find(|name| non_empty(name).is_some());
    Err(match set {
        Some(name) => elsewhere(name, "Databricks")
            .hint(&format!("unset {name}, or tracemark up to track it there")),
        None => Failure::new(
            FailureKind::Store,
            "no model id: this shell's Databricks profile is for another workspace than the one in which this repository is tracked",
        )
        .hint("unset MLFLOW_TRACKING_URI, or tracemark up to track it there"),
    })
}

fn elsewhere(name: &str, of: &str) -> Failure {
    let is_set = if non_empty(name).is_some() {
        format!("set to another {of} workspace")
    } else {
        format!("not set, so traces go to another {of} workspace")
    };
    Failure::new(
        FailureKind::Store,
        &format!(
            "no model id: {name} is {is_set} here than the one in which this repository is tracked"
        ),
    )
}

fn non_empty(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
