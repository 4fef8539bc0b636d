#!/usr/bin/env bash
# The socket answers curl as its document says.
examples=$(readlink -f "$(dirname "$0")/../examples.py")
# shellcheck source=tests/host/world.sh
source "$(dirname "$0")/../world.sh"
TRACEMARK_SOCKET=$XDG_RUNTIME_DIR/tracemark/api.sock python3 "$examples" "$tm"
