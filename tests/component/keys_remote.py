#!/usr/bin/python3
"""The programs over tcp with keys, as on several hosts: everybody has a state directory of his own and no socket in
common. Work gets done, revoked keys end, recorded bytes are worth nothing, and nothing on disk is open to others."""

import json
import os
import pathlib
import re
import resource
import signal
import socket
import stat
import subprocess
import tempfile
import threading
import time
import unittest

BIN = os.environ["ROTA_BIN"]
PATIENCE_S = 90


def program(name):
    return os.path.join(BIN, name)


def is_free(port):
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def free_ports():
    """Of three in a row, below those that the kernel gives to whoever connects."""
    while not all(is_free(port) for port in range(free_ports.next, free_ports.next + 3)):
        free_ports.next += 3
    free_ports.next += 3
    return free_ports.next - 3


free_ports.next = 12000 + os.getpid() * 3 % 15000


def connect(port):
    return socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)


def begin_connect(port):
    """Doesn't wait for room in the backlog."""
    one = socket.socket()
    one.setblocking(False)
    one.connect_ex(("127.0.0.1", port))
    return one


class Proxy:
    """Passes bytes on to the broker's port, keeps what came from the client, and may send a part of it twice."""

    def __init__(self, port, twice_after=None):
        self.target, self.recorded, self.twice_after, self.doubled = port, [], twice_after, False
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"tcp://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            broker = connect(self.target)
            self.recorded.append(b"")
            threading.Thread(target=self.forward, args=(client, broker, len(self.recorded) - 1), daemon=True).start()
            threading.Thread(target=self.back, args=(broker, client), daemon=True).start()

    def forward(self, client, broker, index):
        try:
            while data := client.recv(65536):
                self.recorded[index] += data
                broker.sendall(data)
                if self.twice_after is not None and len(self.recorded[index]) > self.twice_after and not self.doubled:
                    self.doubled = True
                    broker.sendall(data)
        except OSError:
            pass
        for end in (client, broker):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    @staticmethod
    def back(broker, client):
        try:
            while data := broker.recv(65536):
                client.sendall(data)
        except OSError:
            pass
        try:
            client.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def close(self):
        self.listener.close()


class Hosts(unittest.TestCase):
    settings = "scheduler: {lease: 2s, lease_margin: 0s, agent_heartbeat: 500ms}\ntelemetry: {batch_interval: 1s}\n"

    def setUp(self):
        self.directory = tempfile.TemporaryDirectory(prefix="rota-test-")
        self.path = pathlib.Path(self.directory.name)
        (self.path / "rota.yaml").write_text(self.settings)
        self.running, self.logs = {}, {}
        self.port = free_ports()
        self.endpoint = f"tcp://127.0.0.1:{self.port}"
        self.broker_key = ""

    def tearDown(self):
        for process in self.running.values():
            process.kill()
            process.wait()
        self.directory.cleanup()

    def environment(self):
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ROTA_")}
        environment.update(ROTA_BROKER_ENDPOINTS=self.endpoint, ROTA_BROKER_PUBLIC_KEY=self.broker_key)
        return environment

    def start(self, name, *command, limit=None):
        def prepare():
            os.umask(0)  # what is closed is closed by itself
            if limit:
                resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))

        log = os.open(self.path / f"{name}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self.running[name] = subprocess.Popen(command, cwd=self.path, env=self.environment(), stderr=log,
                                              stdin=subprocess.DEVNULL, stdout=log, preexec_fn=prepare)
        os.close(log)

    def log(self, name):
        return (self.path / f"{name}.log").read_text()

    def until(self, what, condition):
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            if time.monotonic() > deadline:
                for name in self.running:
                    print(f"--- {name}\n{self.log(name)[-3000:]}")
                self.fail(f"waited in vain until {what}")
            time.sleep(0.05)

    def rota(self, *arguments, expect=0):
        result = subprocess.run([program("rota"), *arguments], cwd=self.path, env=self.environment(), text=True,
                                stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE_S, check=False)
        if expect is not None and result.returncode != expect:
            self.fail(f"rota {arguments}: {result.returncode}, {result.stdout}{result.stderr}\n{self.log('broker')}")
        return result

    def alice(self, *arguments, endpoint=None, expect=0):
        return self.rota(arguments[0], "--broker", endpoint or self.endpoint, "--key", "alice.key", *arguments[1:],
                         expect=expect)

    def start_broker(self, **more):
        self.start("broker", program("rota-broker"), "--state", "b", **more)
        self.until("the broker is ready", lambda: "broker.ready" in self.log("broker"))
        self.broker_key = json.loads(self.rota("key", "list", "--state", "b", "--json").stdout)["broker"]

    def key(self, name, *roles):
        public = json.loads(self.rota("key", "new", name, "--out", f"{name}.key", "--json").stdout)["public"]
        if roles:
            self.rota("key", "grant", public, *roles, "--name", name, "--state", "b")
        return public

    def service(self, name, kind, *arguments):
        self.start(name, program(f"rota-{kind}"), "--state", name, "--broker", self.endpoint, "--key", f"{name}.key",
                   *arguments)

    def start_all(self):
        self.start_broker()
        self.key("scheduler", "scheduler")
        self.key("sink", "sink")
        self.key("worker", "agent")
        self.key("alice", "operate")
        for name in ("scheduler", "sink", "worker"):
            os.mkdir(self.path / name, 0o700)
        self.service("scheduler", "scheduler")
        self.service("sink", "telemetry")
        self.service("worker", "agent", "--kind", "exec", "--slots", "2", "--name", "worker")


