"""A stand-in for an OpenAI server, for the apps of the tests.

Listens on a free port of 127.0.0.1, prints `PORT <n>` as its first line and answers
`POST /v1/chat/completions` with a chat completion whose text is the last user message.
It serves until stdin is closed or it is killed.
"""
import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def last_user_message(request):
    """Text of the last message of the user, empty when there is none."""
    texts = [m.get("content") for m in request.get("messages", []) if m.get("role") == "user"]
    return texts[-1] if texts else ""


def completion(request):
    """A complete answer, in the shape of the chat completions endpoint."""
    message = {"role": "assistant", "content": last_user_message(request), "refusal": None}
    return {
        "id": "chatcmpl-stub",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": request.get("model", "stub"),
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    }


class Handler(BaseHTTPRequestHandler):
    """Answers chat completions, 404 for every other path, 400 for a body that is not JSON."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        """Read the whole body before any answer, so that a kept connection stays in step."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path != "/v1/chat/completions":
            return self.reply(404, {"error": {"message": f"no such path: {self.path}"}})
        try:
            request = json.loads(body)
        except ValueError:
            return self.reply(400, {"error": {"message": "the body is not JSON"}})
        return self.reply(200, completion(request))

    def reply(self, status, document):
        """Send one JSON document."""
        payload = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, *_):
        """Stay silent."""


def main():
    """Serve in the background until stdin ends."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"PORT {server.server_address[1]}", flush=True)
    sys.stdin.buffer.read()


if __name__ == "__main__":
    main()
