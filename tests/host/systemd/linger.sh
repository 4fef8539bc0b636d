# shellcheck shell=bash disable=SC2154
# With and without lingering, where nobody is logged in; root runs it, for checks/linger.sh.
unset -f die
die() { echo "FAILED: $*"; journalctl --no-pager 2>/dev/null | tail -20; exit 1; }
runtime=/run/user/4242
# as_dev CMD…: as a cron job would, in the repository, without a session.
as_dev() {
  setpriv --reuid 4242 --regid 4242 --clear-groups env -i -C "$repo" HOME=/home/dev USER=dev LANG=C.UTF-8 \
    PATH=/home/dev/bin:/usr/local/bin:/usr/bin:/bin "$@"
}
manager_is() { [ "$(systemctl is-active user@4242.service)" = "$1" ]; }
sessions() { loginctl list-sessions --no-legend | wc -l; }

repo=/home/dev
as_dev bash -c "$(declare -f make_repo make_store); make_repo"
repo=/home/dev/shop

step "with lingering the manager is there though nobody is logged in, and service install needs to say nothing of it"
loginctl enable-linger dev
until_true "the manager runs" manager_is active
until_true "it answers" as_dev env XDG_RUNTIME_DIR=$runtime systemctl --user is-system-running
expect "$(sessions)" 0 "sessions"
as_dev tracemark service install >/tmp/said 2>&1
grep -q enable-linger /tmp/said && die "it speaks of lingering: $(cat /tmp/said)"
as_dev tracemark up --store sqlite:////home/dev/mlflow.db
id=$(as_dev tracemark active)
expect "$(as_dev tracemark status --json | field daemon.by_systemd)" True "by systemd"
as_dev tracemark service status | grep -q '^linger *yes' || die "service status says nothing of lingering"

step "a machine that starts anew: the daemon runs and publishes before anybody logs in or asks"
systemctl stop user@4242.service
expect "$(env_id)" "" "the env file when the manager ended"
systemctl start user@4242.service
until_true "the env file is back" has_id
expect "$(env_id)" "$id" "the env file"
expect "$(sessions)" 0 "sessions"

step "without lingering it ends with the last login, leaves no id behind, and service status and install say what to type"
as_dev tracemark service status --json >/tmp/before
expect "$(field lingers </tmp/before)" True "lingers"
loginctl disable-linger dev
until_true "the manager ended" manager_is inactive
expect "$(env_id)" "" "the env file"
# A manager that somebody else started stands in for a login.
systemctl start user@4242.service
until_true "it answers" as_dev env XDG_RUNTIME_DIR=$runtime systemctl --user is-system-running
as_dev tracemark service status | grep -q '^linger .*loginctl enable-linger' || die "$(as_dev tracemark service status)"
as_dev tracemark service install 2>&1 | grep -q 'loginctl enable-linger' || die "service install says nothing of lingering"
systemctl stop user@4242.service
