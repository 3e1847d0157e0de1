#!/usr/bin/python3
"""Brokers that elect their leader in etcd, a real one on loopback: leader killed, stopped and woken, etcd stopped and gone,
lease and key lost. No two ever acted in one epoch, and epochs only rose."""
import base64
import glob
import json
import os
import signal
import sqlite3
import subprocess

from failover_support import (BIN, ERROR, HELLO, PATIENCE_S, Client, Etcd, History, Long, ask_once, broker, brokers, rota,
                              run_all, task, wait_until, who_leads)


def one_leads_and_the_others_name_it(stage):
    etcd = Etcd(stage).wait_ready()
    names = brokers(stage, etcd, 3)
    leader, welcome = who_leads(stage, names)
    key = etcd.leader_key()
    assert welcome.leader_epoch == int(key["create_revision"]) and welcome.leader_cluster == etcd.cluster_id(), welcome
    for name in names:
        if name != leader:
            stage.wait_for_log(name, "stands by:")
            refusal = wait_until(lambda it=name: next((answer for answer in [ask_once(stage.client_endpoint(it))] if answer.leader), None),
                                 f"{name} names the leader")
            assert refusal.code == rota.ERROR_CODE_NOT_LEADER and refusal.leader.decode() == stage.client_endpoint(leader), refusal
    stage.service("scheduler", "scheduler", "s", "--broker", f"ipc://{stage.path(leader, 'run', 'service.sock')}")
    text = subprocess.run([os.path.join(BIN, "rota"), "--broker", stage.client_endpoint(leader), "leader"], check=True,
                          capture_output=True, text=True, timeout=PATIENCE_S).stdout
    assert "INSECURE" not in text, text
    assert "elected by etcd" in text and f"epoch {welcome.leader_epoch}," in text, text


def a_second_broker_in_the_same_directory_is_refused(stage):
    etcd = Etcd(stage).wait_ready()
    broker(stage, "b0", etcd)
    who_leads(stage, ["b0"])
    stage.processes["first"] = stage.processes.pop("b0")
    os.rename(stage.path("b0.log"), stage.path("first.log"))
    assert broker(stage, "b0", etcd).wait(PATIENCE_S) == 4
    assert "another broker (pid" in stage.log("b0")


def a_leader_that_ends_in_order_is_followed_without_waiting_for_its_lease(stage):
    etcd = Etcd(stage).wait_ready()
    names = brokers(stage, etcd, 2, etcd_ttl="60s")
    leader, first = who_leads(stage, names)
    stage.processes[leader].terminate()
    assert stage.processes[leader].wait(PATIENCE_S) == 0
    _, second = who_leads(stage, names)  # the lease would have lasted as long as the patience
    assert second.leader_epoch > first.leader_epoch


def a_killed_leader_is_followed_under_a_higher_epoch(stage):
    etcd = Etcd(stage).wait_ready()
    names = brokers(stage, etcd, 3)
    epoch = 0
    for _ in range(2):
        leader, welcome = who_leads(stage, names)
        assert welcome.leader_epoch > epoch
        epoch = welcome.leader_epoch
        stage.kill(leader)
    _, welcome = who_leads(stage, names)
    assert welcome.leader_epoch > epoch


def a_stopped_leader_that_wakes_finds_its_time_over_before_it_acts(stage):
    etcd = Etcd(stage).wait_ready()
    names = brokers(stage, etcd, 2)
    leader, first = who_leads(stage, names)
    known = Client([stage.client_endpoint(leader)], stage.history, "known")
    wait_until(lambda: known.receive(0.1) and known.welcome, "it is welcomed")
    stranger = Client([stage.client_endpoint(leader)], History(), "stranger")
    wait_until(lambda: stranger.receive(0.1) and stranger.welcome, "it is welcomed")
    stage.stop(leader)
    # These wait in its sockets when it wakes: from one that it has welcomed, and as if from a new one.
    known.send(3, rota.Heartbeat(), 0)
    stranger.send(HELLO, rota.Hello(instance=os.urandom(16), wants=rota.ROLE_ADMIN), 77)
    other, second = who_leads(stage, names, but=[leader])
    assert other != leader and second.leader_epoch > first.leader_epoch
    stage.go_on(leader)
    for client in (known, stranger):
        answer = []
        wait_until(lambda it=client: answer.append(it.receive(0.1)) or answer[-1][0], "it says something")
        envelope, data = answer[-1]
        assert envelope.type == ERROR, envelope
        assert rota.Error.FromString(data).code == rota.ERROR_CODE_NOT_LEADER, rota.Error.FromString(data)
        client.close()
    stage.wait_for_log(leader, "event=broker.deposed")
    assert isinstance(ask_once(stage.client_endpoint(leader)), rota.Error)


