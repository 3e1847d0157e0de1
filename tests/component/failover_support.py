"""What the tests of failover share: services as processes, a client of the protocol's page that follows the leader, a
history of who acted under which epoch, and an etcd of their own."""
import base64
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

BIN, SOURCE = os.environ["ROTA_BIN"], os.environ["ROTA_SOURCE"]
PATIENCE_S = 60
SANITIZERS = ("Sanitizer", "runtime error:")
HELLO, WELCOME, ERROR, SUBMIT, SUBMIT_REPLY, STATUS_QUERY, STATUS_REPLY = 1, 2, 5, 20, 21, 40, 41
EVENTS_QUERY, EVENTS_REPLY, PEERS_QUERY, PEERS_REPLY = 48, 49, 7, 8

_generated = tempfile.mkdtemp(prefix="rota-proto-")
subprocess.run(["protoc", f"--python_out={_generated}", f"--proto_path={SOURCE}/proto", f"{SOURCE}/proto/rota.proto"], check=True)
sys.path.insert(0, _generated)
import rota_pb2 as rota  # noqa: E402
import zmq  # noqa: E402

shutil.rmtree(_generated)


def free_port():
    with socket.socket() as it:
        it.bind(("127.0.0.1", 0))
        return it.getsockname()[1]


def wait_until(condition, what, patience_s=PATIENCE_S):
    """What `condition` returned when it became true."""
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.01)
    raise AssertionError(f"not within {patience_s} s: {what}")


class History:
    """(role, cluster, epoch, actor), in the order in which each observer saw it."""

    def __init__(self):
        self.acts, self.lock = [], threading.Lock()

    def note(self, observer, role, cluster, epoch, actor):
        with self.lock:
            self.acts.append((observer, role, cluster, epoch, actor))

    def faults(self):
        found, actors, newest = [], {}, {}
        for observer, role, cluster, epoch, actor in self.acts:
            if actors.setdefault((role, cluster, epoch), actor) != actor:
                found.append(f"two of role {role} acted in epoch {epoch}: {actors[role, cluster, epoch]} and {actor}")
            if epoch < newest.get((observer, role, cluster), 0):
                found.append(f"{observer} took epoch {epoch} of {role} after {newest[observer, role, cluster]}")
            newest[observer, role, cluster] = max(epoch, newest.get((observer, role, cluster), 0))
        return found

    def epochs(self, role):
        return sorted({epoch for _, it, _, epoch, _ in self.acts if it == role})


def check_the_checker():
    """It must find what it is there to find."""
    for acts in ([("c", "leader", 0, 1, "a"), ("c", "leader", 0, 1, "b")],
                 [("c", "leader", 0, 2, "b"), ("c", "leader", 0, 1, "a")],
                 [("c", "leader", 0, 1, "a"), ("d", "leader", 0, 1, "b")]):
        history = History()
        for act in acts:
            history.note(*act)
        assert history.faults(), acts
    history = History()
    for act in (("c", "leader", 0, 1, "a"), ("d", "leader", 0, 2, "b"), ("d", "leader", 7, 1, "c"), ("c", "leader", 0, 2, "b")):
        history.note(*act)
    assert not history.faults(), history.faults()


