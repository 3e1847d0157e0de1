#!/usr/bin/python3
"""Everything is killed with SIGKILL at random moments while work is gated and merged: broker, scheduler, agent hosts, the drivers
of their clones, git, the gates; or one of them alone.

A round: a repository, seven tasks that each commit a file, and one whose work passes by itself and breaks beside the others'. After
each kill the branch is the start or a tree that passed the gates; in the end it has exactly the good work, each task was merged
once, `rota check` and git find nothing wrong, and nothing is left. ROTA_TEST_SEED repeats a run; 10 kills, 200 with
ROTA_TEST_LONG=1.
"""
import contextlib
import json
import os
import shutil
import signal
import subprocess
import time

import crash

KILLS = int(os.environ.get("ROTA_CRASH_ROUNDS", "200" if os.environ.get("ROTA_TEST_LONG") == "1" else "10"))
KILLS_A_ROUND = 5
GOOD = 7
SERVICES = ("broker", "scheduler", "exec", "git")
SETTINGS = """
scheduler: {lease: 1500ms, lease_margin: 300ms, agent_heartbeat: 200ms, backoff_base: 50ms, backoff_max: 100ms, free_tries: 255,
            gate_retries: 0}
broker: {heartbeat: 200ms, dead_after: 1s}
agents: {isolation: off}
"""


class Round(crash.Round):
    def __init__(self, number, rng):
        super().__init__(number, rng)
        self.passed, self.landed = os.path.join(self.directory, "passed"), 0
        with open(self.config, "w", encoding="utf-8") as file:
            file.write(SETTINGS)
        for name, text in ((".gitignore", ".rota\npassed\n*.log\n*.yaml\n"), ("README", "x\n")):
            with open(os.path.join(self.directory, name), "w", encoding="utf-8") as file:
                file.write(text)
        self.git("init", "-q", "-b", "main")
        self.git("add", "-A")
        self.git("-c", "user.name=Owner", "-c", "user.email=owner@example.org", "commit", "-qm", "start")

    def git(self, *arguments):
        return subprocess.run(["git", *arguments], cwd=self.directory, capture_output=True, text=True, check=True,
                              timeout=crash.PATIENCE_S).stdout.strip()

    def start(self, service):
        if service in ("broker", "scheduler"):
            super().start(service)
            return
        with open(os.path.join(self.directory, service + ".log"), "ab") as log:
            self.processes[service] = subprocess.Popen(
                [os.path.join(crash.BIN, "rota-agent"), "--state", self.state, "--kind", service, "--slots", "2", "--name",
                 f"{service}@test"], stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.environment, start_new_session=True)

    def write_roadmap(self):
        path = os.path.join(self.directory, "roadmap.yaml")
        tasks = "".join(f"  - {{id: t{i}, run: 'echo {i} > good-{i}.txt', commit: true}}\n" for i in range(GOOD))
        with open(path, "w", encoding="utf-8") as file:
            file.write(f"""
name: merges
repository: .
defaults: {{gates: [test], attempts: 2}}
gates:
  test: "test $(ls *-*.txt | wc -l) = 1 || ! ls bad-*.txt && git rev-parse HEAD^{{tree}} >> {self.passed}"
tasks:
{tasks}  - {{id: bad, commit: true,
     run: 'until git -C {self.directory} cat-file -e rota/main:good-0.txt; do sleep 0.05; done; echo x > bad-1.txt'}}
""")
        return path

    def trees(self):
        with contextlib.suppress(FileNotFoundError):
            with open(self.passed, encoding="utf-8") as file:
                return set(file.read().split())
        return set()

    def expect_good_branch(self):
        """Each commit of the branch is a merge onto the one before, of a tree that passed."""
        commits = self.git("rev-list", "--first-parent", "main..rota/main").split() if self.has_branch() else []
        for commit in commits:
            tree = self.git("rev-parse", commit + "^{tree}")
            assert tree in self.trees(), f"{commit} has a tree that never passed: {tree}"
        return len(commits)

    def has_branch(self):
        return bool(self.git("for-each-ref", "refs/heads/rota/main"))

    def kill_everything(self):
        for service in SERVICES:
            self.processes[service].send_signal(signal.SIGKILL)
        while left := self.left_over():
            for pid, _ in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
            time.sleep(0.01)
        for service in SERVICES:
            self.processes[service].wait()
        self.kills.append("everything")

    def statuses(self):
        ran = self.rota("tasks", "--json")
        return {task["id"]: task["status"] for task in json.loads(ran.stdout)["tasks"]} if ran.returncode == 0 else {}

    def run(self):
        wanted = dict({f"t{i}": "done" for i in range(GOOD)}, bad="failed")
        for service in SERVICES:
            self.start(service)
        while not os.path.exists(os.path.join(self.state, "run", "client.sock")):
            assert self.processes["broker"].poll() is None, "the broker doesn't start"
            time.sleep(0.02)
        result = self.rota("import", self.write_roadmap())
        assert result.returncode == 0, result.stdout + result.stderr
        for _ in range(KILLS_A_ROUND):
            before = len(self.trees())
            deadline = time.monotonic() + crash.PATIENCE_S
            # From the next run of a gate on, unless there is none any more.
            while len(self.trees()) == before and self.statuses() != wanted and time.monotonic() < deadline:
                time.sleep(0.02)
            time.sleep(self.rng.uniform(0, 0.5))
            victim = self.rng.choice((*SERVICES, "everything", "everything", "everything", "everything"))
            if victim == "everything":
                self.kill_everything()
            else:
                self.kill(victim)
            self.landed += self.expect_good_branch() > 0
            for service in SERVICES:
                if self.processes[service].poll() is not None:
                    self.start(service)
        deadline = time.monotonic() + crash.PATIENCE_S
        while self.statuses() != wanted:
            assert time.monotonic() < deadline, f"not done: {self.statuses()}"
            time.sleep(0.1)
        result = self.rota("check")
        assert result.returncode == 0, result.stdout + result.stderr
        self.stop()
        self.expect_good_branch()
        names = self.git("ls-tree", "--name-only", "rota/main").split()
        assert sorted(names) == sorted([".gitignore", "README", *(f"good-{i}.txt" for i in range(GOOD))]), names
        for i in range(GOOD):
            times = self.git("log", "--format=%H", "--no-merges", "main..rota/main", "--", f"good-{i}.txt").split()
            assert len(times) == 1, f"t{i} is in the branch {len(times)} times"
        assert not self.git("fsck", "--strict", "--no-dangling")
        left = self.left_over()
        assert not left, f"processes are left: {left}"
        shutil.rmtree(self.directory)

    def stop(self):
        for service in ("exec", "git", "scheduler", "broker"):
            process = self.processes[service]
            process.send_signal(signal.SIGTERM)
            process.wait(crash.PATIENCE_S)


def main():
    rounds = max(1, KILLS // KILLS_A_ROUND)
    print(f"seed {crash.SEED}, {rounds} rounds with {KILLS_A_ROUND} kills each")
    landed = sum(each.landed for each in crash.play(Round, rounds))
    print(f"{rounds} passed, 0 failed; {landed} of {rounds * KILLS_A_ROUND} kills came after the branch had moved")


if __name__ == "__main__":
    main()
