#!/usr/bin/env bash
# Eight machines on one commit: an MLflow server with four workers on PostgreSQL, and a proxy that loses answers.
# Takes a quarter of an hour; ROUNDS=3 makes it short.
set -euo pipefail
python=target/tmp/host-python/bin/python
[ -x "$python" ] || { echo "$python is missing; .ci/host installs it"; exit 1; }
exec "$python" tests/host/exactly_once.py "$TRACEMARK_BIN" --rounds "${ROUNDS:-20}"