def without_etcd_the_leader_stands_down_and_with_it_one_leads_again(stage):
    etcd = Etcd(stage).wait_ready()
    names = brokers(stage, etcd, 2)
    leader, first = who_leads(stage, names)
    stage.stop("etcd")
    stage.wait_for_log(leader, "event=broker.deposed")
    for name in names:
        refusal = ask_once(stage.client_endpoint(name))
        assert isinstance(refusal, rota.Error) and refusal.code == rota.ERROR_CODE_NOT_LEADER, refusal
    stage.go_on("etcd")
    _, second = who_leads(stage, names)
    assert second.leader_epoch >= first.leader_epoch
    leader, _ = who_leads(stage, names)
    stage.kill("etcd")
    stage.wait_for_log(leader, "event=broker.deposed", stage.log(leader).count("event=broker.deposed") + 1
                       if "event=broker.deposed" not in stage.log(leader).split("event=broker.ready")[-1] else 1)
    etcd.start()
    etcd.wait_ready()
    _, third = who_leads(stage, names)
    assert third.leader_epoch >= second.leader_epoch


def a_lease_or_key_that_is_taken_away_ends_the_leadership(stage):
    etcd = Etcd(stage).wait_ready()
    names = brokers(stage, etcd, 2, etcd_ttl="20s")
    _, first = who_leads(stage, names)
    etcd.call("/v3/lease/revoke", ID=etcd.leader_key()["lease"])
    wait_until(lambda: int((etcd.leader_key() or {"create_revision": 0})["create_revision"]) > first.leader_epoch, "another key")
    second = wait_until(lambda: next((it for it in [who_leads(stage, names)[1]] if it.leader_epoch > first.leader_epoch), None),
                        "a higher epoch")
    etcd.call("/v3/kv/deleterange", key=base64.b64encode(b"rota/leader").decode())
    wait_until(lambda: who_leads(stage, names)[1].leader_epoch > second.leader_epoch, "a higher epoch still")


def sockets(stage, names, kind):
    return ",".join(f"ipc://{stage.path(name, 'run', kind + '.sock')}" for name in names)


def start_services(stage, names, agents=1):
    """A scheduler and agents that know these brokers."""
    stage.service("scheduler", "scheduler", "s", "--broker", sockets(stage, names, "service"))
    for i in range(agents):
        stage.service(f"agent{i}", "agent", f"agent{i}", "--name", f"agent{i}", "--slots", "2", "--broker", sockets(stage, names, "agent"))


def running_work_goes_on_while_leader_and_scheduler_change(stage):
    etcd = Etcd(stage).wait_ready()
    names = brokers(stage, etcd, 3)
    start_services(stage, names)
    client = Client([stage.client_endpoint(name) for name in names], stage.history)
    long, stopped = Long(stage, client), None
    for blow in (stage.kill, stage.stop):
        leader, first = who_leads(stage, names, but=[stopped])
        joined = stage.log("agent0").count("agent.registered")
        blow(leader)
        stopped = leader
        _, second = who_leads(stage, names, but=[leader])
        assert second.leader_epoch > first.leader_epoch
        stage.wait_for_log("agent0", "agent.registered name=agent0 slots=2 held=1", joined)
        long.expect_running()
        before = len(stage.history.epochs("scheduler"))
        stage.kill("scheduler")
        stage.service("scheduler", "scheduler", "s", "--broker", sockets(stage, names, "service"))
        wait_until(lambda: client.status() and len(stage.history.epochs("scheduler")) > before, "a scheduler of a higher epoch answers")
        long.expect_running()
    stage.go_on(stopped)
    stage.wait_for_log(stopped, "event=broker.deposed")
    long.expect_one_attempt()
    client.close()


