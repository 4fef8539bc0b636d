#!/usr/bin/env bash
# MLflow 3.1.4, 3.8.1 and 3.17.2 read and link what tracemark writes to SQLite while a server and an app write there too.
set -euo pipefail
for environment in host-python-3.1.4 host-python-3.8.1 host-python; do
  python=target/tmp/$environment/bin/python
  [ -x "$python" ] || { echo "$python is missing; .ci/host installs it"; exit 1; }
  "$python" tests/host/mlflow_versions.py "$TRACEMARK_BIN" --edits "${EDITS:-10}"
done
