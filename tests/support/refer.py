"""Makes LoggedModels be referred to, each in another way, and prints what came of it as one JSON line.

`python3 refer.py` with REFER, a JSON object of ways and model ids; the ways are in WAYS.  Everything else
goes to stderr.
"""
import contextlib
import json
import os
import sys

import mlflow
from mlflow.entities import LoggedModelInput, LoggedModelOutput


def trace(model_id):
    """A trace; its id."""
    mlflow.set_active_model(model_id=model_id)
    with mlflow.start_span(name="work"):
        pass
    mlflow.flush_trace_async_logging()
    mlflow.clear_active_model()
    return mlflow.get_last_active_trace_id()


def trashed_trace(model_id):
    """A trace in an experiment that lies in the trash."""
    experiment = mlflow.create_experiment(f"trash-{model_id}")
    mlflow.set_experiment(experiment_id=experiment)
    made = trace(model_id)
    mlflow.delete_experiment(experiment)
    mlflow.set_experiment(os.environ["MLFLOW_EXPERIMENT_NAME"])
    return made


def use(run_id, model_id):
    """Say that a run used it, as `mlflow.genai.evaluate` does."""
    used = LoggedModelInput(model_id=model_id)
    mlflow.MlflowClient().log_inputs(run_id, models=[used])


def tagged(model_id):
    """A tag of a person's."""
    mlflow.MlflowClient().set_logged_model_tags(model_id, {"reviewed_by": "ann"})


def described(model_id):
    """A description, as MLflow's UI writes it."""
    mlflow.MlflowClient().set_logged_model_tags(model_id, {"mlflow.note.content": "the good one"})


def run_input(model_id):
    """A run that used it, as an evaluation does."""
    with mlflow.start_run() as run:
        use(run.info.run_id, model_id)
    return run.info.run_id


def run_output(model_id):
    """A run that says that it made it."""
    with mlflow.start_run() as run:
        output = LoggedModelOutput(model_id=model_id, step=0)
        mlflow.MlflowClient().log_outputs(run.info.run_id, models=[output])
    return run.info.run_id


def deleted_run(model_id):
    """A run that used it and lies in the trash, from where it can be restored."""
    run_id = run_input(model_id)
    mlflow.delete_run(run_id)
    return run_id


def resumed_run(model_id):
    """A run that was started long before the LoggedModel was made, and that used it later."""
    client = mlflow.MlflowClient()
    name = os.environ["MLFLOW_EXPERIMENT_NAME"]
    experiment = mlflow.get_experiment_by_name(name).experiment_id
    run_id = client.create_run(experiment, start_time=1).info.run_id
    client.set_terminated(run_id, end_time=2)
    with mlflow.start_run(run_id=run_id):
        use(run_id, model_id)
    return run_id


def metric(model_id):
    """A metric."""
    with mlflow.start_run() as run:
        mlflow.log_metric("m", 1.0, model_id=model_id)
    return run.info.run_id


def registered(model_id):
    """A registered version with an alias."""
    version = mlflow.register_model(f"models:/{model_id}", f"registered-{model_id}")
    mlflow.MlflowClient().set_registered_model_alias(version.name, "champion", version.version)
    return version.source


def untagged(model_id):
    """A registered version that the LoggedModel itself does not tell of."""
    registered(model_id)
    mlflow.MlflowClient().delete_logged_model_tag(model_id, "mlflow.modelVersions")


def by_place(model_id):
    """A registered version that names the files of the LoggedModel, as clients write it that know no other way."""
    client = mlflow.MlflowClient()
    name = f"placed-{model_id}"
    client.create_registered_model(name)
    source = mlflow.get_logged_model(model_id).artifact_location
    # A server wants to know whose files they are.
    owner = {} if mlflow.get_tracking_uri().startswith("sqlite") else {"model_id": model_id}
    return client.create_model_version(name, source, **owner).source


def prompt(model_id):
    """A prompt that was loaded while it was active."""
    client = mlflow.MlflowClient()
    version = client.register_prompt(f"prompt-{model_id}", "Be brief.")
    client.link_prompt_version_to_model(version.name, str(version.version), model_id)


WAYS = (
    tagged,
    described,
    trace,
    trashed_trace,
    run_input,
    run_output,
    deleted_run,
    resumed_run,
    metric,
    registered,
    untagged,
    by_place,
    prompt,
)


def main():
    """Do all that is asked for."""
    asked = json.loads(os.environ["REFER"])
    with contextlib.redirect_stdout(sys.stderr):
        made = {way.__name__: way(asked[way.__name__]) for way in WAYS}
    print(json.dumps(made), flush=True)


if __name__ == "__main__":
    main()
