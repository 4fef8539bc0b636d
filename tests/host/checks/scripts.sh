#!/usr/bin/env bash
# The scripts are clean. What systemd says about the units is in systemd.sh, which installs them.
set -euo pipefail
shellcheck hooks/post-commit .ci/run .ci/host tests/host/run tests/host/with-user-systemd tests/host/with-system-systemd tests/host/*.sh tests/data/tls/make.sh tests/host/systemd/*.sh \
  tests/host/checks/*.sh
