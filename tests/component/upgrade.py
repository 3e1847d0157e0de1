#!/usr/bin/python3
"""An upgrade one service at a time, in the order of docs/operations.md, while tasks are submitted and worked: three brokers, a
scheduler and one that stands by, the sink, two agents' hosts. Nothing is lost, done twice, or refused on the way.

The second build is a copy of the programs that calls itself another version and is otherwise the same: this shows the
order, the hand-overs and that both sides of each connection may differ in what they call themselves; not what two
releases that differ would do to each other. That the store is migrated forward, and refused by a program that doesn't know
its schema, is tried with stores of the schema before and after this one."""
import glob
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time

import failover_support as support
from failover_support import BIN, Client, Etcd, Stage, broker, rota, task, wait_until, who_leads

BROKERS, AGENTS = ("b0", "b1", "b2"), ("h1", "h2")
SETTINGS = "scheduler: {lease: 10s, agent_heartbeat: 200ms}\nbroker: {heartbeat: 200ms, dead_after: 3s}\n"


def version_of(directory):
    return subprocess.run([os.path.join(directory, "rota-broker"), "--version"], capture_output=True, text=True,
                          check=True).stdout.split()[-1]


def another_version(directory):
    """The programs again, with another last figure in their version."""
    old = version_of(BIN)
    new = old[:-1] + ("8" if old[-1] == "9" else "9")
    for path in glob.glob(os.path.join(BIN, "rota*")):
        if not os.path.isfile(path):
            continue
        with open(path, "rb") as file:
            image = file.read()
        with open(os.path.join(directory, os.path.basename(path)), "wb") as file:
            file.write(image.replace(b"\0" + old.encode() + b"\0", b"\0" + new.encode() + b"\0")
                       .replace(b" " + old.encode() + b"\0", b" " + new.encode() + b"\0"))
        shutil.copymode(path, os.path.join(directory, os.path.basename(path)))
    return old, new


class Load(threading.Thread):
    """Submits until it is told to end, and keeps in mind what was acknowledged."""

    def __init__(self, stage, endpoints):
        super().__init__(daemon=True)
        self.stage, self.endpoints, self.acked, self.ended, self.failure = stage, endpoints, [], False, None

    def run(self):
        client = Client(self.endpoints, self.stage.history, "load")
        try:
            batch = 0
            while not self.ended:
                names = [f"t{batch}-{i}" for i in range(2)]
                client.submit([task(name, f"sleep 0.1; echo {name} >> {self.stage.path('worked')}") for name in names])
                self.acked += names
                batch += 1
                time.sleep(0.4)
        except BaseException as failure:  # pylint: disable=broad-except
            self.failure = failure
        finally:
            client.close()


class Cluster:
    def __init__(self, stage):
        self.stage, self.etcd = stage, Etcd(stage).wait_ready()
        with open(stage.path("rota.yaml"), "w", encoding="utf-8") as file:
            file.write(SETTINGS)
        stage.environment["ROTA_CONFIG"] = stage.path("rota.yaml")
        for name in BROKERS:
            broker(stage, name, self.etcd)
        self.services = {"scheduler": ("scheduler", "s"), "standby": ("scheduler", "s"), "sink": ("telemetry", "s")}
        for name in AGENTS:
            self.services[name] = ("agent", name)
        for name in self.services:
            self.start(name, BIN)
            if name == "scheduler":
                stage.wait_for_log(name, "scheduler.started")
        stage.wait_for_log("standby", "stands by")
        self.clients = [stage.client_endpoint(name) for name in BROKERS]
        self.client = Client(self.clients, stage.history, "looks")

    def start(self, name, programs):
        if name in BROKERS:
            environment = {"ROTA_ELECTION_BACKEND": "etcd", "ROTA_ELECTION_ETCD_ENDPOINTS": self.etcd.url}
            self.stage.start(name, os.path.join(programs, "rota-broker"), "--state", self.stage.path(name), environment=environment)
            return
        program, state = self.services[name]
        os.makedirs(self.stage.path(state), mode=0o700, exist_ok=True)
        role = "agent" if program == "agent" else "service"
        brokers = ",".join(f"ipc://{self.stage.path(it, 'run', role + '.sock')}" for it in BROKERS)
        more = ["--kind", "exec", "--slots", "3", "--name", name] if program == "agent" else []
        self.stage.start(name, os.path.join(programs, "rota-" + program), "--state", self.stage.path(state), "--broker", brokers, *more)

    def restart(self, name, programs):
        """As systemd does it: SIGTERM, the end waited for, and the new program."""
        process = self.stage.processes[name]
        process.send_signal(signal.SIGTERM)
        assert process.wait(support.PATIENCE_S) == 0, f"{name} ended with {process.returncode}: {self.stage.log(name)[-2000:]}"
        self.start(name, programs)

    def peers(self):
        reply = rota.PeersReply.FromString(self.client.request(support.PEERS_QUERY, rota.PeersQuery(), support.PEERS_REPLY))
        return reply.program_version.decode(), {it.name.decode(): it.program_version.decode() for it in reply.peers}

    def rota(self, *arguments):
        return subprocess.run([os.path.join(BIN, "rota"), "--broker", ",".join(self.clients), *arguments], capture_output=True,
                              text=True, timeout=support.PATIENCE_S, check=True, env=self.stage.environment).stdout

    def goes_on(self, load, after):
        """More is acknowledged, and more gets done."""
        acked, done_before = len(load.acked), self.client.status().get("DONE", 0)

        def done():
            assert not load.failure, load.failure
            return len(load.acked) > acked + 1 and self.client.status().get("DONE", 0) > done_before + 3
        wait_until(done, f"work goes on after the upgrade of {after}")


