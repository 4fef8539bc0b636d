"""The functions of the package; MLflow is imported when they need it."""

from __future__ import annotations

import http.client
import json
import logging
import os
import socket
import threading
from dataclasses import dataclass
from typing import Any, Dict, Iterator, Optional
from urllib.parse import quote

from tracemark import _socket

VARIABLES = ("MLFLOW_ACTIVE_MODEL_ID", "_MLFLOW_ACTIVE_MODEL_ID")
# How long a follower that lost the daemon rests at first and at most.
REST_S = (0.1, 5.0)

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
        said = _socket.active(_path(), _worktree(), int(timeout * 900), timeout)
    except (OSError, ValueError) as error:
        raise Unavailable(f"no model id: {error}; try: tracemark status") from error
    if not _socket.model_id(said):
        why = said.get("reason") or said.get("why_not_fresh") or said.get("state")
        raise Unavailable(f"no model id: {why}; try: {said.get('hint') or 'tracemark status'}")
    return Version(**{name: said.get(name) for name in Version.__dataclass_fields__})


def activate(timeout: float = 10.0) -> Optional[str]:
    """Makes the version of the code on disk now MLflow's active model of this process, for all its threads, and returns its id.

    Where it is not known there is no active model afterwards, a warning is logged and None returned. Ends `follow`.
    """
    import mlflow

    _Follower.end()
    # Every thread forgets what it had; those that trace later read the variable.
    mlflow.clear_active_model()
    try:
        found = current(timeout)
    except Unavailable as error:
        logger.warning("%s", error)
        return None
    mlflow.set_active_model(model_id=found.model_id)
    os.environ[VARIABLES[0]] = found.model_id
    return found.model_id


def follow(timeout: float = 10.0) -> Optional[str]:
    """Keeps MLflow's active model of this process at the version of the code on disk, in one thread, and returns its id.

    For notebooks and the like, where the code that runs follows the disk. Waits for the first id `timeout` seconds at most; None where
    there is none yet. Safe to repeat.
    """
    import mlflow  # noqa: F401: here, and not in the thread, so that a missing MLflow is told

    follower = _Follower.start()
    try:
        wanted = current(timeout).model_id
    except Unavailable as error:
        logger.warning("%s", error)
        return None
    return wanted if follower.reaches(wanted, timeout) else None


class _Follower:
    """The one thread of a process that sets MLflow's active model.

    MLflow (3.17.2) keeps an id for each thread. A thread without one takes that of the others if they agree, so there must be one
    thread that ever sets it, alive as long as the process, and no id in the environment, which each thread would copy and keep.
    """

    _lock = threading.Lock()
    _one: Optional["_Follower"] = None

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._id: Optional[str] = None
        self._pid = os.getpid()
        self._over = False
        self._connection: Optional[socket.socket] = None
        self._thread = threading.Thread(target=self._run, name="tracemark", daemon=True)

    @classmethod
    def start(cls) -> "_Follower":
        with cls._lock:
            if cls._one is None or cls._one._pid != os.getpid():
                cls._one = cls()
                cls._one._thread.start()
            return cls._one

    @classmethod
    def end(cls) -> None:
        with cls._lock:
            follower, cls._one = cls._one, None
        if follower is None or follower._pid != os.getpid():
            return
        with follower._changed:
            follower._over = True
            follower._changed.notify_all()
            if follower._connection is not None:
                _shut(follower._connection)
        follower._thread.join()

    def reaches(self, wanted: str, timeout: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self._id == wanted, timeout)

    def _run(self) -> None:
        self._set(None)
        rest = REST_S[0]
        while not self._over:
            try:
                for said in self._states():
                    self._set(said.get("model_id") if said.get("state") == "active" else None)
                    rest = REST_S[0]
            except (OSError, ValueError, http.client.HTTPException) as error:
                logger.debug("the daemon is lost: %s", error)
            # What was true of the code while the daemon watched may not be true any more.
            self._set(None)
            with self._changed:
                self._changed.wait_for(lambda: self._over, rest)
            rest = min(rest * 2, REST_S[1])

    def _states(self) -> Iterator[Dict[str, Any]]:
        connection = http.client.HTTPConnection("localhost")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as plain:
            plain.connect(_path())
            with self._changed:
                self._connection = plain
                if self._over:
                    return
            connection.sock = plain
            connection.request("GET", "/v1/events?worktree=" + quote(os.fsencode(_worktree()), safe=""))
            answer = connection.getresponse()
            if answer.status != 200:
                raise ValueError(f"status {answer.status}")
            while line := answer.readline():
                yield json.loads(line)

    def _set(self, model_id: Optional[str]) -> None:
        import mlflow

        if model_id is None or model_id != self._id:
            # Whatever any thread had goes, and the variables with it.
            mlflow.clear_active_model()
        if model_id is not None and model_id != self._id:
            try:
                mlflow.set_active_model(model_id=model_id)
            except Exception as error:  # noqa: BLE001: the store may fail in any way; then there is no active model
                logger.warning("no active model: %s", error)
                model_id = None
        with self._changed:
            self._id = model_id
            self._changed.notify_all()


def _shut(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass


def _worktree() -> str:
    return os.environ.get("TRACEMARK_WORKTREE") or os.getcwd()


def _path() -> str:
    """Returns the daemon's socket: what `exec` set, else what the daemon wrote down."""
    given = os.environ.get("TRACEMARK_SOCKET")
    if given:
        return given
    state = os.environ.get("TRACEMARK_STATE_DIR") or os.path.expanduser("~/.local/state/tracemark")
    try:
        with open(os.path.join(state, "daemon.json"), encoding="utf-8") as record:
            return str(json.load(record)["socket"])
    except (OSError, ValueError, KeyError) as error:
        raise OSError(f"no daemon is running ({error})") from error
