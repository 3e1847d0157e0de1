#!/usr/bin/python3
"""Several brokers and schedulers over one state directory: one acts, the others stand by; kill -9 and SIGSTOP of each, under
load. What was acknowledged is there, each task was done once, and no two ever acted in one epoch."""
import json
import os
import random
import sqlite3
import subprocess
import threading

from failover_support import (BIN, PATIENCE_S, Client, Long, ask_once, free_port, rota, run_all, task, wait_until)

SEED = int(os.environ.get("ROTA_TEST_SEED", "0")) or random.SystemRandom().randrange(1 << 32)
chance = random.Random(SEED)
print(f"seed {SEED}")


def start_system(stage, brokers=2, schedulers=1, agents=0):
    for i in range(brokers):
        port = free_port()
        stage.service(f"broker{i}", "broker", "s", "--insecure", f"tcp://127.0.0.1:{port}=admin")
        stage.wait_for_log(f"broker{i}", "event=broker.ready" if i == 0 else "stands by")
        stage.processes[f"broker{i}"].endpoint = f"tcp://127.0.0.1:{port}"
    for i in range(schedulers):
        stage.service(f"scheduler{i}", "scheduler", "s")
        stage.wait_for_log(f"scheduler{i}", "event=broker.ready" if i == 0 else "stands by")
    for i in range(agents):
        stage.service(f"agent{i}", "agent", f"agent{i}", "--name", f"agent{i}", "--slots", "2", "--broker", f"ipc://{stage.path('s', 'run', 'agent.sock')}")


class Load(threading.Thread):
    """Submits until it is told to stop; keeps what was acknowledged."""

    def __init__(self, stage, name, command="true", batch=4, filler=0, pause=0.02, endpoints=None):
        super().__init__()
        self.client = Client(endpoints or [stage.client_endpoint("s")], stage.history, name)
        self.name_of, self.command, self.batch, self.filler, self.pause = name, command, batch, filler, pause
        self.acknowledged, self.failure, self.ending = [], None, threading.Event()
        self.start()

    def run(self):
        try:
            while not self.ending.wait(self.pause):
                names = [f"{self.name_of}-{len(self.acknowledged) + i}" for i in range(self.batch)]
                self.client.submit([task(name, self.command.replace("ID", name), self.filler) for name in names])
                self.acknowledged += names
        except BaseException as failure:  # pylint: disable=broad-except
            self.failure = failure

    def finish(self):
        self.ending.set()
        self.join(2 * PATIENCE_S)
        if self.failure:
            raise self.failure
        self.client.close()
        return self.acknowledged

    def wait_for_more(self, count):
        goal = len(self.acknowledged) + count
        wait_until(lambda: self.failure or len(self.acknowledged) >= goal, f"{count} more tasks are acknowledged")


def stored(stage):
    """Ids in the store, read by a process of its own: what the scheduler's process has open nobody here closes."""
    code = "import sqlite3, sys; print('\\n'.join(r[0] for r in sqlite3.connect(sys.argv[1]).execute('SELECT id FROM task')))"
    return set(subprocess.run(["/usr/bin/python3", "-c", code, stage.path("s", "rota.db")], check=True,
                              capture_output=True, text=True).stdout.split())


def expect_done_once(stage, load, client):
    names = load.finish()
    wait_until(lambda: client.status().get("DONE", 0) >= len(names), f"{len(names)} tasks are done")
    with open(stage.path("marks"), encoding="utf-8") as file:
        marks = file.read().split()
    assert sorted(marks) == sorted(names), f"{len(marks)} marks, {len(names)} tasks, {len(set(marks))} different"


def expect_epochs(stage, role, at_least):
    assert len(stage.history.epochs(role)) >= at_least, stage.history.epochs(role)


