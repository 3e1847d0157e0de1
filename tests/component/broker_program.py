"""rota-broker as a program: readiness, the second one, signals, exit statuses, log."""

import json
import os
import pathlib
import signal
import socket
import subprocess
import tempfile
import unittest

PROGRAM = os.path.join(os.environ["ROTA_BIN"], "rota-broker")
PATIENCE_S = 60


class BrokerProgram(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.TemporaryDirectory(prefix="rota-test-")
        self.state = os.path.join(self.directory.name, "state")
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notify.bind(os.path.join(self.directory.name, "notify"))
        self.notify.settimeout(PATIENCE_S)
        self.running = []

    def tearDown(self):
        for process in self.running:
            process.kill()
            process.wait()
            process.stderr.close()
        self.notify.close()
        self.directory.cleanup()

    def start(self, *arguments):
        environment = dict(os.environ, NOTIFY_SOCKET=self.notify.getsockname())
        process = subprocess.Popen(
            [PROGRAM, "--state", self.state, *arguments],
            cwd=self.directory.name, env=environment, stderr=subprocess.PIPE, text=True)
        self.running.append(process)
        self.hear(b"READY=1")
        return process

    def hear(self, what):
        """Skips the lines about what the broker does."""
        while (message := self.notify.recv(512)).startswith(b"STATUS="):
            pass
        self.assertEqual(message.split(b"\n")[0], what)

    def run_to_its_end(self, *arguments):
        return subprocess.run(
            [PROGRAM, *arguments], cwd=self.directory.name, capture_output=True, text=True, timeout=PATIENCE_S)

    def test_it_says_when_it_is_ready_and_stops_cleanly_at_sigterm_and_sigint(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            process = self.start()
            sockets = pathlib.Path(self.state, "run")
            self.assertEqual(len(list(sockets.iterdir())), 5)
            process.send_signal(number)
            _, log = process.communicate(timeout=PATIENCE_S)
            self.assertEqual(process.returncode, 0)
            self.assertIn("event=broker.ready", log)
            self.assertIn("event=broker.stopped", log)
            self.hear(b"STOPPING=1")
            self.assertEqual(list(sockets.iterdir()), [])

    def test_a_second_one_stands_by_says_for_whom_and_takes_over(self):
        first = self.start()
        second = self.start()
        while "event=broker.election" not in (line := second.stderr.readline()):
            self.assertTrue(line)
        self.assertRegex(line, rf"stands by: another broker \(pid {first.pid} since 20\S+Z\) serves this state directory")
        self.assertIsNone(first.poll())
        first.terminate()
        first.wait(PATIENCE_S)
        self.hear(b"STOPPING=1")
        while "event=broker.ready" not in (line := second.stderr.readline()):
            self.assertTrue(line)
        self.assertIn("epoch=2", line)

    def test_after_sigkill_the_next_one_takes_over(self):
        first = self.start()
        first.kill()
        first.wait()
        self.start()
        self.assertEqual(pathlib.Path(self.state, "broker.epoch").read_text(), "2\n")

    def test_the_log_is_json_on_request(self):
        process = self.start("--log-format", "json")
        process.terminate()
        _, log = process.communicate(timeout=PATIENCE_S)
        events = [json.loads(line)["event"] for line in log.splitlines()]
        self.assertEqual(events, ["broker.ready", "broker.stopped"])

    def test_wrong_usage_is_exit_2_and_makes_nothing(self):
        for arguments in (["--frobnicate"], ["extra"], ["--log-level", "loud"], ["--log-format", "xml"],
                          ["--insecure", "tcp://127.0.0.1:1=emperor"], ["--config", "absent.yaml"]):
            with self.subTest(arguments):
                result = self.run_to_its_end("--state", self.state, *arguments)
                self.assertEqual(result.returncode, 2, result.stderr)
                self.assertTrue(result.stderr)
                self.assertFalse(os.path.exists(self.state))

    def test_only_loopback_is_opened_without_keys(self):
        result = self.run_to_its_end("--state", self.state, "--insecure", "tcp://0.0.0.0:0")
        self.assertEqual(result.returncode, 2)
        self.assertIn("loopback", result.stderr)

    def test_what_is_open_without_keys_is_said_loudly(self):
        process = self.start("--insecure", "tcp://127.0.0.1:*=read")
        process.terminate()
        _, log = process.communicate(timeout=PATIENCE_S)
        self.assertRegex(log, r"level=warning .*event=endpoint.insecure endpoint=tcp://127.0.0.1:\S+ role=read")

    def test_help_and_version(self):
        self.assertRegex(self.run_to_its_end("--version").stdout, r"^rota-broker \d+\.\d+\.\d+\n$")
        self.assertIn("--insecure", self.run_to_its_end("--help").stdout)


if __name__ == "__main__":
    unittest.main()
