"""Runs every curl example of docs/socket-api.md from the text of the document: examples.py TRACEMARK, in a tracked repository."""
import json
import os
import pathlib
import re
import signal
import subprocess
import sys

tracemark = sys.argv[1]
document = pathlib.Path(__file__).parents[2] / "docs/socket-api.md"
examples = re.findall(r"^```sh\n(.*?)\n```$", document.read_text(), re.M | re.S)


def run(example):
    """The answers of an example as a person would paste it, one for each line."""
    said = subprocess.run(["sh", "-c", example], capture_output=True, text=True, timeout=60, check=True)
    return [json.loads(line) for line in said.stdout.splitlines()]


def follow(example):
    """The first state of a follower, and the next one that has a model after an edit."""
    curl = subprocess.Popen(["sh", "-c", example], stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        first = json.loads(curl.stdout.readline())
        pathlib.Path("app.py").write_text("print('followed')\n")
        later = (json.loads(line) for line in curl.stdout)
        return first, next(state for state in later if state["model_id"])
    finally:
        os.killpg(curl.pid, signal.SIGTERM)
        curl.wait()


def expect(got, wanted, what):
    if got != wanted:
        raise SystemExit(f"{what}: got {got!r}, not {wanted!r}")


def active():
    return subprocess.run([tracemark, "active"], capture_output=True, text=True, check=True).stdout.strip()


before = active()
seen = []
for example in examples:
    (resource,) = set(re.findall(r"http://localhost(/v1/\w+)", example))
    seen.append(resource)
    if resource == "/v1/active":
        (answer,) = run(example)
        expect((answer["model_id"], answer["fresh"]), (before, True), example)
    elif resource == "/v1/events":
        first, next_one = follow(example)
        expect(first["model_id"], before, example)
        expect(next_one["model_id"], active(), example)
    elif resource == "/v1/status":
        (answer,) = run(example)
        expect([worktree["path"] for worktree in answer["worktrees"]], [os.getcwd()], example)
    else:
        for answer in run(example):
            expect(sorted(answer), ["api", "version"], example)
expect(seen, ["/v1/active", "/v1/events", "/v1/status", "/v1/touch", "/v1/worktrees"], "the examples")
# DELETE gave nothing up, as the record is there.
expect(json.loads(subprocess.check_output([tracemark, "status", "--json"]))["worktrees"][0]["model_id"], active(), "status")
