"""Evaluates the sample app of app.py under the active version that the environment names.

`python3 evaluate.py` with MLFLOW_ACTIVE_MODEL_ID, OPENAI_BASE_URL and OPENAI_API_KEY: evaluates
without and with an explicit model id, logs the metric `m` in a run of its own, and prints one JSON
line that says what MLflow linked to the version.  Everything else goes to stderr.

An evaluation with an explicit id makes that id the active one for what follows.  So `m` is logged
twice: before it, when only the environment names the version (`metric_models_env`), and at the
end (`metric_models`).
"""
import contextlib
import json
import os
import sys

import mlflow

from app import my_app

DATASET = [{"inputs": {"input": "What is the most common aggregate function in SQL?"}}]


@mlflow.genai.scorer
def not_empty(outputs):
    """Whether the app answered at all."""
    return bool(outputs)


def evaluate(**extra):
    """One evaluation; the id of its run."""
    result = mlflow.genai.evaluate(data=DATASET, predict_fn=my_app, scorers=[not_empty], **extra)
    return result.run_id


def log_metric():
    """Log the metric `m` in a new run; the id of that run."""
    with mlflow.start_run() as run:
        mlflow.log_metric("m", 1.0)
    return run.info.run_id


def model_of_trace(trace):
    """The version that a trace is linked to, or None."""
    return trace.info.trace_metadata.get("mlflow.modelId")


def links_of(run_id, model_id):
    """What an evaluation's run and its traces say about their version."""
    run = mlflow.get_run(run_id)
    inputs = [entry.model_id for entry in run.inputs.model_inputs]
    traces = mlflow.search_traces(
        locations=[run.info.experiment_id], run_id=run_id, return_type="list"
    )
    models = [model_of_trace(trace) for trace in traces]
    return {
        "run_id": run_id,
        "run_inputs": inputs,
        "run_linked": inputs == [model_id],
        "trace_models": models,
        "traces_linked": bool(models) and all(model == model_id for model in models),
    }


def models_with_metric(run_id):
    """Ids of the versions that carry `m` from this run, out of all of the run's experiment."""
    experiment = mlflow.get_run(run_id).info.experiment_id
    known = mlflow.search_logged_models(experiment_ids=[experiment], output_format="list")
    models = [mlflow.get_logged_model(model.model_id) for model in known]
    return [
        model.model_id
        for model in models
        if any(metric.key == "m" and metric.run_id == run_id for metric in model.metrics or [])
    ]


def report():
    """Do everything; the document to print."""
    model_id = os.environ["MLFLOW_ACTIVE_MODEL_ID"]
    runs = [evaluate()]
    metric_run_env = log_metric()
    runs.append(evaluate(model_id=model_id))
    metric_run = log_metric()
    mlflow.flush_trace_async_logging()
    return {
        "eval_run_ids": runs,
        "linked": [links_of(run, model_id) for run in runs],
        "metric_run_id": metric_run,
        "metric_models_env": models_with_metric(metric_run_env),
        "metric_models": models_with_metric(metric_run),
    }


if __name__ == "__main__":
    with contextlib.redirect_stdout(sys.stderr):
        document = report()
    print(json.dumps(document), flush=True)
