#!/usr/bin/python3
"""What systemd is told by each service, heard on a plain datagram socket: ready, alive as long as the loop turns, stopping."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from checks import processes_of, wait_until  # noqa: E402

BIN = os.environ["ROTA_BIN"]
PATIENCE_S = 60
WATCHDOG_S = 0.6
SERVICES = {
    "rota-broker": [],
    "rota-scheduler": [],
    "rota-telemetry": [],
    "rota-agent": ["--kind", "exec", "--slots", "1"],
}


class Notify(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.TemporaryDirectory(prefix="rota-test-")
        self.state = os.path.join(self.directory.name, "state")
        os.mkdir(self.state, 0o700)
        self.running = []

    def tearDown(self):
        for process, listener in self.running:
            process.kill()
            process.wait()
            listener.close()
        self.directory.cleanup()

    def start(self, name, watchdog=True):
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        listener.bind(os.path.join(self.directory.name, f"notify-{len(self.running)}"))
        listener.settimeout(PATIENCE_S)
        environment = dict(os.environ, NOTIFY_SOCKET=listener.getsockname())
        environment.pop("WATCHDOG_PID", None)
        environment.pop("WATCHDOG_USEC", None)
        if watchdog:
            environment["WATCHDOG_USEC"] = str(int(WATCHDOG_S * 1e6))
        with open(os.path.join(self.directory.name, f"{name}.log"), "ab") as log:
            process = subprocess.Popen([os.path.join(BIN, name), "--state", self.state, *SERVICES[name]],
                                       cwd=self.directory.name, env=environment, stderr=log, stdout=log,
                                       stdin=subprocess.DEVNULL)
        self.running.append((process, listener))
        return process, listener

    @staticmethod
    def heard(listener):
        return dict(line.split("=", 1) for line in listener.recv(4096).decode().splitlines())

    def hear(self, listener, key, value=None):
        """All messages up to the one that has it."""
        messages = []
        while not messages or messages[-1].get(key) is None or value not in (None, messages[-1][key]):
            messages.append(self.heard(listener))
        return messages

    @staticmethod
    def drain(listener):
        """What has come; whoever sent it is stopped, so there is no more."""
        messages = []
        listener.setblocking(False)
        try:
            while True:
                messages.append(listener.recv(4096))
        except BlockingIOError:
            listener.settimeout(PATIENCE_S)
            return messages

    @staticmethod
    def stop(process):
        """Until it stands still."""
        process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)

    def test_each_says_when_it_is_ready_that_its_loop_turns_and_when_it_stops(self):
        for name in SERVICES:
            with self.subTest(name):
                process, listener = self.start(name)
                before = self.hear(listener, "READY", "1")
                self.assertFalse([message for message in before if "WATCHDOG" in message])
                for _ in range(5):
                    self.hear(listener, "WATCHDOG", "1")
                process.terminate()
                messages = self.hear(listener, "STOPPING", "1")
                self.assertEqual(process.wait(PATIENCE_S), 0)
                self.assertFalse([message for message in messages if "READY" in message])
                self.assertEqual(self.drain(listener), [])

    def test_a_loop_that_stands_still_sends_nothing_until_it_goes_on(self):
        for name in SERVICES:
            with self.subTest(name):
                process, listener = self.start(name)
                self.hear(listener, "WATCHDOG", "1")
                self.stop(process)
                self.drain(listener)
                time.sleep(3 * WATCHDOG_S)
                self.assertEqual(self.drain(listener), [])
                process.send_signal(signal.SIGCONT)
                self.hear(listener, "WATCHDOG", "1")
                process.kill()
                process.wait()

    def test_without_a_watchdog_only_ready_status_and_stopping_are_said(self):
        for name in SERVICES:
            with self.subTest(name):
                process, listener = self.start(name, watchdog=False)
                messages = self.hear(listener, "READY", "1") + self.hear(listener, "STATUS")
                process.terminate()
                messages += self.hear(listener, "STOPPING", "1")
                self.assertEqual(process.wait(PATIENCE_S), 0)
                self.assertFalse([message for message in messages if "WATCHDOG" in message or "WATCHDOG_USEC" in message])

    def test_the_status_line_says_what_a_service_waits_for_and_what_it_does(self):
        _, agent = self.start("rota-agent")
        self.assertIn("waits for a broker", self.hear(agent, "STATUS")[-1]["STATUS"])
        _, sink = self.start("rota-telemetry")
        self.assertIn("waits for a broker", self.hear(sink, "STATUS")[-1]["STATUS"])
        _, broker = self.start("rota-broker")
        self.assertIn("leads since epoch 1", self.hear(broker, "STATUS")[-1]["STATUS"])
        _, scheduler = self.start("rota-scheduler")
        status = self.hear(scheduler, "STATUS")[-1]["STATUS"]
        while "ipc://" not in status:
            status = self.hear(scheduler, "STATUS")[-1]["STATUS"]
        self.assertIn("epoch 1", status)
        while "waits" in status or "slots" not in status:
            status = self.hear(agent, "STATUS")[-1]["STATUS"]
        self.assertIn("0 of 1 slots busy", status)

    def rota(self, *arguments):
        ran = subprocess.run([os.path.join(BIN, "rota"), arguments[0], "--state", self.state, *arguments[1:]], cwd=self.directory.name, text=True,
                             stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE_S, check=False)
        self.assertEqual(ran.returncode, 0, ran)
        return ran.stdout

    def test_an_agent_that_is_stopped_ends_what_it_runs_and_hands_it_back(self):
        for name in ("rota-broker", "rota-scheduler"):
            self.start(name, watchdog=False)  # nobody listens to them here
        agent, listener = self.start("rota-agent", watchdog=False)
        self.hear(listener, "READY", "1")
        mark = os.path.join(self.directory.name, "runs")
        self.rota("submit", "--id", "long", "--", "sh", "-c", f"echo $$ >> {mark}; (trap '' TERM; sleep 300) & sleep 300")
        self.assertTrue(wait_until(lambda: os.path.exists(mark)))
        agent.terminate()
        self.hear(listener, "STOPPING", "1")
        self.assertEqual(agent.wait(PATIENCE_S), 0)
        ours = [process.pid for process, _ in self.running]
        self.assertEqual([it for it in processes_of(self.directory.name, by_environment=True) if it[0] not in ours], [])
        task = json.loads(self.rota("task", "long", "--json"))
        self.assertEqual((task["status"], task.get("attempts_used", 0)), ("pending", 0), task)
        self.start("rota-agent", watchdog=False)
        with open(mark, encoding="utf-8") as file:
            self.assertTrue(wait_until(lambda: len(file.seek(0) or file.readlines()) == 2))
        self.rota("cancel", "long")
        self.assertTrue(wait_until(lambda: not [it for it in processes_of(mark) if "rota" not in it[1].split()[0]]))

    def test_those_that_stand_by_are_ready_and_watched_too(self):
        for name in ("rota-broker", "rota-scheduler"):
            with self.subTest(name):
                first, _ = self.start(name)
                self.hear(self.running[-1][1], "WATCHDOG", "1")
                second, listener = self.start(name)
                messages = self.hear(listener, "WATCHDOG", "1") + self.hear(listener, "WATCHDOG", "1")
                self.assertIn("stands by", " ".join(message.get("STATUS", "") for message in messages))
                first.kill()
                first.wait()
                while not {"leads", "serves"} & set(self.hear(listener, "STATUS")[-1]["STATUS"].split()):
                    pass
                second.kill()
                second.wait()

    def test_a_scheduler_that_will_be_busy_asks_for_time_and_gives_it_back(self):
        _, listener = self.start("rota-scheduler")
        usual = int(WATCHDOG_S * 1e6)
        asked = self.hear(listener, "WATCHDOG_USEC")
        self.assertGreater(int(asked[-1]["WATCHDOG_USEC"]), usual)
        self.assertTrue([message for message in asked if "EXTEND_TIMEOUT_USEC" in message])
        self.assertEqual(int(self.hear(listener, "WATCHDOG_USEC")[-1]["WATCHDOG_USEC"]), usual)


if __name__ == "__main__":
    signal.alarm(10 * 60)
    unittest.main()
