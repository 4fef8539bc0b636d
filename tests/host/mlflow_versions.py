"""An older MLflow reads and links what tracemark writes into its SQLite file, straight and through a server on the same
file, while that server, an app and two tracemark daemons write at the same time. Run by that MLflow's own Python.

    mlflow_versions.py TRACEMARK [--edits 10]
"""
import argparse
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile

from parts import Machine, environment, git, start_server

APP = """
import json, select, sys, mlflow
@mlflow.trace
def answer(question):
    return question
answer(0)
made = 1
print("began", flush=True)
while not select.select([sys.stdin], [], [], 0)[0]:
    answer(made)
    made += 1
print(json.dumps({"made": made}), flush=True)
"""
READ = """
import json, sys, mlflow
wanted, experiment = json.loads(sys.argv[1]), mlflow.get_experiment_by_name(sys.argv[2]).experiment_id
mlflow.set_experiment(experiment_id=experiment)
found = {model.model_id: model for model in mlflow.search_logged_models([experiment], output_format="list")}
assert set(found) == set(wanted.values()), (set(found) ^ set(wanted.values()))
for name, model_id in wanted.items():
    model = mlflow.get_logged_model(model_id)
    assert (model.name, model.tags["mlflow.user"]) == (name, "ann"), model
    assert str(model.status) in ("READY", "LoggedModelStatus.READY"), model.status
    assert mlflow.set_active_model(name=name).model_id == model_id, name
traces = {}
if len(sys.argv) > 3:
    linked = mlflow.search_traces(experiment_ids=[experiment], model_id=sys.argv[3], max_results=50000, return_type="list")
    traces = {"linked": len(linked)}
print(json.dumps({"models": len(found), **traces}))
"""


def run_python(script, env, base, *arguments, **options):
    command = [sys.executable, "-c", script, *arguments]
    done = subprocess.run(command, env=env, cwd=base, capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1]) if done.stdout.strip() else None


class Check:
    def __init__(self, base, tracemark):
        self.base = base
        self.env = {**environment(base), "MLFLOW_ENABLE_ASYNC_TRACE_LOGGING": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
        self.file = f"sqlite:///{base / 'mlflow.db'}"
        run_python("import mlflow; mlflow.search_experiments()", self.at(self.file), base)
        self.origin = base / "origin"
        self.origin.mkdir()
        git(self.env, self.origin, "init", "-q", "-b", "main")
        (self.origin / "app.py").write_text("print(0)\n")
        git(self.env, self.origin, "add", "-A")
        git(self.env, self.origin, "commit", "-q", "-m", "first")
        names = ("straight", "through_server")
        self.machines = {name: Machine(base / name, self.origin, tracemark) for name in names}

    def at(self, uri, **more):
        return {**self.env, "MLFLOW_TRACKING_URI": uri, **more}

    def run(self, address, edits):
        stores = {"straight": self.file, "through_server": address}
        found = {name: {} for name in stores}
        for name, machine in self.machines.items():
            said = machine.run("up", "--store", stores[name], "--experiment", name)
            assert said.returncode == 0, said.stderr
            self.note(machine, found[name])
        app_id = next(iter(found["straight"].values()))
        env = self.at(self.file, MLFLOW_ACTIVE_MODEL_ID=app_id, MLFLOW_EXPERIMENT_NAME="straight")
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        app = subprocess.Popen([sys.executable, "-c", APP], env=env, cwd=self.base, **pipes)
        assert app.stdout.readline() == "began\n", app.communicate()
        for n in range(edits):
            for name, machine in self.machines.items():
                (machine.repo / "app.py").write_text(f"print({n + 1})\n")
                self.note(machine, found[name])
        assert app.poll() is None, "the app ended before tracemark had written"
        out, complaints = app.communicate("enough\n")
        made = json.loads(out.splitlines()[-1])["made"]
        self.check_complaints(complaints)
        for name, store in stores.items():
            for uri in (self.file, address):
                linked = [app_id] if name == "straight" else []
                said = run_python(READ, self.at(uri), self.base, json.dumps(found[name]), name, *linked)
                assert said["models"] == edits + 1, said
                assert not linked or said["linked"] == made, (said, made)
        return made

    def note(self, machine, found):
        said = machine.run("active", "--timeout", "60")
        assert said.returncode == 0 and "locked" not in said.stderr, said.stderr
        state = json.loads(machine.run("active", "--json", "--timeout", "60").stdout)
        assert state["model_id"] == said.stdout.strip(), state
        found[state["name"]] = state["model_id"]

    def check_complaints(self, app):
        logs = {name: machine.state() / "daemon.log" for name, machine in self.machines.items()}
        texts = {"the app": app, "the server": (self.base / "server.log").read_text()}
        texts.update({f"the daemon {name}": log.read_text() for name, log in logs.items()})
        for who, text in texts.items():
            assert "locked" not in text, f"{who}: {text[-2000:]}"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("tracemark")
    parser.add_argument("--edits", type=int, default=10)
    arguments = parser.parse_args()
    base = pathlib.Path(tempfile.mkdtemp(prefix="tmversions"))
    server, machines = None, []
    try:
        check = Check(base, arguments.tracemark)
        machines = check.machines.values()
        server, address = start_server(pathlib.Path(sys.executable).parent / "mlflow", base, check.file, workers=1)
        made = check.run(address, arguments.edits)
        print(f"{arguments.edits} edits in two stores, {made} traces meanwhile, nothing lost")
    except BaseException:
        log = base / "server.log"
        print(log.read_text()[-2000:] if log.exists() else "no server log", file=sys.stderr)
        raise
    finally:
        for machine in machines:
            machine.kill()
        if server:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()
        shutil.rmtree(base, ignore_errors=True)


main()
