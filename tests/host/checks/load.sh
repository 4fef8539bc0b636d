#!/usr/bin/env bash
# A build storm of a minute beside 200 readers, 20 followers and 2,000 idle connections.
set -euo pipefail
cd "$(dirname "$0")/../../.."
judge=$PWD/tests/host/load.py
# shellcheck source=tests/host/world.sh
source tests/host/world.sh
ulimit -n 8192 || ulimit -n "$(ulimit -Hn)"
echo build/ >.gitignore; git add .gitignore; git commit -qm ignore; "$tm" active >/dev/null
python3 "$judge" "$tm"
