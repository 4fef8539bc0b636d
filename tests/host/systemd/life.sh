# shellcheck shell=bash disable=SC2154,SC2164
# The daemon's life under a real `systemd --user`; run by checks/systemd.sh.
socket=$XDG_RUNTIME_DIR/tracemark/api.sock
make_repo

step "install: enabled, listening, and systemd has nothing to say about the units"
tracemark service install
expect "$(systemctl --user is-enabled tracemark.service tracemark.socket | sort -u)" enabled "is-enabled"
expect "$(stat -c '%A %U' "$socket")" "srw------- dev" "the socket"
expect "$(stat -c '%A' "$(dirname "$socket")")" "drwx------" "its directory"
cd ~/.config/systemd/user
said=$(systemd-analyze --user verify tracemark.service tracemark.socket 2>&1 || true)
expect "$said" "" "systemd-analyze verify"
cd "$repo"

step "up uses systemd's daemon, which says what it does"
tracemark up --store "sqlite:///$HOME/mlflow.db"
id=$(tracemark active)
expect "$(tracemark status --json | field daemon.by_systemd)" True "by systemd"
expect "$(tracemark status --json | field daemon.pid)" "$(pid)" "the pid"
says() { [ "$(property tracemark.service StatusText)" = "$1" ]; }
until_true "systemctl status says it" says "Tracking one worktree, its model id is published"
tracemark service status

step "EnvironmentFile= reads the env file"
# shellcheck disable=SC2016
expect "$(systemd-run --user --quiet --pipe --wait -p EnvironmentFile="$repo/.git/tracemark/env" sh -c 'echo $MLFLOW_ACTIVE_MODEL_ID')" \
  "$id" "EnvironmentFile="
step "EnvironmentFile= reads one whole version while a file like it is replaced a hundred times a second"
replaced=$(realpath "$repo/..")/replaced
replace_env_file "$replaced" "$replaced.stop" >"$replaced.rate" &
writer=$!
until_true "the file is there" test -e "$replaced"
for _ in 1 2 3 4 5; do
  # shellcheck disable=SC2016
  read=$(systemd-run --user --quiet --pipe --wait -p EnvironmentFile="$replaced" \
    sh -c 'echo $MLFLOW_ACTIVE_MODEL_ID $TRACEMARK_NAME')
  expect "$(grep -cE '^m-(.)\1{31} \1{40}$' <<<"$read")" 1 "one whole version, not $read"
done
touch "$replaced.stop"; wait "$writer"
echo "  replaced $(cat "$replaced.rate") times a second"

step "the sandbox works: no new privileges, system calls filtered, and git, the store and commits work in it"
grep -q '^NoNewPrivs:.1$' "/proc/$(pid)/status" || die "NoNewPrivs"
grep -q '^Seccomp:.2$' "/proc/$(pid)/status" || die "Seccomp"
git commit -q --allow-empty -m second
second=$(tracemark active)
[ "$second" != "$id" ] || die "the commit has no version of its own"
id=$second

step "a crash: the env file is emptied by ExecStopPost, the next question starts the daemon through the socket"
drop_in Restart=no
kill -9 "$(pid)"
failed() { [ "$(property tracemark.service ActiveState)" = failed ]; }
until_true "the service failed" failed
expect "$(env_id)" "" "the env file after a crash"
expect "$(tracemark active)" "$id" "the answer after a crash"
expect "$(env_id)" "$id" "the env file after the answer"
undo_drop_in

step "a crash with the unit as it is: systemd starts it again, and nobody has to ask"
old=$(pid) restarts=$(property tracemark.service NRestarts)
kill -9 "$old"
until_true "another one runs" is_new_pid "$old"
until_true "the env file is back" has_id
expect "$(env_id)" "$id" "the env file"
expect "$(property tracemark.service NRestarts)" "$((restarts + 1))" "NRestarts"

step "the watchdog: a loop that runs beats, one that hangs is ended and started again"
drop_in WatchdogSec=1
systemctl --user restart tracemark.service
beat=$(property tracemark.service WatchdogTimestampMonotonic)
beats() { [ "$(property tracemark.service WatchdogTimestampMonotonic)" -gt $((beat + 2000000)) ]; }
old=$(pid)
until_true "it beat for two seconds" beats
expect "$(pid)" "$old" "the daemon that beats"
kill -STOP "$old"
until_true "another one runs" is_new_pid "$old"
until_true "the env file is back" has_id
expect "$(env_id)" "$id" "the env file"
drop_in "WatchdogSec=1
Restart=no"
systemctl --user restart tracemark.service
kill -STOP "$(pid)"
until_true "it is ended" failed
expect "$(property tracemark.service Result)" watchdog "why it ended"
expect "$(env_id)" "" "the env file after a missed watchdog"
undo_drop_in
systemctl --user restart tracemark.service

step "reload: other settings count, the daemon stays"
old=$(pid)
mkdir -p ~/.config/tracemark; echo 'naming = "tree"' >~/.config/tracemark/config.toml
systemctl --user reload tracemark.service
named() { grep -q '^TRACEMARK_NAME=shop-tree-' "$repo/.git/tracemark/env"; }
until_true "the name is the tree's" named
rm ~/.config/tracemark/config.toml
systemctl --user reload tracemark.service
until_true "the name is the git-hash" grep -q "^TRACEMARK_NAME=$(git rev-parse HEAD)" "$repo/.git/tracemark/env"
expect "$(pid)" "$old" "the pid"
id=$(tracemark active)

