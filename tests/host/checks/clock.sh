#!/usr/bin/env bash
# The clock of the daemon goes back a day, forward a year, and back and forth between two saves: right answers, an env file that
# is never dated far ahead, and models without end.
set -euo pipefail
cd "$(dirname "$0")/../../.."
shim=$PWD/target/tmp/clock.so
mkdir -p target/tmp; cc -shared -fPIC -o "$shim" tests/host/clock.c
# shellcheck source=tests/host/world.sh
source tests/host/world.sh
right() { [ "$(value TRACEMARK_CONTENT)" = "$("$tm" hash --naming tree)" ] && [ -n "$(value MLFLOW_ACTIVE_MODEL_ID)" ]; }
end_daemon
export CLOCK_OFFSET=$world/offset
echo 0 >"$CLOCK_OFFSET"
LD_PRELOAD=$shim "$tm" active >/dev/null
seen=$(tr '\0' '\n' <"/proc/$(daemon_pid)/environ" | grep -c '^LD_PRELOAD=') || true
expect "$seen" 1 "the daemon with a clock of its own"
n=0
for offset in 0 -86400 31536000 -3 0 -31536000 5 86400 -86400 0; do
  for _ in 1 2 3; do
    n=$((n + 1)); echo "$offset" >"$CLOCK_OFFSET"; echo "print($n)" >app.py
    said=$("$tm" active --json | python3 -c 'import json,sys; said=json.load(sys.stdin); print(said["content"], said["fresh"])')
    expect "$said" "$("$tm" hash --naming tree) True" "the answer at $offset"
    expect "$(value MLFLOW_ACTIVE_MODEL_ID)" "$("$tm" active)" "the env file at $offset"
    ahead=$(($(stat -c %Y "$env_file") - $(date +%s)))
    [ "$ahead" -le 5 ] || [ "$offset" -gt 5 ] || { echo "the env file is dated $ahead s ahead at $offset"; exit 1; }
  done
  # Unasked too: what waits for quiet waits by a clock that nobody sets.
  n=$((n + 1)); echo "print($n)" >app.py; echo "-$n" >"$CLOCK_OFFSET"
  await right
done
git commit -qam "some time"; await right
"$tm" log --json | python3 -c 'import json,sys; said=json.load(sys.stdin)["versions"]; names=[one["name"] for one in said]; assert len(names) == len(set(names)), names; print(len(names), "versions")'
"$tm" restore "$("$tm" active)" "$world/back" >/dev/null; cmp app.py "$world/back/app.py"
"$tm" gc --keep 1d >/dev/null
