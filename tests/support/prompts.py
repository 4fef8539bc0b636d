"""Registers a prompt, loads it under the active model, and prints the prompts that are linked to that model."""
import json
import os
import time

import mlflow

name = os.environ["PROMPT"]
mlflow.genai.register_prompt(name=name, template="Answer {{question}}")
model_id = mlflow.get_active_model_id()
mlflow.genai.load_prompt(f"prompts:/{name}/1")
deadline = time.monotonic() + 60
while time.monotonic() < deadline:
    linked = mlflow.get_logged_model(model_id).tags.get("mlflow.linkedPrompts")
    if linked:
        break
    time.sleep(0.05)
print(json.dumps({"model_id": model_id, "linked": linked}))
