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
# just and mise, the same version; systemd's EnvironmentFile= is in systemd.sh.
# shellcheck disable=SC2016
printf 'set dotenv-path := "%s"\nshow:\n\t@echo $MLFLOW_ACTIVE_MODEL_ID\n' "$env_file" >justfile
expect "$(just show)" "$next" "just"
printf '[env]\n_.file = "%s"\n' "$env_file" >mise.toml
mise trust -q mise.toml
# shellcheck disable=SC2016
expect "$(mise exec -- sh -c 'echo $MLFLOW_ACTIVE_MODEL_ID')" "$next" "mise"
# While a file like it is replaced all the time, each reader gets one whole version.
env_file=$world/replaced
"$REPLACE_ENV_FILE" "$env_file" "$world/stop" >"$world/rate" &
writer=$!
until [ -e "$env_file" ]; do sleep 0.01; done
echo "dotenv_if_exists $env_file" >.envrc; direnv allow
printf '[env]\n_.file = "%s"\n' "$env_file" >mise.toml; mise trust -q mise.toml
# shellcheck disable=SC2016
show='echo $MLFLOW_ACTIVE_MODEL_ID $TRACEMARK_NAME'
printf 'set dotenv-path := "%s"\nshow:\n\t@%s\n' "$env_file" "$show" >justfile
for _ in 1 2 3 4 5; do
  node --env-file="$env_file" -p 'process.env.MLFLOW_ACTIVE_MODEL_ID + " " + process.env.TRACEMARK_NAME'
  just show
  mise exec -- sh -c "$show"
  for shell in "zsh -f" dash bash; do
    # shellcheck disable=SC2086
    $shell -c "set -a; . '$env_file'; set +a; $show"
  done
  direnv exec . sh -c "$show"
done >"$world/read"
touch "$world/stop"; wait "$writer"
expect "$(wc -l <"$world/read")" 35 "how many read"
expect "$(grep -vcE '^m-(.)\1{31} \1{40}$' "$world/read" || true)" 0 "how many read a mixture of $(sort -u "$world/read")"
echo "replaced $(cat "$world/rate") times a second"
