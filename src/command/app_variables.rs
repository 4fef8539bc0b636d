//! What an app is told of the way to its store, beside the address: what `up` kept of its shell, none of it secret.

use std::ffi::OsString;
use std::path::PathBuf;

use super::Context;
use crate::config::Settings;
use crate::error::{Failure, FailureKind};
use crate::mlflow::Connection;
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

/// An id is of no use in another workspace than the one that it lives in.
pub(super) fn check_workspace(connection: &Connection, store: &str) -> Result<(), Failure> {
    let place = &connection.databricks;
    let ours = [
        ("DATABRICKS_HOST", &place.host),
        ("DATABRICKS_CONFIG_PROFILE", &place.profile),
    ];
    for (name, ours) in ours {
        // A profile in the tracking URI beats the variable, as in MLflow.
        if !store.starts_with("databricks") || name.ends_with("PROFILE") && store != "databricks" {
            continue;
        }
        let Some(theirs) = std::env::var(name).ok().filter(|theirs| !theirs.is_empty()) else {
            continue;
        };
        let plain = |text: &str| {
            let text = text.trim().trim_end_matches('/');
            text.strip_prefix("https://").unwrap_or(text).to_owned()
        };
        if ours.as_deref().map(plain) != Some(plain(&theirs)) {
            return Err(Failure::new(
                FailureKind::Store,
                &format!("no model id: {name} is set to another Databricks workspace here than the one in which this repository is tracked"),
            )
            .hint(&format!("unset {name}, or tracemark up to track it there")));
        }
    }
    Ok(())
}
