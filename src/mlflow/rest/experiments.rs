//! The experiments of a server, in the workspace that is meant.
//!
//! Makes one that is chosen by name and absent; knows no LoggedModel.

use reqwest::Method;

use super::rows::experiment_id;
use super::{EXPERIMENTS, Rest, SERVER_INFO};
use crate::mlflow::error::clean;
use crate::mlflow::{Experiment, ExperimentChoice, StoreError, wire};

impl Rest {
    pub(in crate::mlflow) async fn experiment(
        &self,
        choice: &ExperimentChoice,
    ) -> Result<Experiment, StoreError> {
        self.check_workspace().await?;
        match choice {
            ExperimentChoice::Name(name) if self.is_databricks && !name.starts_with('/') => {
                Err(StoreError::ExperimentPath {
                    name: Some(clean(name)),
                })
            }
            ExperimentChoice::Default if self.is_databricks => {
                Err(StoreError::ExperimentPath { name: None })
            }
            ExperimentChoice::Name(name) => self.experiment_named(name).await,
            ExperimentChoice::Id(id) => self.experiment_with_id(id.as_str()).await,
            ExperimentChoice::Default => self.experiment_with_id("0").await,
        }
    }

    async fn experiment_named(&self, name: &str) -> Result<Experiment, StoreError> {
        match self
            .get_experiment("get-by-name", "experiment_name", name)
            .await
        {
            Err(StoreError::NotFound { .. }) => {}
            answer => return answer,
        }
        let request = self.request(Method::POST, &[EXPERIMENTS, &["create"]]);
        match self
            .call::<wire::CreatedExperiment>(request.json(&wire::CreateExperiment { name }))
            .await
        {
            Ok(created) => {
                self.experiment_with_id(experiment_id(&created.experiment_id)?.as_str())
                    .await
            }
            Err(StoreError::Rejected { code, .. }) if code == "RESOURCE_ALREADY_EXISTS" => {
                self.get_experiment("get-by-name", "experiment_name", name)
                    .await
            }
            // On Databricks: the folder that the experiment shall lie in.
            Err(StoreError::NotFound { message }) => Err(StoreError::Rejected {
                status: 404,
                code: "RESOURCE_DOES_NOT_EXIST".to_owned(),
                message,
            }),
            Err(error) => Err(error),
        }
    }

    async fn experiment_with_id(&self, id: &str) -> Result<Experiment, StoreError> {
        match self.get_experiment("get", "experiment_id", id).await {
            Err(StoreError::NotFound { .. }) => {
                Err(StoreError::ExperimentNotFound { id: id.to_owned() })
            }
            Ok(other) if other.id.as_str() != id => Err(StoreError::InvalidAnswer(format!(
                "asked for experiment {id}, got another"
            ))),
            answer => answer,
        }
    }

    async fn get_experiment(
        &self,
        route: &str,
        parameter: &str,
        value: &str,
    ) -> Result<Experiment, StoreError> {
        let mut url = self.http.url(&[EXPERIMENTS, &[route]]);
        url.query_pairs_mut().append_pair(parameter, value);
        let request = self.http.request_to(Method::GET, url);
        let answer: wire::ExperimentAnswer = self.call(request).await?;
        let body = answer.experiment;
        if body.lifecycle_stage == "deleted" {
            return Err(StoreError::ExperimentDeleted { name: clean(value) });
        }
        Ok(Experiment {
            id: experiment_id(&body.experiment_id)?,
            name: body.name,
            artifact_location: body
                .artifact_location
                .filter(|location| !location.is_empty()),
        })
    }

    /// A server without workspaces ignores the header and would answer for everybody (MLflow's client refuses too).
    async fn check_workspace(&self) -> Result<(), StoreError> {
        let Some(workspace) = &self.workspace else {
            return Ok(());
        };
        let none = || StoreError::NoWorkspaces {
            workspace: clean(workspace),
        };
        let look = || async {
            let answer = self.call(self.request(Method::GET, &[SERVER_INFO])).await;
            match answer {
                Ok(wire::ServerInfo {
                    workspaces_enabled: true,
                }) => Ok(()),
                Ok(_) | Err(StoreError::Unsuitable { .. } | StoreError::NotFound { .. }) => {
                    Err(none())
                }
                Err(error) => Err(error),
            }
        };
        self.has_workspaces.get_or_try_init(look).await.copied()
    }
}
