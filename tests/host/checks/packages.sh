#!/usr/bin/env bash
# Each package is built, installed where nothing else of tracemark is, and used: wheel, uv tool, cargo install, .deb.
# They are of the dev profile, whose build is at hand; PROFILE=release makes those that users get. Prints how large they are.
root=$(readlink -f "$(dirname "$0")/../../..")
export CARGO_HOME=${CARGO_HOME:-$HOME/.cargo} RUSTUP_HOME=${RUSTUP_HOME:-$HOME/.rustup}
export PATH=$root/target/tmp/host-python/bin:$PATH
# shellcheck source=tests/host/world.sh
source "$root/tests/host/world.sh"
# maturin moves what cargo built; the checks after this one need it.
cp -p "$TRACEMARK_BIN" "$world/tracemark"
tm=$world/tracemark
put_back() { cp -p --remove-destination "$tm" "$TRACEMARK_BIN"; end_world; }
trap put_back EXIT
profile=${PROFILE:-dev}
tool=$root/target/tmp/host-python/bin deb=$root/target/tmp/host-cargo/bin/cargo-deb
for file in "$tool/uv" "$tool/maturin" "$deb"; do
  [ -x "$file" ] || { echo "$file is missing; .ci/host installs it"; exit 1; }
done
size() { echo "$1: $(du -h --apparent-size "$2" | cut -f1) ($(du -h --apparent-size "$3" | cut -f1) installed)"; }
# used TRACEMARK: its own daemon tells the id of the code on disk.
used() {
  local pid
  pid=$("$tm" status --json | python3 -c 'import json,sys; print(json.load(sys.stdin)["daemon"]["pid"])')
  kill "$pid"; while kill -0 "$pid" 2>/dev/null; do sleep 0.05; done
  echo "print('$1')" >app.py
  [ -n "$("$1" active)" ]
  expect "$("$1" status --json | python3 -c 'import json,sys; print(json.load(sys.stdin)["daemon"]["program"])')" "$(readlink -f "$1")" daemon
}
# asks_anew TRACEMARK PYTHON: code that is saved below exec has its own id in the next interpreter.
asks_anew() {
  local said
  # shellcheck disable=SC2016
  said=$("$1" exec --require -- sh -c 'echo "print(0)" >>app.py; exec "$1" -c "import os; print(os.environ[\"MLFLOW_ACTIVE_MODEL_ID\"])"' sh "$2")
  expect "$said" "$("$1" active)" "an interpreter below $1"
}

export MATURIN_PEP517_ARGS="--profile $profile --strip"
"$tool/python" -m pip wheel --quiet --no-deps --wheel-dir "$world/wheels" "$root"
python3 -m venv "$world/venv"
"$world/venv/bin/pip" install --quiet "$root"
used "$world/venv/bin/tracemark"
asks_anew "$world/venv/bin/tracemark" "$world/venv/bin/python"
expect "$("$world/venv/bin/python" -c 'import tracemark; print(tracemark.current().model_id)')" "$("$tm" active)" "current()"
size wheel "$(echo "$world"/wheels/tracemark-*.whl)" "$world/venv/bin/tracemark"

UV_TOOL_DIR=$world/uv UV_TOOL_BIN_DIR=$world/uv/bin "$tool/uv" tool install --quiet --python "$(command -v python3)" "$root"
used "$world/uv/bin/tracemark"
asks_anew "$world/uv/bin/tracemark" "$world/uv/tracemark/bin/python"

debug=()
[ "$profile" = release ] || debug=(--debug)
cargo install --quiet --path "$root" --locked --root "$world/cargo" "${debug[@]}"
used "$world/cargo/bin/tracemark"

(cd "$root" && "$deb" --quiet --profile "$profile" --output "$world/tracemark.deb" -- --locked)
dpkg -x "$world/tracemark.deb" "$world/deb"
used "$world/deb/usr/bin/tracemark"
size .deb "$world/tracemark.deb" "$world/deb/usr/bin/tracemark"
sudo=$([ "$(id -u)" = 0 ] || echo sudo)
$sudo unshare --mount bash "$root/tests/host/deb.sh" "$world/tracemark.deb"
