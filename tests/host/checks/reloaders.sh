#!/usr/bin/env bash
# An app that is saved 50 times under traffic is never linked to other code than runs, nor unlinked, by whatever starts it anew.
# Takes half an hour; SAVES=3 makes it short, KINDS="uvicorn flask" chooses.
root=$(readlink -f "$(dirname "$0")/../../..")
# shellcheck source=tests/host/world.sh
source "$root/tests/host/world.sh"
# shellcheck source=tests/host/site.sh
source "$root/tests/host/site.sh"
saves=${SAVES:-50}
for kind in ${KINDS:-uvicorn gunicorn flask watchfiles spawn}; do
  use_store "$kind"
  said=$(MLFLOW_DB=$world/$kind.db "$python" "$root/tests/support/reload.py" "$tm" "$kind" "$saves" 2>"$world/$kind.log") ||
    { tail -n 30 "$world/$kind.log"; exit 1; }
  echo "$kind: $said"
  for wanted in '"wrong": 0' '"unlinked": 0' "\"revisions\": $((saves + 1))"; do
    [[ $said == *"$wanted"* ]] || { echo "$kind: not $wanted"; exit 1; }
  done
done
