"""What an interpreter below `tracemark exec` does before user code runs: `tracemark.pth` imports this module.

Asks the socket which version the code on disk is and puts its id into the environment; empty where that is not known within two
seconds. Nothing that goes wrong here may show: the app runs without a link then.
"""

from __future__ import annotations

import os
import time

TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import Any

PATIENCE_S = 2.0
# What interpreters below one that waited in vain have: enough for a daemon that is well again.
SHORT_PATIENCE_S = 0.02
# The part of the patience that the daemon has to say why there is no id, before we give up.
DAEMON_PART = 0.9
VARIABLE = "MLFLOW_ACTIVE_MODEL_ID"
# How many seconds an interpreter waits for its id; set by people who would rather wait.
PATIENCE_VARIABLE = "TRACEMARK_PATIENCE"
# Set for the interpreters below one that waited in vain.
IN_VAIN_VARIABLE = "TRACEMARK_IN_VAIN"
# Beside the socket, left for the interpreters that start after one that waited in vain: for so many seconds they wait no longer.
SLOW_END = ".slow"
SLOW_S = 60.0


def refresh() -> None:
    """Puts the id of the code on disk into the environment; whatever was there belongs to other code and goes first."""
    os.environ[VARIABLE] = ""
    began, patience = time.monotonic(), PATIENCE_S
    try:
        patience = _patience()
        os.environ[VARIABLE] = _asked(SHORT_PATIENCE_S if _is_slow() else patience)
    except Exception:  # noqa: BLE001: see above
        pass
    if os.environ[VARIABLE]:
        os.environ.pop(IN_VAIN_VARIABLE, None)
    elif time.monotonic() - began > patience / 4:
        os.environ[IN_VAIN_VARIABLE] = "1"
        _note_slow()


def _is_slow() -> bool:
    """Returns whether another interpreter waited in vain: one above this one, or any of the last minute."""
    if IN_VAIN_VARIABLE in os.environ:
        return True
    try:
        noted = os.stat(os.environ["TRACEMARK_SOCKET"] + SLOW_END, follow_symlinks=False)
    except OSError:
        return False
    return noted.st_uid == os.geteuid() and 0 <= time.time() - noted.st_mtime < SLOW_S


def _note_slow() -> None:
    path = os.environ["TRACEMARK_SOCKET"] + SLOW_END
    try:
        if os.stat(os.path.dirname(path)).st_uid == os.geteuid():
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o600)
            os.utime(file)
            os.close(file)
    except OSError:
        pass


def _patience() -> float:
    return max(float(os.environ.get(PATIENCE_VARIABLE) or PATIENCE_S), SHORT_PATIENCE_S)


def _asked(patience: float) -> str:
    from tracemark import _socket

    said = _socket.active(os.environ["TRACEMARK_WORKTREE"], int(patience * DAEMON_PART * 1000), patience)
    # An id is of no use in another store than the one that `exec` passed on.
    return _socket.model_id(said) if said.get("store") == os.environ.get("TRACEMARK_STORE") else ""


def _follow_gunicorn() -> None:
    """gunicorn replaces workers by forking, and loads the app after the fork: there is no new interpreter, but new code."""
    import sys

    base = sys.modules.get("gunicorn.workers.base")
    worker: Any = getattr(base, "Worker", None)
    load: Any = getattr(worker, "load_wsgi", None)
    if load is None or getattr(load, "tracemark", False):
        return

    def load_wsgi(self: Any, *arguments: Any, **named: Any) -> Any:
        # With `preload_app` the code is that of the master, and so is the id.
        if getattr(self.app, "callable", None) is None:
            refresh()
        return load(self, *arguments, **named)

    load_wsgi.tracemark = True  # type: ignore[attr-defined]
    worker.load_wsgi = load_wsgi


def _command_line() -> "list[str]":
    """Returns how this interpreter was started; `sys.orig_argv` is of Python 3.10."""
    import sys

    words = getattr(sys, "orig_argv", None)
    if words is None:
        with open("/proc/self/cmdline", "rb") as line:
            words = os.fsdecode(line.read()).split("\0")
    return list(words)


def _follow_fork_server() -> None:
    """A fork server of multiprocessing, Linux's usual way since Python 3.14, is as old as its first child; its children load code."""
    import sys

    # What a child forks itself keeps the code that the child has loaded.
    if os.getppid() != _started_as:
        return
    server = next((word for word in _command_line() if "multiprocessing.forkserver import main" in word), None)
    if server is None:
        return
    inherited = os.environ.get(VARIABLE, "")
    refresh()
    # What it was told to load beforehand, or the main module, is as old as it is itself: no id then, unless nothing has changed.
    has_main = hasattr(sys.modules.get("__main__"), "__file__")
    has_loaded = has_main or "['__main__']" not in server and ", []" not in server
    if has_loaded and os.environ[VARIABLE] != inherited:
        os.environ[VARIABLE] = ""


def _after_fork() -> None:
    for follow in (_follow_gunicorn, _follow_fork_server):
        try:
            follow()
        except Exception:  # noqa: BLE001: see above
            pass


_started_as = os.getpid()
refresh()
os.register_at_fork(after_in_child=_after_fork)