def a_broker_that_is_started_later_is_followed(stage):
    """Its name was given to all, and it had never run."""
    etcd = Etcd(stage).wait_ready()
    names = ["b0", "b1"]
    broker(stage, "b0", etcd)
    _, first = who_leads(stage, ["b0"])
    start_services(stage, names)
    client = Client([stage.client_endpoint(name) for name in names], stage.history)
    long = Long(stage, client)
    broker(stage, "b1", etcd)
    stage.wait_for_log("b1", "stands by:")
    assert "broker.deposed" not in stage.log("b0")
    joined = stage.log("agent0").count("agent.registered")
    stage.kill("b0")
    leader, second = who_leads(stage, names)
    assert leader == "b1" and second.leader_epoch > first.leader_epoch, (leader, second)
    stage.wait_for_log("agent0", "agent.registered name=agent0 slots=2 held=1", joined)
    long.expect_one_attempt()
    client.submit([task("later", "true")])
    wait_until(lambda: client.status().get("DONE") == 2, "the other one hands tasks out")
    assert max(stage.history.epochs("leader")) == second.leader_epoch, stage.history.epochs("leader")
    client.close()


def all_services_follow_and_each_task_is_done_once(stage):
    etcd = Etcd(stage).wait_ready()
    names = brokers(stage, etcd, 3)
    start_services(stage, names, agents=2)
    stage.service("sink", "telemetry", "s", "--broker", sockets(stage, names, "service"),
                  environment={"ROTA_TELEMETRY_BATCH_INTERVAL": "1s"})
    client = Client([stage.client_endpoint(name) for name in names], stage.history)
    done, rounds = [], [None, signal.SIGKILL, signal.SIGSTOP]
    for number, blow in enumerate(rounds):
        if blow:
            leader, _ = who_leads(stage, names)
            if blow == signal.SIGSTOP:
                stage.stop(leader)
            else:
                stage.kill(leader)
        ids = [f"r{number}-{i}" for i in range(20)]
        client.submit([task(it, f"echo {it} >> {stage.path('marks')}") for it in ids])
        done += ids
        wait_until(lambda: client.status().get("DONE", 0) >= len(done), f"{len(done)} tasks are done")
        if blow == signal.SIGSTOP:
            stage.go_on(leader)
    with open(stage.path("marks"), encoding="utf-8") as file:
        marks = file.read().split()
    assert sorted(marks) == sorted(done), f"{len(marks)} marks of {len(done)}, {len(set(marks))} different"
    client.close()
    assert len(stage.history.epochs("leader")) >= 3, stage.history.epochs("leader")
    expect_all_events(stage)


def expect_all_events(stage):
    """The journal has each event of the store once."""
    store = sqlite3.connect(f"file:{stage.path('s', 'rota.db')}?mode=ro", uri=True)
    last = store.execute("SELECT max (seq) FROM event").fetchone()[0]
    store.close()

    def numbers():
        found = []
        for name in sorted(glob.glob(stage.path("s", "journal", "*.jsonl"))):
            with open(name, encoding="utf-8") as file:
                entries = [json.loads(line) for line in file if line.endswith("\n")]
                found += [it["seq"] for it in entries if "seq" in it]
        return found
    wait_until(lambda: numbers() and max(numbers()) >= last, f"event {last} is in the journal")
    found = numbers()
    assert found == list(range(1, len(found) + 1)), f"{len(found)} events, {len(set(found))} different, up to {max(found)}"


if __name__ == "__main__":
    run_all([
        one_leads_and_the_others_name_it,
        a_second_broker_in_the_same_directory_is_refused,
        a_leader_that_ends_in_order_is_followed_without_waiting_for_its_lease,
        a_killed_leader_is_followed_under_a_higher_epoch,
        a_stopped_leader_that_wakes_finds_its_time_over_before_it_acts,
        without_etcd_the_leader_stands_down_and_with_it_one_leads_again,
        a_lease_or_key_that_is_taken_away_ends_the_leadership,
        running_work_goes_on_while_leader_and_scheduler_change,
        a_broker_that_is_started_later_is_followed,
        all_services_follow_and_each_task_is_done_once,
    ])
