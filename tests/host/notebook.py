"""Cells of a notebook whose module is saved between them: notebook.py TRACEMARK, in a tracked repository in MLFLOW_TRACKING_URI."""
import os
import pathlib
import subprocess
import sys

from block import block
from IPython.core.interactiveshell import InteractiveShell

tracemark, saves = sys.argv[1], 10
CODE = """import mlflow


@mlflow.trace
def traced():
    return {revision}
"""


def save(revision):
    pathlib.Path("answers.py").write_text(CODE.format(revision=revision))
    # As an editor that is not as fast as its reader: autoreload compares modification times.
    os.utime("answers.py", (revision, revision))


def cell(text):
    done = shell.run_cell(text)
    done.raise_error()
    return done.result


def active():
    return subprocess.check_output([tracemark, "active", "--timeout", "60"], text=True).strip()


def linked():
    import mlflow

    trace = mlflow.get_trace(mlflow.get_last_active_trace_id())
    return trace.info.trace_metadata.get("mlflow.modelId"), trace.info.trace_metadata["mlflow.traceOutputs"]


sys.path.insert(0, os.getcwd())
save(0)
shell = InteractiveShell.instance()
cell(block("docs/getting-started.md", "%load_ext autoreload"))
cell("import answers, mlflow")
for revision in range(1, saves + 1):
    # The cell runs right after the save, before anybody else asked for the version.
    save(revision)
    cell("answers.traced()")
    if linked() != (active(), str(revision)):
        raise SystemExit(f"revision {revision} is linked to {linked()}, not to {active()}")
    if cell("mlflow.get_active_model_id()") != active():
        raise SystemExit("what a cell evaluates belongs to its version")
# What is saved while a cell runs is loaded by the next one.
before = active()
cell(f"import pathlib, subprocess; pathlib.Path('answers.py').write_text({CODE.format(revision=99)!r}); subprocess.check_output([{tracemark!r}, 'active']); answers.traced()")
if linked() != (before, str(saves)):
    raise SystemExit(f"a cell that saves is linked to {linked()}, not to {before}")
os.utime("answers.py", (99, 99))
cell("answers.traced()")
if linked() != (active(), "99"):
    raise SystemExit(f"the cell after it is linked to {linked()}, not to {active()}")
cell("import threading; thread = threading.Thread(target=answers.traced); thread.start(); thread.join()")
if linked() != (active(), "99"):
    raise SystemExit(f"a thread of a cell is linked to {linked()}, not to {active()}")
print(f"{saves} cells, each linked to its own code")
