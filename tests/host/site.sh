# shellcheck shell=bash
# shellcheck disable=SC2154
# Puts the Python package of this clone before $python, with its .pth file as in site-packages: source it after world.sh, with $root set.
python=$root/target/tmp/host-python/bin/python
[ -x "$python" ] || { echo "$python is missing; .ci/host installs it"; exit 1; }
mkdir "$world/site" "$world/custom"
ln -s "$root/python/tracemark" "$world/site/tracemark"
ln -s "$root/python/tracemark.data/purelib/tracemark.pth" "$world/site/tracemark.pth"
printf 'import site; site.addsitedir(%s)\n' "'$world/site'" >"$world/custom/sitecustomize.py"
export PYTHONPATH=$world/custom PYTHONDONTWRITEBYTECODE=1 MLFLOW_DISABLE_TELEMETRY=true
# A store that MLflow itself made, as its traces need it.
fresh=$world/fresh.db
(cd "$world" && MLFLOW_TRACKING_URI=sqlite:///$fresh "$python" -c 'import mlflow; mlflow.search_experiments()' 2>"$world/fresh.log")
# Tracks the repository in a copy of it.
use_store() {
  cp "$fresh" "$world/$1.db"
  "$tm" up --store "sqlite:///$world/$1.db" >/dev/null
}
