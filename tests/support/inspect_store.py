"""Looks into an MLflow store for the tests, and runs apps without the cost of importing MLflow.

One look, one JSON document on stdout (store: MLFLOW_TRACKING_URI; on failure one line on stderr,
exit code 1; a missing SQLite file is a failure, never created):

    inspect_store.py model MODEL_ID
    inspect_store.py models EXPERIMENT_ID
    inspect_store.py traces MODEL_ID EXPERIMENT_ID
    inspect_store.py trace TRACE_ID
    inspect_store.py experiment NAME

`inspect_store.py serve` reads one JSON request a line from stdin until it ends, and answers each
with one JSON line, {"ok": ...} or {"error": "..."}.  Its first line, {"ok": "ready"}, says that
MLflow is imported.

    {"cmd": ["model", "m-..."], "tracking_uri": "sqlite:////abs/mlflow.db"}
    {"cmd": ["run_app", "/abs/app.py", "argument"], "env": {...}, "cwd": "/abs"}

A look may carry "env", added to the server's (credentials, say); for `run_app` it is the whole
environment.  `run_app` answers {"ok": {"stdout", "stderr", "code"}}; a negative code is a signal.
Every request may carry "timeout" in seconds (120).

The server itself only imports: each request is served by a fork of it in which nothing of MLflow
was used yet, so no request sees what an earlier one left behind.  A fork is not a new interpreter:
`.pth` files and sitecustomize do not run again, of the PYTHON* variables only PYTHONPATH and
PYTHONDONTWRITEBYTECODE count, and telemetry stays off.
"""
import atexit
import contextlib
import importlib
import json
import os
import re
import runpy
import select
import signal
import sys
import tempfile
import threading
import time
import traceback

# Read while the modules below are imported: no telemetry and no library threads, which no fork
# would inherit.
QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
}
WARM = (
    "mlflow",
    "mlflow.openai.autolog",
    "mlflow.store.tracking.rest_store",
    "mlflow.store.tracking.sqlalchemy_store",
    "mlflow.genai.evaluation.harness",
    "openai.resources.chat.completions.completions",
    "openai.resources.embeddings",
    "openai.resources.responses.responses",
    "httpcore2",
    "sqlalchemy.dialects.sqlite",
)
TIMEOUT_S = 120.0


def model(mlflow, model_id):
    """One LoggedModel."""
    found = mlflow.get_logged_model(model_id)
    return {
        "model_id": found.model_id,
        "name": found.name,
        "status": str(found.status),
        "tags": found.tags,
        "params": found.params,
        "model_type": found.model_type,
        "experiment_id": found.experiment_id,
        "creation_timestamp": found.creation_timestamp,
    }


def models(mlflow, experiment_id):
    """Every LoggedModel of an experiment, newest first."""
    found = mlflow.search_logged_models(experiment_ids=[experiment_id], output_format="list")
    return [{"model_id": one.model_id, "name": one.name, "tags": one.tags} for one in found]


def traces(mlflow, model_id, experiment_id):
    """Ids of the traces in an experiment that are linked to a model."""
    found = mlflow.search_traces(
        locations=[experiment_id],
        filter_string=f"metadata.`mlflow.modelId` = '{model_id}'",
        return_type="list",
        include_spans=False,
    )
    return [one.info.trace_id for one in found]


def trace(mlflow, trace_id):
    """One trace, without its spans."""
    found = mlflow.get_trace(trace_id)
    if found is None:
        raise LookupError(f"no trace {trace_id}")
    return {
        "trace_id": found.info.trace_id,
        "experiment_id": found.info.experiment_id,
        "state": str(found.info.state),
        "model_id": found.info.trace_metadata.get("mlflow.modelId"),
        "metadata": dict(found.info.trace_metadata),
        "tags": dict(found.info.tags),
    }


def experiment(mlflow, name):
    """One experiment by its name, or null."""
    found = mlflow.get_experiment_by_name(name)
    return found and {
        "experiment_id": found.experiment_id,
        "name": found.name,
        "lifecycle_stage": found.lifecycle_stage,
        "artifact_location": found.artifact_location,
    }


LOOKS = {look.__name__: look for look in (model, models, traces, trace, experiment)}


def require_store(uri):
    """Refuse a store that MLflow would make or migrate instead of merely reading it."""
    if not uri:
        raise LookupError("MLFLOW_TRACKING_URI names no store")
    path = re.sub("^sqlite:///", "", uri)
    if path != uri and not os.path.exists(path):
        raise LookupError(f"no database {path}")


def look(command):
    """Print the document that a command asks for; the exit code."""
    try:
        require_store(os.environ.get("MLFLOW_TRACKING_URI"))
        with contextlib.redirect_stdout(sys.stderr):
            document = LOOKS[command[0]](importlib.import_module("mlflow"), *command[1:])
    except Exception as error:  # any failure is an answer
        message = " ".join(str(error).split())
        print(f"{type(error).__name__}: {message}", file=sys.stderr)
        return 1
    print(json.dumps(document))
    return 0


