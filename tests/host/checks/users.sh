#!/usr/bin/env bash
# Other users' sockets and a full disk, which take root to arrange.
set -euo pipefail
cd "$(dirname "$0")/.."
exec ./with-system-systemd "$(cat store.sh systemd/steps.sh systemd/users.sh)"
