#!/usr/bin/env bash
# A checkout that changes 100,000 files: one LoggedModel, no id of the code before, the right one in the end, and back again.
root=$(readlink -f "$(dirname "$0")/../../..")
# shellcheck source=tests/host/world.sh
source "$root/tests/host/world.sh"
files=${FILES:-100000}
models() { python3 -c "import sqlite3; print(sqlite3.connect('$world/mlflow.db').execute('SELECT COUNT(*) FROM logged_models').fetchone()[0])"; }
id() { "$tm" active --timeout 300; }
write() { python3 -c "
import os, sys
for n in range($files):
    where = f'pkg{n // 1000:03}'
    os.makedirs(where, exist_ok=True)
    with open(f'{where}/file{n:06}.py', 'w') as file:
        file.write(f'value = \"$1 {n}\"\n')"; }
write one; git add -A; git commit -qm one
one=$(id)
git checkout -q -b other; write other; git commit -qam other
[ "$(id)" != "$one" ]
before=$(models)
for round in 1 2; do
  git checkout -q - ; got=$(id); want=$one
  [ "$round" = 1 ] || want=$other
  expect "$got" "$want" "the id after checkout $round"
  [ "$round" = 2 ] || { git checkout -q other; other=$(id); git checkout -q -; expect "$(id)" "$one" "back"; }
done
expect "$(models)" "$before" "known code makes no LoggedModel"
write three
changed=$(id)
[ "$changed" != "$one" ] && [ "$changed" != "$other" ]
expect "$(id)" "$changed" "asked once more"
expect "$(models)" "$((before + 1))" "100,000 changed files are one version"
pid=$(daemon_pid)
echo "$files files: $(awk '/VmRSS/ {print $2 " " $3}' "/proc/$pid/status") resident, $(find "/proc/$pid/fd" -type l | wc -l) descriptors"
