#!/usr/bin/env bash
# Licences, sources and doubles of what the program is made of; advisories need their database from the network, CONTRIBUTING.md.
set -euo pipefail
deny=target/tmp/host-cargo/bin/cargo-deny
[ -x "$deny" ] || { echo "$deny is missing; .ci/host installs it"; exit 1; }
"$deny" --offline --all-features check licenses bans sources