def an_upgrade_loses_nothing_and_does_nothing_twice(stage):
    new_programs = stage.path("new")
    os.makedirs(new_programs)
    old, new = another_version(new_programs)
    assert version_of(new_programs) == new != old
    cluster = Cluster(stage)
    load = Load(stage, cluster.clients)
    load.start()
    cluster.goes_on(load, "nothing")
    assert cluster.peers()[0] == old

    # 1. A backup. 2. The brokers: those that stand by, then the one that leads.
    cluster.rota("store", "backup", stage.path("before.db"))
    leader, _ = who_leads(stage, BROKERS)
    for name in [it for it in BROKERS if it != leader] + [leader]:
        cluster.restart(name, new_programs)
        cluster.goes_on(load, name)
    version, peers = cluster.peers()
    assert version == new and set(peers.values()) >= {old}, (version, peers)

    # 3. The scheduler that stands by, then the one that serves.
    cluster.restart("standby", new_programs)
    wait_until(lambda: stage.log("standby").count("stands by") > 1, "the new one stands by")
    epoch = max(stage.history.epochs("scheduler"))
    cluster.restart("scheduler", new_programs)
    wait_until(lambda: cluster.client.status() and max(stage.history.epochs("scheduler")) > epoch, "the new one serves")
    cluster.goes_on(load, "the schedulers")

    # 4. The sink. 5. The agents' hosts: drained, so that nothing that runs is begun again.
    cluster.restart("sink", new_programs)
    for name in AGENTS:
        cluster.rota("drain", name)
        wait_until(lambda: f"{name} " in cluster.rota("agents") and not busy(cluster, name), f"{name} has ended what it had")
        cluster.restart(name, new_programs)
        cluster.goes_on(load, name)

    load.ended = True
    load.join(support.PATIENCE_S)
    assert not load.failure and not load.is_alive(), load.failure
    wait_until(lambda: cluster.client.status() == {"DONE": len(load.acked)}, f"all of {len(load.acked)} are done")
    with open(stage.path("worked"), encoding="utf-8") as file:
        worked = file.read().split()
    assert sorted(worked) == sorted(load.acked), "each was worked once, and nothing else"
    version, peers = cluster.peers()
    versions = {peers[name] for name in peers if peers[name]}
    assert version == new and versions == {new}, (version, peers)
    cluster.client.close()
    store_is_sound(stage)
    print(f"     {len(load.acked)} tasks from {old} to {new}", flush=True)


def busy(cluster, name):
    agents = json.loads(cluster.rota("agents", "--json"))["agents"]
    return next(it for it in agents if it["name"] == name).get("busy", 0)


def store_is_sound(stage):
    for name in ("standby", "scheduler"):
        stage.processes[name].send_signal(signal.SIGTERM)
        stage.processes[name].wait(support.PATIENCE_S)
    store = sqlite3.connect(stage.path("s", "rota.db"))
    assert store.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    twice = store.execute("SELECT task FROM attempt WHERE class = 1 GROUP BY task HAVING count(*) > 1").fetchall()
    assert not twice, f"completed twice: {twice}"
    store.close()


def served(stage, name):
    """Starts a scheduler alone on the state directory s; what it says until it serves or ends."""
    stage.service(name, "scheduler", "s", "--broker", f"ipc://{stage.path('none.sock')}")
    wait_until(lambda: "scheduler.started" in stage.log(name) or stage.processes[name].poll() is not None, f"{name} says something")
    return stage.log(name)


def migrations():
    """The table of scheduler/schema.c, a text for each row."""
    with open(os.path.join(os.environ["ROTA_SOURCE"], "scheduler", "schema.c"), encoding="utf-8") as file:
        table = file.read().partition("MIGRATIONS[] = {")[2].partition("\n};")[0]
    rows, text = [], ""
    for comment, literal, mark in re.findall(r'(/\*.*?\*/)|"((?:[^"\\]|\\.)*)"|(,)', table, re.DOTALL):
        if comment:
            continue
        if mark and text:
            rows.append(text)
            text = ""
        text += literal
    return rows + [text] if text else rows


def a_store_of_before_is_migrated_and_one_of_after_refused(stage):
    served(stage, "first")
    stage.processes["first"].terminate()
    stage.processes["first"].wait()
    path = stage.path("s", "rota.db")
    made = migrations()
    for end in ("", "-wal", "-shm"):
        if os.path.exists(path + end):
            os.unlink(path + end)
    store = sqlite3.connect(path)
    for statements in made[:-1]:  # as the release before the newest one left it
        store.executescript(statements)
    store.execute(f"PRAGMA user_version = {len(made) - 1}")
    store.commit()
    store.close()
    os.chmod(path, 0o600)
    assert "scheduler.started" in served(stage, "again"), stage.log("again")
    stage.processes["again"].terminate()
    stage.processes["again"].wait()
    store = sqlite3.connect(path)
    schema = store.execute("PRAGMA user_version").fetchone()[0]
    assert schema == len(made), (schema, len(made))
    store.execute(f"PRAGMA user_version = {schema + 1}")
    store.commit()
    store.close()
    with open(path, "rb") as file:
        image = file.read()
    said = served(stage, "older")
    words = f"the store has schema version {schema + 1}, this rota knows up to {schema}: use the newer rota that wrote it"
    assert words in said and "scheduler.started" not in said, said
    assert stage.processes["older"].returncode not in (0, None), stage.processes["older"].returncode
    with open(path, "rb") as file:
        assert file.read() == image, "a refused store was changed"


if __name__ == "__main__":
    if not shutil.which("etcd"):
        sys.exit("etcd is missing (deploy/packages.txt: etcd-server)")
    support.run_all([a_store_of_before_is_migrated_and_one_of_after_refused, an_upgrade_loses_nothing_and_does_nothing_twice])