def inherited_path():
    """The module search path without what belongs to this script and its PYTHONPATH."""
    own = set(os.environ.get("PYTHONPATH", "").split(os.pathsep))
    return [entry for entry in sys.path[1:] if entry not in own]


def become(env, cwd):
    """Take over another environment and directory, with what was derived from the old ones."""
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    tempfile.tempdir = None
    time.tzset()
    sys.dont_write_bytecode = bool(env.get("PYTHONDONTWRITEBYTECODE"))


def run_script(path, arguments, search_path):
    """Run a script as `python3 path arguments` does; whatever it raises comes through."""
    path = os.path.abspath(path)
    added = [entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
    sys.path[:] = [os.path.dirname(os.path.realpath(path)), *added, *search_path]
    sys.argv[:] = [path, *arguments]
    runpy.run_path(path, run_name="__main__")


def redirect(streams):
    """Make /dev/null and two files the standard streams; nothing read ahead from stdin stays."""
    for number, stream in enumerate([open(os.devnull, "rb"), *streams]):
        os.dup2(stream.fileno(), number)
        stream.close()
    sys.stdin = open(0, closefd=False)


def wait(pid, seconds):
    """Exit code of a child, None when it had to be killed for its time."""
    handle = os.pidfd_open(pid)
    ended, _, _ = select.select([handle], [], [], seconds)
    if not ended:
        os.killpg(pid, signal.SIGKILL)
    os.close(handle)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return code if ended else None


def exit_code(stop):
    """The exit code that SystemExit asks for, its message written as Python does."""
    if stop.code is None or isinstance(stop.code, int):
        return stop.code or 0
    print(stop.code, file=sys.stderr)
    return 1


def guarded(child):
    """Exit code of `child`, which ends as a script would, whatever it raises."""
    try:
        return child() or 0
    except SystemExit as stop:
        return exit_code(stop)
    except BaseException:
        traceback.print_exc()
        return 1


def leave(code):
    """End a fork: wait for its threads and run its exit handlers as Python does, but do not take
    the imported modules apart, which costs a second.
    """
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code & 0xFF)


class Server:
    """Answers requests, each in a fork of this process."""

    def __init__(self):
        """Keep stdout for the answers: whatever a library prints goes to stderr."""
        self.channel = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)
        os.environ.update(QUIET)
        for name in WARM:
            with contextlib.suppress(ImportError):  # another version, merely slower
                importlib.import_module(name)
        for name in QUIET:
            del os.environ[name]

    def send(self, answer):
        """Write one line."""
        self.channel.write(json.dumps(answer) + "\n")
        self.channel.flush()

    def fork(self, request, child):
        """Run `child` in a fork; its stdout, stderr and exit code."""
        sys.stdout.flush()
        sys.stderr.flush()
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            pid = os.fork()
            if pid == 0:
                os.setsid()
                self.channel.close()
                redirect([out, err])
                leave(guarded(child))
            code = wait(pid, request.get("timeout", TIMEOUT_S))
            out.seek(0)
            err.seek(0)
            return out.read().decode(errors="replace"), err.read().decode(errors="replace"), code

    def run_app(self, request):
        """Run a script."""
        _, path, *arguments = request["cmd"]
        search_path = inherited_path()

        def child():
            become(request["env"], request["cwd"])
            run_script(path, arguments, search_path)

        out, err, code = self.fork(request, child)
        if code is None:
            return {"error": f"{path} took too long; stderr: {err}"}
        return {"ok": {"stdout": out, "stderr": err, "code": code}}

    def inspect(self, request):
        """Look into a store."""
        store = {"MLFLOW_TRACKING_URI": request["tracking_uri"]}
        env = {**os.environ, **request.get("env", {}), **store}

        def child():
            become(env, os.getcwd())
            return look(request["cmd"])

        out, err, code = self.fork(request, child)
        if code == 0:
            return {"ok": json.loads(out)}
        lines = err.strip().splitlines()
        return {"error": lines[-1] if lines else f"ended with {code}"}

    def answer(self, line):
        """The answer to one line."""
        try:
            request = json.loads(line)
            name = request["cmd"][0]
            return self.run_app(request) if name == "run_app" else self.inspect(request)
        except Exception as error:  # a bad request must not end the server
            return {"error": f"{type(error).__name__}: {error}"}

    def serve(self):
        """Answer until stdin ends."""
        self.send({"ok": "ready"})
        for line in sys.stdin:
            self.send(self.answer(line))


def main():
    """Serve or look once."""
    command = sys.argv[1:]
    if command == ["serve"]:
        Server().serve()
        return 0
    if not command or command[0] not in LOOKS:
        print(__doc__, file=sys.stderr)
        return 2
    return look(command)


if __name__ == "__main__":
    sys.exit(main())
