//! The small `MLmodel` file of a LoggedModel, to where a server keeps artifacts.
//!
//! Replaces none, and never fails for it: what became of it is the answer.

use std::time::SystemTime;

use reqwest::Method;

use super::{ARTIFACTS, Rest};
use crate::mlflow::connection::is_loopback;
use crate::mlflow::mlmodel::{self, Place};
use crate::mlflow::{Found, ModelFile};

impl Rest {
    pub(super) async fn write_model_file(&self, found: &Found) -> ModelFile {
        let Some(location) = &found.artifact_location else {
            return ModelFile::Skipped;
        };
        let text = mlmodel::text(location, &found.model_id, SystemTime::now());
        match Place::of(location, &found.model_id) {
            Place::Proxied(segments) => self.upload(&segments, text).await,
            Place::Local(dir) if self.shares_disk(&dir) => {
                let written =
                    tokio::task::spawn_blocking(move || mlmodel::write(&dir, &text)).await;
                written.unwrap_or_else(|error| ModelFile::Failed(error.to_string()))
            }
            Place::Local(_) | Place::Elsewhere => ModelFile::Skipped,
        }
    }

    async fn upload(&self, segments: &[String], text: String) -> ModelFile {
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let request = self.request(Method::PUT, &[ARTIFACTS, &segments, &[mlmodel::FILE_NAME]]);
        match self.send(request.body(text)).await {
            Ok(_) => ModelFile::Written,
            Err(error) => ModelFile::Failed(error.to_string()),
        }
    }

    /// Whether a directory that the server names is one of this machine: the server is reached on the loopback
    /// interface, and the directory above the experiment's (`…/mlruns` of `…/mlruns/0/models/{id}/artifacts`) exists.
    fn shares_disk(&self, dir: &std::path::Path) -> bool {
        is_loopback(self.http.base()) && dir.ancestors().nth(4).is_some_and(std::path::Path::is_dir)
    }
}
