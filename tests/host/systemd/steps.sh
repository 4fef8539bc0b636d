# shellcheck shell=bash
# What the steps under a real systemd share: source it after store.sh. Every wait is for something that happens.
set -euo pipefail
step() { echo "- $*"; }
die() { echo "FAILED: $*"; journalctl --user-unit tracemark.service --no-pager 2>/dev/null | tail -20; exit 1; }
expect() { [ "$1" = "$2" ] || die "$3: got '$1', not '$2'"; }
# until_true WHAT CMD…: runs CMD until it succeeds.
until_true() {
  local what=$1; shift
  for _ in $(seq 1200); do "$@" >/dev/null 2>&1 && return; sleep 0.05; done
  die "gave up waiting until $what"
}
property() { systemctl --user show --property="$2" --value "$1"; }
pid() { property tracemark.service MainPID; }
field() { python3 -c 'import json,sys; v=json.load(sys.stdin)
for k in sys.argv[1].split("."): v=v[int(k)] if isinstance(v,list) else v[k]
print(v)' "$1"; }
env_id() { sed -n 's/^MLFLOW_ACTIVE_MODEL_ID=//p' "$repo/.git/tracemark/env"; }
has_id() { [ -n "$(env_id)" ]; }
is_new_pid() { [ "$(pid)" != "$1" ] && [ "$(pid)" != 0 ]; }
# drop_in TEXT: settings of the service for one step, gone with undo_drop_in.
drop_in() {
  mkdir -p ~/.config/systemd/user/tracemark.service.d
  printf '[Service]\n%s\n' "$1" >~/.config/systemd/user/tracemark.service.d/test.conf
  systemctl --user daemon-reload
}
undo_drop_in() { rm -r ~/.config/systemd/user/tracemark.service.d; systemctl --user daemon-reload; }
make_repo() {
  repo=$HOME/shop
  git config --global user.name Ann; git config --global user.email ann@example.org
  git init -q -b main "$repo"; cd "$repo"
  echo 'print(1)' >app.py; git add -A; git commit -qm first
  make_store "$HOME/mlflow.db"
}
