# shellcheck shell=bash
# A hermetic world for one host check: source it, then use $repo, $tm and env_file. Ends the daemon it started.
set -euo pipefail
world=$(mktemp -d "${TMPDIR:-/tmp}/tmhost.XXXXXX")
export HOME=$world/home XDG_RUNTIME_DIR=$world/run GIT_CONFIG_NOSYSTEM=1
unset XDG_STATE_HOME XDG_CONFIG_HOME XDG_CACHE_HOME TRACEMARK_SOCKET MLFLOW_TRACKING_URI MLFLOW_ACTIVE_MODEL_ID
mkdir -p "$HOME"; mkdir -m 700 "$XDG_RUNTIME_DIR"
git config --global user.name Ann; git config --global user.email ann@example.org
tm=$TRACEMARK_BIN repo=$world/repo
end_world() {
  local record=$HOME/.local/state/tracemark/daemon.json pid
  if [ -f "$record" ]; then
    pid=$(python3 -c 'import json,sys; print(json.load(open(sys.argv[1]))["pid"])' "$record")
    kill "$pid" 2>/dev/null || true
    while kill -0 "$pid" 2>/dev/null; do sleep 0.05; done
  fi
  rm -rf "$world"
}
trap end_world EXIT
git init -q -b main "$repo"; cd "$repo"
echo 'print(1)' > app.py; git add -A; git commit -qm first

# A database of MLflow's layout, as far as versions need it, without the seconds that importing MLflow takes.
make_store() {
  python3 - "$1" <<'PY'
import os, sqlite3, sys, time
db = sqlite3.connect(sys.argv[1])
db.executescript("""
CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL);
INSERT INTO alembic_version VALUES ('dc11669786a5');
CREATE TABLE experiments (experiment_id INTEGER PRIMARY KEY, name VARCHAR(256) NOT NULL, artifact_location VARCHAR(256),
  lifecycle_stage VARCHAR(32), creation_time BIGINT, last_update_time BIGINT, workspace VARCHAR(63) NOT NULL DEFAULT 'default');
INSERT INTO experiments VALUES (0, 'Default', 'mem:none', 'active', 0, 0, 'default');
CREATE TABLE logged_models (model_id VARCHAR(36) NOT NULL PRIMARY KEY, experiment_id INTEGER NOT NULL, name VARCHAR(500) NOT NULL,
  artifact_location VARCHAR(1000) NOT NULL, creation_timestamp_ms BIGINT NOT NULL, last_updated_timestamp_ms BIGINT NOT NULL,
  status INTEGER NOT NULL, lifecycle_stage VARCHAR(32), model_type VARCHAR(500), source_run_id VARCHAR(32), status_message VARCHAR(1000));
CREATE TABLE logged_model_tags (model_id VARCHAR(36) NOT NULL, experiment_id INTEGER NOT NULL, tag_key VARCHAR(255) NOT NULL,
  tag_value TEXT, PRIMARY KEY (model_id, tag_key));
CREATE TABLE logged_model_params (model_id VARCHAR(36) NOT NULL, experiment_id INTEGER NOT NULL, param_key VARCHAR(255) NOT NULL,
  param_value TEXT, PRIMARY KEY (model_id, param_key));
""")
db.close()
old = time.time() - 60
os.utime(sys.argv[1], (old, old))
PY
}
make_store "$world/mlflow.db"
"$tm" up --store "sqlite:///$world/mlflow.db"
# shellcheck disable=SC2034
env_file=$repo/$(git rev-parse --git-path tracemark/env) id=$("$tm" active)
expect() { [ "$1" = "$2" ] || { echo "$3: got '$1', not '$2'"; return 1; }; }
