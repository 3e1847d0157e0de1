#!/usr/bin/python3
"""Brokers that elect their leader in etcd: real servers on loopback; leader killed, stopped and woken, etcd stopped and gone,
lease and key lost; TLS, users, several servers. No two ever acted in one epoch, and epochs only rose."""
import base64
import os
import signal
import ssl
import subprocess
import time

from failover_support import (BIN, ERROR, HELLO, PATIENCE_S, WELCOME, Client, Etcd, History, ask_once, free_port, rota,
                              run_all, task, wait_until)


def broker(stage, name, etcd, **settings):
    """One with a state directory of its own, like one on another host."""
    environment = {"ROTA_ELECTION_BACKEND": "etcd", "ROTA_ELECTION_ETCD_ENDPOINTS": etcd if isinstance(etcd, str) else etcd.url}
    environment.update({f"ROTA_ELECTION_{key.upper()}": value for key, value in settings.items()})
    return stage.service(name, "broker", name, environment=environment)


def brokers(stage, etcd, count, **settings):
    names = [f"b{i}" for i in range(count)]
    for name in names:
        broker(stage, name, etcd, **settings)
    return names


def who_leads(stage, names, but=()):
    """The name of the one that welcomes, and its WELCOME."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        for name in names:
            if name in but or stage.processes[name].poll() is not None:
                continue
            if not os.path.exists(stage.path(name, "run", "client.sock")):
                continue
            answer = ask_once(stage.client_endpoint(name))
            if isinstance(answer, rota.Welcome):
                stage.history.note("asks", "leader", answer.leader_cluster, answer.leader_epoch, answer.broker.hex())
                return name, answer
        time.sleep(0.02)
    raise AssertionError(f"nobody of {names} leads")


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


def without_its_named_server_it_goes_on_with_those_it_has_learned(stage):
    ports = [(free_port(), free_port()) for _ in range(3)]
    cluster = ",".join(f"etcd{i}=http://127.0.0.1:{ports[i][1]}" for i in range(3))
    servers = [Etcd(stage, f"etcd{i}", cluster=cluster, ports=ports[i]) for i in range(3)]
    for server in servers:
        server.wait_ready()
    dead = f"http://127.0.0.1:{free_port()}"
    broker(stage, "b0", f"{dead},{servers[0].url}", etcd_ttl="6s")
    _, first = who_leads(stage, ["b0"])
    stage.kill("etcd0")
    time.sleep(8)  # longer than the lease without a renewal would have been
    _, again = who_leads(stage, ["b0"])
    assert again.leader_epoch == first.leader_epoch and "broker.deposed" not in stage.log("b0")


def another_cluster_makes_no_leader(stage):
    etcd, other = Etcd(stage).wait_ready(), Etcd(stage, "other").wait_ready()
    broker(stage, "b0", f"{etcd.url},{other.url}")
    who_leads(stage, ["b0"])
    stage.stop("etcd")
    stage.wait_for_log("b0", "belongs to another etcd cluster")
    stage.wait_for_log("b0", "event=broker.deposed")
    assert other.leader_key() is None
    stage.go_on("etcd")
    who_leads(stage, ["b0"])


def make_certificates(stage):
    """An authority, a certificate for the server and one for the broker."""
    def openssl(*argv):
        subprocess.run(["openssl", *argv], cwd=stage.directory, check=True, capture_output=True)

    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=test")
    for name in ("server", "client"):
        with open(stage.path(name + ".ext"), "w", encoding="ascii") as file:
            file.write("subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n")
        openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", name + ".key", "-out", name + ".csr", "-subj", f"/CN={name}")
        openssl("x509", "-req", "-in", name + ".csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-out", name + ".pem",
                "-days", "2", "-extfile", name + ".ext")
    context = ssl.create_default_context(cafile=stage.path("ca.pem"))
    context.load_cert_chain(stage.path("client.pem"), stage.path("client.key"))
    return context


def it_proves_itself_by_certificate_and_checks_the_servers(stage):
    context = make_certificates(stage)
    etcd = Etcd(stage, scheme="https", options=(
        "--cert-file", stage.path("server.pem"), "--key-file", stage.path("server.key"), "--client-cert-auth",
        "--trusted-ca-file", stage.path("ca.pem")))
    etcd.context = context
    etcd.wait_ready()
    good = {"etcd_ca_file": stage.path("ca.pem"), "etcd_cert_file": stage.path("client.pem"), "etcd_key_file": stage.path("client.key")}
    broker(stage, "nameless", etcd, etcd_ca_file=stage.path("ca.pem"))
    broker(stage, "trusting", etcd, etcd_cert_file=stage.path("client.pem"), etcd_key_file=stage.path("client.key"))
    for name in ("nameless", "trusting"):
        stage.wait_for_log(name, "event=broker.election news=\"https://")
        assert isinstance(ask_once(stage.client_endpoint(name)), rota.Error)
    assert etcd.leader_key() is None
    broker(stage, "good", etcd, **good)
    who_leads(stage, ["good"])


def enable_users(etcd):
    etcd.call("/v3/auth/user/add", name="root", password="toor")
    etcd.call("/v3/auth/role/add", name="root")
    etcd.call("/v3/auth/user/grant", user="root", role="root")
    etcd.call("/v3/auth/user/add", name="rota", password="secret")
    etcd.call("/v3/auth/role/add", name="rota")
    key, end = base64.b64encode(b"rota/").decode(), base64.b64encode(b"rota0").decode()
    etcd.call("/v3/auth/role/grant", name="rota", perm={"permType": "READWRITE", "key": key, "range_end": end})
    etcd.call("/v3/auth/user/grant", user="rota", role="rota")
    etcd.call("/v3/auth/enable")


def password(stage, name, text, mode=0o600):
    with open(stage.path(name), "w", encoding="ascii") as file:
        file.write(text + "\n")
    os.chmod(stage.path(name), mode)
    return stage.path(name)


def it_logs_in_as_a_user_and_again_when_its_token_is_no_longer_taken(stage):
    etcd = Etcd(stage, options=("--auth-token", "simple")).wait_ready()
    enable_users(etcd)
    broker(stage, "wrong", etcd, etcd_user="rota", etcd_password_file=password(stage, "p1", "guess"))
    stage.wait_for_log("wrong", "authentication failed")
    right = {"etcd_user": "rota", "etcd_password_file": password(stage, "p2", "secret"), "etcd_ttl": "6s"}
    broker(stage, "b0", etcd, **right)
    _, first = who_leads(stage, ["b0"])
    assert isinstance(ask_once(stage.client_endpoint("wrong")), rota.Error)
    # Its tokens are in its memory: a new start knows none of them.
    stage.kill("etcd")
    etcd.start()
    wait_until(lambda: "invalid auth token" in stage.log("b0") or login_works(etcd), "etcd is back")
    time.sleep(8)  # longer than the lease
    _, again = who_leads(stage, ["b0"])
    assert again.leader_epoch == first.leader_epoch and "broker.deposed" not in stage.log("b0")
    readable = broker(stage, "readable", etcd, etcd_user="rota", etcd_password_file=password(stage, "p3", "secret", 0o644))
    assert readable.wait(PATIENCE_S) != 0 and "others can read it" in stage.log("readable")
    assert "secret" not in "".join(stage.log(it) for it in ("b0", "wrong", "readable"))


def login_works(etcd):
    try:
        return bool(etcd.call("/v3/auth/authenticate", name="rota", password="secret"))
    except OSError:
        return False


def all_services_follow_and_each_task_is_done_once(stage):
    etcd = Etcd(stage).wait_ready()
    names = brokers(stage, etcd, 3)
    def sockets(kind):
        return ",".join(f"ipc://{stage.path(name, 'run', kind + '.sock')}" for name in names)
    stage.service("scheduler", "scheduler", "s", "--broker", sockets("service"))
    stage.service("sink", "telemetry", "s", "--broker", sockets("service"))
    for i in range(2):
        stage.service(f"agent{i}", "agent", f"agent{i}", "--name", f"agent{i}", "--slots", "2", "--broker", sockets("agent"))
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
    import sqlite3  # pylint: disable=import-outside-toplevel
    code = sqlite3.connect(f"file:{stage.path('s', 'rota.db')}?mode=ro", uri=True)
    last = code.execute("SELECT max (seq) FROM event").fetchone()[0]
    code.close()

    def numbers():
        import glob  # pylint: disable=import-outside-toplevel
        import json  # pylint: disable=import-outside-toplevel
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
        without_its_named_server_it_goes_on_with_those_it_has_learned,
        another_cluster_makes_no_leader,
        it_proves_itself_by_certificate_and_checks_the_servers,
        it_logs_in_as_a_user_and_again_when_its_token_is_no_longer_taken,
        all_services_follow_and_each_task_is_done_once,
    ])
