"""A small GenAI app, as in step 1 of MLflow's guide: no line of it knows of versions."""
import pathlib

import mlflow
from openai import OpenAI

mlflow.openai.autolog()

client = OpenAI()

SYSTEM_PROMPT = "You are a helpful assistant."
TONE = pathlib.Path(__file__).parent / "prompts" / "tone.txt"


@mlflow.trace
def my_app(question: str):
    """Ask the model."""
    tone = TONE.read_text().strip() if TONE.exists() else ""
    response = client.chat.completions.create(
        model="gpt-4o",
        messages=[
            {"role": "system", "content": f"{SYSTEM_PROMPT} {tone}".strip()},
            {"role": "user", "content": question},
        ],
    )
    return response.choices[0].message.content


if __name__ == "__main__":
    print(my_app("What is MLflow?"))
    print(mlflow.get_last_active_trace_id())
