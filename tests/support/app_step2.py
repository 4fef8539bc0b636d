"""The sample app of the MLflow guide with step 2: one version for each commit.

The version is named `customer_support_agent-git-<8 hex>`, or `customer_support_agent-local-dev`
outside a repository.  Usage, environment and the JSON line as in app_helper.py.
"""
import json
import os
import subprocess
import sys

import mlflow
from openai import OpenAI

mlflow.openai.autolog()

APP_NAME = "customer_support_agent"


def version_identifier():
    """The commit of the working directory's repository, shortened."""
    command = ["git", "rev-parse", "HEAD"]
    try:
        commit = subprocess.check_output(command, stderr=subprocess.DEVNULL).decode("ascii").strip()
    except subprocess.CalledProcessError:
        return "local-dev"
    return f"git-{commit[:8]}"


active_model_info = mlflow.set_active_model(name=f"{APP_NAME}-{version_identifier()}")

client = OpenAI(
    api_key=os.environ["OPENAI_API_KEY"],
    base_url=os.environ["OPENAI_BASE_URL"],
)


@mlflow.trace
def my_app(input: str):
    """Ask the model."""
    response = client.chat.completions.create(
        model="gpt-4o",
        messages=[
            {"role": "system", "content": "You are a helpful assistant."},
            {"role": "user", "content": input},
        ],
    )
    return response.choices[0].message.content


def flush():
    """Wait until the traces are stored."""
    if hasattr(mlflow, "flush_trace_async_logging"):
        mlflow.flush_trace_async_logging()


def main():
    """Call the app once and tell what MLflow saw."""
    answer = my_app(input=sys.argv[1] if len(sys.argv) > 1 else "What is MLflow?")
    flush()
    seen = {
        "name": active_model_info.name,
        "model_id": active_model_info.model_id,
        "active_model_id": mlflow.get_active_model_id(),
        "trace_id": mlflow.get_last_active_trace_id(),
        "env": os.environ.get("MLFLOW_ACTIVE_MODEL_ID"),
        "tracking_uri": mlflow.get_tracking_uri(),
        "answer": answer,
    }
    print(json.dumps(seen), flush=True)


if __name__ == "__main__":
    main()
