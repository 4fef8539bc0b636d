"""What host checks in Python share: waiting, machines with a home and a clone of their own, MLflow servers."""
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import time
import urllib.request


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_until(what, look, seconds=180):
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > deadline:
            raise SystemExit(f"gave up waiting until {what}")
        time.sleep(0.05)


def is_healthy(address):
    try:
        with urllib.request.urlopen(address + "/health", timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False


class Machine:
    """A home, a runtime directory and a clone."""

    def __init__(self, base, origin, tracemark):
        self.base, self.tracemark = base, tracemark
        (base / "home").mkdir(parents=True)
        (base / "run").mkdir(mode=0o700)
        self.repo = base / "repo"
        self.env = environment(base)
        git(self.env, base, "clone", "-q", str(origin), str(self.repo))

    def run(self, *arguments):
        return subprocess.run([self.tracemark, *arguments], env=self.env, cwd=self.repo, capture_output=True, text=True)

    def state(self):
        return self.base / "home/.local/state/tracemark"

    def kill(self):
        record = self.state() / "daemon.json"
        if not record.exists():
            return
        pid = json.loads(record.read_text())["pid"]
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        wait_until("the daemon is gone", lambda: not is_alive(pid))

    def published(self):
        """Every id that this machine's daemons ever handed out."""
        log = (self.state() / "daemon.log").read_text()
        lines = [line for line in log.splitlines() if "published" in line]
        return {found for line in lines for found in re.findall(r'model_id="(m-[0-9a-f]+)"', line)}


def is_alive(pid):
    try:
        stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return not stat.rpartition(")")[2].startswith(" Z")


def environment(base):
    names = {"GIT_AUTHOR_NAME": "Ann", "GIT_COMMITTER_NAME": "Ann", "GIT_CONFIG_NOSYSTEM": "1", "USER": "ann"}
    mail = {"GIT_AUTHOR_EMAIL": "ann@example.org", "GIT_COMMITTER_EMAIL": "ann@example.org"}
    places = {"HOME": str(base / "home"), "XDG_RUNTIME_DIR": str(base / "run"), "PATH": os.environ["PATH"]}
    return {**names, **mail, **places, "MLFLOW_DISABLE_TELEMETRY": "true"}


def git(env, cwd, *arguments):
    done = subprocess.run(["git", *arguments], env=env, cwd=cwd, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def start_server(mlflow, base, database, workers):
    """Starts `mlflow server` on a database; returns the process, the leader of its own group, and its address."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    command = [str(mlflow), "server", "--host", "127.0.0.1", "--port", str(port), "--workers", str(workers)]
    stores = ["--backend-store-uri", database, "--artifacts-destination", str(base / "artifacts")]
    env = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    log = (base / "server.log").open("w")
    server = subprocess.Popen(command + stores, env=env, cwd=base, stdout=log, stderr=log, start_new_session=True)
    wait_until("the MLflow server answers", lambda: is_healthy(address))
    return server, address
