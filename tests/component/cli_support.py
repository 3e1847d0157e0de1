"""What the tests of the command line share: a place to work in, and running rota there."""
import atexit
import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from checks import WATCHDOG_S, check, finish, lines_of_json, processes_of, wait_until  # noqa: E402

BIN = os.environ.get("ROTA_BIN") or sys.exit("ROTA_BIN is not set: run this by ctest or ./dev test")
SOURCE = os.environ.get("ROTA_SOURCE") or sys.exit("ROTA_SOURCE is not set")
ROTA = os.path.join(BIN, "rota")


class Place:
    """A directory of its own, with a state directory in it; `down` at the end, and nothing may be left."""

    def __init__(self):
        self.path = tempfile.mkdtemp(prefix="rota-test-cli-", dir="/tmp")
        self.state = os.path.join(self.path, ".rota")
        atexit.register(self.remove)

    def remove(self):
        if os.path.isdir(self.state):
            subprocess.run([ROTA, "down"], cwd=self.path, stdin=subprocess.DEVNULL,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        shutil.rmtree(self.path, ignore_errors=True)

    def write(self, name, text):
        path = os.path.join(self.path, name)
        mode = "wb" if isinstance(text, bytes) else "w"
        with open(path, mode) as file:
            file.write(text)
        return path

    def read(self, name):
        with open(os.path.join(self.path, name), encoding="utf-8") as file:
            return file.read()

    def environment(self, extra=None):
        environment = dict(os.environ, TERM="dumb")
        for name in ("ROTA_CONFIG", "NO_COLOR"):
            environment.pop(name, None)
        environment.update(extra or {})
        return environment

    def run(self, *arguments, environment=None, input=None):
        given = {"stdin": subprocess.DEVNULL} if input is None else {"input": input}
        return subprocess.run([ROTA, *arguments], cwd=self.path, env=self.environment(environment), **given,
                              capture_output=True, text=True, errors="replace", timeout=WATCHDOG_S, check=False)

    def start(self, *arguments, **more):
        return subprocess.Popen([ROTA, *arguments], cwd=self.path, env=self.environment(),
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                **more)

    def hook(self):
        """The value of telemetry.hook for a program that keeps what hooks are told, which told() reads."""
        path = self.write("hook", f"#!/bin/sh\nbody=$(cat)\nprintf '%s\\n' \"$body\" >> {self.path}/told\n")
        os.chmod(path, 0o755)
        return f"['{path}']"

    def told(self, kind):
        """The types of the events of the kind, in order."""
        path = os.path.join(self.path, "told")
        lines = self.read("told").splitlines(keepends=True) if os.path.exists(path) else []
        bodies = [json.loads(line) for line in lines if line.endswith("\n")]
        return [body["event"]["event"] for body in bodies if body["kind"] == kind]

    def journal(self):
        """The numbers of the events in the journal's files, as they lie there."""
        seqs = []
        directory = os.path.join(self.state, "journal")
        for name in sorted(os.listdir(directory)):
            if not name.startswith("events-"):
                continue
            opened = gzip.open if name.endswith(".gz") else open
            with opened(os.path.join(directory, name), "rt", encoding="utf-8") as file:
                seqs += [json.loads(line).get("seq") for line in file if line.endswith("\n")]
        return [seq for seq in seqs if seq]

    def processes(self):
        """Every process that mentions the state directory or was started by one of its tasks."""
        return processes_of(self.path)


__all__ = ["BIN", "SOURCE", "ROTA", "Place", "check", "wait_until", "lines_of_json", "finish", "json", "os", "signal",
           "subprocess", "time"]
