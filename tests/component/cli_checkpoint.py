#!/usr/bin/python3
"""Checkpoints: taken, listed, read, gone back to; at a context limit, before what can't be undone; kept by number."""
import shutil
import sqlite3

from cli_support import Place, check, finish, json, os, wait_until

QUICK = {"ROTA_SCHEDULER_BACKOFF_BASE": "100ms"}
place = Place()


def document(*arguments):
    result = place.run(*arguments, "--json")
    check(" ".join(arguments) + " works", result.returncode == 0, result)
    return json.loads(result.stdout)


def checkpoints():
    return document("checkpoint", "list")["checkpoints"]


def priority(name):
    store = sqlite3.connect(f"file:{place.state}/rota.db?mode=ro", uri=True)
    try:
        return store.execute("SELECT priority FROM task WHERE id = ?", (name,)).fetchone()[0]
    finally:
        store.close()


place.write("plan.yaml", """
name: plan
tasks:
  - {id: one, run: "true"}
  - {id: two, run: "true", after: one}
  - {id: high, run: "true", after: gate, priority: high}
  - {id: gate, run: "true", after: one, approval: true}
  - {id: gone, run: "true", after: gate}
""")
check("up", place.run("up", "--agent", "exec=1", "--agent", "sim=1", environment=QUICK).returncode == 0)
check("nothing is there at first", "There is no checkpoint" in place.run("checkpoint", "list").stdout)
check("imported", place.run("import", "plan.yaml").returncode == 0)
check("what can run has run", wait_until(lambda: json.loads(place.run("task", "two", "--json").stdout)["status"] == "done"))
check("paused", place.run("pause").returncode == 0)
first = document("checkpoint")
check("it says its number, cause and size", first["id"] == 1 and first["cause"] == "by_hand"
      and 0 < first["size_bytes"] <= 4096 and first["time"], first)
shown = document("checkpoint", "show", "1")
check("what it holds is right", shown["paused"] and shown["tasks"]["done"] >= 2 and shown["last_event"] > 0
      and shown["scheduler_epoch"] >= 1 and len(shown["priorities"]) == shown["priority_count"] >= 1
      and "high" in {it["id"] for it in shown["priorities"]}, shown)
before = {name: priority(name) for name in ("high", "gone")}
check("priorities changed by hand", place.run("priority", "gone", "critical").returncode == 0
      and place.run("priority", "high", "low").returncode == 0)
check("resumed", place.run("resume").returncode == 0)
check("they did change", {name: priority(name) for name in before} != before)
done = json.loads(place.run("status", "--json").stdout)["counts"]
back = document("checkpoint", "restore", "1")
check("it says what it brought back", "paused" in back["restored"] and "the priority of 2 tasks" in back["restored"], back)
check("and what not", any("what tasks have come to" in text for text in back["kept"]), back)
check("priorities are as they were", {name: priority(name) for name in before} == before, before)
status = json.loads(place.run("status", "--json").stdout)
check("paused again, no task went back", status.get("paused") and status["counts"] == done, status)
check("what was there before is a checkpoint", checkpoints()[0]["cause"] == "checkpoint_restore"
      and checkpoints()[0]["id"] == back["before"])
words = place.run("checkpoint", "restore", str(back["before"])).stdout
check("so it can be undone", "no longer paused" in words and priority("high") != before["high"], words)
words = place.run("checkpoint", "show", "1").stdout
check("in words", "paused" in words and "priority  high" in words, words)
check("the alias of the design", place.run("store", "checkpoint", "list").returncode == 0)
check("one that isn't there", "rota checkpoint list" in place.run("checkpoint", "show", "99").stderr)
check("no number", place.run("checkpoint", "show", "x").returncode == 2)
check("no word", "usage" in place.run("checkpoint", "shwo").stderr)
check("events tell of it", [event for event in place.run("events", "--json").stdout.splitlines()
                            if json.loads(event)["type"] == "checkpoint"])

place.write("long.yaml", 'name: long\ntasks:\n  - {id: long, prompt: "sim: context; ok"}\n')
check("a task that meets its context limit", place.run("import", "long.yaml").returncode == 0)
check("leaves a checkpoint", wait_until(lambda: checkpoints()[0]["cause"] == "context_limit"), place.run("checkpoint", "list"))
place.write("plan.yaml", "name: plan\ntasks:\n  - {id: one, run: \"true\"}\n  - {id: two, run: \"true\", after: one}\n")
check("pruned", place.run("import", "--prune", "plan.yaml").returncode == 0)
check("a checkpoint of what was there first", checkpoints()[0]["cause"] == "import_prune")
shown = document("checkpoint", "show", str(checkpoints()[0]["id"]))
check("before anything was cancelled", shown["tasks"]["cancelled"] == 0, shown)

