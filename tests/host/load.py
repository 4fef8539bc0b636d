"""A build that writes thousands of files a second, with readers, followers and idle connections all the while.

`python3 load.py TRACEMARK` in a tracked repository.  Memory and descriptors of the daemon stay bounded, `status` answers
throughout, and in the end an answer is the code on disk.  LOAD_SECONDS says for how long (60).  Prints its figures.
"""
import json
import multiprocessing
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

TRACEMARK = sys.argv[1]
SECONDS = float(os.environ.get("LOAD_SECONDS", "60"))
RECORD = json.loads(Path(os.environ["HOME"], ".local/state/tracemark/daemon.json").read_text())
PID, SOCKET = RECORD["pid"], RECORD["socket"]
FILES_A_SECOND, BATCH = 5000, 500
READERS, FOLLOWERS, IDLE = 200, 20, 2000
MEMORY_MAX, DESCRIPTORS_MAX = 300 << 20, 1500


def connect():
    """A connection; None where the daemon takes no more."""
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(30)
    try:
        client.connect(SOCKET)
    except OSError:
        client.close()
        return None
    return client


def request(path):
    """A request for this worktree."""
    return f"GET {path}?worktree={os.getcwd()} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


def build(files, over):
    """Half of the files where git ignores them, half where it does not; as many a second as can be had."""
    began = time.monotonic()
    while not over.is_set():
        for place in ("build", "out"):
            part = Path(place, f"part{files.value // 5000 % 3}")
            part.mkdir(parents=True, exist_ok=True)
            text = f"{files.value}\n".encode()
            for number in range(BATCH // 2):
                unit = os.open(f"{part}/unit{number}.o", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
                os.write(unit, text)
                os.close(unit)
            files.value += BATCH // 2
        if files.value % 50_000 == 0:
            shutil.rmtree("out")
        time.sleep(max(0, files.value / FILES_A_SECOND - (time.monotonic() - began)))


class Figures:
    """What was counted; one thread writes each entry."""

    def __init__(self):
        self.over = threading.Event()
        self.events = self.answers = self.refused = 0
        self.slowest = self.memory = self.descriptors = 0
        self.lock = threading.Lock()

    def read(self):
        """One who asks twice a second."""
        while not self.over.wait(0.5):
            client = connect()
            if client is None:
                with self.lock:
                    self.refused += 1
                continue
            with client:
                try:
                    client.sendall(request("/v1/active"))
                    answer = client.recv(65536)
                except OSError:
                    answer = b""
            with self.lock:
                self.answers += answer.startswith(b"HTTP/1.1 200")
                self.refused += not answer.startswith(b"HTTP/1.1 200")

    def follow(self):
        """One who follows the events."""
        client = connect()
        if client is None:
            return
        with client:
            client.settimeout(1)
            client.sendall(request("/v1/events"))
            while not self.over.is_set():
                try:
                    lines = client.recv(65536)
                except TimeoutError:
                    continue
                except OSError:
                    return
                with self.lock:
                    self.events += lines.count(b'{"')
                if not lines:
                    return

    def watch(self):
        """Ask for the status each second, and look at what the daemon takes."""
        while not self.over.wait(1):
            began = time.monotonic()
            said = subprocess.run([TRACEMARK, "status", "--json"], check=False, capture_output=True, text=True)
            if '"pid"' not in said.stdout:
                print(f"no status: {said.stdout}{said.stderr}", file=sys.stderr)
                os._exit(1)
            self.slowest = max(self.slowest, time.monotonic() - began)
            lines = Path(f"/proc/{PID}/status").read_text().splitlines()
            memory = next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmRSS"))
            self.memory = max(self.memory, memory)
            self.descriptors = max(self.descriptors, len(os.listdir(f"/proc/{PID}/fd")))


def main():
    """All of it at once, then quiet."""
    figures = Figures()
    files, over = multiprocessing.Value("L", 0), multiprocessing.Event()
    builder = multiprocessing.Process(target=build, args=(files, over), daemon=True)
    builder.start()
    work = [figures.watch] + [figures.read] * READERS + [figures.follow] * FOLLOWERS
    threads = [threading.Thread(target=one, daemon=True) for one in work]
    for thread in threads:
        thread.start()
    idle = [client for client in (connect() for _ in range(IDLE)) if client]
    time.sleep(SECONDS)
    over.set()
    figures.over.set()
    builder.join(30)
    for thread in threads:
        thread.join(30)
    for client in idle:
        client.close()
    said = json.loads(subprocess.run([TRACEMARK, "active", "--json", "--timeout", "30"], check=True, capture_output=True, text=True).stdout)
    content = subprocess.run([TRACEMARK, "hash", "--naming", "tree"], check=True, capture_output=True, text=True).stdout.strip()
    print(
        f"{files.value / SECONDS:.0f} files a second for {SECONDS:.0f} s, {figures.answers} answers ({figures.refused} refused), "
        f"{figures.events} events, {len(idle)} idle connections; slowest status {figures.slowest:.2f} s, "
        f"{figures.memory >> 20} MB, {figures.descriptors} descriptors"
    )
    if said["content"] != content or not said["fresh"]:
        sys.exit(f"{said} for {content}")
    if figures.memory > MEMORY_MAX or figures.descriptors > DESCRIPTORS_MAX:
        sys.exit("that is too much")
    if not figures.answers or not figures.events or figures.slowest > 30:
        sys.exit("the daemon did not keep up")


main()
