//! What MLflow itself says of every run of the app, held against what was promised.
//!
//! Asks MLflow's own client: no word of tracemark counts for what it shows.

use std::collections::BTreeMap;

use super::runner::PYTHON_LIMIT;
use super::sandbox::Sandbox;
use super::words::{indented, last_line, negative, quoted, short, shown};
use crate::error::Failure;
use crate::protocol::Active;

const TRACES: &str = include_str!("traces.py");

/// A version that the app was run under.
pub(super) struct Version {
    pub(super) what: String,
    pub(super) name: String,
    pub(super) model_id: String,
    pub(super) trace_id: String,
}

/// Ids of traces, by the model that they are linked to.
type Linked = BTreeMap<String, Vec<String>>;

/// Shows the traces of every version, and fails where one is not linked to its code.
pub(super) fn show(
    sandbox: &Sandbox,
    active: &Active,
    versions: &[Version],
) -> Result<(), Failure> {
    let linked = linked_traces(sandbox, active, versions)?;
    row("version", "code", "model id", "traces")?;
    for version in versions {
        let traces = linked.get(&version.model_id).map_or(0, Vec::len);
        row(
            &short(&version.name),
            &version.what,
            &version.model_id,
            &traces.to_string(),
        )?;
    }
    check_links(versions, &linked)?;
    let runs = versions.len();
    indented(&format!(
        "{runs} of {runs} runs are linked to exactly their code."
    ))
}

pub(super) fn show_how_to_count(
    sandbox: &Sandbox,
    active: &Active,
    versions: &[Version],
) -> Result<(), Failure> {
    let example = versions.last().map_or("", |one| &one.model_id);
    let code = format!(
        "import mlflow; print(len(mlflow.search_traces(locations=[\"{}\"], filter_string=\"metadata.`mlflow.modelId` = \\\"{example}\\\"\")))",
        experiment(active),
    );
    indented("To count again, for any of these ids:")?;
    shown(&format!(
        "MLFLOW_TRACKING_URI={} {} -c '{code}'",
        quoted(&active.store),
        quoted(sandbox.python())
    ))
}

fn row(version: &str, code: &str, model_id: &str, traces: &str) -> Result<(), Failure> {
    indented(&format!(
        "{version:<23}  {code:<21}  {model_id:<34}  {traces}"
    ))
}

fn linked_traces(
    sandbox: &Sandbox,
    active: &Active,
    versions: &[Version],
) -> Result<Linked, Failure> {
    let mut command = sandbox.child(&sandbox.python());
    command
        .args(["-c", TRACES, experiment(active)])
        .args(versions.iter().map(|version| &version.model_id))
        .env("MLFLOW_TRACKING_URI", &active.store);
    let done = sandbox.runner.run(&mut command, PYTHON_LIMIT)?;
    let done = done.checked("mlflow.search_traces")?;
    serde_json::from_str(last_line(&done.stdout).unwrap_or_default())
        .map_err(|error| negative(&format!("mlflow.search_traces gave no answer: {error}")))
}

fn experiment(active: &Active) -> &str {
    active.experiment_id.as_deref().unwrap_or("0")
}

fn check_links(versions: &[Version], linked: &Linked) -> Result<(), Failure> {
    for version in versions {
        let traces = linked.get(&version.model_id).map_or(&[][..], Vec::as_slice);
        if traces != [version.trace_id.as_str()] {
            return Err(negative(&format!(
                "{}: trace {} should be the one linked to {}, MLflow finds {traces:?}",
                version.what, version.trace_id, version.model_id
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_that_is_linked_elsewhere_fails_the_demo() {
        let version = Version {
            what: "edit 1".to_owned(),
            name: "n".to_owned(),
            model_id: "m-1".to_owned(),
            trace_id: "tr-1".to_owned(),
        };
        let of = |traces: &[&str]| {
            let traces = traces.iter().map(|id| (*id).to_owned()).collect();
            BTreeMap::from([("m-1".to_owned(), traces)])
        };
        let versions = [version];
        assert!(check_links(&versions, &of(&["tr-1"])).is_ok());
        for wrong in [&[][..], &["tr-2"], &["tr-1", "tr-2"]] {
            assert!(check_links(&versions, &of(wrong)).is_err());
        }
    }
}
