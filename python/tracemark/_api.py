"""The functions of the package; MLflow is imported when they need it."""

from __future__ import annotations

import logging
import os
import sys
import time
from dataclasses import dataclass
from typing import Optional

from tracemark import _socket
from tracemark._follower import VARIABLES, Follower

# How long a cell of a notebook waits for the id of the code that it is about to run.
CELL_PATIENCE_S = 2.0

logger = logging.getLogger("tracemark")


class Unavailable(RuntimeError):
    """There is no id that is sure to be right; the text says why, and what to type."""


@dataclass(frozen=True)
class Version:
    """The version of the code on disk."""

    model_id: str
    name: str
    content: str
    head: Optional[str]
    dirty: bool
    experiment_id: Optional[str]
    store: str


def current(timeout: float = 10.0) -> Version:
    """Returns the version of the code on disk now, made if need be, `timeout` seconds after the call at the latest.

    Raises Unavailable where it is not known.
    """
    try:
        said = _socket.active(worktree(), int(timeout * 900), timeout)
    except (OSError, ValueError) as error:
        raise Unavailable(f"no model id: {error}; try: tracemark status") from error
    if not _socket.model_id(said):
        why = said.get("reason") or said.get("why_not_fresh") or said.get("state")
        raise Unavailable(f"no model id: {why}; try: {said.get('hint') or 'tracemark status'}")
    try:
        return Version(**{name: said[name] for name in Version.__dataclass_fields__})
    except KeyError as error:
        raise Unavailable(f"no model id: the daemon's answer has no {error}; try: tracemark up") from error


def activate(timeout: float = 10.0) -> Optional[str]:
    """Makes the version of the code on disk now MLflow's active model of this process, for all its threads, and returns its id.

    Where it is not known, or MLflow does not take it, there is no active model afterwards, a warning is logged and None returned. Ends
    `follow`.
    """
    import mlflow

    Follower.end()
    # Every thread forgets what it had; those that trace later read the variable.
    mlflow.clear_active_model()
    try:
        found = current(timeout)
        mlflow.set_active_model(model_id=found.model_id)
    except Unavailable as error:
        logger.warning("%s", error)
        return None
    except Exception as error:  # noqa: BLE001: the store may fail in any way
        mlflow.clear_active_model()
        logger.warning("no active model: MLflow does not take it: %s; try: tracemark doctor", error)
        return None
    os.environ[VARIABLES[0]] = found.model_id
    return found.model_id


def follow(timeout: float = 10.0) -> Optional[str]:
    """Keeps MLflow's active model of this process at the version of the code on disk, in one thread, and returns its id.

    For notebooks and the like, where the code that runs follows the disk: in IPython each cell waits for the id of what is saved before
    it runs. Waits for the first id `timeout` seconds at most; None where there is none yet. Safe to repeat.
    """
    import mlflow  # noqa: F401: here, and not in the thread, so that a missing MLflow is told

    deadline = time.monotonic() + timeout
    follower = Follower.start(worktree())
    _before_each_cell()
    try:
        wanted = current(timeout).model_id
    except Unavailable as error:
        logger.warning("%s", error)
        return None
    return wanted if follower.reaches(wanted, deadline - time.monotonic()) else None


def _before_each_cell() -> None:
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    if shell is not None:
        shell.events.register("pre_run_cell", _catch_up)


def _catch_up(*_: object) -> None:
    """Has the follower come to the code on disk now; what it had before is not believed where it does not."""
    follower = Follower.running()
    if follower is None:
        return
    deadline = time.monotonic() + CELL_PATIENCE_S
    try:
        arrived = follower.reaches(current(CELL_PATIENCE_S).model_id, deadline - time.monotonic())
    except Unavailable:
        arrived = False
    if not arrived:
        follower.unlink()


def worktree() -> str:
    """Returns whose code it is about: what `exec` said, else the current directory."""
    return os.environ.get("TRACEMARK_WORKTREE") or os.getcwd()
