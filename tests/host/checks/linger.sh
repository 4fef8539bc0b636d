#!/usr/bin/env bash
# The daemon without a login session, as a real logind sees it.
set -euo pipefail
cd "$(dirname "$0")/.."
exec ./with-system-systemd "$(cat store.sh systemd/steps.sh systemd/linger.sh)"
