"""Questions to the daemon over its Unix socket, bounded in time; knows nothing of MLflow.

The protocol is that of docs/socket-api.md. `http.client` and `typing` are left out on purpose: they take longer to import than the
answer to come.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from urllib.parse import quote

TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import Any, Dict, Iterator, Optional

ANSWER_MAX = 1024 * 1024
# Bytes of a socket's path and its end (unix(7), sun_path; BSD has four fewer).
PATH_MAX = 104 if sys.platform == "darwin" else 108
STATE_IN_HOME = "Library/Application Support/tracemark" if sys.platform == "darwin" else ".local/state/tracemark"


def active(worktree: str, wait_ms: int, patience_s: float) -> Dict[str, Any]:
    """Returns the state of the code on disk now, as `GET /v1/active` tells it, `patience_s` seconds after the call at the latest.

    Raises OSError where nobody answers in time, ValueError where the answer is none or a refusal.
    """
    deadline = time.monotonic() + patience_s
    with connected(deadline) as connection:
        _ask(connection, f"active?worktree={_quoted(worktree)}&wait={wait_ms}")
        return _parsed(_read(connection, deadline))


def events(connection: socket.socket, worktree: str, silence_s: float) -> Iterator[Optional[Dict[str, Any]]]:
    """Returns the states that `GET /v1/events` tells, and None after each `silence_s` seconds without one, until the daemon ends.

    Raises as `active`.
    """
    connection.settimeout(silence_s)
    _ask(connection, f"events?worktree={_quoted(worktree)}")
    text, is_body = b"", False
    while len(text) <= ANSWER_MAX:
        try:
            part = connection.recv(65536)
        except socket.timeout:
            yield None
            continue
        text += part
        if not is_body and b"\r\n\r\n" in text:
            is_body = True
            if _status(text) != b"200":
                _parsed(text + _read(connection, time.monotonic() + silence_s))
            text = text.partition(b"\r\n\r\n")[2]
        *lines, text = text.split(b"\n") if is_body else [text]
        for line in lines:
            yield _checked(line)
        if not part:
            return
    raise ValueError("the daemon's answer has no end")


def connected(deadline: float) -> socket.socket:
    """Returns a connection to the daemon: to the first of the places in docs/socket-api.md where one of ours listens."""
    why: Exception = OSError("no daemon is running")
    for path in _paths():
        if len(os.fsencode(path)) >= PATH_MAX:
            continue
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            if os.stat(path).st_uid not in (os.geteuid(), 0):
                raise PermissionError(f"{path} belongs to another user")
            _until(connection, deadline)
            connection.connect(path)
            return connection
        except OSError as error:
            connection.close()
            if not isinstance(error, (FileNotFoundError, NotADirectoryError, ConnectionRefusedError, PermissionError)):
                raise
            why = error
    raise OSError(f"no daemon is running ({why})")


def _paths() -> Iterator[str]:
    given = os.environ.get("TRACEMARK_SOCKET")
    if given:
        yield given
    separate = os.environ.get("TRACEMARK_STATE_DIR", "")
    state = separate if os.path.isabs(separate) else os.path.join(os.path.expanduser("~"), STATE_IN_HOME)
    try:
        with open(os.path.join(state, "daemon.json"), encoding="utf-8") as record:
            yield str(json.load(record)["socket"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    if state != separate:
        for runtime in (os.environ.get("XDG_RUNTIME_DIR", ""), f"/run/user/{os.geteuid()}"):
            if os.path.isabs(runtime):
                yield os.path.join(runtime, "tracemark/api.sock")
    yield os.path.join(state, "run/api.sock")


def _quoted(path: str) -> str:
    return quote(os.fsencode(path), safe="")


def _ask(connection: socket.socket, what: str) -> None:
    # HTTP/1.0 is answered as it is, without chunks (RFC 9112, 6.1).
    connection.sendall(f"GET /v1/{what} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode("ascii"))


def _until(connection: socket.socket, deadline: float) -> None:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("the daemon does not answer in time")
    connection.settimeout(left)


def _read(connection: socket.socket, deadline: float) -> bytes:
    answer = b""
    while len(answer) <= ANSWER_MAX:
        _until(connection, deadline)
        part = connection.recv(65536)
        if not part:
            return answer
        answer += part
    raise ValueError("the daemon's answer has no end")


def _status(answer: bytes) -> bytes:
    return answer.split(b" ", 2)[1]


def _parsed(answer: bytes) -> Dict[str, Any]:
    head, _, body = answer.partition(b"\r\n\r\n")
    said = _checked(body)
    if head.split(b" ", 2)[1:2] != [b"200"]:
        error = said.get("error") or {}
        raise ValueError(f"{error.get('message', 'the daemon refused')}; try: {error.get('hint', 'tracemark status')}")
    return said


def _checked(text: bytes) -> Dict[str, Any]:
    said = json.loads(text)
    if not isinstance(said, dict) or said.get("api") != 1:
        raise ValueError("the answer is not one that this version of tracemark understands")
    return said


def model_id(said: Dict[str, Any]) -> str:
    """Returns the id of an answer that is sure to be right, else nothing."""
    found = said.get("model_id")
    sure = said.get("fresh") is True and said.get("state") == "active"
    return found if sure and isinstance(found, str) else ""
