#!/usr/bin/env bash
# A worktree on a file system that others write to as well (FUSE, in a mount namespace of its own): no event tells of their
# changes, and no answer and no published id is of the code before them.
set -euo pipefail
cd "$(dirname "$0")/../../.."
# shellcheck disable=SC2016
exec unshare -m bash -c '
source tests/host/world.sh
"$tm" down >/dev/null
real=$world/real mounted=$world/mounted
mv "$repo" "$real"; mkdir "$mounted"
bindfs -o attr_timeout=0,entry_timeout=0,negative_timeout=0 "$real" "$mounted"
trap "cd /; fusermount -u -z \"$mounted\"; end_world" EXIT
cd "$mounted"; "$tm" up --store "sqlite:///$world/mlflow.db"
env_file=$mounted/.git/tracemark/env
field() { "$tm" status --json | python3 -c "import json,sys; print(*[one[sys.argv[2]] for one in json.load(sys.stdin)[\"worktrees\"] if one[\"path\"] == sys.argv[1]])" "$mounted" "$1"; }
expect "$(field mode)" poll mode
[[ $(field mode_reason) = *FUSE* ]] || { "$tm" status; exit 1; }
for n in $(seq 20); do
  echo "print($n)" >"$real/app.py"
  name=$("$tm" active --json | python3 -c "import json,sys; one=json.load(sys.stdin); assert one[\"fresh\"], one; print(one[\"name\"])")
  expect "$name" "$("$tm" hash)" "the version after change $n"
done
before=$("$tm" active)
echo "print(\"unasked\")" >"$real/app.py"
other() { local now; now=$(sed -n "s/^MLFLOW_ACTIVE_MODEL_ID=//p" "$env_file"); [ -n "$now" ] && [ "$now" != "$before" ]; }
for _ in $(seq 600); do if other; then break; fi; sleep 0.1; done
expect "$(sed -n "s/^MLFLOW_ACTIVE_MODEL_ID=//p" "$env_file")" "$("$tm" active)" "the env file"
'