def the_one_that_stands_by_names_the_leader(stage):
    start_system(stage)
    refusal = ask_once(stage.processes["broker1"].endpoint)
    assert refusal.code == rota.ERROR_CODE_NOT_LEADER, refusal
    assert refusal.leader.decode() == stage.processes["broker0"].endpoint, refusal
    leader = ask_once(refusal.leader.decode())
    assert leader.leader_epoch == 1, leader
    assert "another broker (pid %d since" % stage.processes["broker0"].pid in stage.log("broker1")
    text = subprocess.run([os.path.join(BIN, "rota"), "--broker", stage.client_endpoint("s"), "leader"], check=True,
                          capture_output=True, text=True, timeout=PATIENCE_S).stdout
    assert f"pid {stage.processes['broker0'].pid} " in text and "epoch 1," in text, text
    # Whoever asks is told what is open without keys, of the one that leads.
    assert f"INSECURE: {stage.processes['broker0'].endpoint} is open without keys" in text and text.count("INSECURE") == 1, text
    told = subprocess.run([os.path.join(BIN, "rota"), "--broker", stage.client_endpoint("s"), "leader", "--json"], check=True,
                          capture_output=True, text=True, timeout=PATIENCE_S).stdout
    assert json.loads(told)["insecure"] == [stage.processes["broker0"].endpoint], told


def killed_leaders_are_followed_and_each_task_is_done_once(stage):
    start_system(stage, brokers=3, agents=2)
    load = Load(stage, "load", f"echo ID >> {stage.path('marks')}")
    load.wait_for_more(20)
    for victim in ("broker0", "broker1"):
        leader = wait_until(lambda: [it for it in stage.processes if it.startswith("broker") and
                                     stage.processes[it].poll() is None and "event=broker.ready" in stage.log(it)],
                            "one leads")[0]
        stage.kill(leader)
        load.wait_for_more(20)
    client = Client([stage.client_endpoint("s")], stage.history)
    expect_done_once(stage, load, client)
    client.close()
    expect_epochs(stage, "leader", 3)


def a_leader_that_hangs_is_ended_and_followed(stage):
    start_system(stage, agents=1)
    load = Load(stage, "load", f"echo ID >> {stage.path('marks')}")
    load.wait_for_more(20)
    stage.stop("broker0")
    assert stage.processes["broker0"].wait(PATIENCE_S) == -9
    load.wait_for_more(20)
    client = Client([stage.client_endpoint("s")], stage.history)
    expect_done_once(stage, load, client)
    client.close()
    assert "from one that hung and was ended" in stage.log("broker1")
    expect_epochs(stage, "leader", 2)


def a_client_with_a_list_finds_the_leader_wherever_it_is(stage):
    """The program `rota` itself, by tcp alone."""
    start_system(stage, brokers=3)
    endpoints = [stage.processes[f"broker{i}"].endpoint for i in (2, 1, 0)]
    insecure = subprocess.run([os.path.join(BIN, "rota"), "leader", "--help"], capture_output=True, text=True, check=True)
    options = ["--insecure"] if "--insecure" in insecure.stdout else []
    for victim in (None, "broker0"):
        if victim:
            stage.kill(victim)
        text = subprocess.run([os.path.join(BIN, "rota"), "--broker", ",".join(endpoints), "status", *options], check=True,
                              capture_output=True, text=True, timeout=PATIENCE_S).stdout
        assert "no tasks yet" in text, text


def a_killed_scheduler_is_followed_and_each_task_is_done_once(stage):
    start_system(stage, brokers=1, schedulers=2, agents=2)
    load = Load(stage, "load", f"echo ID >> {stage.path('marks')}")
    load.wait_for_more(20)
    stage.kill("scheduler0")
    load.wait_for_more(20)
    client = Client([stage.client_endpoint("s")], stage.history)
    expect_done_once(stage, load, client)
    client.close()
    expect_epochs(stage, "scheduler", 2)


def running_work_goes_on_while_leader_and_scheduler_change(stage):
    """Killed ones and hung ones; who follows takes what runs over as it is."""
    start_system(stage, brokers=3, schedulers=3, agents=1)
    client = Client([stage.client_endpoint("s")], stage.history)
    long = Long(stage, client)
    for i, blow in enumerate((stage.kill, stage.stop)):
        for kind in ("broker", "scheduler"):
            victim = next(it for it in stage.processes if it.startswith(kind) and stage.processes[it].poll() is None and
                          "event=broker.ready" in stage.log(it))
            joined = stage.log("agent0").count("agent.registered")
            blow(victim)
            stage.processes[victim].wait(PATIENCE_S)
            wait_until(lambda: client.status() and len(stage.history.epochs("leader" if kind == "broker" else kind)) >= i + 2,
                       f"another {kind} acts")
            if kind == "broker":
                stage.wait_for_log("agent0", "agent.registered name=agent0 slots=2 held=1", joined)
            long.expect_running()
    long.expect_one_attempt()
    client.close()


