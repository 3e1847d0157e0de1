#!/usr/bin/python3
"""rota run, up and down with real services and commands."""
from cli_support import Place, SOURCE, check, finish, json, lines_of_json, os, signal, subprocess, time, wait_until

place = Place()
place.write("rota.yaml", "scheduler: {backoff_base: 1s}\n")  # what is tried again is not waited for


def counts():
    return json.loads(place.run("status", "--json").stdout)["counts"]


def nothing_left(what):
    check(f"{what}: no process is left", wait_until(lambda: not place.processes(), 15), place.processes())


place.write("plan.yaml", """
tasks:
  - {id: first, run: 'echo first >> order; sleep 0.2'}
  - {id: left, run: 'echo left >> order; sleep 0.2', after: first}
  - {id: right, title: The right one, run: 'echo right >> order; sleep 0.2', after: first}
  - {id: last, run: 'echo last >> order', after: [left, right]}
""")
result = place.run("run", "plan.yaml")
order = place.read("order").split()
check("run works all of it", result.returncode == 0 and "all done: 4 tasks" in result.stdout, result)
check("in order", order[0] == "first" and order[-1] == "last" and sorted(order[1:3]) == ["left", "right"], order)
lines = [line.split() for line in result.stdout.splitlines()]
check("a plain line for each", [line[1] for line in lines if line[:1] == ["done"]][0] == "first"
      and sum(line[:1] == ["done"] for line in lines) == 4, result)
check("no colours or cursor movements in a pipe", "\x1b" not in result.stdout + result.stderr)
check("it says what it is before it starts", "not isolated" in result.stdout.splitlines()[1], result)
nothing_left("run")
result = place.run("run", "plan.yaml")
check("again: nothing is started twice", result.returncode == 0 and place.read("order").split() == order
      and "4 of them were done before" in result.stdout, result)

place.write("plan.yaml", place.read("plan.yaml") + "  - {id: more, run: 'echo more >> order', after: last}\n")
result = place.run("run", "plan.yaml", "--json")
objects = lines_of_json(result.stdout)
check("a new task is worked, as JSON", result.returncode == 0 and objects[0]["type"] == "start"
      and objects[-1]["type"] == "summary" and objects[-1]["exit_code"] == 0 and objects[-1]["done_now"] == 1
      and any(o["type"] == "task" and o["id"] == "more" and o["status"] == "done" for o in objects), result)

# What goes wrong.
place.write("bad.yaml", """
name: bad
defaults: {attempts: 1}
tasks:
  - {id: breaks, run: 'for i in 1 2 3 4 5 6 7; do echo line $i; done; printf "\\033[31mred\\033[0m\\n"; exit 3'}
  - {id: behind, run: 'echo never > never', after: breaks}
  - {id: fine, run: 'true'}
""")
result = place.run("run", "bad.yaml")
check("a failure: exit 1", result.returncode == 1, result)
check("with its last lines, cleaned", "line 7" in result.stdout and "red" in result.stdout
      and "\x1b" not in result.stdout and "line 1\n" not in result.stdout, result)
check("and how to look further", "rota log breaks" in result.stdout and "rota retry breaks" in result.stdout
      and "behind breaks" in result.stdout, result)
check("what is behind it did not run", not os.path.exists(os.path.join(place.path, "never")))
result = place.run("log", "breaks")
check("log gives a pipe the bytes as they were", result.returncode == 0
      and result.stdout.endswith("line 7\n\x1b[31mred\x1b[0m\n"), result)
check("log --tail", place.run("log", "breaks", "--tail", "2").stdout.startswith("line 7\n"))
result = place.run("log", "behind")
check("log of what has not run says so", result.returncode in (2, 4) and "started" in result.stderr, result)
check("log of nothing", place.run("log", "nosuch").returncode == 2)
task = json.loads(place.run("task", "breaks", "--json").stdout)
check("the attempt is kept with its exit code", task["attempts"][0]["result"]["exit_code"] == 3, task)
place.write("bad.yaml", place.read("bad.yaml").replace("exit 3", "exit 0"))
place.run("import", "bad.yaml")
check("retry after the remedy", place.run("retry", "breaks").returncode == 0)
result = place.run("run", "bad.yaml")
check("goes on to the end", result.returncode == 0 and os.path.exists(os.path.join(place.path, "never")), result)

