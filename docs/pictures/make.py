#!/usr/bin/env python3
"""Makes the pictures of the README again: what `tracemark demo` says, and MLflow's page of an app's first three versions.

`docs/pictures/make.py [TRACEMARK]` (default: target/release/tracemark). Needs Chromium on the PATH, and what the demo needs; takes a few
minutes. Writes docs/pictures/demo.svg and docs/pictures/versions.png.
"""
import contextlib
import html
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
# The part of the tour that the picture shows: from the first edit to the end of the table.
FIRST, LAST = "4. The app", "runs are linked to exactly their code."
# MLflow's page draws itself over a few seconds; Chromium's own clock may run ahead while nothing is loading.
DRAWING_MS = 30000
PAGE = "1280,460"


def demo(tracemark, directory):
    """What the demo prints; its repository and database stay in the directory."""
    done = subprocess.run([tracemark, "demo", "--dir", directory], capture_output=True, text=True, check=True)
    return done.stdout


def shown(text):
    """The lines of the picture."""
    lines = text.splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith(FIRST))
    last = next(number for number, line in enumerate(lines) if line.strip().endswith(LAST))
    return lines[first : last + 1]


def svg(lines):
    """A terminal with these lines: titles bold, commands green."""
    size, step, margin = 13, 18, 16
    width, height = int(max(map(len, lines)) * size * 0.605) + 2 * margin, len(lines) * step + 2 * margin
    rows = []
    for number, line in enumerate(lines):
        kind = "title" if re.match(r"\d+\. ", line) else "command" if line.startswith("   $ ") else "said"
        rows.append(f'<text class="{kind}" x="{margin}" y="{margin + (number + 1) * step - 5}">{html.escape(line)}</text>')
    style = (
        f"text{{font:{size}px ui-monospace,Menlo,Consolas,'DejaVu Sans Mono',monospace;white-space:pre;fill:#d8dee9}}"
        ".title{fill:#fff;font-weight:bold}.command{fill:#a3be8c}"
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}">'
        f'<style>{style}</style><rect width="100%" height="100%" rx="8" fill="#20242c"/>\n' + "\n".join(rows) + "\n</svg>\n"
    )


APP = """import mlflow


@mlflow.trace
def my_app(question: str):
    return "{answer}"


my_app("What is MLflow?")
"""


def three_versions(tracemark, python, base):
    """Has an app traced as it was committed, edited, and committed again, by a daemon of its own; returns the store's URI."""
    repo, store = os.path.join(base, "support"), f"sqlite:///{base}/mlflow.db"
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "TRACEMARK_"))}
    people = {f"GIT_{who}_{what}": "ann@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    env = {**kept, **people, "TRACEMARK_STATE_DIR": os.path.join(base, "state"), "VIRTUAL_ENV": os.path.dirname(os.path.dirname(python))}

    def run(*command):
        subprocess.run(command, cwd=repo, env=env, check=True, capture_output=True, text=True)

    def edit(answer, *then):
        pathlib.Path(repo, "app.py").write_text(APP.format(answer=answer), encoding="utf-8")
        for command in (*then, (tracemark, "exec", "--require", "--", python, "app.py")):
            run(*command)

    os.mkdir(repo)
    commit = (("git", "add", "-A"), ("git", "commit", "--quiet", "--message", "Answers"))
    up = (tracemark, "up", "--yes", "--naming", "tree", "--store", store)
    run("git", "init", "--quiet", "--initial-branch", "main")
    try:
        edit("Yes.", *commit, up, (tracemark, "params", "set", "llm=gpt-4o-mini", "temperature=0.7"))
        edit("A platform.")
        edit("A platform for GenAI.", *commit)
        run(tracemark, "down")
    finally:
        with contextlib.suppress(OSError):
            os.kill(json.loads(pathlib.Path(base, "state/daemon.json").read_text(encoding="utf-8"))["pid"], signal.SIGTERM)
    return store


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@contextlib.contextmanager
def server(python, directory, store):
    """MLflow's server on a database; its address."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    command = [python, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1", "--backend-store-uri", store]
    quiet = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with open(f"{directory}/server.log", "w", encoding="utf-8") as log:
        running = subprocess.Popen(command, env=quiet, cwd=directory, stdout=log, stderr=log, start_new_session=True)
    try:
        give_up = time.monotonic() + 120
        while not is_healthy(address):
            if time.monotonic() > give_up or running.poll() is not None:
                raise SystemExit(pathlib.Path(f"{directory}/server.log").read_text(encoding="utf-8"))
            time.sleep(0.2)
        yield address
    finally:
        os.killpg(running.pid, signal.SIGTERM)
        running.wait()


def is_healthy(address):
    try:
        with urllib.request.urlopen(address + "/health", timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False


def screenshot(url, file):
    """A picture of a page as Chromium draws it."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chromium-browser")
    if chromium is None:
        raise SystemExit("Chromium is missing (Debian: apt install chromium)")
    with tempfile.TemporaryDirectory() as profile:
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
        flags += ["--disable-component-update", "--disable-sync", "--hide-scrollbars", f"--user-data-dir={profile}"]
        flags += [f"--window-size={PAGE}", f"--virtual-time-budget={DRAWING_MS}", f"--screenshot={file}", url]
        subprocess.run([chromium, *flags], check=True, capture_output=True, timeout=300)


def main():
    tracemark = os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else HERE.parents[1] / "target/release/tracemark")
    with tempfile.TemporaryDirectory() as base:
        directory = os.path.join(base, "demo")
        said = demo(tracemark, directory)
        (HERE / "demo.svg").write_text(svg(shown(said)), encoding="utf-8")
        python = re.search(r"(\S+/bin)/mlflow ui", said).group(1) + "/python"
        store = three_versions(tracemark, python, base)
        with server(python, base, store) as address:
            screenshot(f"{address}/#/experiments/0/models", HERE / "versions.png")


if __name__ == "__main__":
    main()
