"""The API of the Python package with a real MLflow, in a tracked repository: `follow.py TRACEMARK`; one JSON line on stdout."""
import json
import pathlib
import subprocess
import sys
import threading
import time

import mlflow
import tracemark
from mlflow.tracking.fluent import _get_active_model_id_global as linked


def save(text):
    """Saves the app and returns the id that belongs to it."""
    pathlib.Path("app.py").write_text(text)
    return subprocess.check_output([sys.argv[1], "active", "--timeout", "60"], text=True).strip()


def seen_elsewhere():
    """What a trace of a thread that never set anything would be linked to."""
    seen = []
    thread = threading.Thread(target=lambda: seen.append(linked()))
    thread.start()
    thread.join()
    return seen[0]


def follows(wanted):
    """Whether this thread and a new one come to that id; the one thread that sets it takes its time."""
    give_up = time.monotonic() + 60
    while (linked(), seen_elsewhere()) != (wanted, wanted) and time.monotonic() < give_up:
        time.sleep(0.01)
    return (linked(), seen_elsewhere()) == (wanted, wanted)


first = save("print(1)\n")
said = {"current": tracemark.current().model_id == first}
said["activate"] = tracemark.activate() == first == linked() == seen_elsewhere()
second = save("print(2)\n")
said["activate stays"] = linked() == first == seen_elsewhere()
said["follow"] = tracemark.follow(60) == second and follows(second)
said["follow moves"] = follows(save("print(3)\n"))
said["one thread"] = tracemark.follow(60) and [thread.name for thread in threading.enumerate()].count("tracemark") == 1
said["activate ends it"] = tracemark.activate() == linked() and "tracemark" not in [thread.name for thread in threading.enumerate()]
print(json.dumps(said))
