#!/usr/bin/env bash
# `up` refuses a repository of another user, also where git does not, and leaves nothing there.
# shellcheck source=tests/host/world.sh
source "$(dirname "$0")/../world.sh"
git init -q "$world/foreign"; chown -R 4242 "$world/foreign"; cd "$world/foreign"
before=$(find . | sort)
if "$tm" up --store "sqlite:///$world/mlflow.db" 2>"$world/said"; then echo "up tracks a repository that git refuses"; exit 1; fi
git config --global safe.directory '*'
status=0; "$tm" up --store "sqlite:///$world/mlflow.db" 2>"$world/said" || status=$?
expect "$status" 3 "the exit code of up"
grep -q 'belongs to another user' "$world/said" || { cat "$world/said"; exit 1; }
expect "$(find . | sort)" "$before" "what lies in the foreign repository"
