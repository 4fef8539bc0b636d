#!/usr/bin/env bash
# The socket answers curl.
# shellcheck source=tests/host/world.sh
source "$(dirname "$0")/../world.sh"
socket=$XDG_RUNTIME_DIR/tracemark/api.sock
answer=$(curl -sf --unix-socket "$socket" -G http://localhost/v1/active --data-urlencode "worktree=$repo" -d wait=10000)
expect "$(python3 -c 'import json,sys; print(json.load(sys.stdin)["model_id"])' <<<"$answer")" "$id" "active"
curl -sf --unix-socket "$socket" http://localhost/v1/status >/dev/null
first=$(curl -sN --max-time 2 --unix-socket "$socket" -G http://localhost/v1/events --data-urlencode "worktree=$repo" | head -1 || true)
expect "$(python3 -c 'import json,sys; print(json.load(sys.stdin)["model_id"])' <<<"$first")" "$id" "events"
