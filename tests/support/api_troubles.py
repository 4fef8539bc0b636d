"""The API of the Python package while MLflow or the daemon fails: `api_troubles.py TRACEMARK`; one JSON line on stdout."""
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import mlflow
import tracemark
from mlflow.tracking.fluent import _get_active_model_id_global as linked

FAILURES = []


def failing(function, times):
    """The function, which raises that often before it works."""
    left = [times]

    def wrapper(*arguments, **named):
        if left[0] > 0:
            left[0] -= 1
            FAILURES.append(function.__name__)
            raise RuntimeError("the store failed")
        return function(*arguments, **named)

    return wrapper


def save(text):
    """Saves the app and returns the id that belongs to it."""
    pathlib.Path("app.py").write_text(text)
    return subprocess.check_output([sys.argv[1], "active", "--timeout", "60"], text=True).strip()


def comes_to(wanted):
    give_up = time.monotonic() + 60
    while linked() != wanted and time.monotonic() < give_up:
        time.sleep(0.01)
    return linked() == wanted


def daemon():
    return json.loads((pathlib.Path.home() / ".local/state/tracemark/daemon.json").read_text())["pid"]


def signalled(number):
    os.kill(daemon(), number)
    return True


set_model, clear_model = mlflow.set_active_model, mlflow.clear_active_model
first = save("print(1)\n")
os.environ["TRACEMARK_SOCKET"] = "/nowhere/api.sock"
said = {"a stale socket is passed over": tracemark.current().model_id == first}
mlflow.set_active_model = failing(set_model, 1)
said["activate survives the store"] = tracemark.activate() is None and linked() is None and FAILURES == ["set_active_model"]
mlflow.set_active_model = failing(set_model, 2)
said["follow tries again"] = tracemark.follow(60) == first == linked() and len(FAILURES) == 3
mlflow.clear_active_model = failing(clear_model, 2)
said["follow survives anything"] = comes_to(save("print(2)\n")) and len(FAILURES) == 5
mlflow.set_active_model = failing(set_model, 1)
third = save("print(3)\n")
said["and the store while it follows"] = comes_to(third) and len(FAILURES) == 6
signalled(signal.SIGSTOP)
said["a daemon that hangs is not believed"] = comes_to(None)
signalled(signal.SIGCONT)
said["and believed again"] = comes_to(third)
signalled(signal.SIGKILL)
said["nor is one that is gone"] = comes_to(None)
print(json.dumps(said))
