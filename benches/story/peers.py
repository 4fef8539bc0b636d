"""What MLflow's own ways take: `peers.py REPOSITORY DATABASE`; one JSON line with medians in milliseconds.

`set_active_model` is called with names that exist, as an app does at its start; `enable_git_model_versioning`
looks at the repository around the current directory, and is switched off again after each call.
"""
import json
import os
import statistics
import sys
import time

os.chdir(sys.argv[1])
os.environ.update(MLFLOW_TRACKING_URI=f"sqlite:///{sys.argv[2]}", MLFLOW_DISABLE_TELEMETRY="true")
import mlflow  # noqa: E402
import mlflow.genai  # noqa: E402


def median(work, times=11):
    def took():
        began = time.perf_counter()
        work()
        return (time.perf_counter() - began) * 1000

    return statistics.median(took() for _ in range(times))


def git_versioning():
    mlflow.genai.enable_git_model_versioning()
    mlflow.genai.disable_git_model_versioning()


mlflow.set_active_model(name="known")
print(json.dumps({
    "set_active_model": median(lambda: mlflow.set_active_model(name="known")),
    "enable_git_model_versioning": median(git_versioning),
}))
