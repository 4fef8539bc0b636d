#!/usr/bin/env bash
# Ten minutes of work, outages of the store and kills: every id that was ever handed out belongs to the code of its moment.
set -euo pipefail
cd "$(dirname "$0")/../../.."
export TRACEMARK_SOAK_SECONDS=${TRACEMARK_SOAK_SECONDS:-600}
cargo test --quiet --locked --test it soak:: -- --nocapture