class Remote(Hosts):
    def test_work_is_done_by_peers_that_share_nothing_but_keys(self):
        self.start_all()
        identity = self.alice("submit", "--", "echo from afar").stdout.strip()
        self.alice("wait", identity)
        self.assertEqual(self.alice("log", identity).stdout, "from afar\n")
        self.assertIn("task.moved", self.alice("events").stdout)
        leader = json.loads(self.alice("leader", "--json").stdout)
        keys = {peer["role"]: peer.get("key") for peer in leader["peers"]}
        self.assertEqual(keys, {"scheduler": "scheduler", "sink": "sink", "agent": "worker", "operate": "alice"})
        self.assertNotIn("insecure", leader)
        # Live events come to the sink, too: its journal grows without its asking.
        journal = self.path / "sink" / "journal"
        self.until("the journal has the task", lambda: any(
            identity in file.read_text() for file in journal.glob("*.jsonl")))

    def test_what_a_role_may_not_is_refused(self):
        self.start_all()
        self.key("guest", "read")
        result = self.rota("submit", "--broker", self.endpoint, "--key", "guest.key", "--", "true", expect=4)
        self.assertIn("this role may not", result.stderr)
        self.rota("status", "--broker", self.endpoint, "--key", "guest.key")
        # Neither may a person's key be a service, nor one service's another.
        for kind, key in (("scheduler", "alice"), ("telemetry", "worker"), ("agent", "sink")):
            name = f"false-{kind}"
            os.mkdir(self.path / name, 0o700)
            self.start(name, program(f"rota-{kind}"), "--state", name, "--broker", self.endpoint, "--key",
                       f"{key}.key", "--log-level", "debug")
            self.until(f"{name} is told", lambda log=name: "not granted to this key" in self.log(log))

    def test_a_revoked_agent_has_no_say_and_its_work_goes_to_another(self):
        self.start_all()
        self.alice("submit", "--id", "long", "--", f"echo x >> {self.path}/marks; sleep 4")
        follower = subprocess.Popen(
            [program("rota"), "events", "-f", "--broker", self.endpoint, "--key", "alice.key"], cwd=self.path,
            env=self.environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        self.addCleanup(follower.communicate)
        self.addCleanup(follower.kill)
        self.until("it runs", (self.path / "marks").exists)
        self.key("second", "agent")
        os.mkdir(self.path / "second", 0o700)
        self.service("second", "agent", "--kind", "exec", "--slots", "1", "--name", "second")
        self.rota("key", "revoke", "worker", "--state", "b")
        self.until("the agent is told", lambda: re.search("taken back|was revoked", self.log("worker")))
        self.alice("wait", "long", "--timeout", str(PATIENCE_S))
        task = json.loads(self.alice("task", "long", "--json").stdout)
        self.assertEqual([task["status"], task["attempts"][0]["agent"]], ["done", "second"])
        # Whoever followed the events has them all, the newest over another connection.
        for line in follower.stdout:
            if "→ done" in line:
                break
        self.assertIn("the key was revoked", self.log("broker"))
        # And granted again it is back, without being started again.
        self.rota("key", "grant", "worker", "agent", "--state", "b")
        self.until("it is back", lambda: '"worker"' in self.alice("leader", "--json").stdout)

    def test_each_program_refuses_a_key_that_others_can_read(self):
        self.start_all()
        self.key("open", "admin", "agent", "scheduler", "sink")
        os.chmod(self.path / "open.key", 0o640)
        for name, more in (("rota-scheduler", []), ("rota-telemetry", []), ("rota-agent", ["--kind", "exec"])):
            result = subprocess.run([program(name), "--state", "b", "--broker", self.endpoint, "--key", "open.key",
                                     *more], cwd=self.path, env=self.environment(), capture_output=True, text=True,
                                    timeout=PATIENCE_S, check=False)
            self.assertEqual(result.returncode, 2, result.stderr)
            self.assertIn("chmod 600", result.stderr)
        result = self.rota("status", "--broker", self.endpoint, "--key", "open.key", expect=4)
        self.assertIn("chmod 600", result.stderr)
        self.running["broker"].kill()
        self.running["broker"].wait()
        os.chmod(self.path / "b" / "keys" / "broker.key", 0o604)
        result = subprocess.run([program("rota-broker"), "--state", "b"], cwd=self.path, env=self.environment(),
                                capture_output=True, text=True, timeout=PATIENCE_S, check=False)
        self.assertNotEqual(result.returncode, 0)
        self.assertIn("chmod 600", result.stderr)

    def test_the_command_line_says_what_is_wrong_with_keys(self):
        self.start_all()
        self.alice("status")
        self.key("stranger")
        result = self.rota("status", "--broker", self.endpoint, expect=2)
        self.assertIn("a key is needed there", result.stderr)
        result = self.rota("status", "--broker", self.endpoint, "--key", "stranger.key", expect=4)
        self.assertIn("not granted there, or was revoked", result.stderr)
        result = self.rota("status", "--broker", self.endpoint, "--insecure", expect=4)
        self.assertIn("wants a key", result.stderr)
        right, self.broker_key = self.broker_key, "ab" * 32
        result = self.alice("status", expect=4)
        self.assertIn("not its public key", result.stderr)
        # Brokers with keys of their own: by host, and one that isn't named has no key.
        self.broker_key = f"other.example={'ab' * 32},127.0.0.1={right}"
        self.alice("status")
        self.broker_key = f"127.0.0.1={'ab' * 32},{right}"
        self.assertIn("not its public key", self.alice("status", expect=4).stderr)
        self.broker_key = f"other.example={right}"
        self.assertIn("public key is not known", self.alice("status", expect=2).stderr)
        self.broker_key = f"127.0.0.1={right[1:]}"
        self.assertIn("HOST=DIGITS", self.alice("status", expect=2).stderr)
        self.broker_key = right
        # That nobody is there is something else.
        result = self.alice("status", "--connect-timeout", "5", endpoint=f"tcp://127.0.0.1:{free_ports()}", expect=3)
        self.assertIn("nothing answers there", result.stderr)

    def test_the_log_names_everyone_who_is_turned_away_once(self):
        self.start_broker()
        wrong = {name: self.key(name) for name in ("mallory", "oscar", "trudy")}
        tries = [subprocess.Popen(
            [program("rota"), "status", "--broker", self.endpoint, "--key", f"{name}.key", "--connect-timeout", "8"],
            cwd=self.path, env=self.environment(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL) for _ in range(5) for name in wrong]
        quiet = []
        for last in (1, 2, 3):
            for _ in range(20):
                one = socket.socket()
                one.bind((f"127.0.0.{last}", 0))
                one.connect(("127.0.0.1", self.port))
                quiet.append(one)
        for one in tries:
            self.assertEqual(one.wait(PATIENCE_S), 4)

        def named(event, word):
            return re.findall(event + r" .*\b" + word, self.log("broker"))

        self.until("all addresses are named", lambda: all(
            named("peer.stranger", f"address=127.0.0.{last} connections=20 ") for last in (1, 2, 3)))
        self.until("all keys are named", lambda: all(named("peer.turned_away", "key=" + public[:16]) for public in wrong.values()))
        self.assertEqual(len(named("peer.turned_away", "key=")), 3, self.log("broker"))
        self.assertEqual(len(named("peer.stranger", "address=")), 3, self.log("broker"))
        for one in quiet:
            one.close()

    def test_a_key_that_was_revoked_stays_out_when_another_broker_leads(self):
        self.start_broker()
        self.key("alice", "operate")
        self.key("eve", "operate")
        self.start("scheduler", program("rota-scheduler"), "--state", "b")
        first, self.port = self.endpoint, free_ports()
        self.endpoint = f"tcp://127.0.0.1:{self.port}"
        self.start("second", program("rota-broker"), "--state", "b")
        self.until("the second stands by", lambda: "stands by" in self.log("second"))
        both = f"{first},{self.endpoint}"
        self.rota("status", "--broker", both, "--key", "eve.key")
        self.rota("key", "revoke", "eve", "--state", "b")
        self.running["broker"].kill()
        self.running["broker"].wait()
        self.until("the second leads", lambda: "broker.ready" in self.log("second"))
        self.alice("status", endpoint=both)
        refused = self.rota("status", "--broker", self.endpoint, "--key", "eve.key", expect=4)
        self.assertIn("was revoked", refused.stderr)
        # Brokers that don't share the files are told one by one, and that is said.
        self.assertNotIn("other brokers", self.rota("key", "revoke", "eve", "--state", "b").stderr)
        (self.path / "rota.yaml").write_text("election: {backend: etcd}\n")
        for verb in (["revoke", "eve"], ["grant", "eve", "read"]):
            self.assertIn("the same on the other brokers' hosts", self.rota("key", *verb, "--state", "b").stderr)

    def tasks(self):
        return len(json.loads(self.alice("tasks", "--json").stdout)["tasks"])

    def test_a_recorded_connection_played_again_does_nothing(self):
        self.start_all()
        proxy = Proxy(self.port)
        self.alice("submit", "--", "true", endpoint=proxy.endpoint)
        proxy.close()
        recorded = max(proxy.recorded, key=len)
        self.assertGreater(len(recorded), 500)
        self.assertEqual(self.tasks(), 1)
        before = json.loads(self.alice("leader", "--json").stdout)["messages_routed"]
        for _ in range(20):
            with connect(self.port) as again:
                again.sendall(recorded)
                try:
                    while again.recv(65536):  # until the broker hangs up
                        pass
                except ConnectionResetError:
                    pass
        after = json.loads(self.alice("leader", "--json").stdout)["messages_routed"]
        self.assertEqual(self.tasks(), 1)
        self.assertLess(after - before, 20)
        self.assertLess(self.log("broker").count("\n"), 60)

    def test_a_frame_sent_twice_on_its_way_ends_the_connection_and_the_request_counts_once(self):
        self.start_all()
        for twice_after in (64, 300, 700, 900):  # in the handshake, and behind it
            proxy = Proxy(self.port, twice_after)
            before = self.tasks() if twice_after > 64 else 0
            self.alice("submit", "--", "true", endpoint=proxy.endpoint)
            self.assertTrue(proxy.doubled)
            self.assertEqual(self.tasks(), before + 1)
            proxy.close()

    def test_without_descriptors_left_those_who_are_connected_go_on(self):
        self.start_broker(limit=100)
        for name, command in (("scheduler", ["rota-scheduler"]), ("worker", ["rota-agent", "--kind", "exec"])):
            self.start(name, program(command[0]), "--state", "b", *command[1:])
        self.rota("submit", "--state", "b", "--id", "first", "--", "true")
        for i in range(30):
            self.rota("submit", "--state", "b", "--id", f"t{i}", "--after", f"t{i - 1}" if i else "first", "--",
                      f"sleep 0.1; echo {i} >> {self.path}/marks")
        self.until("the first is done", (self.path / "marks").exists)
        crowd = [begin_connect(self.port) for _ in range(400)]

        def done():
            for i, one in enumerate(crowd):  # those that were hung up on come again
                try:
                    gone = one.recv(64) == b""
                except BlockingIOError:
                    gone = False
                except OSError:
                    gone = True
                if gone:
                    one.close()
                    crowd[i] = begin_connect(self.port)
            return (self.path / "marks").read_text().count("\n") == 30

        self.until("all are done", done)
        open_now = len(os.listdir(f"/proc/{self.running['broker'].pid}/fd"))
        for one in crowd:
            one.close()
        self.assertGreater(open_now, 95)  # it was at its limit
        self.assertNotIn("peers.gone", self.log("broker"))
        self.rota("wait", "t29", "--state", "b")

    def test_nothing_on_disk_is_open_to_others(self):
        self.start_all()
        identity = self.alice("submit", "--", "echo hello; echo > made").stdout.strip()
        self.alice("wait", identity)
        backup = self.path / "backup.db"
        self.alice("backup", str(backup))
        self.until("the journal is there", lambda: list((self.path / "sink" / "journal").glob("*.jsonl")))
        seen = set()
        for host in ("b", "scheduler", "sink", "worker", "backup.db", "alice.key"):
            root = self.path / host
            for path in [root, *root.rglob("*")]:
                status = path.lstat()
                if path.is_symlink() or path.parent.name == "granted":
                    continue
                seen.add(path.suffix or stat.S_IFMT(status.st_mode))
                if path.name == "b" or path == root and path.is_dir():
                    continue  # made by this test, but for the broker's
                self.assertEqual(status.st_mode & 0o077, 0, f"{path}: {status.st_mode:o}")
        self.assertEqual(os.stat(self.path / "b").st_mode & 0o777, 0o700)
        self.assertEqual(os.stat(self.path / "b" / "keys" / "granted" / "alice").st_mode & 0o777, 0o644)
        for kind in (".db", ".key", ".jsonl", ".sock", ".lock"):
            self.assertIn(kind, seen)


class OneHost(Hosts):
    def test_up_with_keys_leaves_nothing_open_either(self):
        def prepare():
            os.umask(0)

        subprocess.run([program("rota"), "up", "--state", "s", "--agent", "exec=1"], cwd=self.path,
                       env=self.environment(), check=True, timeout=PATIENCE_S, stdin=subprocess.DEVNULL,
                       capture_output=True, preexec_fn=prepare)
        try:
            identity = self.rota("submit", "--state", "s", "--", "echo hello").stdout.strip()
            self.rota("wait", identity, "--state", "s")
            self.rota("key", "new", "worker", "--state", "s")
            self.rota("key", "grant", "worker", "agent", "--state", "s")
            names = set()
            for path in [self.path / "s", *(self.path / "s").rglob("*")]:
                names.add(path.name)
                if not path.is_symlink() and path.parent.name != "granted":
                    self.assertEqual(path.lstat().st_mode & 0o077, 0, f"{path}: {path.lstat().st_mode:o}")
            self.assertLessEqual({"rota.db", "broker.key", "worker.key", "client.sock", "broker.log"}, names)
        finally:
            self.rota("down", "--state", "s")

    def log(self, name):
        return ""


if __name__ == "__main__":
    signal.alarm(15 * 60)
    unittest.main()
