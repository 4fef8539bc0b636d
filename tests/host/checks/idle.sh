#!/usr/bin/env bash
# An idle daemon sleeps: it is watched for a minute under a real `systemd --user`, and for one without.
set -euo pipefail
cd "$(dirname "$0")/.."
exec ./with-user-systemd bash -c "$(cat store.sh systemd/steps.sh systemd/idle.sh)"
