#!/usr/bin/env bash
# A user who has no watches left, then no instances (in a user namespace with limits of its own): read at intervals, right all the same, and back to
# events once there are watches again.
set -euo pipefail
cd "$(dirname "$0")/../../.."
# shellcheck disable=SC2016
exec unshare -Ur bash -c '
echo 40 >/proc/sys/user/max_inotify_watches
source tests/host/world.sh
mode() { "$tm" status --json | python3 -c "import json,sys; one=json.load(sys.stdin)[\"worktrees\"][0]; print(one[\"mode\"])"; }
ticks() { awk "{ print \$14 + \$15 + \$16 + \$17 }" "/proc/$1/stat"; }
follows() { grep -qx "MLFLOW_ACTIVE_MODEL_ID=$("$tm" active)" "$env_file"; }
other_than() { local now; now=$(sed -n "s/^MLFLOW_ACTIVE_MODEL_ID=//p" "$env_file"); [ -n "$now" ] && [ "$now" != "$1" ]; }
is_mode() { [ "$(mode)" = "$1" ]; }
expect "$(mode)" watch "mode of a small worktree"
for n in $(seq 100); do mkdir -p "dir$n"; echo "print($n)" >"dir$n/app.py"; done
git add -A; git commit -qm directories
await is_mode poll
"$tm" status | grep -q "sysctl fs.inotify.max_user_watches=" || { echo "status names no cure"; "$tm" status; exit 1; }
before=$("$tm" active)
echo "print(\"edited\")" >dir77/app.py
await other_than "$before"
await follows
pid=$(daemon_pid)
began=$(ticks "$pid"); sleep 30; used=$(($(ticks "$pid") - began))
echo "30 s of polling took $used ticks of $(getconf CLK_TCK) a second"
# 2 % of a core.
[ $((used * 50)) -le $((30 * $(getconf CLK_TCK))) ] || exit 1
echo 100000 >/proc/sys/user/max_inotify_watches
await is_mode watch
before=$("$tm" active)
echo "print(\"again\")" >dir78/app.py
await other_than "$before"
await follows
# No more instances of inotify either: a daemon that begins then.
echo 0 >/proc/sys/user/max_inotify_instances
kill "$pid"; while kill -0 "$pid" 2>/dev/null; do sleep 0.05; done
before=$("$tm" active)
expect "$(mode)" poll "mode without instances"
"$tm" status | grep -q "fs.inotify.max_user_instances=" || { echo "status names no cure"; "$tm" status; exit 1; }
echo "print(\"once more\")" >dir79/app.py
await other_than "$before"
await follows
echo 100 >/proc/sys/user/max_inotify_instances
await is_mode watch
'
