#!/usr/bin/env bash
# IPython's %autoreload with tracemark.follow(): each cell is linked to the code that it ran.
root=$(readlink -f "$(dirname "$0")/../../..")
# shellcheck source=tests/host/world.sh
source "$root/tests/host/world.sh"
# shellcheck source=tests/host/site.sh
source "$root/tests/host/site.sh"
use_store notebook
export IPYTHONDIR=$world/ipython MLFLOW_ENABLE_ASYNC_TRACE_LOGGING=false MLFLOW_TRACKING_URI=sqlite:///$world/notebook.db
"$python" "$root/tests/host/notebook.py" "$tm"
