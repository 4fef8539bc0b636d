#!/usr/bin/env bash
# The daemon's life under a real `systemd --user`, in namespaces of its own.
set -euo pipefail
cd "$(dirname "$0")/.."
exec ./with-user-systemd bash -c "$(cat store.sh systemd/steps.sh systemd/life.sh)"
