#!/usr/bin/python3
"""Agents that meet limits, fail, crash, lie and are not there: each task once, no attempt lost to a limit, all of it said."""
import atexit

from cli_support import BIN, Place, check, finish, json, os, subprocess, wait_until

QUICK = {"ROTA_SCHEDULER_BACKOFF_BASE": "200ms", "ROTA_SCHEDULER_COOLDOWN_FLOOR": "1s",
         "ROTA_SCHEDULER_COOLDOWN_MARGIN": "200ms", "ROTA_SCHEDULER_COOLDOWN": "1s"}
place = Place()


def attach(where, name):
    """An agent host started by hand, beside the services."""
    process = subprocess.Popen([os.path.join(BIN, "rota-agent"), "--state", where.state, "--kind", "sim", "--name", name],
                               cwd=where.path, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    atexit.register(process.wait)
    atexit.register(process.terminate)


def attempts_of(name):
    return json.loads(place.run("task", name, "--json").stdout)["attempts"]


def results_of(name):
    """From the first attempt to the last."""
    return [attempt["result"]["class"] for attempt in sorted(attempts_of(name), key=lambda attempt: attempt["number"])]


place.write("plan.yaml", """
name: plan
tasks:
  - {id: plan, prompt: "sim: work 200ms; ok"}
  - {id: code, prompt: "sim: work 100ms; limit 2s; work 100ms; ok", after: plan, attempts: 1}
  - {id: docs, prompt: "sim: write notes.md hello; ok", after: plan}
  - {id: flaky, prompt: "sim: fail boom; ok", after: plan}
  - {id: crashes, prompt: "sim: crash; ok", after: plan}
  - {id: lies, prompt: "sim: lie; nothing; ok", after: plan}
  - {id: hangs, prompt: "sim: hang; ok", timeout: 1s, after: plan}
  - {id: check, run: "test \\"$(cat notes.md)\\" = hello", after: [code, docs]}
""")
result = place.run("run", "plan.yaml", "--agent", "sim=2", "--agent", "exec=1", environment=QUICK)
check("a run with an agent that does everything wrong ends well", result.returncode == 0, result)
check("what rests is said, and when it works again", " rests until " in result.stdout and "works again" in result.stdout,
      result)
check("a limit uses no attempt: one was allowed", results_of("code") == ["limited", "ok"], results_of("code"))
check("the session was gone on with: the second attempt began behind the limit",
      len({attempt["result"].get("session") for attempt in attempts_of("code")}) == 1
      and attempts_of("code")[0]["result"].get("session"), attempts_of("code"))
check("a failure is tried again", [r for r in results_of("flaky") if r != "limited"] == ["failed", "ok"], results_of("flaky"))
check("a crash is a failure", [r for r in results_of("crashes") if r != "limited"] == ["failed", "ok"],
      results_of("crashes"))
check("who says success and exits otherwise, or exits well and says nothing, is not believed",
      [r for r in results_of("lies") if r != "limited"] == ["failed", "failed", "ok"], results_of("lies"))
check("who hangs is ended", [r for r in results_of("hangs") if r != "limited"] == ["timeout", "ok"], results_of("hangs"))

# Attached at runtime; the limit of an account holds for agents that come later, and over a restart.
other = Place()
other.write("two.yaml", """
name: two
tasks:
  - {id: first, prompt: "sim: work 100ms; limit 1h; ok"}
  - {id: second, prompt: "sim: ok", after: []}
""")
check("up", other.run("up", "--agent", "exec=1", environment=QUICK).returncode == 0)
check("import", other.run("import", "two.yaml").returncode == 0)
check("nobody can take them", "no agent that is known can take it" in other.run("why", "first").stdout, other.run("why", "first"))
attach(other, "late@here")


def cooldown():
    agents = json.loads(other.run("agents", "--json").stdout)["agents"]
    return [agent for agent in agents if agent.get("cooldown_until")]


check("an agent that was started by hand takes work, and its account rests", wait_until(cooldown, 20), other.run("agents"))
check("why says what rests, until when and why", "sim/default rests for" in other.run("why", "second").stdout,
      other.run("why", "second"))
check("status says it", "limit of an agent's account" in other.run("status").stdout, other.run("status"))
attach(other, "later@here")
check("another agent of the account rests as well", wait_until(lambda: len(cooldown()) == 2, 20), other.run("agents"))
check("down", other.run("down").returncode == 0)
check("up again", other.run("up", "--agent", "sim=1", environment=QUICK).returncode == 0)
check("the limit holds after a restart", wait_until(cooldown, 20), other.run("agents"))
attempts = len(json.loads(other.run("task", "second", "--json").stdout)["attempts"])
check("and nothing was tried meanwhile", attempts == 0, other.run("task", "second"))
os.remove(os.path.join(other.state, "accounts", "sim-default", "limited-until"))
name = next(agent["name"] for agent in cooldown() if agent["connected"])
check("opened by hand", other.run("resume", name).returncode == 0)
check("it works", other.run("wait", "first", "second").returncode == 0, other.run("status"))
check("down", other.run("down").returncode == 0)

# A host without memory to spare takes nothing, and says so.
full = Place()
full.write("one.yaml", "tasks:\n  - {id: x, run: 'true'}\n  - {id: y, run: 'true'}\n")
full.run("up", "--agent", "exec=1", environment={"ROTA_AGENTS_MEMORY_RESERVE": "60TiB", "ROTA_SCHEDULER_AGENT_HEARTBEAT": "100ms"})
check("a host short of memory is shown", wait_until(lambda: "short of memory" in full.run("agents").stdout, 20), full.run("agents"))
full.run("import", "one.yaml")
check("it takes nothing", json.loads(full.run("status", "--json").stdout)["counts"]["pending"] == 2, full.run("status"))
check("why says so", "short of memory" in full.run("why", "y").stdout, full.run("why", "y"))
full.run("down")

# More agents and fewer under services that run.
crew = Place()
crew.run("up", "--agent", "exec=1")


def names(**wanted):
    agents = json.loads(crew.run("agents", "--json").stdout)["agents"]
    return {agent["name"].split("@")[0] for agent in agents if all(agent.get(key) == value for key, value in wanted.items())}


check("agents add", crew.run("agents", "add", "sim=2", "exec=1").returncode == 0
      and wait_until(lambda: names(connected=True) == {"exec", "sim", "exec-2"}, 20), crew.run("agents"))
host = os.uname().nodename
check("agents drain", crew.run("agents", "drain", "sim@" + host).returncode == 0 and names(draining=True) == {"sim"},
      crew.run("agents"))
check("agents remove", crew.run("agents", "remove", "exec-2@" + host).returncode == 0
      and wait_until(lambda: names(connected=True) == {"exec", "sim"}, 20), crew.run("agents"))
check("an unknown kind is refused", crew.run("agents", "add", "nosuch").returncode == 2)
crew.run("down")
check("without services there is nobody to tell", crew.run("agents", "add", "exec").returncode == 3)

# A program that isn't there: said at once, with the remedy, and not found out by a failed task.
bare = Place()
bare.write("one.yaml", "tasks:\n  - {id: x, prompt: hello, agent: claude}\n")
result = bare.run("run", "one.yaml", "--agent", "claude", environment={"PATH": "/nowhere"})
check("a missing program is said with its remedy", result.returncode == 1 and "npm install -g" in result.stdout, result)
check("and no attempt was spent on it", json.loads(bare.run("task", "x", "--json").stdout)["attempts"] == [])
check("why says it too", "is not installed" in bare.run("why", "x").stdout or "no agent that is known" in bare.run("why", "x").stdout,
      bare.run("why", "x"))
result = bare.run("run", "one.yaml", "--agent", "clod")
check("a kind that there isn't: exit 2, with those that there are", result.returncode == 2 and "claude" in result.stderr, result)
finish()
