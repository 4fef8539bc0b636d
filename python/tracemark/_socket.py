"""One question to the daemon over its Unix socket, bounded in time; knows nothing of MLflow.

The protocol is that of docs/socket-api.md. `http.client` is left out on purpose: it takes longer to import than the answer to come.
"""

import json
import os
import socket
import time
from typing import Any, Dict
from urllib.parse import quote

ANSWER_MAX = 1024 * 1024


def active(path: str, worktree: str, wait_ms: int, patience_s: float) -> Dict[str, Any]:
    """Returns the state of the code on disk now, as `GET /v1/active` tells it, `patience_s` seconds after the call at the latest.

    Raises OSError where nobody answers in time, ValueError where the answer is none or a refusal.
    """
    deadline = time.monotonic() + patience_s
    head = f"GET /v1/active?worktree={quote(os.fsencode(worktree), safe='')}&wait={wait_ms} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        _until(connection, deadline)
        connection.connect(path)
        connection.sendall(head.encode("ascii"))
        return _parsed(_read(connection, deadline))


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


def _parsed(answer: bytes) -> Dict[str, Any]:
    head, _, body = answer.partition(b"\r\n\r\n")
    said = json.loads(body)
    if not isinstance(said, dict) or said.get("api") != 1:
        raise ValueError("the answer is not one that this version of tracemark understands")
    if head.split(b" ", 2)[1:2] != [b"200"]:
        error = said.get("error") or {}
        raise ValueError(f"{error.get('message', 'the daemon refused')}; try: {error.get('hint', 'tracemark status')}")
    return said


def model_id(said: Dict[str, Any]) -> str:
    """Returns the id of an answer that is sure to be right, else nothing."""
    found = said.get("model_id")
    sure = said.get("fresh") is True and said.get("state") == "active"
    return found if sure and isinstance(found, str) else ""
