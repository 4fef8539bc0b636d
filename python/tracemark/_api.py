"""The functions of the package; MLflow is imported when they need it."""

from __future__ import annotations

import logging
import os
import sys
import time
from dataclasses import dataclass
from typing import Any, Optional

from tracemark import _socket
from tracemark._follower import VARIABLES, Follower

# How long a cell of a notebook waits for each of the two answers about the code that it is about to run.
CELL_PATIENCE_S = 2.0
# The longest that anybody is waited for, in seconds: a day.
PATIENCE_MAX_S = 86_400.0

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
    patience = min(max(float(timeout), 0.0), PATIENCE_MAX_S)
    try:
        said = _socket.active(worktree(), int(patience * 900), patience)
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
    import mlflow  # noqa: F401: a missing MLflow is told

    Follower.end()
    _Cells.end()
    try:
        return _set(current(timeout), anew=True)
    except Exception as error:  # noqa: BLE001: the store may fail in any way
        _forget()
        logger.warning("%s", _why(error))
        return None


def follow(timeout: float = 10.0) -> Optional[str]:
    """Keeps MLflow's active model of this process at the version of the code on disk, and returns its id.

    In IPython and Jupyter, where modules are loaded anew before a cell and at no other time, it moves with the cells; elsewhere in one thread,
    whenever the code changes. Waits for the first id `timeout` seconds at most; None where there is none yet. Safe to repeat.
    """
    import mlflow  # noqa: F401: here, and not in the thread, so that a missing MLflow is told

    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    if shell is not None:
        found = activate(timeout)
        _Cells.begin(shell)
        return found
    deadline = time.monotonic() + min(max(float(timeout), 0.0), PATIENCE_MAX_S)
    try:
        follower = Follower.start(worktree())
        wanted = current(timeout).model_id
    except (OSError, Unavailable) as error:
        logger.warning("%s", error)
        return None
    return wanted if follower.reaches(wanted, deadline - time.monotonic()) else None


class _Cells:
    """Moves the active model before each cell, once the modules that it runs are loaded.

    Asks before and after that: where the code was saved in between, nobody knows which of both was loaded.
    """

    _one: Optional["_Cells"] = None

    def __init__(self, shell: Any) -> None:
        self._events = shell.events
        self._before: Optional[str] = None
        self._warned = ""

    @classmethod
    def begin(cls, shell: Any) -> None:
        """Begins with the next cell."""
        cls.end()
        cls._one = cells = cls(shell)
        shell.events.register("pre_execute", cells._before_loading)
        shell.events.register("pre_run_cell", cells._after_loading)

    @classmethod
    def end(cls) -> None:
        """Ends what was begun."""
        cells, cls._one = cls._one, None
        if cells is not None:
            cells._events.unregister("pre_execute", cells._before_loading)
            cells._events.unregister("pre_run_cell", cells._after_loading)

    def _before_loading(self) -> None:
        try:
            self._before = current(CELL_PATIENCE_S).model_id
        except Exception as error:  # noqa: BLE001: a cell runs without a link rather than not at all
            self._warn(error)
            self._before = None
        # After whoever loads modules, also where that came later.
        self._events.unregister("pre_run_cell", self._after_loading)
        self._events.register("pre_run_cell", self._after_loading)

    def _after_loading(self, *_: object) -> None:
        try:
            found = current(CELL_PATIENCE_S)
            if found.model_id != self._before:
                raise Unavailable("no model id: the code changed while this cell began; try: run it again")
            _set(found, anew=False)
            self._warned = ""
        except Exception as error:  # noqa: BLE001: see above
            _forget()
            self._warn(error)

    def _warn(self, error: Exception) -> None:
        """Says it once, however many cells follow."""
        text = _why(error)
        logger.log(logging.DEBUG if text == self._warned else logging.WARNING, "%s", text)
        self._warned = text


def _set(found: Version, anew: bool) -> str:
    """Sets the id in this thread and has all others forget theirs: those that trace later read the variable."""
    import mlflow

    if anew or not mlflow.get_active_model_id() == found.model_id == os.environ.get(VARIABLES[0]):
        mlflow.clear_active_model()
        mlflow.set_active_model(model_id=found.model_id)
        os.environ[VARIABLES[0]] = found.model_id
    return found.model_id


def _forget() -> None:
    import mlflow

    for name in VARIABLES:
        os.environ.pop(name, None)
    try:
        if mlflow.get_active_model_id() is not None:
            mlflow.clear_active_model()
    except Exception as error:  # noqa: BLE001: an MLflow without active models
        logger.debug("MLflow forgets nothing: %s", error)


def _why(error: Exception) -> str:
    if isinstance(error, Unavailable):
        return str(error)
    return f"no active model: MLflow does not take it: {error}; try: tracemark doctor"


def worktree() -> str:
    """Returns whose code it is about: what `exec` said, else the current directory."""
    return os.environ.get("TRACEMARK_WORKTREE") or os.getcwd()
