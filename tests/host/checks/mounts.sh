#!/usr/bin/env bash
# A file system that is unmounted below the daemon (in a mount namespace of its own) takes the id away, and brings it back.
set -euo pipefail
cd "$(dirname "$0")/../../.."
# shellcheck disable=SC2016
exec unshare -m bash -c '
source tests/host/world.sh
real=$world/real mounted=$world/mounted
mv "$repo" "$real"; mkdir "$mounted"; mount --bind "$real" "$mounted"
cd "$mounted"; "$tm" down "$repo" >/dev/null 2>&1 || true
"$tm" up --store "sqlite:///$world/mlflow.db"; "$tm" active >/dev/null; cd "$world"
state() { "$tm" status --json | python3 -c "import json,sys; print(*[one[\"state\"] for one in json.load(sys.stdin)[\"worktrees\"] if one[\"path\"] == sys.argv[1]])" "$mounted"; }
is_state() { [ "$(state)" = "$1" ]; }
await is_state active
umount -l "$mounted"
await is_state broken
mount --bind "$real" "$mounted"
await is_state active
cd "$mounted"; mkdir src; echo 1 >src/a.py; git add -A; git commit -qm src; "$tm" active >/dev/null
# What is younger than a second is looked at by every pass: only what is older can be missed.
sleep 1.1; echo 2 >b.py; "$tm" active >/dev/null; "$tm" active >/dev/null
same() { there=$("$tm" active --json | python3 -c "import json,sys; print(json.load(sys.stdin)[\"content\"])"); [ "$there" = "$("$tm" hash --naming tree)" ] || { echo "wrong: $1"; exit 1; }; }
mount -t tmpfs tmpfs "$mounted/src"; same "another file system over a directory"
echo evil >src/a.py; same "a file in it"
umount "$mounted/src"; same "the directory again"
echo 3 >src/a.py; same "a file in the directory"
echo 4 >"$world/single"; mount --bind "$world/single" "$mounted/b.py"; same "a file over a file"
umount "$mounted/b.py"; same "the file again"
mkdir -p twice/one twice/two "$world/bound/deep"; echo 1 >"$world/bound/deep/a.py"
mount --bind "$world/bound" twice/one; git add -A; git commit -qm bound; same "a directory of elsewhere"
mount --bind "$world/bound" twice/two; same "the same at two places"
umount twice/two; same "one of them gone"; sleep 1.1; same "still gone"
echo 2 >twice/one/deep/a.py; same "a file in the other"
umount twice/one; same "both gone"
cd "$world"
umount -l "$mounted"
mkdir -p /media; mount -t tmpfs tmpfs /media; mkdir /media/disk; mount -t tmpfs tmpfs /media/disk
git clone -q "$real" /media/disk/taken-out; cd /media/disk/taken-out
"$tm" up --store "sqlite:///$world/mlflow.db"; "$tm" active >/dev/null
echo 5 >b.py; "$tm" active >/dev/null
cd "$world"; await umount /media/disk
'
