"""What many LoggedModels in one experiment cost: a real MLflow server that holds more and more of them.

    python3 benches/fleet.py TRACEMARK DATABASE MLFLOW [VERSIONS…]

TRACEMARK is the program, DATABASE a file that MLflow made and that holds no models (it is copied),
MLFLOW the program of that name.  For each number of versions (10, 1,000 and 10,000) prints medians in
milliseconds: the search that looks for a version by its name, its creation, and `tracemark active`
where the code is new to everybody; and the bytes that a version takes in the database.
"""
import json
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from history import Bench

TIMES = 20
API = "/api/2.0/mlflow/logged-models"


def milliseconds(times, act):
    """The median of several acts, each told its number."""
    taken = []
    for number in range(times):
        begun = time.perf_counter()
        act(number)
        taken.append((time.perf_counter() - begun) * 1000)
    return sorted(taken)[times // 2]


def post(server, path, body):
    """What the server answers."""
    request = urllib.request.Request(server + path, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def figures(base, versions, program, database, mlflow):
    """All figures with so many versions in the experiment."""
    bench = Bench(base, program, database, mlflow)
    try:
        empty = bench.store.stat().st_size
        bench.fill(versions, 0)
        bytes_each = (bench.store.stat().st_size - empty) / versions
        server = json.loads(bench.ask("active", "--json"))["store"]

        def search(number):
            post(server, API + "/search", {"experiment_ids": ["0"], "filter": f"name = 'none-{number}'", "max_results": 50})

        def create(number):
            post(server, API, {"experiment_id": "0", "name": f"by-hand-{number}"})

        def ask(number):
            (bench.repo / "app.py").write_text(f"print('new {number}')\n")
            bench.ask("active")

        return [milliseconds(TIMES, act) for act in (search, create, ask)] + [bytes_each]
    finally:
        bench.end()


def main():
    """A row for each number of versions."""
    program, database, mlflow, *sizes = sys.argv[1:]
    print("| LoggedModels in the experiment | search by name, ms | create, ms | `tracemark active`, new code, ms | bytes in the database, each |")
    print("|---|---|---|---|---|")
    for size in map(int, sizes or ["10", "1000", "10000"]):
        with tempfile.TemporaryDirectory(prefix="tm") as base:
            search, create, new, each = figures(Path(base), size, program, database, mlflow)
        print(f"| {size} | {search:.1f} | {create:.1f} | {new:.1f} | {each:.0f} |", flush=True)


if __name__ == "__main__":
    main()