copy = os.path.join(place.path, "backup.db")
check("a backup", place.run("backup", copy).returncode == 0)
check("later", place.run("pause").returncode == 0)
count = len(checkpoints())
place.run("down")
check("restored", place.run("restore", copy).returncode == 0)
LIMITED = dict(QUICK, ROTA_SCHEDULER_CHECKPOINTS="3")
check("up with room for three", place.run("up", "--agent", "exec=1", environment=LIMITED).returncode == 0)
latest = checkpoints()[0] if checkpoints() else {}
check("the store that was replaced left a checkpoint in the one in its place",
      latest.get("cause") == "store_restore" and document("checkpoint", "show", str(latest["id"]))["paused"], (count, latest))
newest = [document("checkpoint")["id"] for _ in range(4)][-1]
check("only as many as the setting says are kept, the newest", [it["id"] for it in checkpoints()] ==
      [newest, newest - 1, newest - 2], checkpoints())
place.run("down")
shutil.rmtree(place.state, ignore_errors=True)

# Roles and what rests: an account that waits for a person, the coordinator given by hand, an agent that drains.
place = Place()
check("up with four", place.run("up", "--no-auto-resume", "--agent", "sim/a=1", "--agent", "sim/b=1", "--agent", "sim/c=1",
                                "--agent", "exec=1", environment=QUICK).returncode == 0)


def agents():
    return {agent["account"]: agent for agent in document("agents")["agents"]}


def holder():
    role = document("coordinator")
    return role.get("holder") if role.get("by_hand") else None


def rests():
    return sorted(account for account, agent in agents().items() if agent.get("cooldown_by_hand"))


def drains():
    return sorted(account for account, agent in agents().items() if agent.get("draining"))


check("all are there", wait_until(lambda: {"sim/a", "sim/b", "sim/c"} <= set(agents()) and len(agents()) == 4), agents())
names = {account: agent["name"] for account, agent in agents().items()}
command = next(account for account in names if account.startswith("exec"))
check("one is given the coordinator's role", place.run("coordinator", "transfer", names["sim/a"]).returncode == 0 and holder() == names["sim/a"])
place.write("limit.yaml", f'name: limit\ntasks:\n  - {{id: l, prompt: "sim: limit 1s; ok", agent: "{names["sim/c"]}"}}\n')
check("one meets a limit", place.run("import", "limit.yaml").returncode == 0 and wait_until(lambda: rests() == ["sim/c"]), agents())
check("one drains", place.run("drain", names[command]).returncode == 0 and drains() == [command], agents())
kept = document("checkpoint")["id"]
words = place.run("checkpoint", "show", str(kept)).stdout
check("the checkpoint has all three", all(word in words for word in ("until `rota resume`", "drains    " + names[command], names["sim/a"])), words)

os.remove(os.path.join(place.state, "accounts", "sim-c", "limited-until"))
check("resumed", place.run("resume", names["sim/c"], names[command]).returncode == 0 and place.run("wait", "l").returncode == 0
      and not rests() and not drains(), agents())
check("another has the role", place.run("coordinator", "transfer", names["sim/b"]).returncode == 0 and holder() == names["sim/b"])
back = document("checkpoint", "restore", str(kept))
check("it says what it brought back", len([text for text in back["restored"] if "`rota resume`" in text or "draining" in text
                                           or names["sim/a"] in text]) == 3, back)
check("the account rests again", rests() == ["sim/c"], agents())
check("the first has the role again", holder() == names["sim/a"], document("coordinator"))
check("the agent drains again", drains() == [command], agents())
place.write("more.yaml", f'name: more\ntasks:\n  - {{id: m, prompt: "sim: ok", agent: "{names["sim/c"]}"}}\n  - {{id: n, run: "true"}}\n')
check("more work", place.run("import", "more.yaml").returncode == 0)
check("which waits for them", not wait_until(lambda: "pending" not in {document("task", name)["status"] for name in "mn"}, 2))
check("resume opens both", place.run("resume", names["sim/c"], names[command]).returncode == 0
      and place.run("wait", "m", "n").returncode == 0 and not rests() and not drains(), agents())
place.run("down")
finish()
