"""A stand-in for an OpenAI server: repeats the system prompt that it was given.

Listens on a free port of 127.0.0.1, prints it as its first line, serves until stdin is closed.
"""
import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def completion(request):
    """A complete answer, in the shape of the chat completions endpoint."""
    prompts = [m["content"] for m in request["messages"] if m["role"] == "system"]
    text = f"(no real model) asked with the prompt: {' '.join(prompts)}"
    message = {"role": "assistant", "content": text, "refusal": None}
    return {
        "id": "chatcmpl-demo",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": request["model"],
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    }


class Handler(BaseHTTPRequestHandler):
    """Answers chat completions, whatever the path."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        """Answer one request."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        payload = json.dumps(completion(json.loads(body))).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, *_):
        """Stay silent."""


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_address[1], flush=True)
    sys.stdin.buffer.read()
