"""Kills the daemon at every system call by which it writes, then at random moments, and judges what is left.

`python3 kills.py TRACEMARK DATABASE` in a tracked repository.  After each kill the next question must get the id of the code
on disk; the env file names nothing else; in the end every version is there once, and its code comes back.  KILLS says how
many random moments (200), SEED which.  Prints its figures.
"""
import contextlib
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

TRACEMARK, DATABASE = sys.argv[1:]
STATE = Path(os.environ["HOME"], ".local/state/tracemark")
PRIVATE = Path(".git/tracemark")
# Whatever a write ends with is tried at every call; what happens often at the first calls, then at fewer and fewer.
EVERY = ("fsync", "fdatasync", "rename", "renameat", "renameat2", "unlink", "unlinkat", "mkdir", "mkdirat", "ftruncate")
OFTEN = ("write", "pwrite64", "openat", "sendto")
FEWER_AFTER, CALLS_MAX = 12, 400
PATIENCE = 60


def run(*command, check=True):
    """What a command prints."""
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if check and done.returncode:
        sys.exit(f"{command}: {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout.strip()


def until(what, condition):
    """Wait for something that must come."""
    limit = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > limit:
            sys.exit(f"gave up waiting until {what}")
        time.sleep(0.01)


def daemon_pid():
    """The daemon that the record names, where it is alive."""
    try:
        pid = json.loads((STATE / "daemon.json").read_text())["pid"]
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (OSError, ValueError):
        return None
    return pid if b"daemon" in command and TRACEMARK.encode() in command else None


def rows():
    """Every LoggedModel: id, name, content id."""
    query = (
        "SELECT m.model_id, m.name, t.tag_value FROM logged_models m LEFT JOIN logged_model_tags t "
        "ON t.model_id = m.model_id AND t.tag_key = 'tracemark.content' WHERE m.lifecycle_stage = 'active'"
    )
    # Not read-only: a kill may leave a journal that the next reader has to play back.
    return ask(DATABASE, query)


def ask(database, query):
    """The rows of a query."""
    with contextlib.closing(sqlite3.connect(database, timeout=30)) as connection:
        return connection.execute(query).fetchall()


def env_id():
    """The id that the env file names."""
    lines = (PRIVATE / "env").read_text().splitlines()
    found = [line.partition("=")[2] for line in lines if line.startswith("MLFLOW_ACTIVE_MODEL_ID=")]
    if len(found) != 1 or not lines[-1].startswith("TRACEMARK_SOCKET="):
        sys.exit(f"half an env file: {lines}")
    return found[0]


class Work:
    """A person's work, and what was handed out for it."""

    def __init__(self):
        self.steps, self.texts = 0, {}

    def step(self):
        """Change the code, ask, and compare the answer with the disk."""
        self.steps += 1
        text = f"print({self.steps})\n"
        Path("app.py").write_text(text)
        if self.steps % 3 == 0:
            run("git", "commit", "-qam", str(self.steps))
        said = run(TRACEMARK, "active", "--json", "--timeout", "30", check=False)
        try:
            said = json.loads(said)
        except ValueError:
            sys.exit(f"step {self.steps}: no answer: {said!r}")
        content = run(TRACEMARK, "hash", "--naming", "tree")
        if said["content"] != content or not said["model_id"]:
            sys.exit(f"step {self.steps}: {said} for {content}")
        self.texts[said["model_id"]] = text
        contents = {row[0]: row[2] for row in rows()}
        if contents.get(said["model_id"]) != content:
            sys.exit(f"step {self.steps}: {said['model_id']} has no row of {content}")
        named = env_id()
        if named and contents.get(named) != content:
            sys.exit(f"step {self.steps}: the env file names {named}, which is not {content}")

    def judge(self):
        """Every version once, and every one comes back."""
        found = rows()
        versions = {(name, content) for _, name, content in found}
        if len(versions) != len(found):
            sys.exit(f"{len(found) - len(versions)} versions are doubled")
        for commit in run("git", "rev-list", "HEAD").split():
            if not any(name == commit for _, name, _ in found) and int(run("git", "show", "-s", "--format=%ct", commit)) > BEGAN:
                sys.exit(f"commit {commit} has no model")
        for model, text in self.texts.items():
            back = run(TRACEMARK, "show", f"{model}:app.py")
            if back != text.strip():
                sys.exit(f"{model} brings back {back!r}, not {text!r}")
        if ask(STATE / "ledger.sqlite", "PRAGMA integrity_check") != [("ok",)]:
            sys.exit("the ledger is damaged")
        for line in (PRIVATE / "snapshots/index").read_text().splitlines():
            json.loads(line)


def stop():
    """End the daemon in peace."""
    pid = daemon_pid()
    if pid:
        os.kill(pid, signal.SIGTERM)
        until("the daemon is gone", lambda: daemon_pid() is None)


def is_killed_at(work, call, count):
    """One step of work with a daemon that is killed at that call; false where it was not reached."""
    inject = f"inject={call}:signal=KILL:when={count}"
    traced = subprocess.Popen(
        ["strace", "-f", "-qqq", "-o", "/dev/null", "-e", f"trace={call}", "-e", inject, TRACEMARK, "daemon"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
    until("the daemon listens or is dead", lambda: daemon_pid() or traced.poll() is not None)
    work.step()
    stop()
    code = traced.wait(PATIENCE)
    if code == 0 and env_id():
        sys.exit(f"a daemon that stopped in peace left an id ({inject})")
    return code != 0


def at_every_call(work):
    """How many calls of each kind the daemon was killed at."""
    figures = {}
    for call in EVERY + OFTEN:
        count = killed = misses = 0
        # The count is each thread's own: one that is missed may come in the next round.
        while misses < 2 and count < CALLS_MAX:
            count += 1 if call in EVERY or count < FEWER_AFTER else count // 4
            if is_killed_at(work, call, count):
                killed, misses = killed + 1, 0
            else:
                misses += 1
        figures[call] = killed
    return figures


def at_random(work, kills, chance):
    """Kill while somebody works without a pause."""
    over = threading.Event()

    def work_on():
        while not over.is_set():
            work.step()

    # Its exits end the process: nothing goes on without it.
    worker = threading.Thread(target=lambda: guarded(work_on), daemon=True)
    worker.start()
    for _ in range(kills):
        until("there is a daemon", lambda: daemon_pid() or not worker.is_alive())
        time.sleep(chance.random() * 0.12)
        pid = daemon_pid()
        if pid:
            os.kill(pid, signal.SIGKILL)
            until("it is dead", lambda pid=pid: daemon_pid() != pid)
    over.set()
    worker.join()


def guarded(what):
    """A thread's exit is the program's."""
    try:
        what()
    except SystemExit as end:
        print(end.code, file=sys.stderr, flush=True)
        os._exit(1)


BEGAN = int(time.time())


def main():
    """Both kinds of kills, one judgement."""
    seed = int(os.environ.get("SEED", time.time()))
    kills = int(os.environ.get("KILLS", "200"))
    work = Work()
    stop()
    figures = at_every_call(work)
    if not sum(figures.values()):
        sys.exit("nothing was killed")
    at_random(work, kills, random.Random(seed))
    work.step()
    work.judge()
    stop()
    calls = ", ".join(f"{call} {count}" for call, count in figures.items() if count)
    print(f"killed at calls of {calls}; at {kills} random moments (seed {seed}); {work.steps} steps, {len(rows())} versions")


main()
