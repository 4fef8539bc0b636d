"""The one thread of a process that keeps MLflow's active model at the version of the code on disk."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from typing import Any, Dict, Iterator, Optional

from tracemark import _socket

VARIABLES = ("MLFLOW_ACTIVE_MODEL_ID", "_MLFLOW_ACTIVE_MODEL_ID")
# How long a follower that lost the daemon, or whose store failed, rests at first and at most.
REST_S = (0.1, 5.0)
# How long it believes a daemon that says nothing before it asks.
SILENCE_S = 5.0
# How long the daemon may take to answer that.
PATIENCE_S = 5.0

logger = logging.getLogger("tracemark")


class Follower:
    """Sets MLflow's active model.

    MLflow (3.17.2) keeps an id for each thread. A thread without one takes that of the others if they agree, so there must be one
    thread that ever sets it, alive as long as the process, and no id in the environment, which each thread would copy and keep.
    """

    _lock = threading.Lock()
    _one: Optional["Follower"] = None

    def __init__(self, worktree: str) -> None:
        self._worktree = worktree
        self._changed = threading.Condition()
        self._id: Optional[str] = None
        self._pid = os.getpid()
        self._over = False
        self._rest = REST_S[0]
        self._warned = ""
        # Held while MLflow's state and ours change together.
        self._setting = threading.Lock()
        self._is_clear = False
        self._connection: Optional[socket.socket] = None
        self._thread = threading.Thread(target=self._run, name="tracemark", daemon=True)

    @classmethod
    def start(cls, worktree: str) -> "Follower":
        """Returns the follower of this process and worktree; a child that was forked has none yet."""
        if cls._one is not None and cls._one._worktree != worktree:
            cls.end()
        with cls._lock:
            if cls._one is None or cls._one._pid != os.getpid():
                cls._one = cls(worktree)
                cls._one._thread.start()
            return cls._one

    @classmethod
    def end(cls) -> None:
        """Ends the follower of this process and waits for it."""
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
        """Returns whether that id is set, waiting for it."""
        with self._changed:
            return self._changed.wait_for(lambda: self._id == wanted, timeout)

    def _run(self) -> None:
        self.unlink()
        while not self._over:
            try:
                for model_id in self._ids():
                    self._set(model_id)
                    self._rest = REST_S[0]
            except Exception as error:  # noqa: BLE001: whatever it is, no id may stay that nobody looks after
                self._warn(f"no active model for now: {error}")
            # What was true of the code while the daemon watched may not be true any more.
            self.unlink()
            with self._changed:
                self._changed.wait_for(lambda: self._over, self._rest)
            self._rest = min(self._rest * 2, REST_S[1])

    def _ids(self) -> Iterator[Optional[str]]:
        """Returns what the daemon tells; where it tells nothing for a while, what it answers."""
        with _socket.connected(time.monotonic() + PATIENCE_S) as connection:
            with self._changed:
                self._connection = connection
                if self._over:
                    return
            for said in _socket.events(connection, self._worktree, SILENCE_S):
                yield self._asked() if said is None or _waits_for_question(said) else _told(said)

    def _asked(self) -> Optional[str]:
        return _socket.model_id(_socket.active(self._worktree, int(PATIENCE_S * 900), PATIENCE_S)) or None

    def _set(self, model_id: Optional[str]) -> None:
        if model_id is None:
            self.unlink()
        elif model_id != self._id:
            import mlflow

            with self._setting:
                # Whatever any thread had goes, and the variables with it.
                mlflow.clear_active_model()
                self._is_clear = False
                mlflow.set_active_model(model_id=model_id)
                self._told(model_id)

    def unlink(self) -> None:
        """Leaves no active model until the daemon tells or answers the next time."""
        with self._setting:
            try:
                self._clear()
            except Exception as error:  # noqa: BLE001: the thread has to live on
                self._warn(f"MLflow cannot forget its active model: {error}")
            for name in VARIABLES:
                os.environ.pop(name, None)
            self._told(None)

    def _clear(self) -> None:
        """Clears once, as MLflow says so each time."""
        import mlflow

        if not self._is_clear:
            mlflow.clear_active_model()
            self._is_clear = True

    def _warn(self, text: str) -> None:
        """Says it once, however often it is tried again."""
        logger.log(logging.DEBUG if text == self._warned else logging.WARNING, "%s", text)
        self._warned = text

    def _told(self, model_id: Optional[str]) -> None:
        with self._changed:
            self._id = model_id
            self._changed.notify_all()


def _told(said: Dict[str, Any]) -> Optional[str]:
    found = said.get("model_id")
    return found if said.get("state") == "active" and isinstance(found, str) else None


def _waits_for_question(said: Dict[str, Any]) -> bool:
    return said.get("state") == "pending" and said.get("waiting_for") == "question"


def _shut(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
