#!/usr/bin/env bash
# Two thousand versions and twenty thousand traces in MLflow's SQLite file: `log`, `show` and `gc` work, and what takes long is not
# the number of versions. Prints the figures.
set -euo pipefail
cd "$(dirname "$0")/../../.."
base=$(mktemp -d "${TMPDIR:-/tmp}/tmhost.XXXXXX")
trap 'rm -rf "$base"' EXIT
python3 - "$base/mlflow.db" <<'PY'
import sys
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
SqlAlchemyStore(f"sqlite:///{sys.argv[1]}", "mem:artifacts")
PY
for versions in 20 2000; do
  python3 benches/history.py "$TRACEMARK_BIN" "$base/mlflow.db" "$versions" "$((versions * 10))" --json > "$base/$versions.json"
done
python3 - "$base/20.json" "$base/2000.json" <<'PY'
import json, sys
few, many = (json.load(open(path)) for path in sys.argv[1:])
for name, figure in many.items():
    print(f"{name}: {few[name]['ms']:.0f} ms of 20 versions, {figure['ms']:.0f} ms of 2,000, {figure['lines']} lines")
# `log` has a line a version; `gc` lists all but those that 100 of them are traced by, the active one and the commit, and a last line.
assert many["log"]["lines"] == few["log"]["lines"] + 1980, "a line for each version"
listed = many["gc --keep 0s"]["lines"]
assert 1890 < listed <= 1901, f"{listed} lines"
assert many["gc --keep 0s --yes"]["last"] == f"removed {listed - 1} LoggedModels and 0 snapshots", many["gc --keep 0s --yes"]
PY
