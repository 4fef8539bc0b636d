#!/usr/bin/env bash
# A file system that hangs holds up its own worktree alone: the others are answered, and `status` names it.
set -euo pipefail
cd "$(dirname "$0")/../../.."
source tests/host/world.sh
real=$world/real mounted=$world/mounted
git clone -q "$repo" "$real"; mkdir "$mounted"
bindfs -f -o attr_timeout=0,entry_timeout=0,negative_timeout=0 "$real" "$mounted" & server=$!
end_server() { kill -CONT "$server"; end_daemon; cd /; fusermount -u -z "$mounted"; wait "$server" || true; end_world; }
trap end_server EXIT
await mountpoint -q "$mounted"
(cd "$mounted"; "$tm" up --store "sqlite:///$world/mlflow.db"; "$tm" active >/dev/null)
kill -STOP "$server"
cd "$repo"
# Several in turn: what waits for the file system may not pile up until nothing is left to wait for others.
for n in 1 2 3; do
  said=$(timeout 20 "$tm" status)
  grep -q 'does not answer' <<<"$said" || { echo "status says: $said"; exit 1; }
  echo "print($n)" >app.py
  name=$(timeout 20 "$tm" active --json | python3 -c 'import json,sys; print(json.load(sys.stdin)["name"])')
  expect "$name" "$("$tm" hash)" "beside one that hangs"
done
kill -CONT "$server"
cd "$mounted"; echo 'print("back")' >app.py
name=$("$tm" active --json | python3 -c 'import json,sys; print(json.load(sys.stdin)["name"])')
expect "$name" "$("$tm" hash)" "after it hung"
answers() { ! "$tm" status | grep -q 'does not answer'; }
await answers