def is_write_locked(stage):
    """Whether somebody is inside a transaction that writes."""
    connection = sqlite3.connect(stage.path("s", "rota.db"), timeout=0, isolation_level=None)
    try:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")
        return False
    except sqlite3.OperationalError as error:
        assert "locked" in str(error), error
        return True
    finally:
        connection.close()


def stop_inside_a_transaction(stage, name):
    for _ in range(2000):
        stage.stop(name)
        if is_write_locked(stage):
            return
        stage.go_on(name)
        threading.Event().wait(chance.random() * 0.01)
    raise AssertionError("it was never inside a transaction")


def a_scheduler_stopped_inside_a_transaction_is_ended_and_followed(stage):
    start_system(stage, brokers=1, schedulers=2)
    loads = [Load(stage, f"load{i}", batch=100, filler=2000, pause=0) for i in range(2)]
    for load in loads:
        load.wait_for_more(200)
    stop_inside_a_transaction(stage, "scheduler0")
    assert stage.processes["scheduler0"].wait(PATIENCE_S) == -9
    for load in loads:
        load.wait_for_more(200)
    names = set().union(*[load.finish() for load in loads])
    client = Client([stage.client_endpoint("s")], stage.history)
    client.status()
    client.close()
    missing = names - stored(stage)
    assert not missing, f"{len(missing)} acknowledged tasks are lost, {sorted(missing)[:3]}"
    assert "from one that hung and was ended" in stage.log("scheduler1")
    expect_epochs(stage, "scheduler", 2)


def a_woken_scheduler_writes_nothing(stage):
    """Nobody ends it: its lock file was removed, so that the second one knows nothing of it."""
    start_system(stage, brokers=1)
    load = Load(stage, "load", batch=20, pause=0)
    load.wait_for_more(100)
    stage.stop("scheduler0")
    while is_write_locked(stage):
        stage.go_on("scheduler0")
        stage.stop("scheduler0")
    os.unlink(stage.path("s", "scheduler.lock"))
    stage.service("scheduler1", "scheduler", "s")
    stage.wait_for_log("scheduler1", "event=broker.ready")
    load.wait_for_more(100)
    before = stored(stage)
    names = set(load.finish())
    assert names <= stored(stage)
    stage.go_on("scheduler0")
    assert stage.processes["scheduler0"].wait(PATIENCE_S) == 1
    assert "another scheduler" in stage.log("scheduler0")
    client = Client([stage.client_endpoint("s")], stage.history)
    client.status()
    client.close()
    assert before <= stored(stage) and names == stored(stage), "the woken one changed something"
    expect_epochs(stage, "scheduler", 2)


def a_restore_waits_for_nobody_and_nobody_takes_over_meanwhile(stage):
    start_system(stage, brokers=1, schedulers=1)
    program = os.path.join(BIN, "rota-scheduler")
    refused = subprocess.run([program, "--state", stage.path("s"), "--restore", "/dev/null"], capture_output=True, text=True,
                             timeout=PATIENCE_S, check=False)
    assert refused.returncode == 1 and "another scheduler (pid" in refused.stderr, refused


if __name__ == "__main__":
    run_all([
        the_one_that_stands_by_names_the_leader,
        killed_leaders_are_followed_and_each_task_is_done_once,
        a_leader_that_hangs_is_ended_and_followed,
        a_client_with_a_list_finds_the_leader_wherever_it_is,
        a_killed_scheduler_is_followed_and_each_task_is_done_once,
        running_work_goes_on_while_leader_and_scheduler_change,
        a_scheduler_stopped_inside_a_transaction_is_ended_and_followed,
        a_woken_scheduler_writes_nothing,
        a_restore_waits_for_nobody_and_nobody_takes_over_meanwhile,
    ])
