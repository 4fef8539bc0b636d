#!/usr/bin/env bash
# node and direnv read the env file; direnv notices the next version.
# shellcheck source=tests/host/world.sh
source "$(dirname "$0")/../world.sh"
expect "$(node --env-file="$env_file" -p process.env.MLFLOW_ACTIVE_MODEL_ID)" "$id" "node"
mkdir "$world/app"; cd "$world/app"
echo "dotenv_if_exists $env_file" > .envrc
direnv allow
# shellcheck disable=SC2016
expect "$(direnv exec . sh -c 'echo $MLFLOW_ACTIVE_MODEL_ID')" "$id" "direnv"
echo 'print(2)' > "$repo/app.py"
next=$(cd "$repo" && "$tm" active)
[ "$next" != "$id" ] || { echo "the id did not change"; exit 1; }
# shellcheck disable=SC2016
expect "$(direnv exec . sh -c 'echo $MLFLOW_ACTIVE_MODEL_ID')" "$next" "direnv after an edit"
