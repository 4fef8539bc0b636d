#!/usr/bin/env bash
# The daemon is killed at every system call by which it writes, and at 200 random moments: no half file, no wrong id, no
# version lost or doubled.
set -euo pipefail
cd "$(dirname "$0")/../../.."
judge=$PWD/tests/host/kills.py
# shellcheck source=tests/host/world.sh
source tests/host/world.sh
python3 "$judge" "$tm" "$world/mlflow.db"
