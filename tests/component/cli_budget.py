#!/usr/bin/python3
"""Budgets: a limit holds what is new of its scope, is raised while all runs, and what was spent survives a kill -9."""
import sqlite3

from cli_support import Place, check, finish, json, os, signal, wait_until

QUICK = {"ROTA_SCHEDULER_BACKOFF_BASE": "100ms", "ROTA_BUDGET_ESTIMATE": "usd=0.40 tokens=1000"}
place = Place()


def lines(where, *arguments):
    """The budget's lines by scope, measure and period."""
    document = json.loads(where.run("budget", "--json", *arguments).stdout)
    return {(line["scope"], line["measure"], line["period"]): line for line in document["budgets"]}


def add(where, name, prompt):
    where.write(f"{name}.yaml", f'name: {name}\ntasks:\n  - {{id: {name}, prompt: "{prompt}"}}\n')
    result_of = where.run("import", f"{name}.yaml")
    check(f"{name} is imported", result_of.returncode == 0, result_of)


def scheduler_of(where):
    """Its process id."""
    for process in os.listdir("/proc"):
        if not process.isdigit():
            continue
        try:
            with open(f"/proc/{process}/cmdline", "rb") as file:
                command = file.read().split(b"\0")
        except OSError:
            continue
        if command[0].endswith(b"rota-scheduler") and where.state.encode() in command:
            return int(process)
    return None


place.write("rota.yaml", f"telemetry: {{batch_interval: 50ms, hook_events: [budget], hook: {place.hook()}}}\n")
place.write("plan.yaml", """
name: plan
tasks:
  - {id: one, prompt: "sim: use 500 0.25; ok"}
  - {id: two, prompt: "sim: use 500 0.30; ok", after: one}
  - {id: three, prompt: "sim: use 500 0.30; ok", after: two}
  - {id: free, run: "true", after: two}
""")
result = place.run("run", "plan.yaml", "--agent", "sim=1", "--agent", "exec=1", "--budget", "0.60usd", environment=QUICK)
check("a run whose budget is used up ends as one that needs a person", result.returncode == 5, result)
check("and says so", "out of budget" in result.stdout and "budget  0.60usd" in result.stdout, result)

check("up", place.run("up", "--agent", "sim=1", "--agent", "exec=1", environment=QUICK).returncode == 0)
state = {task["id"]: task["status"] for task in json.loads(place.run("tasks", "--json").stdout)["tasks"]}
check("what costs nothing went on, what is over the budget waits",
      state == {"one": "done", "two": "done", "three": "pending", "free": "done"}, state)
why = place.run("why", "three").stdout
check("why says which budget, how much, and what to do", "budget of source/plan" in why and "$0.60" in why and "rota budget raise" in why,
      why)
status = json.loads(place.run("status", "--json").stdout)
check("status counts it", status["out_of_budget"] == 1, status)
shown = place.run("context", "show", "three")
check("with little left less is told", shown.returncode == 0 and "of what pays for it 91 % are spent" in shown.stderr, shown)
known = lines(place)
line = known[("source/plan", "usd", "life")]
check("the budget's line has limit, spent and what is left", line["limit"] == 0.6 and abs(line["spent"] - 0.55) < 1e-9
      and line["exhausted"], line)
table = place.run("budget").stdout
check("the table says it in words", "source/plan" in table and "$0.60 in all" in table and "used up" in table, table)
check("a hook is told that there is one, that most of it is used, then that all is",
      wait_until(lambda: place.told("budget") == ["budget.changed", "budget.warning", "budget.exhausted"]), place.told("budget"))
check("raise never lowers", place.run("budget", "raise", "source/plan", "usd=0.1").returncode != 0)
check("nonsense is refused with what would be right", "_per_day" in place.run("budget", "set", "all", "euro=5").stderr)
check("so is a task that isn't there", "there is no task" in place.run("budget", "set", "task/nobody", "usd=1").stderr)
check("raised while all runs", place.run("budget", "raise", "source/plan", "usd=+1").returncode == 0)
check("what waited goes on by itself", wait_until(lambda: place.run("wait", "three").returncode == 0))
check("events tell of it", {"budget.exhausted", "budget.changed"} <=
      {json.loads(event)["type"] for event in place.run("events", "--json").stdout.splitlines()},
      place.run("events", "--json"))

# A kill between reservation and settlement: what was spent stays, what is reserved stays, and both add up.
before = lines(place, "--all")[("all", "usd", "life")]["counted"]
check("a limit by hand", place.run("budget", "set", "all", f"usd={before + 0.5}").returncode == 0)
add(place, "slow", "sim: use 100 0.45; work 2s; ok")
check("it runs, and is reserved for", wait_until(lambda: lines(place)[("all", "usd", "life")]["reserved"] > 0))
first = scheduler_of(place)
os.kill(first, signal.SIGKILL)
check("another scheduler serves", wait_until(lambda: scheduler_of(place) not in (None, first)))
check("it answers", wait_until(lambda: place.run("budget").returncode == 0))
line = lines(place)[("all", "usd", "life")]
check("nothing that was spent is forgotten, the limit by hand neither",
      line["counted"] >= before and line["counted"] + line["reserved"] > before and line["by_hand"], (before, line))
check("it ends", wait_until(lambda: place.run("wait", "slow").returncode == 0))
line = lines(place)[("all", "usd", "life")]
check("what is reserved became what was used", line["reserved"] == 0 and line["counted"] >= before + 0.4, (before, line))
place.run("down")
with sqlite3.connect(os.path.join(place.state, "rota.db")) as store:
    check("no reservation is left behind", store.execute("SELECT count(*) FROM reservation").fetchone() == (0,))

# From the settings; the share of a subscription's window; what is unknown is no 0.
other = Place()
other.write("rota.yaml", """
budget:
  limits: ["account/sim/default window_share=80%", "kind/sim attempts_per_day=100"]
""")
check("up with limits in the settings", other.run("up", "--agent", "sim=1").returncode == 0)
add(other, "w1", "sim: quota 85 1h; ok")
other.run("wait", "w1")
add(other, "w2", "sim: ok")
check("a window that is used for so much holds paid work", wait_until(lambda: "window" in other.run("why", "w2").stdout))
check("the line of the window has its share and its end",
      abs(lines(other)[("account/sim/default", "window", "window")]["spent"] - 0.85) < 1e-6
      and lines(other)[("account/sim/default", "window", "window")]["until"], lines(other))
check("raised, it goes on", other.run("budget", "set", "account/sim/default", "window_share=none").returncode == 0
      and other.run("wait", "w2").returncode == 0)
check("removed, the settings' limit holds again", other.run("budget", "remove", "account/sim/default").returncode == 0
      and ("account/sim/default", "window", "window") in lines(other))
other.run("down")
other.write("rota.yaml", 'budget:\n  limits: ["kind/sim usd_per_dya=1"]\n')
result = other.run("up", "--agent", "sim=1")
check("a wrong limit in the settings is refused with its place", result.returncode != 0, result)
finish()
