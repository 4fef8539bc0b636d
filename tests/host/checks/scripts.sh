#!/usr/bin/env bash
# The scripts are clean, and systemd has nothing to say about the units.
set -euo pipefail
shellcheck hooks/post-commit .ci/run .ci/host tests/host/run tests/host/world.sh tests/host/checks/*.sh
units=$(mktemp -d); trap 'rm -rf "$units"' EXIT
for unit in systemd/*; do sed "s|%h/.cargo/bin/tracemark|$TRACEMARK_BIN|" "$unit" > "$units/$(basename "$unit")"; done
mkdir -m 700 "$units/run"
said=$(XDG_RUNTIME_DIR=$units/run systemd-analyze --user verify "$units"/tracemark.service "$units"/tracemark.socket 2>&1 || true)
[ -z "$said" ] || { echo "$said"; exit 1; }
