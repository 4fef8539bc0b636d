#!/usr/bin/env bash
# The Python package is typed.
set -euo pipefail
python=target/tmp/host-python/bin/python
[ -x "$python" ] || { echo "$python is missing; .ci/host installs it"; exit 1; }
"$python" -m mypy --strict --python-version 3.10 --cache-dir target/tmp/mypy python/tracemark
