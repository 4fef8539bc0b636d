# shellcheck shell=bash disable=SC2154
# Each line of the unit's sandbox refuses something that the same user may do without it; run by checks/sandbox.sh.
cat >~/probe.py <<'PY'
import ctypes, errno, os, platform, resource, socket, sys

libc = ctypes.CDLL(None, use_errno=True)


def call(function, *arguments):
    """0, or the number of the refusal."""
    ctypes.set_errno(0)
    return 0 if getattr(libc, function)(*arguments) != -1 else ctypes.get_errno()


def in_child(work):
    """The exit code of a child that does it, or minus the signal that ended it."""
    child = os.fork()
    if child == 0:
        os._exit(work())
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def connects(family):
    try:
        socket.socket(family, socket.SOCK_RAW, 0).close()
        return 0
    except OSError as error:
        return error.errno


def privileges_stay():
    with open("/proc/self/status") as status:
        return "NoNewPrivs:\t1\n" in status.read()


open("probed", "w").close()
ADDR_NO_RANDOMIZE, SCHED_FIFO, CLONE_NEWUSER, PTRACE_TRACEME, NOBODY = 0x40000, 1, 0x10000000, 0, 2**22 + 1
refusals = {
    "NoNewPrivileges": privileges_stay(),
    "LockPersonality": in_child(lambda: call("personality", ADDR_NO_RANDOMIZE)) == errno.EPERM,
    # A process that does not exist: whoever may ask hears so, before rights are looked at.
    "RestrictRealtime": call("sched_setscheduler", NOBODY, SCHED_FIFO, ctypes.byref(ctypes.c_int(1))) == errno.EPERM,
    "RestrictSUIDSGID": call("chmod", b"probed", 0o4755) == errno.EPERM,
    "RestrictNamespaces": in_child(lambda: call("unshare", CLONE_NEWUSER)) == errno.EPERM,
    "SystemCallFilter": in_child(lambda: call("ptrace", PTRACE_TRACEME, 0, 0, 0)) == errno.EPERM,
    # Without privileges this is refused with another number where the family is not closed.
    "RestrictAddressFamilies": connects(socket.AF_PACKET) == errno.EAFNOSUPPORT,
    "LimitCORE": resource.getrlimit(resource.RLIMIT_CORE) == (0, 0),
}
if platform.machine() == "x86_64":
    # getpid of the x32 architecture: answered or unknown, or the end.
    refusals["SystemCallArchitectures"] = in_child(lambda: min(call("syscall", 0x40000000 + 39), 1)) < 0
for name, refused in sorted(refusals.items()):
    print(name, "refuses" if refused else "lets pass", file=sys.stderr)
PY
# The directives of a unit that have a probe on this machine.
directives() {
  grep -oE '^(NoNewPrivileges|LockPersonality|Restrict[A-Z][^=]*|SystemCallFilter|SystemCallArchitectures|LimitCORE)=' "$1" | tr -d = |
    if [ "$(uname -m)" = x86_64 ]; then cat; else grep -v SystemCallArchitectures; fi | sort
}

step "without the unit everything passes, so that a refusal says something"
outside=$(systemd-run --user --quiet --pipe --wait -p LimitCORE=1 python3 ~/probe.py 2>&1)
expect "$(grep -c 'lets pass' <<<"$outside")" "$(wc -l <<<"$outside")" "what passes outside: $outside"

step "in the unit everything is refused, and nothing in it is without a probe"
tracemark service install
unit=~/.config/systemd/user/tracemark.service
systemctl --user stop tracemark.service
drop_in "Type=oneshot
Restart=no
WatchdogSec=0
ExecStart=
ExecStart=$(command -v python3) $HOME/probe.py
ExecStopPost=
StandardError=truncate:$HOME/inside
WorkingDirectory=$HOME"
systemctl --user start tracemark.service
expect "$(grep -c ' refuses$' ~/inside)" "$(wc -l <~/inside)" "what is refused inside: $(cat ~/inside)"
expect "$(sed 's/ refuses$//' ~/inside)" "$(directives "$unit")" "the probes and the lines of the unit"
undo_drop_in

step "it lets the daemon have the short slices that it asks for"
cat >~/slice.py <<'PY'
import ctypes, platform, struct, sys

attributes = ctypes.create_string_buffer(56)
sched_getattr = {"x86_64": 315, "aarch64": 275}[platform.machine()]
assert ctypes.CDLL(None).syscall(sched_getattr, int(sys.argv[1]), attributes, 56, 0) == 0
print(struct.unpack_from("Q", attributes, 24)[0])
PY
systemctl --user start tracemark.service
# Before Linux 6.12 there is none to tell of.
wanted=$([ "$(python3 ~/slice.py 0)" = 0 ] && echo 0 || echo 100000)
expect "$(python3 ~/slice.py "$(pid)")" "$wanted" "the daemon's slice in nanoseconds"
systemctl --user stop tracemark.service
tracemark service uninstall
