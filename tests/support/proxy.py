"""A proxy before an MLflow server that misbehaves as told, for the tests. Standard library only.

    proxy.py --to http://127.0.0.1:5000 [--port N] [--log FILE] [--seed N]

Prints `PORT n`, then obeys one command a line from standard input, answers each with `ok`, and ends with its input:

    pass                    hand everything on
    faulty                  delay, drop answers after the server acted, answer 500 and 429 before it did
    answer STATUS [SECONDS] answer with that status instead, with Retry-After where seconds are given
    readonly                answer 403 to whatever would write
    slow SECONDS            hand on after that time
    hang up                 close every connection without an answer
    die                     hand on what creates a LoggedModel and close its connection, and every one from then on
    silence                 take requests and say nothing
    stall                   hand everything on, and send half of the answer
    drip                    hand everything on, and send ten bytes of the answer a second

The log gets one line a request: when it came, when it was answered (seconds), method, path, status (0: no answer).
"""
import argparse
import http.client
import http.server
import random
import sys
import threading
import time
import urllib.parse

HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "host", "accept-encoding"}


class Mode:
    """What to do with requests; read by every thread, written by the one that reads commands."""

    def __init__(self, seed):
        self.words = ["pass"]
        self.random = random.Random(seed)
        self.lock = threading.Lock()

    def chance(self):
        with self.lock:
            return self.random.random()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def handle_any(self):
        began = time.monotonic()
        self.answered = None
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        status = self.serve(body)
        with self.server.log_lock:
            answered = self.answered or time.monotonic()
            self.server.log.write(f"{began:.6f} {answered:.6f} {self.command} {self.path} {status}\n")
            self.server.log.flush()

    do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = handle_any

    def serve(self, body):
        """Returns the status that was sent, 0 for none."""
        mode = self.server.mode
        words = mode.words
        if words[0] == "answer":
            return self.say(int(words[1]), words[2] if len(words) > 2 else None)
        if words[0] == "hang":
            return self.hang_up()
        writes = self.command != "GET" and not self.path.endswith("/search")
        if words[0] == "readonly" and writes:
            return self.say(403)
        if words[0] == "slow":
            time.sleep(float(words[1]))
        if words[0] == "silence":
            return self.wait_for_another(words)
        drop = words[0] == "die" and self.command == "POST" and self.path.endswith("/logged-models")
        if drop:
            mode.words = ["hang", "up"]
        if words[0] == "faulty":
            time.sleep(mode.chance() * 0.3)
            dice = mode.chance()
            if dice < 0.06:
                return self.say(500)
            if dice < 0.10:
                return self.say(429, "1")
            drop = dice < 0.18
        status, headers, answer = self.forward(body)
        if words[0] == "faulty":
            time.sleep(mode.chance() * 0.3)
        if drop:
            return self.hang_up()
        self.answered = time.monotonic()
        self.send_response(status)
        for name, value in headers:
            if name.lower() not in HOP_BY_HOP:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        if words[0] in ("stall", "drip"):
            self.send_a_part(answer, words)
        else:
            self.wfile.write(answer)
        return status

    def send_a_part(self, answer, words):
        self.wfile.write(answer[: len(answer) // 2])
        for byte in answer[len(answer) // 2 :] if words[0] == "drip" else b"":
            if self.server.mode.words != words:
                break
            self.wfile.write(bytes([byte]))
            time.sleep(0.1)
        self.wait_for_another(words)

    def wait_for_another(self, words):
        """Keeps the connection open until the proxy is told to be otherwise."""
        while self.server.mode.words == words:
            time.sleep(0.01)
        return self.hang_up()

    def forward(self, body):
        target = self.server.target
        connection = http.client.HTTPConnection(target.hostname, target.port, timeout=60)
        try:
            headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP_BY_HOP}
            connection.request(self.command, target.path.rstrip("/") + self.path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        except OSError:
            return 502, [], b""
        finally:
            connection.close()

    def say(self, status, retry_after=None):
        text = b'{"error_code": "TEMPORARILY_UNAVAILABLE", "message": "the proxy says so"}'
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        if retry_after:
            self.send_header("Retry-After", retry_after)
        self.end_headers()
        self.wfile.write(text)
        return status

    def hang_up(self):
        self.close_connection = True
        return 0


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, *_):
        pass


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--to", required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--log", default="/dev/null")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    server = Server(("127.0.0.1", arguments.port), Handler)
    server.target = urllib.parse.urlsplit(arguments.to)
    server.mode = Mode(arguments.seed)
    server.log = open(arguments.log, "a", encoding="utf-8")
    server.log_lock = threading.Lock()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"PORT {server.server_address[1]}", flush=True)
    for line in sys.stdin:
        server.mode.words = line.split() or ["pass"]
        print("ok", flush=True)


main()
