//! The small `MLmodel` file of a LoggedModel that has no artifacts of its own: its text and its place. Blocks while
//! it writes; an existing file is never replaced.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Component, Path, PathBuf};
use std::time::SystemTime;

use url::Url;

use super::ModelFile;
use super::error::clean;
use crate::ids::ModelId;

pub(super) const FILE_NAME: &str = "MLmodel";

/// The version of MLflow whose file this is.
const FORMAT_VERSION: &str = "3.17.2";

/// Where the artifacts of a LoggedModel are.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Served by the tracking server; the path below its artifact root.
    Proxied(Vec<String>),
    /// A directory of this machine.
    Local(PathBuf),
    /// Anywhere else.
    Elsewhere,
}

impl Place {
    /// Returns the place that an artifact location names. One that does not end in `models/{id}/artifacts`, as
    /// MLflow makes them (3.17.2, `create_logged_model` of `mlflow/store/tracking/sqlalchemy_store.py`), or that
    /// climbs, is [`Place::Elsewhere`]: nothing is written to a path that only a server's word stands for.
    pub(super) fn of(location: &str, id: &ModelId) -> Self {
        if location.contains(char::is_control) {
            return Self::Elsewhere;
        }
        if let Some(path) = location.strip_prefix("mlflow-artifacts:") {
            return proxied(path, id).map_or(Self::Elsewhere, Self::Proxied);
        }
        local(location)
            .filter(|dir| is_artifact_dir(dir, id))
            .map_or(Self::Elsewhere, Self::Local)
    }
}

/// `mlflow-artifacts://host/…` names another server, which the credentials at hand are not for.
fn proxied(path: &str, id: &ModelId) -> Option<Vec<String>> {
    if path
        .strip_prefix("//")
        .is_some_and(|rest| !rest.starts_with('/'))
        || path.contains(['?', '#', '%'])
    {
        return None;
    }
    let segments: Vec<String> = path
        .split('/')
        .filter(|part| !part.is_empty())
        .map(str::to_owned)
        .collect();
    let climbs = segments.iter().any(|part| part == "." || part == "..");
    let ours = segments.ends_with(&["models".to_owned(), id.to_string(), "artifacts".to_owned()]);
    (ours && !climbs).then_some(segments)
}

fn local(location: &str) -> Option<PathBuf> {
    if location.starts_with('/') {
        return Some(PathBuf::from(location));
    }
    let url = Url::parse(location)
        .ok()
        .filter(|url| url.scheme() == "file")?;
    url.to_file_path().ok()
}

fn is_artifact_dir(dir: &Path, id: &ModelId) -> bool {
    let tail = Path::new("models").join(id.as_str()).join("artifacts");
    let plain = dir
        .components()
        .all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    dir.is_absolute() && plain && dir.ends_with(tail)
}

/// Returns the file's text: the keys that `create_external_model` of MLflow 3.17.2 writes.
pub(super) fn text(location: &str, id: &ModelId, now: SystemTime) -> String {
    format!(
        "artifact_path: {path}\n\
         flavors: {{}}\n\
         is_signature_from_type_hint: false\n\
         metadata:\n  mlflow.model.isExternal: true\n\
         mlflow_version: {FORMAT_VERSION}\n\
         model_id: '{id}'\n\
         model_uuid: '{id}'\n\
         prompts: null\n\
         signature:\n\
         \x20 inputs: '[{{\"type\": \"boolean\", \"required\": true}}]'\n\
         \x20 outputs: '[{{\"type\": \"boolean\", \"required\": true}}]'\n\
         \x20 params: null\n\
         type_hint_from_example: false\n\
         utc_time_created: '{time}'\n",
        path = quoted(location),
        time = crate::unix_time::utc(now),
    )
}

/// A YAML single-quoted scalar (YAML 1.1, section 9.1.2).
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Writes the file into `dir`, which is created, unless it is there already.
pub(super) fn write(dir: &Path, text: &str) -> ModelFile {
    match try_write(dir, text) {
        Ok(()) => ModelFile::Written,
        Err(error) => ModelFile::Failed(clean(&format!(
            "{}: {error}",
            dir.join(FILE_NAME).display()
        ))),
    }
}

fn try_write(dir: &Path, text: &str) -> std::io::Result<()> {
    std::fs::create_dir_all(dir)?;
    // The umask still applies: a tracking server of another user reads the file as it reads MLflow's own.
    let permissions = std::fs::Permissions::from_mode(0o666);
    let mut file = tempfile::Builder::new()
        .prefix(".MLmodel-")
        .permissions(permissions)
        .tempfile_in(dir)?;
    file.write_all(text.as_bytes())?;
    match file.persist_noclobber(dir.join(FILE_NAME)) {
        Ok(_) => Ok(()),
        Err(failed) if failed.error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(failed) => Err(failed.error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id() -> ModelId {
        "m-1".parse().unwrap()
    }

    #[test]
    fn only_places_that_mlflow_makes_are_written_to() {
        let proxied = ["1", "models", "m-1", "artifacts"]
            .map(String::from)
            .to_vec();
        assert_eq!(
            Place::of("mlflow-artifacts:/1/models/m-1/artifacts", &id()),
            Place::Proxied(proxied)
        );
        let dir = || Place::Local("/a b/mlruns/0/models/m-1/artifacts".into());
        assert_eq!(
            Place::of("/a b/mlruns/0/models/m-1/artifacts", &id()),
            dir()
        );
        assert_eq!(
            Place::of("file:///a%20b/mlruns/0/models/m-1/artifacts", &id()),
            dir()
        );
        for text in [
            "mlflow-artifacts://evil/1/models/m-1/artifacts",
            "mlflow-artifacts:/1/../models/m-1/artifacts",
            "mlflow-artifacts:/1/models/m-2/artifacts",
            "/root/.ssh",
            "/x/../models/m-1/artifacts",
            "mlruns/0/models/m-1/artifacts",
            "s3://b/0/models/m-1/artifacts",
            "",
        ] {
            assert_eq!(Place::of(text, &id()), Place::Elsewhere, "{text}");
        }
    }

    #[test]
    fn an_existing_file_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("a/b");
        assert_eq!(write(&deep, "one"), ModelFile::Written);
        assert_eq!(write(&deep, "two"), ModelFile::Written);
        assert_eq!(
            std::fs::read_to_string(deep.join(FILE_NAME)).unwrap(),
            "one"
        );
        assert_eq!(std::fs::read_dir(&deep).unwrap().count(), 1);
    }
}
