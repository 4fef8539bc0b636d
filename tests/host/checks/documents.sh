#!/usr/bin/env bash
# Blocks of the documents that need fish or direnv, from the text of the documents.
root=$(readlink -f "$(dirname "$0")/../../..")
# shellcheck source=tests/host/world.sh
source "$root/tests/host/world.sh"
block() { python3 "$root/tests/host/block.py" "$@"; }
mkdir "$world/bin"; ln -s "$(readlink -f "$tm")" "$world/bin/tracemark"
PATH=$world/bin:$PATH
said=$(fish --no-config -c "$(block docs/prompt.md 'function fish_right_prompt'); fish_right_prompt")
expect "$said" "$("$tm" prompt)" "fish"
[ -n "$said" ]
block docs/getting-started.md dotenv_if_exists >.envrc
direnv allow
id=$("$tm" active)
# shellcheck disable=SC2016
expect "$(direnv exec . sh -c 'echo $MLFLOW_ACTIVE_MODEL_ID')" "$id" "direnv"