# --exec, slots, and what a task is told.
place.write("titles.yaml", "name: titles\ntasks:\n  - {id: one, title: The title}\n  - {id: two}\n")
result = place.run("run", "titles.yaml", "--exec", 'printf "%s %s\\n" "$ROTA_TASK_ID" "$ROTA_TASK_TITLE" >> titles',
                   "--agent", "exec=1")
check("--exec works tasks without a command", result.returncode == 0
      and sorted(place.read("titles").splitlines()) == ["one The title", "two two"], result)

# People.
place.write("people.yaml", "name: people\ntasks:\n  - {id: p1, run: 'true', approval: required}\n"
            "  - {id: p2, run: 'echo p2 > p2', after: p1}\n")
result = place.run("run", "people.yaml")
check("where only people are awaited: exit 5 and what to type", result.returncode == 5
      and "rota approve p1" in result.stdout and not os.path.exists(os.path.join(place.path, "p2")), result)
process = place.start("run", "people.yaml", "--wait-human", "--json")
while '"type":"import"' not in process.stdout.readline():
    pass
result = place.run("approve", "p1", "--reason", "looks good")
out, err = process.communicate(timeout=90)
check("--wait-human waits and goes on after the approval", result.returncode == 0 and process.returncode == 0
      and os.path.exists(os.path.join(place.path, "p2")), result, out, err)

# Nothing to start: the programs are not there.
empty = os.path.join(place.path, "empty")
os.mkdir(empty)
result = place.run("run", "plan.yaml", environment={"ROTA_LIBEXEC": empty})
check("services that can't be started: exit 3, in words", result.returncode == 3 and "can't be started" in result.stderr,
      result)
nothing_left("services that can't be started")

# --timeout.
place.write("long.yaml", "name: long\ntasks:\n  - {id: long, run: 'echo begun; sleep 600'}\n")
result = place.run("run", "long.yaml", "--timeout", "700ms")
check("--timeout: exit 6", result.returncode == 6, result)
nothing_left("--timeout")
check("what ran is back where it came from", counts()["in_progress"] == 0)


