#!/usr/bin/env bash
# Disks that are full (small ones, in a mount namespace of its own): below the state, the repository, the database, and a home
# that may only be read. No wrong id meanwhile, a word about it, and all is well once there is room.
set -euo pipefail
cd "$(dirname "$0")/../../.."
# shellcheck disable=SC2016
exec unshare -m bash -c '
source tests/host/world.sh
value() { sed -n "s/^$1=//p" "$(git rev-parse --git-path tracemark/env)"; }
# What the env file and the answer name is the code on disk, or nothing.
honest() {
  local now id named
  now=$("$tm" hash --naming tree)
  id=$("$tm" active --json --timeout 3 2>"$world/said" | python3 -c "import json,sys; said=json.load(sys.stdin); print(said[\"content\"] if said[\"model_id\"] else \"\")" 2>/dev/null) || id=
  [ -z "$id" ] || expect "$id" "$now" "$1: the answer"
  named=$(value MLFLOW_ACTIVE_MODEL_ID)
  [ -z "$named" ] || expect "$(value TRACEMARK_CONTENT)" "$now" "$1: the env file"
  "$tm" status >/dev/null || [ $? = 1 ] || { echo "$1: no status"; exit 1; }
}
well() { [ "$("$tm" active --json --timeout 5 2>/dev/null | python3 -c "import json,sys; print(json.load(sys.stdin)[\"content\"])" 2>/dev/null)" = "$("$tm" hash --naming tree)" ] && [ "$(value MLFLOW_ACTIVE_MODEL_ID)" = "$("$tm" active)" ]; }
fill() { dd if=/dev/zero of="$1/filler-$SECONDS$RANDOM" bs=4k 2>/dev/null || true; for n in $(seq 64); do echo x >"$1/filler.$n" 2>/dev/null || true; done; }
free() { rm -f "$1"/filler*; }
edit() { printf "print(%s)\n" "$1" 1<>app.py; }
end_daemon
state=$HOME/.local/state/tracemark
cp -a "$state" "$world/state"; mount -t tmpfs -o size=2m,mode=700 tmpfs "$state"; cp -a "$world/state/." "$state"
"$tm" active >/dev/null
fill "$state"
for n in 1 2 3 4; do edit "$n"; honest "a full state directory"; done
git commit -qam "while the state is full"; honest "a commit with a full state directory"
commit=$(git rev-parse HEAD)
end_daemon; fill "$state"; "$tm" status 2>&1 | grep -qiE "no space|cannot be opened: disk" || { echo "status does not say why no daemon can be had"; "$tm" status; exit 1; }
honest "no daemon can be had"
free "$state"; edit 5; await well
in_log() { "$tm" log --json | grep -q "$commit"; }
await in_log
echo "state: ok"

mkdir "$world/small"; mount -t tmpfs -o size=6m,mode=755 tmpfs "$world/small"
git clone -q "$repo" "$world/small/repo"; cd "$world/small/repo"
"$tm" up --store "sqlite:///$world/mlflow.db" >/dev/null; "$tm" active >/dev/null
fill "$world/small"
for n in 6 7 8 9; do edit "$n"; honest "a full repository"; done
cat "$world/said"
free "$world/small"; edit 1; await well
"$tm" restore "$("$tm" active)" "$world/back" >/dev/null; cmp app.py "$world/back/app.py"
echo "repository: ok"

mkdir "$world/db"; mount -t tmpfs -o size=3m tmpfs "$world/db"; cp "$world/mlflow.db" "$world/db/mlflow.db"
git clone -q "$repo" "$world/other"; cd "$world/other"
"$tm" up --store "sqlite:///$world/db/mlflow.db" >/dev/null; "$tm" active >/dev/null
fill "$world/db"
for n in 6 7 8 9; do edit "$n"; honest "a full database"; done
"$tm" status | grep -qi "full" || { echo "status does not say that the database is full"; "$tm" status; exit 1; }
free "$world/db"; edit 2; await well
echo "database: ok"

end_daemon; cd "$repo"
mount --bind "$HOME" "$HOME"; mount -o remount,ro,bind "$HOME"
edit 3; honest "a home that may only be read"
"$tm" status 2>&1 | grep -qiE "read-only|cannot be opened|cannot write" || { echo "status does not say that the home may only be read"; "$tm" status; exit 1; }
mount -o remount,rw,bind "$HOME"; await well
end_daemon; cd /; for place in "$HOME" "$world/db" "$world/small" "$state"; do umount -l "$place"; done
echo "home: ok"
'
