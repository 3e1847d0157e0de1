#!/usr/bin/python3
"""Brokers and the etcd servers they ask: several, of which one is gone or is another cluster's; TLS; users and tokens."""
import base64
import os
import ssl
import subprocess
import time

from failover_support import (PATIENCE_S, Etcd, ask_once, broker, free_port, rota, run_all, wait_until, who_leads)


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


def servers_that_join_at_runtime_carry_on_without_the_first(stage):
    """The one that is named is alone, gets two companions, and is stopped for good."""
    first = Etcd(stage, "etcd0").wait_ready()
    broker(stage, "b0", first.url, etcd_ttl="6s")  # the servers take a second or two to have a leader of their own again
    _, before = who_leads(stage, ["b0"])
    known = [f"etcd0={first.peer_url}"]
    for name in ("etcd1", "etcd2"):
        ports = (free_port(), free_port())
        peer_url = f"http://127.0.0.1:{ports[1]}"
        wait_until(lambda it=peer_url: add_member(first, it), f"{name} is taken in")
        known.append(f"{name}={peer_url}")
        server = Etcd(stage, name, cluster=",".join(known), ports=ports, options=("--initial-cluster-state", "existing")).wait_ready()
    stage.wait_for_log("b0", server.url)
    assert "broker.deposed" not in stage.log("b0"), "it was not to notice"
    stage.kill("etcd0")
    key = wait_until(lambda: key_of(server), "the other two have a leader")
    ended = time.monotonic() + 8  # longer than the lease without a renewal would have been
    while time.monotonic() < ended:
        key = key_of(server) or key
        assert int(key["create_revision"]) == before.leader_epoch, f"{key}, and it led as {before.leader_epoch}"
        time.sleep(0.2)
    _, after = who_leads(stage, ["b0"])
    assert after.leader_epoch == before.leader_epoch and "broker.deposed" not in stage.log("b0"), (before, after)


def add_member(etcd, peer_url):
    """It is refused while the one before has not caught up."""
    try:
        return etcd.call("/v3/cluster/member/add", peerURLs=[peer_url])
    except OSError:
        return None


def key_of(etcd):
    try:
        return etcd.leader_key()
    except OSError:
        return None


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


if __name__ == "__main__":
    run_all([
        without_its_named_server_it_goes_on_with_those_it_has_learned,
        servers_that_join_at_runtime_carry_on_without_the_first,
        another_cluster_makes_no_leader,
        it_proves_itself_by_certificate_and_checks_the_servers,
        it_logs_in_as_a_user_and_again_when_its_token_is_no_longer_taken,
    ])
