"""Prints the id of the model that an app gets which names it itself: the environment variable NAME."""
import json
import os

import mlflow

active = mlflow.set_active_model(name=os.environ["NAME"])
print(json.dumps({"model_id": active.model_id}))