class Client:
    """Knows several brokers, follows NOT_LEADER, and sends a request again until it is answered."""

    def __init__(self, endpoints, history, name="client"):
        self.endpoints, self.history, self.name = endpoints, history, name
        self.conversation, self.instance, self.sequence = os.urandom(16), os.urandom(16), 0
        self.cluster, self.turn, self.socket, self.welcome = 0, -1, None, None
        self.next()

    def close(self):
        if self.socket:
            self.socket.close(0)

    def next(self, hint=None):
        """The next broker, or the one that was named."""
        self.close()
        self.turn += 1
        self.endpoint = hint or self.endpoints[self.turn % len(self.endpoints)]
        self.socket = zmq.Context.instance().socket(zmq.DEALER)
        self.socket.linger = 0
        self.socket.immediate = True
        self.socket.sndtimeo = 300
        self.socket.reconnect_ivl = 20
        self.socket.connect(self.endpoint)
        self.welcome = None
        self.send(HELLO, rota.Hello(instance=self.instance, wants=rota.ROLE_ADMIN, name=self.name.encode()), 0)

    def send(self, kind, body, sequence):
        envelope = rota.Envelope(version=1, type=kind, conversation=self.conversation, sequence=sequence)
        try:
            self.socket.send_multipart([envelope.SerializeToString(), body.SerializeToString()])
        except zmq.Again:
            return False
        return True

    def receive(self, timeout_s):
        if not self.socket.poll(max(0, int(timeout_s * 1000))):
            return None, None
        head, data = self.socket.recv_multipart()
        envelope = rota.Envelope.FromString(head)
        if envelope.type == WELCOME:
            self.welcome = rota.Welcome.FromString(data)
            self.cluster = self.welcome.leader_cluster
            self.history.note(self.name, "leader", self.cluster, self.welcome.leader_epoch, self.welcome.broker.hex())
        elif self.welcome and envelope.leader_epoch and envelope.type != ERROR:
            # A broker stamps what it passes on and what it says itself; that it doesn't lead is no act.
            self.history.note(self.name, "leader", self.cluster, envelope.leader_epoch, self.welcome.broker.hex())
        if envelope.role == rota.ROLE_SCHEDULER:
            self.history.note(self.name, "scheduler", envelope.store.hex(), envelope.scheduler_epoch, envelope.sender.hex())
        return envelope, data

    def request(self, kind, body, wanted, patience_s=PATIENCE_S):
        self.sequence += 1
        deadline, again = time.monotonic() + patience_s, 0
        while time.monotonic() < deadline:
            if self.welcome and time.monotonic() >= again:
                self.send(kind, body, self.sequence)
                again = time.monotonic() + 0.5
            envelope, data = self.receive(0.3)
            if envelope is None:
                if not self.welcome or time.monotonic() >= again:
                    self.next()
            elif envelope.type == WELCOME:
                again = 0
            elif envelope.type == wanted and envelope.sequence == self.sequence:
                return data
            elif envelope.type == ERROR:
                again = self.on_error(rota.Error.FromString(data))
        raise AssertionError(f"no answer within {patience_s} s")

    def on_error(self, error):
        if error.code == rota.ERROR_CODE_NOT_LEADER:
            if not error.leader:
                time.sleep(0.05)
            self.next(error.leader.decode() or None)
        elif error.code == rota.ERROR_CODE_HELLO_REQUIRED:
            self.next(self.endpoint)
        elif error.code not in (rota.ERROR_CODE_UNAVAILABLE, rota.ERROR_CODE_RETRY_LATER):
            raise AssertionError(f"refused: {error}")
        return time.monotonic() + 0.02

    def submit(self, tasks):
        return rota.SubmitReply.FromString(self.request(SUBMIT, rota.Submit(tasks=tasks), SUBMIT_REPLY))

    def status(self):
        reply = rota.StatusReply.FromString(self.request(STATUS_QUERY, rota.StatusQuery(), STATUS_REPLY))
        return {rota.TaskStatus.Name(it.status)[len("TASK_STATUS_"):]: it.tasks for it in reply.counts if it.tasks}


def ask_once(endpoint, patience_s=PATIENCE_S):
    """Says HELLO to one broker: its WELCOME or its refusal."""
    client = Client([endpoint], History(), "asks")
    deadline = time.monotonic() + patience_s
    try:
        while time.monotonic() < deadline:
            envelope, data = client.receive(0.2)
            if envelope and envelope.type == WELCOME:
                return rota.Welcome.FromString(data)
            if envelope and envelope.type == ERROR:
                return rota.Error.FromString(data)
            if not envelope:
                client.next()
    finally:
        client.close()
    raise AssertionError(f"{endpoint} says nothing")


def task(name, run, filler=0):
    return rota.TaskSpec(id=name.encode(), run=run.encode(), description=b"x" * filler)


class Stage:
    """A directory, and the processes that a test has started in it."""

    def __init__(self):
        self.directory = tempfile.mkdtemp(prefix="rota-failover-")
        self.processes, self.history = {}, History()
        self.environment = dict(os.environ, ROTA_ELECTION_TAKE_OVER="3s")

    def path(self, *names):
        return os.path.join(self.directory, *names)

    def start(self, name, *argv, environment=None):
        with open(self.path(name + ".log"), "ab") as log:
            self.processes[name] = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.directory,
                env=dict(self.environment, **(environment or {})))
        return self.processes[name]

    def service(self, name, program, state, *arguments, environment=None):
        os.makedirs(self.path(state), mode=0o700, exist_ok=True)
        return self.start(name, os.path.join(BIN, "rota-" + program), "--state", self.path(state), *arguments,
                          environment=environment)

    def log(self, name):
        with open(self.path(name + ".log"), encoding="utf-8", errors="replace") as file:
            return file.read()

    def wait_for_log(self, name, text, count=1):
        wait_until(lambda: self.log(name).count(text) >= count, f"{text!r} in the log of {name}")

    def client_endpoint(self, state):
        return f"ipc://{self.path(state, 'run', 'client.sock')}"

    def stop(self, name):
        """SIGSTOP, and until it has."""
        process = self.processes[name]
        process.send_signal(signal.SIGSTOP)
        wait_until(lambda: open(f"/proc/{process.pid}/stat", encoding="utf-8").read().rsplit(")", 1)[1].split()[0] == "T",
                   f"{name} stops")

    def go_on(self, name):
        self.processes[name].send_signal(signal.SIGCONT)

    def kill(self, name):
        self.processes[name].kill()
        self.processes[name].wait()

    def close(self, failed=False):
        for process in self.processes.values():
            process.send_signal(signal.SIGCONT)
            process.terminate()
        for process in self.processes.values():
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        broken = [name for name in self.processes if any(word in self.log(name) for word in SANITIZERS)]
        for name in self.processes if failed else broken:
            print(f"---- {name}\n{self.log(name)[-4000:]}", file=sys.stderr)
        shutil.rmtree(self.directory, ignore_errors=True)
        assert failed or not broken, f"a sanitizer found something in {broken}"


