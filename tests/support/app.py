"""The sample app of the MLflow guide (step 1), without a line about versions.

`python3 app.py [QUESTION]` with OPENAI_BASE_URL and OPENAI_API_KEY; one JSON line on stdout.
"""
import json
import os
import sys

import mlflow
from openai import OpenAI

mlflow.openai.autolog()

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
        "active_model_id": mlflow.get_active_model_id(),
        "trace_id": mlflow.get_last_active_trace_id(),
        "env": os.environ.get("MLFLOW_ACTIVE_MODEL_ID"),
        "tracking_uri": mlflow.get_tracking_uri(),
        "answer": answer,
    }
    print(json.dumps(seen), flush=True)


if __name__ == "__main__":
    main()
