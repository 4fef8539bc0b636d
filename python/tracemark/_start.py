"""What an interpreter below `tracemark exec` does before user code runs: `tracemark.pth` imports this module.

Asks the socket which version the code on disk is and puts its id into the environment; empty where that is not known within two
seconds. Nothing that goes wrong here may show: the app runs without a link then.
"""

import os

PATIENCE_S = 2.0
# Less than the patience, so that the daemon says why it has no id before we give up.
WAIT_MS = 1800
VARIABLE = "MLFLOW_ACTIVE_MODEL_ID"


def refresh() -> None:
    """Puts the id of the code on disk into the environment; whatever was there belongs to other code and goes first."""
    os.environ[VARIABLE] = ""
    try:
        from tracemark import _socket

        said = _socket.active(os.environ["TRACEMARK_SOCKET"], os.environ["TRACEMARK_WORKTREE"], WAIT_MS, PATIENCE_S)
        # An id is of no use in another store than the one that `exec` passed on.
        if said.get("store") == os.environ.get("TRACEMARK_STORE"):
            os.environ[VARIABLE] = _socket.model_id(said)
    except Exception:  # noqa: BLE001: see above
        pass


def _follow_gunicorn() -> None:
    """gunicorn replaces workers by forking, and loads the app after the fork: there is no new interpreter, but new code."""
    import sys

    base = sys.modules.get("gunicorn.workers.base")
    worker = getattr(base, "Worker", None)
    load = getattr(worker, "load_wsgi", None)
    if load is None or getattr(load, "tracemark", False):
        return

    def load_wsgi(self, *arguments, **named):
        # With `preload_app` the code is that of the master, and so is the id.
        if getattr(self.app, "callable", None) is None:
            refresh()
        return load(self, *arguments, **named)

    load_wsgi.tracemark = True
    worker.load_wsgi = load_wsgi


def _after_fork() -> None:
    try:
        _follow_gunicorn()
    except Exception:  # noqa: BLE001: see above
        pass


refresh()
os.register_at_fork(after_in_child=_after_fork)
