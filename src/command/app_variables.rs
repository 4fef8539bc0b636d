//! What an app is told of the way to its store, beside the address: what `up` kept of its shell, none of it secret; and
//! whether this shell sends the app to another workspace. Asks no server.

use std::ffi::OsString;
use std::path::PathBuf;

use super::Context;
use crate::config::Settings;
use crate::error::{Failure, FailureKind};
use crate::mlflow::{Connection, DatabricksPlace, Keys, workspace_address};
use crate::repository::Worktree;

/// Names the MLflow workspace.
const WORKSPACE: &str = "MLFLOW_WORKSPACE";
/// Say where a Databricks workspace is: its host, a profile, the file of profiles.
const PLACES: [&str; 3] = [
    "DATABRICKS_HOST",
    "DATABRICKS_CONFIG_PROFILE",
    "DATABRICKS_CONFIG_FILE",
];

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
    if store.starts_with("http") {
        return check_mlflow(connection.workspace.as_deref());
    }
    match store.strip_prefix("databricks") {
        Some(rest) => check_databricks(context, &connection.databricks, rest.strip_prefix("://")),
        None => Ok(()),
    }
}

fn check_mlflow(ours: Option<&str>) -> Result<(), Failure> {
    let theirs = non_empty(WORKSPACE);
    let is_same = match &theirs {
        None => ours.is_none() || !names_server(),
        Some(theirs) => Some(theirs.trim()) == ours,
    };
    if is_same {
        return Ok(());
    }
    let change = ours.map_or_else(
        || format!("unset {WORKSPACE}"),
        |ours| format!("export {WORKSPACE}={ours}"),
    );
    Err(elsewhere(WORKSPACE, "MLflow")
        .hint(&format!("{change}, or tracemark up to track it there")))
}

fn check_databricks(
    context: &Context,
    ours: &DatabricksPlace,
    profile: Option<&str>,
) -> Result<(), Failure> {
    let keys = Keys::new(|_| None, &context.paths.home, context.paths.credentials());
    let address = |place: &DatabricksPlace| workspace_address(profile, place, &keys);
    let here = address(&of_app(ours));
    if here.is_some() && here == address(ours) {
        return Ok(());
    }
    let set = PLACES.into_iter().find(|name| non_empty(name).is_some());
    let name = set.unwrap_or("MLFLOW_TRACKING_URI");
    let failure = match set {
        Some(name) => elsewhere(name, "Databricks"),
        None => Failure::new(
            FailureKind::Store,
            "no model id: this shell's Databricks profile is for another workspace than the one in which this repository is tracked",
        ),
    };
    Err(failure.hint(&format!("unset {name}, or tracemark up to track it there")))
}

/// Returns where an app finds its Databricks workspace: what this shell says, else what was `kept` where it names no server.
fn of_app(kept: &DatabricksPlace) -> DatabricksPlace {
    let [host, profile, file] = PLACES.map(non_empty);
    // A profile that this shell chose says where, and not what was kept.
    let kept_host = kept.host.clone().filter(|_| profile.is_none());
    let or_kept = |theirs: Option<String>, kept: Option<String>| {
        theirs.or_else(|| kept.filter(|_| !names_server()))
    };
    DatabricksPlace {
        host: or_kept(host, kept_host),
        profile: or_kept(profile, kept.profile.clone()),
        config_file: match file {
            Some(file) => Some(PathBuf::from(file)),
            None => kept.config_file.clone().filter(|_| !names_server()),
        },
        ..DatabricksPlace::default()
    }
}

fn names_server() -> bool {
    non_empty("MLFLOW_TRACKING_URI").is_some()
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

/// Returns a variable of this shell; an empty one counts as unset.
pub(super) fn non_empty(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