step "an upgrade: status says so, up has systemd start the new one, and no question fails meanwhile"
cp ~/bin/tracemark ~/bin/new; mv ~/bin/new ~/bin/tracemark
tracemark status | grep -q 'was replaced' || die "$(tracemark status)"
old=$(pid)
(
  while [ ! -e ~/done ]; do
    # 503 is a daemon that says that it stops; anything else is a question that nobody took.
    code=$(curl -s -o /dev/null -w '%{http_code}' --max-time 20 --unix-socket "$socket" http://localhost/v1/status || true)
    case $code in 200) echo ok ;; 503) echo stopping ;; *) echo "refused $code" ;; esac
  done
) >~/questions &
asker=$!
tracemark up >/dev/null
for _ in 1 2 3; do systemctl --user restart tracemark.service; done
touch ~/done; wait "$asker"
is_new_pid "$old" || die "the old daemon still runs"
expect "$(tracemark status --json | field daemon.replaced)" False "replaced"
grep -q ok ~/questions || die "nothing was asked"
expect "$(grep -c refused ~/questions || true)" 0 "questions that found nobody"
echo "  $(grep -c ok ~/questions) questions answered, $(grep -c stopping ~/questions || true) told that the daemon stops"

step "stop: the env file is empty, the exit is clean and within five seconds, the next question starts it"
tracemark active >/dev/null
before=$(date +%s%N)
systemctl --user stop tracemark.service
took=$((($(date +%s%N) - before) / 1000000))
[ "$took" -lt 5000 ] || die "it took $took ms"
expect "$(env_id)" "" "the env file"
expect "$(property tracemark.service ExecMainStatus)" 0 "the exit code"
expect "$(property tracemark.service Result)" success "the result"
expect "$(tracemark active)" "$id" "the answer"

step "the hook starts nothing"
systemctl --user stop tracemark.service
git commit -q --allow-empty -m third
tracemark hook post-commit
expect "$(property tracemark.service ActiveState)" inactive "the service after a commit"
tracemark active >/dev/null

step "a state directory that cannot be used: exit 3, which systemd does not try again"
systemctl --user stop tracemark.socket tracemark.service
chmod 500 ~/.local/state/tracemark; chmod 000 ~/.local/state/tracemark/ledger.sqlite*
systemctl --user start tracemark.service && die "it started"
expect "$(property tracemark.service ExecMainStatus)" 3 "the exit code"
expect "$(property tracemark.service NRestarts)" 0 "NRestarts"
tracemark service status >~/said 2>&1 && die "service status is content"
grep -q journalctl ~/said || die "$(cat ~/said)"
chmod 700 ~/.local/state/tracemark; chmod 600 ~/.local/state/tracemark/ledger.sqlite*
systemctl --user reset-failed; systemctl --user start tracemark.socket
tracemark active >/dev/null

step "a crash loop: systemd gives up, service status says what to type, and that helps; questions are answered all the same"
drop_in "ExecStart=
ExecStart=/bin/false
[Unit]
StartLimitBurst=2"
systemctl --user restart tracemark.service && die "it started"
limited() { [[ $(property tracemark.socket Result) = service-start-limit-hit ]]; }
until_true "systemd gives up" limited
tracemark active >/dev/null
cure=$(tracemark service status 2>&1 >/dev/null | sed -n 's/^  try: //p' || true)
[[ $cure = *reset-failed* ]] || die "service status: $cure"
undo_drop_in
bash -c "$cure"
expect "$(tracemark status --json | field daemon.by_systemd)" True "by systemd"
tracemark service status >/dev/null

step "a daemon that a command started makes room for systemd's"
systemctl --user stop tracemark.socket tracemark.service
setsid tracemark daemon >/dev/null 2>&1 &
# Not in the repository, where status would have systemd start one.
until_true "it answers" sh -c 'cd / && tracemark status --json | grep -q "\"pid\""'
expect "$(tracemark status --json | field daemon.by_systemd)" False "by systemd"
systemctl --user start tracemark.socket tracemark.service
expect "$(tracemark status --json | field daemon.by_systemd)" True "by systemd"

step "shells with other XDG variables, and none, find the same daemon"
other=$(mktemp -d); chmod 700 "$other"
for variables in "-u XDG_RUNTIME_DIR" "XDG_RUNTIME_DIR=$other" "XDG_RUNTIME_DIR= XDG_STATE_HOME=$other" "XDG_STATE_HOME=relative"; do
  # shellcheck disable=SC2086
  expect "$(env $variables tracemark status --json | field daemon.pid)" "$(pid)" "with $variables"
done
systemctl --user stop tracemark.service
expect "$(env XDG_RUNTIME_DIR="$other" tracemark status --json | field daemon.by_systemd)" True "socket-activated from another shell"

step "uninstall: nothing of it is left, and the next question starts a daemon without systemd"
tracemark service uninstall
expect "$(find ~/.config/systemd -type f -o -type l)" "" "what is left"
expect "$(env_id)" "" "the env file"
tracemark active >/dev/null
expect "$(tracemark status --json | field daemon.by_systemd)" False "by systemd"
tracemark down >/dev/null
