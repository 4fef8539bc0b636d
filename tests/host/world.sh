# shellcheck shell=bash
# A hermetic world for one host check: source it, then use $repo, $tm and env_file. Ends the daemon it started.
set -euo pipefail
# shellcheck source=tests/host/store.sh
source "$(dirname "${BASH_SOURCE[0]}")/store.sh"
world=$(mktemp -d "${TMPDIR:-/tmp}/tmhost.XXXXXX")
export HOME=$world/home XDG_RUNTIME_DIR=$world/run GIT_CONFIG_NOSYSTEM=1
unset TRACEMARK_STATE_DIR XDG_STATE_HOME XDG_CONFIG_HOME XDG_CACHE_HOME TRACEMARK_SOCKET MLFLOW_TRACKING_URI MLFLOW_ACTIVE_MODEL_ID
mkdir -p "$HOME"; mkdir -m 700 "$XDG_RUNTIME_DIR"
git config --global user.name Ann; git config --global user.email ann@example.org
tm=$TRACEMARK_BIN repo=$world/repo
daemon_pid() { python3 -c 'import json,os; print(json.load(open(os.environ["HOME"] + "/.local/state/tracemark/daemon.json"))["pid"])'; }
end_daemon() { local pid; pid=$(daemon_pid); kill "$pid"; while kill -0 "$pid" 2>/dev/null; do sleep 0.05; done; }
end_world() {
  [ ! -f "$HOME/.local/state/tracemark/daemon.json" ] || end_daemon 2>/dev/null || true
  rm -rf "$world"
}
trap end_world EXIT
git init -q -b main "$repo"; cd "$repo"
echo 'print(1)' > app.py; git add -A; git commit -qm first

make_store "$world/mlflow.db"
"$tm" up --store "sqlite:///$world/mlflow.db"
# shellcheck disable=SC2034
env_file=$repo/$(git rev-parse --git-path tracemark/env) id=$("$tm" active)
expect() { [ "$1" = "$2" ] || { echo "$3: got '$1', not '$2'"; return 1; }; }
value() { sed -n "s/^$1=//p" "$env_file"; }
# Two minutes at most: machines are slow, and shared.
await() { for _ in $(seq 1200); do if "$@"; then return; fi; sleep 0.1; done; echo "gave up: $*"; "$tm" status; tail -20 "$HOME/.local/state/tracemark/daemon.log"; return 1; }
