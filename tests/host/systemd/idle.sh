# shellcheck shell=bash disable=SC2154
# What an idle daemon does in a minute under a real `systemd --user`: it beats for the watchdog. Run by checks/idle.sh.
# switches: how often each thread of the daemon was given the processor so far.
switches() {
  local task
  for task in /proc/"$1"/task/*; do
    echo "$(basename "$task") $(awk '/ctxt_switches/ { n += $2 } END { print n }' "$task/status")"
  done
}
# rests: waits until no thread of the daemon ends any more: those for blocking work do after ten idle seconds, and a known LoggedModel
# is looked at meanwhile.
rests() {
  local before now=
  until [ "${before-}" = "$now" ] && [ -n "$now" ]; do before=$now; sleep 15; now=$(cd "/proc/$1/task" && echo *); done
}
make_repo

step "after a save, a commit and a snapshot, with systemd's watchdog: twice a minute one thread"
tracemark service install
tracemark up --store "sqlite:///$HOME/mlflow.db" >/dev/null
echo 'print(2)' >app.py; tracemark active >/dev/null
git commit -qam second; tracemark active >/dev/null
rests "$(pid)"
daemon=$(pid) before=$(switches "$(pid)")
sleep 60
after=$(switches "$daemon")
echo "$before"; echo "$after"
expect "$(pid)" "$daemon" "the daemon"
expect "$(cut -d' ' -f1 <<<"$after")" "$(cut -d' ' -f1 <<<"$before")" "its threads"
expect "$(grep -v "^$daemon " <<<"$after" || true)" "$(grep -v "^$daemon " <<<"$before" || true)" "switches of threads that do not beat"
woken=$(($(sed -n "s/^$daemon //p" <<<"$after") - $(sed -n "s/^$daemon //p" <<<"$before")))
echo "  $woken switches of the loop in a minute"
[ "$woken" -le 12 ] || die "the loop was woken $woken times"

step "without systemd: not once"
tracemark service uninstall >/dev/null
tracemark active >/dev/null
daemon=$(tracemark status --json | field daemon.pid)
rests "$daemon"
before=$(switches "$daemon")
sleep 60
expect "$(switches "$daemon")" "$before" "switches in a minute"
tracemark down >/dev/null
