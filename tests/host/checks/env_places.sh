#!/usr/bin/env bash
# An env file that is a mount point, in a path with a blank, is written in place; a private directory of another user is refused.
# As root, in a mount namespace of its own.
set -euo pipefail
cd "$(dirname "$0")/../../.."
# shellcheck disable=SC2016
exec unshare -m --propagation private bash -c '
source tests/host/world.sh
follows() { grep -qx "MLFLOW_ACTIVE_MODEL_ID=$1" "$2"; }
problem() { "$tm" status --json | python3 -c "import json,sys; print([one[\"env_problem\"] for one in json.load(sys.stdin)[\"worktrees\"] if one[\"path\"] == sys.argv[1]][0])" "$repo"; }
repo="$world/with a blank"
git init -q -b main "$repo"; cd "$repo"
echo "print(1)" >app.py; git add -A; git commit -qm first
"$tm" up --store "sqlite:///$world/mlflow.db"
file=$repo/.git/tracemark/env
cp "$file" "$world/bound"; mount --bind "$world/bound" "$file"
inode=$(stat -c %i "$file")
echo "print(2)" >app.py
id=$("$tm" active)
await follows "$id" "$world/bound"
expect "$(stat -c %i "$file")" "$inode" "inode of the file that is mounted"
expect "$(find "$repo/.git/tracemark" -name ".tracemark-*.tmp")" "" "left behind"
if "$tm" doctor >"$world/doctor"; then echo "doctor is content"; exit 1; fi
grep -q "is a mount point" "$world/doctor" || { cat "$world/doctor"; exit 1; }
umount "$file"
chown 4242 "$repo/.git/tracemark"
echo "print(3)" >app.py
"$tm" active >"$world/asked"
is_refused() { problem | grep -q "belongs to another user (uid 4242"; }
await is_refused
if "$tm" doctor >"$world/doctor"; then echo "doctor is content"; exit 1; fi
grep -q "belongs to another user" "$world/doctor" || { cat "$world/doctor"; exit 1; }
chown "$(id -u)" "$repo/.git/tracemark"
await follows "$(cat "$world/asked")" "$file"
'
