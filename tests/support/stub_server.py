"""An MLflow server of a few hundred lines for tests about the way to a server: who asks, over what, and what comes back.

Run with one JSON object as argument; prints `PORT n`, ends when its standard input closes. Keys of the object, which
`POST /_control` changes later (these routes are asked over plain sockets by the tests, never by tracemark):

auth            values of Authorization that are accepted; absent: everybody is
oauth           {"id", "secret"}: a token endpoint /oidc/v1/token as Databricks documents it; only its tokens are accepted
forget          true: there are no LoggedModels any more
expire          true: every token that was issued is void from now on
databricks      true: names of experiments are paths, there is no default one, tags have at most 5,000 characters
old             true: an MLflow 2.22.1, which has no LoggedModels
below           the path below which the API lies; elsewhere is a web page of somebody else
workspaces      true: /api/3.0/mlflow/server-info says so
answer          {"status", "headers", "body", "times"}: given to the next API requests instead of an answer; the word
                AUTHORIZATION in the body and in headers stands for what the request was signed with, BEGIN_OF_TOKEN for
                ten characters of it, ESCAPED_TOKEN for all of it as JSON may write it, QUOTED_TOKEN as URLs may
gzip            true: bodies are compressed; with "bomb": n zeros are added before compression
lie             fields that LoggedModels say of themselves from now on, whatever is true
hang            true: API requests get no answer
delay           seconds that each API request takes
clock           seconds by which the server's clock is ahead
tls             {"cert", "key", "client_ca"}: paths of PEM files; with "port", that one instead of any
"""

import base64
import gzip
import http.server
import json
import ssl
import sys
import threading
import time
import urllib.parse
import uuid

config = json.loads(sys.argv[1])
lock = threading.Lock()
requests, tokens, models = [], set(), {}
experiments = {} if config.get("databricks") else {"0": "Default"}
API = "/api/2.0/mlflow/"


class Refusal(Exception):
    def __init__(self, status, code, message):
        self.status, self.body = status, {"error_code": code, "message": message}


def absent(what):
    return Refusal(404, "RESOURCE_DOES_NOT_EXIST", f"{what} does not exist")


def experiment(ident):
    if ident not in experiments:
        raise absent(f"experiment {ident}")
    place = "dbfs:/databricks/mlflow-tracking" if config.get("databricks") else "s3://bucket"
    return {
        "experiment": {
            "experiment_id": ident,
            "name": experiments[ident],
            "artifact_location": f"{place}/{ident}",
            "lifecycle_stage": "active",
        }
    }


def create_experiment(body):
    name = body["name"]
    if config.get("databricks") and not name.startswith("/"):
        raise Refusal(400, "INVALID_PARAMETER_VALUE", f"Got an invalid experiment name '{name}'. It must be an absolute path.")
    if config.get("databricks") and not name.startswith(("/Users/", "/Shared/")):
        raise Refusal(404, "RESOURCE_DOES_NOT_EXIST", "Workspace directory does not exist")
    if name in experiments.values():
        raise Refusal(400, "RESOURCE_ALREADY_EXISTS", "exists")
    ident = str(len(experiments) + 1)
    experiments[ident] = name
    return {"experiment_id": ident}


def check_tags(tags):
    for tag in tags:
        if config.get("databricks") and len(tag["value"]) > 5000:
            raise Refusal(400, "INVALID_PARAMETER_VALUE", f"Tag value of '{tag['key']}' exceeds the limit of 5000 characters")


def create_model(body):
    experiment(body["experiment_id"])
    check_tags(body["tags"])
    ident = "m-" + uuid.uuid4().hex
    models[ident] = {
        "info": {
            "model_id": ident,
            "experiment_id": body["experiment_id"],
            "name": body["name"],
            "creation_timestamp_ms": int(time.time() * 1000),
            "artifact_uri": f"s3://bucket/{body['experiment_id']}/models/{ident}/artifacts",
            "status": "LOGGED_MODEL_PENDING",
            "tags": body["tags"],
        },
        "data": {"params": body.get("params", [])},
    }
    models[ident]["info"].update(config.get("lie") or {})
    return {"model": models[ident]}


def search(body):
    name = body.get("filter", "").removeprefix("name = '").removesuffix("'")
    found = [
        model
        for model in models.values()
        if model["info"]["experiment_id"] in body["experiment_ids"] and model["info"]["name"] == name
    ]
    return {"models": found} if found else {}


def change(ident, rest, body, method):
    key = next((key for key, model in models.items() if model["info"]["model_id"] == ident), None)
    if key is None:
        raise absent(f"Logged model {ident}")
    model = models[key]
    if method == "DELETE":
        del models[key]
        return {}
    if rest == ["tags"]:
        check_tags(body["tags"])
        tags = {tag["key"]: tag["value"] for tag in model["info"]["tags"] + body["tags"]}
        model["info"]["tags"] = [{"key": key, "value": value} for key, value in tags.items()]
        return {}
    if rest == ["params"]:
        model["data"]["params"] += body["params"]
        return {}
    if method == "PATCH":
        model["info"]["status"] = body["status"]
    return {"model": model}


def api(method, path, query, body):
    parts = path.removeprefix(API).split("/")
    if parts[0] == "logged-models":
        if len(parts) == 1:
            return create_model(body)
        if parts[1] == "search":
            return search(body)
        return change(parts[1], parts[2:], body, method)
    if parts == ["experiments", "create"]:
        return create_experiment(body)
    if parts == ["experiments", "get"]:
        return experiment(query["experiment_id"][0])
    if parts == ["experiments", "get-by-name"]:
        name = query["experiment_name"][0]
        for ident, known in experiments.items():
            if known == name:
                return experiment(ident)
        raise absent(name)
    return None


