"""traces.py EXPERIMENT_ID MODEL_ID...: which traces MLflow links to each model, as one JSON object."""
import json
import sys

import mlflow


def traces(experiment_id, model_id):
    """Ids of the traces that are linked to a model."""
    found = mlflow.search_traces(
        locations=[experiment_id],
        filter_string=f"metadata.`mlflow.modelId` = '{model_id}'",
        return_type="list",
        include_spans=False,
    )
    return [trace.info.trace_id for trace in found]


if __name__ == "__main__":
    print(json.dumps({model_id: traces(sys.argv[1], model_id) for model_id in sys.argv[2:]}))