# Ctrl-C.
def commands_of(task):
    """Processes that an attempt of the task has started."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/environ", "rb") as file:
                ours = os.readlink(f"/proc/{pid}/cwd") == place.path
                if ours and f"ROTA_TASK_ID={task}\0".encode() in file.read():
                    found.append(int(pid))
        except OSError:
            continue
    return found


process = place.start("run", "long.yaml", "--json")
while '"type":"import"' not in process.stdout.readline():
    pass
wait_until(lambda: commands_of("long"))
process.send_signal(signal.SIGINT)
while '"stopping: ' not in process.stdout.readline():
    pass
check("Ctrl-C once lets what runs go on", commands_of("long"))
process.send_signal(signal.SIGINT)
out, err = process.communicate(timeout=90)
check("Ctrl-C twice kills it: exit 130", process.returncode == 130 and "goes on" in err, process.returncode, out, err)
nothing_left("Ctrl-C twice")
check("and its commands", wait_until(lambda: not commands_of("long"), 15), commands_of("long"))

place.write("short.yaml", "name: short\ntasks:\n  - {id: s1, run: 'sleep 1.5; echo s1 >> short'}\n"
            "  - {id: s2, run: 'echo s2 >> short', after: s1}\n")
process = place.start("run", "short.yaml")
wait_until(lambda: commands_of("s1"))
process.send_signal(signal.SIGINT)
out, err = process.communicate(timeout=90)
check("Ctrl-C once lets finish what runs and starts nothing new", process.returncode == 130
      and place.read("short").split() == ["s1"], process.returncode, out, err)
result = place.run("run", "short.yaml")
check("the next run goes on", result.returncode == 0 and place.read("short").split() == ["s1", "s2"], result)

# kill -9 of the run: the supervisor ends the services by itself.
process = place.start("run", "long.yaml")
wait_until(lambda: commands_of("long"))
process.kill()
process.communicate()
nothing_left("kill -9 of the run")
check("its commands too", wait_until(lambda: not commands_of("long"), 15), commands_of("long"))

# up, submit, wait, log -f, agents, down.
result = place.run("up", "--agent", "exec=2")
check("up", result.returncode == 0 and "exec with 2 slots" in result.stdout, result)
check("up again says that they are up", "already" in place.run("up").stdout)
agents = json.loads(place.run("agents", "--json").stdout)["agents"]
check("its agent is there", agents[0]["connected"] and agents[0]["slots"] == 2, agents)
place.run("cancel", "long")
follow = place.start("events", "-f", "--json")
result = place.run("submit", "--id", "hello", "--", "sh", "-c", "echo hello; sleep 0.3; echo world")
log = place.run("log", "-f", "hello") if wait_until(
    lambda: json.loads(place.run("task", "hello", "--json").stdout)["status"] != "pending") else None
check("log -f follows to the end", log.stdout == "hello\nworld\n", log)
result = place.run("wait", "hello", "--timeout", "60")
check("wait", result.returncode == 0, result)
place.run("submit", "--id", "fails", "--attempts", "1", "false")
result = place.run("wait", "fails", "hello")
check("wait tells of a failure by 1", result.returncode == 1, result)
result = place.run("submit", "--id", "inline", "--wait", "--", "true")
check("submit --wait", result.returncode == 0 and result.stdout.startswith("inline\n"), result)
result = place.run("run", "plan.yaml")
check("a run takes services that are up, and leaves them", result.returncode == 0
      and "run already" in result.stdout and place.run("leader").returncode == 0, result)
wait_until(lambda: place.run("events", "--tail", "1", "--json").stdout)
follow.send_signal(signal.SIGINT)
out, _ = follow.communicate(timeout=60)
seen = [event for event in lines_of_json(out) if event.get("task") == "hello" and event.get("to") == "done"]
check("events -f saw it", len(seen) == 1, out[-2000:])
result = place.run("run", "short.yaml", "-d")
check("run -d returns at once", result.returncode == 0 and "background" in result.stdout, result)
check("down", place.run("down").returncode == 0)
nothing_left("down")
check("log without its host reads the file", place.run("log", "hello").stdout == "hello\nworld\n")

# Two runs at once on one state: one set of services; who comes second goes on when the first ends.
place.write("one.yaml", "name: one\ntasks:\n  - {id: o1, run: sleep 0.7}\n")
place.write("two.yaml", "name: two\ntasks:\n" + "".join(f"  - {{id: t{i}, run: sleep 0.5}}\n" for i in range(8)))
first, second = place.start("run", "one.yaml"), place.start("run", "two.yaml", "--agent", "exec=2")
outputs = [process.communicate(timeout=120) for process in (first, second)]
check("two runs at once both reach their end", first.returncode == 0 and second.returncode == 0, outputs)
nothing_left("two runs")

# A service that dies is started again, and the run goes on.
place.write("many.yaml", "name: many\ntasks:\n" + "".join(f"  - {{id: m{i}, run: sleep 0.2}}\n" for i in range(12)))
process = place.start("run", "many.yaml", "--agent", "exec=2")
victims = wait_until(lambda: [pid for pid, command in place.processes() if "rota-scheduler" in command])
time.sleep(0.5)
for pid, command in place.processes():
    if "rota-scheduler" in command or "rota-telemetry" in command:
        os.kill(pid, signal.SIGKILL)
out, err = process.communicate(timeout=120)
check("a killed scheduler is started again, said in words, and all is done", victims and process.returncode == 0
      and "started again" in out + err, out, err)
result = place.run("check")
check("and the store is sound", result.returncode == 0, result)

result = subprocess.run([os.path.join(os.environ["ROTA_BIN"], "rota"), "run", os.path.join(SOURCE, "examples/demo.yaml"),
                         "--state", os.path.join(place.path, "demo")], cwd=place.path, stdin=subprocess.DEVNULL,
                        capture_output=True, text=True, timeout=90, check=False)
check("examples/demo.yaml", result.returncode == 0, result)
for what, words in (("a limit", " rests until "), ("a failover", " coordinates now: "), ("a review that wants changes", "pretends to want more"),
                    ("a lie that isn't believed", "it said that its work is done, but"), ("the end", "all done: 9 tasks")):
    check(f"the demo shows {what}", words in result.stdout, result)
print(result.stdout)
nothing_left("the end")
finish()