class Handler(http.server.BaseHTTPRequestHandler):
    # An answer goes out in one piece, as servers send it; in two, the second waits for what the client says of the first.
    wbufsize = -1
    protocol_version = "HTTP/1.1"

    def date_time_string(self, timestamp=None):
        return super().date_time_string(time.time() + config.get("clock", 0) if timestamp is None else timestamp)


    def log_message(self, *_):
        pass

    def reply(self, status, body, kind="application/json", headers=None):
        data = body if isinstance(body, bytes) else body.encode()
        packed = config.get("gzip") and not self.path.startswith("/_")
        if packed:
            data = gzip.compress(data + b" " * config.get("bomb", 0))
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        if packed:
            self.send_header("Content-Encoding", "gzip")
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def token(self, body):
        wanted = base64.b64encode(f"{config['oauth']['id']}:{config['oauth']['secret']}".encode()).decode()
        form = urllib.parse.parse_qs(body)
        if self.headers["Authorization"] != f"Basic {wanted}":
            return self.reply(401, '{"error":"invalid_client","error_description":"Client authentication failed"}')
        if form != {"grant_type": ["client_credentials"], "scope": ["all-apis"]}:
            return self.reply(400, '{"error":"invalid_request"}')
        token = f"issued-{uuid.uuid4().hex}"
        tokens.add(f"Bearer {token}")
        life = config["oauth"].get("expires_in", 3600)
        self.reply(200, json.dumps({"access_token": token, "token_type": "Bearer", "scope": "all-apis", "expires_in": life}))

    def well_known(self, path):
        """What the Databricks SDK asks for first, so that MLflow's own client can be tried on the same stub."""
        base = f"http://{self.headers['Host']}/oidc"
        if path == "/.well-known/databricks-config":
            return self.reply(200, json.dumps({"oidc_endpoint": base, "workspace_id": "77"}))
        endpoints = {"authorization_endpoint": f"{base}/v1/authorize", "token_endpoint": f"{base}/v1/token"}
        self.reply(200, json.dumps(endpoints))

    def handle_one(self):
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        url = urllib.parse.urlsplit(self.path)
        if not url.path.startswith("/_"):
            time.sleep(config.get("delay", 0))
        with lock:
            if url.path == "/_control":
                config.update(json.loads(raw))
                if config.pop("expire", False):
                    tokens.clear()
                if config.pop("forget", False):
                    models.clear()
                return self.reply(200, "{}")
            if url.path == "/_seen":
                return self.reply(200, json.dumps({"requests": requests, "models": models, "experiments": experiments}))
            requests.append(
                {"method": self.command, "target": self.path, "headers": {name.lower(): value for name, value in self.headers.items()}, "body": raw}
            )
            if not config.get("hang"):
                if "oauth" in config and url.path == "/oidc/v1/token":
                    return self.token(raw)
                if "oauth" in config and "/.well-known/" in url.path:
                    return self.well_known(url.path)
                return self.answer(url, raw)
        # Longer than any test waits.
        threading.Event().wait(120)

    def echoing(self, text):
        signature = self.headers.get("Authorization") or "none"
        token = signature.split(" ")[-1]
        said = {
            "AUTHORIZATION": signature,
            "BEGIN_OF_TOKEN": token[:10],
            "ESCAPED_TOKEN": "".join(f"\\u{ord(letter):04x}" for letter in token),
            "QUOTED_TOKEN": "".join(f"%{ord(letter):02X}" for letter in token),
        }
        for word, meaning in said.items():
            text = text.replace(word, meaning)
        return text

    def answer(self, url, raw):
        planned = config.get("answer")
        if planned and planned.get("times", 1) != 0:
            planned["times"] = planned.get("times", 1) - 1
            headers = {name: self.echoing(value) for name, value in planned.get("headers", {}).items()}
            return self.reply(planned["status"], self.echoing(planned.get("body", "")), planned.get("kind", "text/plain"), headers)
        below = config.get("below", "")
        if not url.path.startswith(below + "/"):
            return self.reply(200, "<!doctype html><title>Welcome</title>", "text/html")
        url = url._replace(path=url.path[len(below):])
        accepted = tokens if "oauth" in config else config.get("auth")
        if accepted is not None and self.headers.get("Authorization") not in accepted:
            return self.reply(401, "You are not authenticated.", "text/html")
        if url.path == "/version":
            return self.reply(200, "2.22.1" if config.get("old") else "3.17.2", "text/html")
        if url.path == "/api/3.0/mlflow/server-info":
            return self.reply(200, json.dumps({"workspaces_enabled": bool(config.get("workspaces"))}))
        try:
            missing = config.get("old") and "/logged-models" in url.path
            body = json.loads(raw) if raw.startswith("{") else {}
            found = None if missing else api(self.command, url.path, urllib.parse.parse_qs(url.query), body)
        except Refusal as refusal:
            return self.reply(refusal.status, json.dumps(refusal.body))
        if found is None:
            return self.reply(404, "<!doctype html><title>404 Not Found</title>", "text/html")
        self.reply(200, json.dumps(found))

    do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = handle_one


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def get_request(self):
        stream, address = super().get_request()
        stream.settimeout(60)
        return stream, address

    def handle_error(self, *_):
        pass


server = Server(("127.0.0.1", config.get("tls", {}).get("port", 0)), Handler)
if "tls" in config:
    tls = config["tls"]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tls["cert"], tls["key"])
    if "client_ca" in tls:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(tls["client_ca"])
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
print("PORT", server.server_port, flush=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
sys.stdin.read()
