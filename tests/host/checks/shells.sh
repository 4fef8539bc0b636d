#!/usr/bin/env bash
# Every shell gets the same id, by sourcing the env file and by eval.
# shellcheck source=tests/host/world.sh
source "$(dirname "$0")/../world.sh"
expect "$(zsh -fc "set -a; . '$env_file'; set +a; print -r -- \$MLFLOW_ACTIVE_MODEL_ID")" "$id" "zsh source"
expect "$(zsh -fc "eval \"\$('$tm' env --shell zsh)\"; print -r -- \$MLFLOW_ACTIVE_MODEL_ID")" "$id" "zsh eval"
expect "$(fish --no-config -c "'$tm' env --shell fish | source; echo \$MLFLOW_ACTIVE_MODEL_ID")" "$id" "fish"
expect "$(dash -c "set -a; . '$env_file'; set +a; echo \$MLFLOW_ACTIVE_MODEL_ID")" "$id" "dash"
