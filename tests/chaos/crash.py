#!/usr/bin/python3
"""Services are killed with SIGKILL at random moments while a roadmap of 500 tasks is worked; nothing may be lost or done
twice.

A round: broker, scheduler, agent host and sink as processes, an import, then kills and restarts until all is done.
Afterwards every task is done exactly once in the store, `rota check` finds nothing, each task's command has left its mark
as often as it was started by an attempt that the store knows, a submit that was acknowledged is there, and no process is
left. ROTA_TEST_SEED repeats a run; 5 rounds, 200 with ROTA_TEST_LONG=1.
"""
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time

BIN = os.environ["ROTA_BIN"]
SEED = int(os.environ.get("ROTA_TEST_SEED", "0") or 0) or random.SystemRandom().randrange(1, 1 << 31)
ROUNDS = int(os.environ.get("ROTA_CRASH_ROUNDS", "200" if os.environ.get("ROTA_TEST_LONG") == "1" else "5"))
TASKS = 500
PATIENCE_S = 120  # a round that hangs, not a measure of speed
SERVICES = ("broker", "scheduler", "agent", "telemetry")


class Round:
    def __init__(self, number, rng):
        self.rng = rng
        self.number = number
        self.directory = tempfile.mkdtemp(prefix="rota-crash-")
        self.state = os.path.join(self.directory, ".rota")
        os.mkdir(self.state, 0o700)
        self.processes = {}
        self.kills = []
        self.config = os.path.join(self.directory, "rota.yaml")
        with open(self.config, "w", encoding="utf-8") as file:
            file.write("scheduler: {lease: 3s, lease_margin: 500ms, agent_heartbeat: 300ms, backoff_base: 100ms}\n"
                       "broker: {heartbeat: 200ms, dead_after: 1s}\n")
        self.environment = dict(os.environ, ROTA_CONFIG=self.config)

    def start(self, service):
        argv = [os.path.join(BIN, "rota-" + service), "--state", self.state]
        if service == "agent":
            argv += ["--kind", "exec", "--slots", "4", "--name", "exec@test"]
        log = open(os.path.join(self.directory, service + ".log"), "ab")
        self.processes[service] = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                                   env=self.environment, start_new_session=True)
        log.close()

    def rota(self, *argv, **options):
        return subprocess.run([os.path.join(BIN, "rota"), argv[0], "--state", self.state, *argv[1:]], capture_output=True, text=True,
                              timeout=PATIENCE_S, env=self.environment, **options)

    def write_roadmap(self):
        path = os.path.join(self.directory, "roadmap.yaml")
        with open(path, "w", encoding="utf-8") as file:
            file.write("name: crash\ntasks:\n")
            for i in range(TASKS):
                after = self.rng.sample(range(max(0, i - 20), i), min(i, self.rng.randrange(3)))
                ids = ", ".join(f"t{k}" for k in after)
                file.write(f"  - {{id: t{i}, run: 'echo $ROTA_ATTEMPT >> {self.directory}/marks/t{i}', "
                           f"after: [{ids}]}}\n")
        return path

    def counts(self):
        database = sqlite3.connect(f"file:{self.state}/rota.db?mode=ro", uri=True, timeout=10)
        try:
            rows = database.execute("SELECT status, count(*) FROM task WHERE kind = 1 AND coalesce(staged, 0) <= "
                                    "(SELECT coalesce((SELECT value FROM meta WHERE key = 'generation'), 0)) "
                                    "GROUP BY status").fetchall()
        except sqlite3.OperationalError:
            return {}
        finally:
            database.close()
        return dict(rows)

    def kill(self, service):
        process = self.processes[service]
        process.send_signal(signal.SIGKILL)
        process.wait()
        self.kills.append(service)

    def wait_done(self):
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            counts = self.counts()
            if counts.get(6, 0) >= TASKS and counts.get(6, 0) == sum(counts.values()):
                return
            for service, process in self.processes.items():
                if process.poll() is not None:
                    raise AssertionError(f"{service} ended by itself with {process.returncode}")
            time.sleep(0.05)
        raise AssertionError(f"not done in {PATIENCE_S} s: {self.counts()}")

    def stop(self):
        for service in ("agent", "scheduler", "telemetry", "broker"):
            process = self.processes.get(service)
            if process and process.poll() is None:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(20)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
                    raise AssertionError(f"{service} did not end at SIGTERM") from None

    def left_over(self):
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/environ", "rb") as file:
                    if self.directory.encode() in file.read() and int(pid) != os.getpid():
                        with open(f"/proc/{pid}/cmdline", "rb") as command:
                            found.append((pid, command.read().replace(b"\0", b" ").decode(errors="replace")))
            except OSError:
                pass
        return found

    def verify(self, submitted):
        database = sqlite3.connect(f"file:{self.state}/rota.db?mode=ro", uri=True)
        moved = dict(database.execute("SELECT t.id, count(*) FROM event e JOIN task t ON t.key = e.task "
                                      "WHERE e.type = 3 AND (e.change >> 4 & 15) = 6 GROUP BY t.id").fetchall())
        newest = dict(database.execute("SELECT id, attempt FROM task WHERE kind = 1").fetchall())
        database.close()
        wanted = {f"t{i}" for i in range(TASKS)} | set(submitted)
        # A submit that was not acknowledged may have had its effect all the same.
        assert wanted <= set(moved), f"lost: {wanted - set(moved)}"
        twice = [task for task, times in moved.items() if times != 1]
        assert not twice, f"done more than once: {twice}"
        for i in range(TASKS):
            with open(f"{self.directory}/marks/t{i}", encoding="utf-8") as file:
                marks = file.read().split()
            assert len(marks) == len(set(marks)), f"t{i}: an attempt ran twice: {marks}"
            assert all(1 <= int(mark) <= newest[f't{i}'] for mark in marks), f"t{i}: {marks}, newest {newest[f't{i}']}"

    def run(self):
        os.mkdir(os.path.join(self.directory, "marks"))
        for service in SERVICES:
            self.start(service)
        # A verb that finds no broker starts services of its own.
        while not os.path.exists(os.path.join(self.state, "run", "client.sock")):
            time.sleep(0.02)
        result = self.rota("import", self.write_roadmap())
        assert result.returncode == 0, result.stdout + result.stderr
        submitted = []
        for number in range(self.rng.randrange(2, 7)):
            time.sleep(self.rng.uniform(0.0, 0.6))
            victim = self.rng.choice(SERVICES)
            self.kill(victim)
            time.sleep(self.rng.uniform(0.0, 0.2))
            self.start(victim)
            name = f"s{number}"
            result = self.rota("submit", "--id", name, "--", "true")
            if result.returncode == 0:
                submitted.append(name)
        self.wait_done()
        result = self.rota("check")
        assert result.returncode == 0, result.stdout + result.stderr
        self.stop()
        self.verify(submitted)
        left = self.left_over()
        assert not left, f"processes are left: {left}"
        shutil.rmtree(self.directory)


def play(kind, rounds):
    """Plays so many rounds of that kind, each with a seed of its own, and yields each that passed."""
    rng = random.Random(SEED)
    for number in range(rounds):
        attempt = kind(number, random.Random(rng.randrange(1 << 62)))
        begun = time.monotonic()
        try:
            attempt.run()
        except BaseException:
            print(f"round {number} failed; kills: {attempt.kills}; its files: {attempt.directory}", file=sys.stderr)
            for process in attempt.processes.values():
                if process.poll() is None:
                    process.kill()
            raise
        print(f"round {number}: killed {', '.join(attempt.kills)}; {time.monotonic() - begun:.1f} s", flush=True)
        yield attempt


def main():
    print(f"seed {SEED}, {ROUNDS} rounds of {TASKS} tasks")
    passed = sum(1 for _ in play(Round, ROUNDS))
    print(f"{passed} passed, 0 failed")


if __name__ == "__main__":
    main()
