"""Saves an app again and again while a reloader runs it under traffic, and counts the traces that are not linked to their own code.

`reload.py TRACEMARK KIND SAVES` in a tracked repository whose store MLFLOW_DB is; the reloader is of the Python that runs this.
One JSON line on stdout: {"traces", "wrong", "unlinked", "revisions"}.
"""
import json
import os
import pathlib
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.request

GIVE_UP_S = 300

CODE = '''import json
import mlflow

REVISION = {revision}


@mlflow.trace
def traced():
    return REVISION


def answer():
    return json.dumps({{"revision": traced()}}).encode()
'''

FILES = {
    "asgi.py": '''import answers


async def app(scope, receive, send):
    if scope["type"] == "http":
        body = answers.answer()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})
''',
    "wsgi.py": '''import answers


def app(environ, start_response):
    body = answers.answer()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
''',
    "flaskapp.py": '''import flask

import answers

app = flask.Flask("app")
app.get("/")(answers.answer)
''',
    "serve.py": '''import sys
from wsgiref.simple_server import make_server

from wsgi import app

make_server("127.0.0.1", int(sys.argv[1]), app).serve_forever()
''',
    # The parent lives on; each request is the work of a new interpreter.
    "spawning.py": '''import multiprocessing
import sys
from wsgiref.simple_server import make_server


def work(answers):
    import answers as code
    answers.send(code.answer())


def app(environ, start_response):
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    worker = multiprocessing.get_context("spawn").Process(target=work, args=(theirs,))
    worker.start()
    body = ours.recv()
    worker.join()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


if __name__ == "__main__":
    make_server("127.0.0.1", int(sys.argv[1]), app).serve_forever()
''',
}

COMMANDS = {
    "uvicorn": ["-m", "uvicorn", "asgi:app", "--reload", "--port", "PORT"],
    "gunicorn": ["-m", "gunicorn", "--reload", "--workers", "2", "--bind", "127.0.0.1:PORT", "wsgi:app"],
    "flask": ["-m", "flask", "--app", "flaskapp", "--debug", "run", "--port", "PORT"],
    "watchfiles": ["-m", "watchfiles", "PYTHON serve.py PORT", "."],
    "spawn": ["spawning.py", "PORT"],
}


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def until(what, look):
    """The first thing that is there."""
    began = time.monotonic()
    while not (found := look()):
        if time.monotonic() - began > GIVE_UP_S:
            raise SystemExit(f"gave up waiting until {what}")
        time.sleep(0.02)
    return found


def revision_served(port):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=60) as answer:
            return json.load(answer)["revision"]
    except (OSError, ValueError):
        return None


def traffic(port, ended):
    while not ended.wait(0.02):
        revision_served(port)


def save(tracemark, revision):
    """Saves a revision as editors do, and returns the model id that belongs to it."""
    fresh = pathlib.Path("answers.py.tmp")
    fresh.write_text(CODE.format(revision=revision))
    os.replace(fresh, "answers.py")
    return subprocess.check_output([tracemark, "active", "--timeout", "60"], text=True).strip()


def traces(database):
    """Revision and model id of each trace in the store."""
    with sqlite3.connect(database, timeout=30) as store:
        rows = store.execute("SELECT request_id, key, value FROM trace_request_metadata").fetchall()
    found = {}
    for trace, key, value in rows:
        found.setdefault(trace, {})[key] = value
    return [(int(one["mlflow.traceOutputs"]), one.get("mlflow.modelId")) for one in found.values() if "mlflow.traceOutputs" in one]


def main(tracemark, kind, saves):
    for name, text in FILES.items():
        pathlib.Path(name).write_text(text)
    ids = {0: save(tracemark, 0)}
    port = free_port()
    words = [word.replace("PYTHON", sys.executable).replace("PORT", str(port)) for word in COMMANDS[kind]]
    # uvicorn ends itself by the signal it got, and what MLflow had queued is lost then: here an answer waits for its trace.
    # However busy the machine is, an interpreter waits for its id.
    written = {**os.environ, "MLFLOW_ENABLE_ASYNC_TRACE_LOGGING": "false", "TRACEMARK_PATIENCE": "60"}
    command = [tracemark, "exec", "--require", "--", sys.executable, *words]
    server = subprocess.Popen(command, start_new_session=True, stdout=sys.stderr, env=written)
    ended = threading.Event()
    clients = [threading.Thread(target=traffic, args=(port, ended)) for _ in range(2)]
    try:
        until("the app serves", lambda: revision_served(port) is not None)
        for client in clients:
            client.start()
        for revision in range(1, saves + 1):
            ids[revision] = save(tracemark, revision)
            until(f"revision {revision} is served", lambda: revision_served(port) == revision)
    finally:
        ended.set()
        for client in clients:
            if client.is_alive():
                client.join()
        os.killpg(server.pid, signal.SIGTERM)
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()
    found = traces(os.environ["MLFLOW_DB"])
    return {
        "traces": len(found),
        "wrong": sum(1 for revision, model in found if model and model != ids[revision]),
        "unlinked": sum(1 for _, model in found if not model),
        "revisions": len({revision for revision, _ in found}),
    }


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], sys.argv[2], int(sys.argv[3]))))
