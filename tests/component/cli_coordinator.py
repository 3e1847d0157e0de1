#!/usr/bin/python3
"""The coordinator: elected when agents join, another one as soon as the holder meets a limit or is killed; complex tasks and
reviews go to it alone, and wait where nobody can have the role."""
from cli_support import Place, check, finish, json, os, signal, wait_until

place = Place()
place.write("rota.yaml", "scheduler: {backoff_base: 200ms, failback: 3s, prefer_complex: [claude, sim]}\n"
            f"telemetry: {{batch_interval: 50ms, hook_events: [failover], hook: {place.hook()}}}\n")


def role():
    result = place.run("coordinator", "--json")
    return json.loads(result.stdout) if result.returncode == 0 else {}


def until(what, condition):
    check(what, wait_until(condition), role(), place.run("status"))


def holder():
    return role().get("holder", "")


def task(name):
    return json.loads(place.run("task", name, "--json").stdout)


def by(name):
    return [attempt["agent"] for attempt in task(name).get("attempts", [])]


def kill_host_of(agent):
    """-9 to the process that hosts it, and to what it started."""
    account = agent.split("@")[0].removeprefix("sim-")
    for pid, command in place.processes():
        if "rota-agent" in command and f"--account {account}" in command:
            os.kill(pid, signal.SIGKILL)
            return True
    return False


check("services start", place.run("up", "--agent", "sim/a=2", "--agent", "sim/b=2", "--agent", "exec=1").returncode == 0)
until("one of two equals gets the role", lambda: len(role().get("candidates", [])) == 2 and holder())
first = role()
holds = first["holder"]
other = next(c["name"] for c in first["candidates"] if c["name"] != holds)
check("with an epoch, and it is said of each candidate whether it could have it",
      first["epoch"] >= 1 and [c["fit"] for c in first["candidates"]] == [True, True], first)
shown = place.run("coordinator").stdout
check("it is shown in words", f"coordinator: {holds}" in shown and "has the role" in shown and "could have it" in shown, shown)
check("and among the agents", "coordinator" in place.run("agents").stdout, place.run("agents"))

# Complex tasks are the holder's; what it doesn't have to do, others do.
place.write("one.yaml", """
name: one
tasks:
  - {id: hard, complexity: 9, prompt: "sim: work 100ms; ok"}
  - {id: hard-too, complexity: 8, prompt: "sim: work 100ms; ok"}
  - {id: easy, complexity: 2, prompt: "sim: work 100ms; ok"}
""")
check("import", place.run("import", "one.yaml").returncode == 0, place.run("import", "one.yaml"))
check("all is done", place.run("wait", "hard", "hard-too", "easy", "--timeout", "60").returncode == 0, place.run("status"))
check("what is complex by the holder", by("hard") == [holds] and by("hard-too") == [holds], by("hard"), by("hard-too"))
check("what is not by the other", by("easy") == [other], by("easy"))

# A limit takes the role away at once; the task that meets it waits for the new holder, and loses nothing.
place.write("two.yaml", f"""
name: two
tasks:
  - {{id: limited, agent: {holds}, prompt: "sim: limit 15s; ok"}}
""")
place.write("later.yaml", 'name: later\ntasks:\n  - {id: harder, complexity: 9, prompt: "sim: work 100ms; ok"}\n')
check("import", place.run("import", "two.yaml").returncode == 0)
until("a limit of the holder gives the role to the other", lambda: holder() == other)
second = role()
check("under the next epoch, and it says why", second["epoch"] == first["epoch"] + 1 and
      second["reason"].startswith(holds) and "rests" in second["reason"], second)
check("import", place.run("import", "later.yaml").returncode == 0)
check("complex work goes there", place.run("wait", "harder", "--timeout", "60").returncode == 0 and by("harder")[-1] == other,
      place.run("status"))
refused = place.run("coordinator", "transfer", holds)
check("who rests can't be given the role", refused.returncode == 4 and "rests" in refused.stderr, refused)
check("nor somebody unknown", place.run("coordinator", "transfer", "nobody").returncode == 2)
check("nor is half a sentence understood", place.run("coordinator", "transfer").returncode == 2)
check("the limit used no attempt", place.run("wait", "limited", "--timeout", "60").returncode == 0 and
      task("limited").get("attempts_used", 0) == 0, task("limited"))
check("transfer by hand", place.run("coordinator", "transfer", holds).returncode == 0)
until("gives it back", lambda: holder() == holds and role().get("by_hand"))
events = [json.loads(line) for line in place.run("events", "--json").stdout.splitlines()]
changes = [event.get("agent") for event in events if event["type"] == "coordinator.changed"]
check("each change is an event", changes == [holds, other, holds], changes)

check("and a hook is told", wait_until(lambda: place.told("failover") == ["coordinator.changed"] * len(changes)), place.told("failover"))

# Its host is killed: nobody waits for its leases.
third = role()
check("the holder's host is killed", kill_host_of(holds))
until("another has the role", lambda: holder() == other)
check("epochs only rise", role()["epoch"] > third["epoch"], role())

until("its host is back", lambda: any(c["name"] == holds and c["fit"]
                                     for c in role().get("candidates", [])))
check("one of the two is drained", place.run("drain", holds).returncode == 0)
check("the holder steps down", place.run("coordinator", "step-down").returncode == 0)
until("and where nobody else can have it the role is vacant", lambda: role() and not holder())
place.write("three.yaml", 'name: three\ntasks:\n  - {id: waits, complexity: 10, prompt: "sim: work 100ms; ok"}\n'
            '  - {id: command, complexity: 10, run: "true"}\n')
check("import", place.run("import", "three.yaml").returncode == 0)
check("what doesn't need the role goes on", place.run("wait", "command", "--timeout", "60").returncode == 0)
why = place.run("why", "waits").stdout
check("why says what the other waits for", "coordinator" in why or task("waits")["status"] == "done", why)
until("who stepped down is a candidate again after a while, and has it", lambda: holder() == other)
check("then the work goes on", place.run("wait", "waits", "--timeout", "60").returncode == 0, place.run("why", "waits"))

epoch = role()["epoch"]
check("down", place.run("down").returncode == 0)
check("up with another agent", place.run("up", "--agent", "sim/c=1").returncode == 0)
until("it is elected when the old ones have not come back", lambda: holder().startswith("sim-c@"))
check("and the epoch goes on", role()["epoch"] > epoch, role(), epoch)
place.run("down")
finish()
