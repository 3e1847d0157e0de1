#!/usr/bin/python3
"""Merges that wait are taken together, from end to end: how often the gates run, a member that breaks, one that is cancelled, and
a host that dies in the middle."""
import contextlib

from cli_support import Place, check, finish, json, os, signal, subprocess, time, wait_until

COUNT = 6


def git(place, *arguments):
    result = subprocess.run(["git", "-c", "user.name=Owner", "-c", "user.email=owner@example.org", *arguments], cwd=place.path,
                            capture_output=True, text=True, check=False)
    return result.stdout.strip()


def stage(batch, bad=()):
    """COUNT tasks that were worked, checked and wait for approval, approved while nothing is handed out."""
    place = Place()
    place.runs, place.held = os.path.join(place.path, "runs"), os.path.join(place.path, "held")
    place.write(".gitignore", ".rota\nruns\nheld*\n*.yaml\n")
    place.write("file.txt", "one\n")
    git(place, "init", "-q", "-b", "main")
    git(place, "add", "-A")
    git(place, "commit", "-qm", "x")
    place.write("rota.yaml", f"scheduler: {{merge_batch: {batch}, backoff_base: 100ms, gate_retries: 0}}\nagents: {{isolation: off}}\n")
    # The gate is the merge's when it sees the work of two; it breaks where "bad" is beside another's.
    tasks = "".join(f"  - {{id: t{number}, run: \"echo x > {'bad' if number in bad else 'good'}-{number}.txt\", commit: true, "
                    "approval: required, attempts: 1}\n" for number in range(COUNT))
    place.write("plan.yaml", f"""
name: plan
repository: .
defaults: {{timeout: 2m, gates: [test]}}
gates:
  test: "echo run >> {place.runs}; while test -e {place.held}; do sleep 0.05; done; test $(ls *-*.txt | wc -l) = 1 || ! ls bad-*.txt"
tasks:
{tasks}""")
    result = place.run("run", "plan.yaml", "--agent", "exec=2", "--agent", "git=2")
    check(f"batch {batch}: all wait for approval", result.returncode == 5, result)
    place.run("up", "--agent", "exec=2", "--agent", "git=2")
    place.run("pause")
    for number in range(COUNT):
        place.run("approve", f"t{number}")
    place.gates = len(place.read("runs").split())
    return place


def statuses(place):
    return [json.loads(place.run("task", f"t{number}", "--json").stdout)["status"] for number in range(COUNT)]


def wait(place):
    place.run("wait", *[f"t{number}" for number in range(COUNT)], "--timeout", "90")


def end(place, want, what):
    found = statuses(place)
    check(f"{what}: each has its end", found == want, found, place.run("status"), place.run("review", "t0"))
    names = git(place, "ls-tree", "--name-only", "rota/main").split()
    done = [number for number in range(COUNT) if want[number] == "done"]
    check(f"{what}: the branch has exactly that", sorted(name for name in names if "-" in name) ==
          sorted(f"good-{number}.txt" for number in done), names)
    check(f"{what}: rota check", place.run("check").returncode == 0)
    place.run("down")


runs = {}
for size in (1, 8):
    stack = stage(size)
    place_gates = stack.gates
    check(f"batch {size}: each was checked by itself once", place_gates == COUNT, place_gates)
    stack.run("resume")
    wait(stack)
    runs[size] = len(stack.read("runs").split()) - place_gates
    commits = git(stack, "rev-list", "--first-parent", "--count", "main..rota/main")
    check(f"batch {size}: {commits} commits", int(commits) == (COUNT if size == 1 else 1), commits)
    end(stack, ["done"] * COUNT, f"batch {size}")
# The first alone comes onto the very tree that passed.
check(f"the gates run {runs[8]} instead of {runs[1]} times", runs == {1: COUNT - 1, 8: 1}, runs)

stack = stage(8, bad=(3,))
stack.run("resume")
wait(stack)
end(stack, ["done" if number != 3 else "failed" for number in range(COUNT)], "one breaks")

stack = stage(8)
stack.write("held", "")
stack.run("resume")
check("cancelled: the batch is at its gates", wait_until(lambda: len(stack.read("runs").split()) > stack.gates, 60))
stack.run("cancel", "t2")
os.unlink(stack.held)
wait(stack)
end(stack, ["done" if number != 2 else "cancelled" for number in range(COUNT)], "cancelled")

stack = stage(8)
stack.write("held", "")
stack.run("resume")
check("killed: the batch is at its gates", wait_until(lambda: len(stack.read("runs").split()) > stack.gates, 60))
killed = [pid for pid, command in stack.processes() if "rota-agent" in command and "git" in command and "--workspace" not in command]
for pid in killed:
    with contextlib.suppress(ProcessLookupError):  # some had ended by themselves
        os.kill(pid, signal.SIGKILL)
os.unlink(stack.held)
time.sleep(1)
stack.run("up", "--agent", "exec=2", "--agent", "git=2")
wait(stack)
check("killed: there was a host to be killed", killed, subprocess.run(["ps", "-ef"], capture_output=True, text=True).stdout)
end(stack, ["done"] * COUNT, "killed")
finish()
