"""Times `tracemark log` and `tracemark gc` over many versions in MLflow's SQLite file.

    python3 benches/history.py TRACEMARK DATABASE [VERSIONS [TRACES [MLFLOW]]] [--json]

TRACEMARK is the program, DATABASE a file that MLflow made and that holds no models (it is copied).
One version is made by the program itself; the others are written into the ledger, the index of the
snapshots and the database as copies of it.  With MLFLOW, the
program of that name, all of it goes over a server on that database.  Everything lies in a
temporary directory.  Prints a line a command, with --json one document of their times and lines.
"""
import contextlib
import hashlib
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

TIMES = 7


def content(model):
    """A content id of a copy's own: versions go by those, by commits or by their names."""
    return hashlib.sha1(model.encode()).hexdigest()


class Bench:
    """A repository with a home of its own."""

    def __init__(self, base, program, database, mlflow=None):
        """Make it and track it; with `mlflow` on a server."""
        self.base, self.program = base, str(Path(program).resolve())
        self.repo, self.store = base / "repo", base / "mlflow.db"
        for part in ("home", "run", "repo"):
            (base / part).mkdir(mode=0o700)
        shutil.copy(database, self.store)
        who = {f"GIT_{role}_{what}": "a@b" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        self.env = {"PATH": os.environ["PATH"], "HOME": str(base / "home"), "XDG_RUNTIME_DIR": str(base / "run"), **who}
        self.run("git", "init", "-q", "-b", "main")
        (self.repo / "app.py").write_text("print(0)\n")
        self.run("git", "add", "-A")
        self.run("git", "commit", "-q", "-m", "first")
        self.server, store = None, f"sqlite:///{self.store}"
        if mlflow:
            self.server, store = self.serve(mlflow, store)
        self.ask("up", "--store", store)
        (self.repo / "app.py").write_text("print(1)\n")
        self.model = self.ask("active").strip()

    def serve(self, mlflow, store):
        """A server, and its address once it answers."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        command = [mlflow, "server", "--port", port, "--workers", "1", "--backend-store-uri", store]
        silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        server = subprocess.Popen(command, cwd=self.base, env=self.env, start_new_session=True, **silent)
        while True:
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health").close()
                return server, f"http://127.0.0.1:{port}"
            time.sleep(0.2)

    def end(self):
        """End the daemon and the server."""
        self.ask("down")
        if self.server:
            os.killpg(self.server.pid, signal.SIGTERM)
            self.server.wait()

    def run(self, *command):
        """What a command prints."""
        done = subprocess.run(command, cwd=self.repo, env=self.env, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{command}: {done.stderr}")
        return done.stdout

    def ask(self, *arguments):
        """What the program says."""
        return self.run(self.program, *arguments)

    def copy_row(self, database, table, column, new):
        """Copy the rows of the one version, each with another value of a column."""
        found = database.execute(f"SELECT * FROM {table} WHERE {column} = ?", [self.model]).fetchall()
        names = [name for _, name, *_ in database.execute(f"PRAGMA table_info({table})")]
        marks = ", ".join("?" for _ in names)
        for model, changes in new:
            for row in found:
                values = {**dict(zip(names, row)), column: model}
                values.update({name: value for name, value in changes.items() if name in values})
                database.execute(f"INSERT INTO {table} VALUES ({marks})", list(values.values()))

    def fill(self, versions, traces):
        """Make the others."""
        ids = [f"m-{number:032x}" for number in range(1, versions)]
        index = self.repo / ".git/tracemark/snapshots/index"
        lines = index.read_text().splitlines()
        last = json.loads(lines[-1])
        with index.open("a") as file:
            for number, model in enumerate(ids):
                record = {**last, "name": model, "key": content(model), "at_ms": last["at_ms"] - versions + number}
                file.write(json.dumps(record) + "\n")
        changes = [(model, {"id": None, "name": model, "key": content(model)}) for model in ids]
        ledger = sqlite3.connect(self.base / "home/.local/state/tracemark/ledger.sqlite")
        with ledger:
            self.copy_row(ledger, "history", "model_id", changes)
        database = sqlite3.connect(self.store)
        with database:
            for table in ("logged_models", "logged_model_tags"):
                self.copy_row(database, table, "model_id", changes)
            for number in range(traces):
                trace = f"tr-{number:032x}"
                database.execute(
                    "INSERT INTO trace_info (request_id, experiment_id, timestamp_ms, status) VALUES (?, 0, 0, 'OK')",
                    [trace],
                )
                for key, value in (("mlflow.modelId", ids[number % min(100, len(ids))]), ("mlflow.traceInputs", "x" * 250)):
                    database.execute(
                        "INSERT INTO trace_request_metadata (key, value, request_id) VALUES (?, ?, ?)",
                        [key, value, trace],
                    )

    def time(self, times, *arguments):
        """The median of the milliseconds that a command takes, and what it says."""
        taken = []
        for _ in range(times):
            begun = time.perf_counter()
            said = self.ask(*arguments)
            taken.append((time.perf_counter() - begun) * 1000)
        lines = said.splitlines()
        return {"ms": sorted(taken)[times // 2], "lines": len(lines), "last": lines[-1]}


def main():
    """Fill and time."""
    arguments = [argument for argument in sys.argv[1:] if argument != "--json"]
    program, database, *numbers = arguments
    versions, traces, mlflow = (*numbers, *["2000", "20000", None][len(numbers):])
    with tempfile.TemporaryDirectory(prefix="tm") as base:
        bench = Bench(Path(base), program, database, mlflow)
        try:
            bench.fill(int(versions), int(traces))
            commands = [
                (TIMES, "log"),
                (TIMES, "log", "--json"),
                (TIMES, "show", bench.model),
                (3, "gc", "--keep", "0s"),
                (1, "gc", "--keep", "0s", "--yes"),
            ]
            figures = {" ".join(words): bench.time(times, *words) for times, *words in commands}
        finally:
            bench.end()
    figures = {name.replace(bench.model, "ID"): figure for name, figure in figures.items()}
    if "--json" in sys.argv:
        print(json.dumps(figures))
        return
    for name, figure in figures.items():
        print(f"tracemark {name}: {figure['ms']:.0f} ms, {figure['lines']} lines")


if __name__ == "__main__":
    main()