class Long:
    """A task whose one attempt is running until it is told to end: who leads and who schedules may change meanwhile."""

    def __init__(self, stage, client, name="long"):
        self.client, self.name, self.marks, self.go = client, name, stage.path(name + ".marks"), stage.path(name + ".go")
        client.submit([task(name, f"echo start >> {self.marks}; until [ -e {self.go} ]; do sleep 0.05; done; echo end >> {self.marks}")])
        wait_until(lambda: os.path.exists(self.marks), f"{name} runs")

    def lines(self):
        with open(self.marks, encoding="utf-8") as file:
            return file.read().split()

    def events(self):
        found, after = [], 0
        while True:
            reply = rota.EventsReply.FromString(self.client.request(EVENTS_QUERY, rota.EventsQuery(after=after, limit=500), EVENTS_REPLY))
            if not reply.events:
                return [it for it in found if it.task == self.name.encode()]
            found += reply.events
            after = found[-1].seq

    def expect_running(self):
        counts = self.client.status()
        assert counts.get("IN_PROGRESS") == 1 and self.lines() == ["start"], f"{counts}, {self.lines()}"

    def expect_one_attempt(self):
        """It ends now, and it was the only one."""
        self.expect_running()
        with open(self.go, "w", encoding="utf-8"):
            pass
        wait_until(lambda: self.client.status().get("DONE") == 1, f"{self.name} is done")
        assert self.lines() == ["start", "end"], self.lines()
        moved = [(it.to_status, it.attempt) for it in self.events() if it.type == rota.EVENT_TYPE_TASK_MOVED]
        begun = [it for it in moved if it[0] == rota.TASK_STATUS_IN_PROGRESS]
        assert begun == [(rota.TASK_STATUS_IN_PROGRESS, 1)] and moved[-1] == (rota.TASK_STATUS_DONE, 1), moved


class Etcd:
    """One server on loopback, asked by its JSON gateway."""

    def __init__(self, stage, name="etcd", scheme="http", options=(), cluster=None, ports=None):
        self.stage, self.name, self.options = stage, name, options
        self.port, self.peer_port = ports or (free_port(), free_port())
        self.url = f"{scheme}://127.0.0.1:{self.port}"
        self.peer_url = f"http://127.0.0.1:{self.peer_port}"
        self.cluster = cluster or f"{name}={self.peer_url}"
        self.token, self.context = None, None
        self.start()

    def start(self):
        self.stage.start(
            self.name, "etcd", "--name", self.name, "--data-dir", self.stage.path(self.name + ".data"),
            "--listen-client-urls", self.url, "--advertise-client-urls", self.url, "--listen-peer-urls", self.peer_url,
            "--initial-advertise-peer-urls", self.peer_url, "--initial-cluster", self.cluster, "--log-level", "error",
            *self.options)

    def call(self, path, **body):
        request = urllib.request.Request(self.url + path, json.dumps(body).encode(), {"Content-Type": "application/json"})
        if self.token:
            request.add_header("Authorization", self.token)
        with urllib.request.urlopen(request, timeout=10, context=self.context) as reply:
            return json.load(reply)

    def is_ready(self):
        try:
            return bool(self.call("/v3/kv/range", key=base64.b64encode(b"x").decode()))
        except (OSError, urllib.error.URLError):
            return False

    def wait_ready(self):
        wait_until(self.is_ready, f"{self.name} answers")
        return self

    def leader_key(self, prefix="rota/"):
        reply = self.call("/v3/kv/range", key=base64.b64encode(f"{prefix}leader".encode()).decode())
        return reply["kvs"][0] if reply.get("kvs") else None

    def cluster_id(self):
        return int(self.call("/v3/kv/range", key=base64.b64encode(b"x").decode())["header"]["cluster_id"])


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


def run_all(tests, stage_class=Stage):
    """Each test gets a stage of its own; names of tests on the command line choose."""
    check_the_checker()
    wanted = sys.argv[1:]
    for test in tests:
        if wanted and test.__name__ not in wanted:
            continue
        stage, began = stage_class(), time.monotonic()
        try:
            test(stage)
            faults = stage.history.faults()
            assert not faults, faults[:10]
        except BaseException:
            print(f"FAILED {test.__name__}", file=sys.stderr)
            stage.close(failed=True)
            raise
        stage.close()
        print(f"ok {test.__name__} ({time.monotonic() - began:.1f} s)")
