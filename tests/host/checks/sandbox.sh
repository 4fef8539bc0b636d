#!/usr/bin/env bash
# The hardening of the unit, as a real `systemd --user` carries it out.
set -euo pipefail
cd "$(dirname "$0")/.."
exec ./with-user-systemd bash -c "$(cat systemd/steps.sh systemd/sandbox.sh)"
