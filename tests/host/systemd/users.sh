# shellcheck shell=bash disable=SC2154
# What two users and a full disk do to the daemon; root runs it, for checks/users.sh.
die() { echo "FAILED: $*"; exit 1; }
# as_dev CMD…: in the repository.
as_dev() {
  setpriv --reuid 4242 --regid 4242 --clear-groups env -i -C "$repo" HOME=/home/dev USER=dev LANG=C.UTF-8 \
    PATH=/home/dev/bin:/usr/local/bin:/usr/bin:/bin "$@"
}
repo=/home/dev
as_dev bash -c "$(declare -f make_repo make_store); make_repo"
repo=/home/dev/shop
as_dev tracemark up --store sqlite:////home/dev/mlflow.db
id=$(as_dev tracemark active)
state=/home/dev/.local/state/tracemark
end_daemon() {
  local daemon
  daemon=$(field pid <$state/daemon.json)
  kill "$daemon"
  until_true "the daemon ended" test ! -e "$state/daemon.json"
}

step "a socket of another user that the environment names is passed over, one that --socket names is refused"
install -d -m 755 -o 4243 /run/other
setpriv --reuid 4243 --clear-groups /usr/bin/python3 -c 'import os, socket
listener = socket.socket(socket.AF_UNIX); os.umask(0); listener.bind("/run/other/api.sock"); listener.listen()
while True: listener.accept()[0].close()' &
other=$!
until_true "the other user listens" test -S /run/other/api.sock
expect "$(as_dev TRACEMARK_SOCKET=/run/other/api.sock tracemark active)" "$id" "active"
expect "$(as_dev TRACEMARK_SOCKET=/run/other/api.sock tracemark status --json | field worktrees.0.model_id)" "$id" "status"
as_dev tracemark --socket /run/other/api.sock status >/tmp/said 2>&1 && die "it talks to another user"
says() { grep -q "$1" /tmp/said || die "it does not say '$1': $(cat /tmp/said)"; }
says 'belongs to another user'
says 'try: .*without --socket'
kill "$other"

step "another user cannot talk to ours, also where the modes would let him"
socket=$(field socket <$state/daemon.json)
chmod 755 /home/dev /home/dev/.local /home/dev/.local/state $state; chmod -R 777 "$(dirname "$socket")"
answer=$(setpriv --reuid 4243 --clear-groups curl -s --max-time 10 --unix-socket "$socket" http://localhost/v1/status || true)
expect "$answer" "" "what another user is told"
chmod 700 $state "$(dirname "$socket")"

step "a state directory of another user is not used"
end_daemon
chown 4243 $state; chmod 777 $state
as_dev tracemark up >/tmp/said 2>&1 && die "up uses it"
says 'belongs to another user'
chown 4242 $state; chmod 700 $state
expect "$(as_dev tracemark active)" "$id" "active, once it is ours again"

step "a full disk below the state directory: questions are answered, up names it, and it ends when there is room"
end_daemon
mount -t tmpfs -o size=600k,mode=700,uid=4242,gid=4242 tmpfs $state
as_dev tracemark up --store sqlite:////home/dev/mlflow.db >/dev/null
cat /dev/zero >$state/fill 2>/dev/null || true
as_dev sh -c 'echo "print(2)" >app.py'
full=$(as_dev tracemark active)
[ "$full" != "$id" ] || die "the code changed and the id did not"
end_daemon
expect "$(env_id)" "" "the env file of a daemon that ended on a full disk"
expect "$(as_dev tracemark active)" "$full" "without a daemon"
as_dev tracemark up >/tmp/said 2>&1 && die "up is content"
says 'No space left'
says 'try: make room'
rm $state/fill
expect "$(as_dev tracemark active)" "$full" "with room again"
expect "$(env_id)" "$full" "the env file"
end_daemon
