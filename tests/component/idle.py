#!/usr/bin/python3
"""A system with nothing to do costs next to nothing and says so: how often each service wakes up is counted, with an empty store
and with a roadmap that is done, and held against what it has to do by its settings: a heartbeat each second at the broker
(broker.heartbeat), one each 5 s to the scheduler (scheduler.agent_heartbeat), and what they are answered.

ROTA_IDLE_SECONDS and ROTA_IDLE_TASKS: how long is counted, and how large the roadmap is; ./dev bench idle counts a minute."""
import os
import sys

from cli_support import Place, check, finish, json, time, wait_until

SECONDS = float(os.environ.get("ROTA_IDLE_SECONDS", "8"))
TASKS = int(os.environ.get("ROTA_IDLE_TASKS", "500"))
BOUND = 40  # wake-ups a second of all threads of one service (the broker has each heartbeat twice); a poll each 10 ms makes 100
TICK = os.sysconf("SC_CLK_TCK")

place = Place()


def services():
    """Name -> pid of what the supervisor runs, and of itself."""
    found = {}
    for pid, command in place.processes():
        words = command.split()
        name = os.path.basename(words[0])
        if name == "rota-agent":
            name += " " + words[words.index("--kind") + 1]
        found.setdefault(name, []).append(int(pid))
    return {f"{name}{'' if len(pids) == 1 else '/%d' % (i + 1)}": pid for name, pids in found.items() for i, pid in enumerate(sorted(pids))}


def count(pid):
    """Voluntary switches of all threads (each is one wake-up), and processor time in seconds."""
    switches = 0
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/status", encoding="ascii") as file:
            switches += sum(int(line.split()[1]) for line in file if line.startswith("voluntary_ctxt_switches"))
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
        words = file.read().rsplit(")", 1)[1].split()
    return switches, (int(words[11]) + int(words[12])) / TICK


def measure(what):
    running = services()
    before = {name: count(pid) for name, pid in running.items()}
    began = time.monotonic()
    time.sleep(SECONDS)
    took = time.monotonic() - began
    print(f"{what}, {took:.0f} s:")
    for name, pid in sorted(running.items()):
        switches, processor = (b - a for a, b in zip(before[name], count(pid)))
        print(f"     {name:20} {switches / took:6.1f} wake-ups a second, {processor / took * 3600:6.1f} s of a processor an hour")
        check(f"{what}: {name} sleeps", switches / took <= BOUND, switches)


def status():
    ran = place.run("status", "--json")
    return json.loads(ran.stdout) if ran.returncode == 0 else {}


ran = place.run("up", "--agent", "sim=2", "--agent", "exec=2")
check("the services start", ran.returncode == 0, ran)
wait_until(lambda: len(json.loads(place.run("agents", "--json").stdout or "[]")) >= 2)
time.sleep(3)
measure("no task")
ran = place.run("status")
check("status says that there is nothing to do", "nothing to do" in ran.stdout.lower() or "no task" in ran.stdout.lower(), ran)
place.write("plan.yaml", "tasks:\n" + "".join(f"  - {{id: t{i}, run: 'true'}}\n" for i in range(10)))
ran = place.run("run", "plan.yaml")
check("a roadmap is worked to its end", ran.returncode == 0, ran)
place.write("more.yaml", "name: more\ntasks:\n" + "".join(f"  - {{id: m{i}, run: 'true'}}\n" for i in range(TASKS)))
check("a larger one is taken", place.run("import", "more.yaml").returncode == 0)
check("and ended by hand", all(place.run("cancel", *[f"m{i}" for i in range(at, min(at + 500, TASKS))]).returncode == 0
                               for at in range(0, TASKS, 500)))
wait_until(lambda: not status().get("running"))
time.sleep(3)
measure(f"{TASKS + 10} tasks that have ended")
ran = place.run("status")
check("status says so then too", ran.returncode == 0 and "nothing to do" in ran.stdout.lower(), ran)
place.run("down")
sys.stdout.flush()
finish()
