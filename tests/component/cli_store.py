#!/usr/bin/python3
"""Verbs that need only broker and scheduler: services come for one question and go with it; nothing is handed out."""
from cli_support import Place, check, finish, json, lines_of_json, os, wait_until
import shutil
import sqlite3

place = Place()
place.write("plan.yaml", """
name: plan
tasks:
  - {id: a, run: 'touch ran'}
  - {id: b, title: The second, run: 'true', after: a, priority: high, timeout: 2m}
epics:
  - id: e
    title: E
    tasks:
      - {id: c, run: 'true', after: b}
      - {id: d, run: 'true', after: c, status: done}
""")


def status_of(name):
    document = json.loads(place.run("tasks", name, "--json").stdout)
    return document["tasks"][0]["status"]


result = place.run("import", "plan.yaml", "--dry-run")
check("a dry run of an import shows the difference", result.returncode == 0 and "would be: 5 added" in result.stdout, result)
check("and imports nothing", json.loads(place.run("status", "--json").stdout)["total"] == 0)
result = place.run("import", "plan.yaml")
check("import", result.returncode == 0 and "5 added" in result.stdout, result)
result = place.run("import", "plan.yaml")
check("again: nothing is new", result.returncode == 0 and "5 unchanged" in result.stdout, result)
check("nothing has run", not os.path.exists(os.path.join(place.path, "ran")))
check("nothing is left running", wait_until(lambda: not place.processes(), 10), place.processes())

result = place.run("status")
check("status", result.returncode == 0 and "1 of 4 done" in result.stdout, result)
status = json.loads(place.run("status", "--json").stdout)
check("the counts add up", sum(status["counts"].values()) == status["total"] == 4, status)
result = place.run("tasks")
check("tasks, a table", result.returncode == 0 and result.stdout.splitlines()[0].split()[:2] == ["STATUS", "ID"]
      and len(result.stdout.splitlines()) == 5, result)
result = place.run("tasks", "--status", "done", "--json")
check("tasks by status", [task["id"] for task in json.loads(result.stdout)["tasks"]] == ["d"], result)
result = place.run("tasks", "--in", "e", "--json")
check("tasks of a group", sorted(task["id"] for task in json.loads(result.stdout)["tasks"]) == ["c", "d"], result)
task = json.loads(place.run("task", "b", "--json").stdout)
check("one task", task["definition"]["timeout_ms"] == 120000 and task["definition"]["priority"] == 50
      and task["prerequisites"][0]["id"] == "a" and task["waiting"], task)
result = place.run("why", "c")
check("why names what holds it", result.returncode == 0 and "a" in result.stdout and "b" in result.stdout, result)
for verb in (["task", "nosuch"], ["why", "nosuch"], ["retry", "nosuch"], ["wait", "nosuch"]):
    result = place.run(*verb)
    check(f"rota {' '.join(verb)}: unknown, exit 2", result.returncode == 2 and "nosuch" in result.stderr, result)

# The export is the same graph, and importing it changes nothing.
result = place.run("export", "out.yaml")
check("export", result.returncode == 0, result)
check("what was exported is valid", place.run("validate", "--strict", "out.yaml").returncode == 0,
      place.read("out.yaml"))
result = place.run("import", "out.yaml")
check("importing the export changes nothing", result.returncode == 0 and "5 unchanged" in result.stdout
      and "added" not in result.stdout and "orphaned" not in result.stdout, result, place.read("out.yaml"))
check("export to standard output is the same text", place.run("export").stdout == place.read("out.yaml"))

# Changes by hand.
check("hold", place.run("hold", "a", "--reason", "not today").returncode == 0 and status_of("a") == "blocked")
check("why tells the reason", "not today" in place.run("why", "a").stdout)
check("release", place.run("release", "a").returncode == 0 and status_of("a") == "pending")
check("cancel", place.run("cancel", "a").returncode == 0 and status_of("a") == "cancelled")
task = json.loads(place.run("task", "b", "--json").stdout)
check("what waits for it is unreachable", task.get("unreachable"), task)
result = place.run("wait", "b")
check("wait ends with 1 then", result.returncode == 1, result)
check("retry", place.run("retry", "a").returncode == 0 and status_of("a") == "pending")
result = place.run("retry", "d")
check("retry of what is done is refused with 4", result.returncode == 4 and "reopen" in result.stderr, result)
check("reopen", place.run("reopen", "d").returncode == 0 and status_of("d") == "pending")
check("priority", place.run("priority", "a", "-7").returncode == 0
      and json.loads(place.run("task", "a", "--json").stdout)["definition"].get("priority") in (-7, None))
check("pause", place.run("pause").returncode == 0)
check("status says so", "resume" in place.run("status").stdout)
check("resume", place.run("resume").returncode == 0)

# Submitted tasks.
result = place.run("submit", "--title", "say it", "--", "echo", "a b", "$HOME", "it's")
check("submit prints the id", result.returncode == 0 and result.stdout.startswith("s-"), result)
task = json.loads(place.run("task", result.stdout.strip(), "--json").stdout)
check("its words are quoted", task["definition"]["run"] == "echo 'a b' '$HOME' 'it'\\''s'", task["definition"]["run"])
check("it runs where it was typed", task["definition"]["directory"] == place.path, task)
result = place.run("submit", "--id", "mine", "--after", "a", "--json", "true | cat")
check("one word is a shell line", json.loads(result.stdout) == {"id": "mine", "added": True}
      and json.loads(place.run("task", "mine", "--json").stdout)["definition"]["run"] == "true | cat", result)
result = place.run("submit", "--id", "mine", "--after", "a", "true | cat")
check("the same again adds nothing", result.returncode == 0 and "already" in result.stderr, result)
result = place.run("submit", "--after", "nosuch", "true")
check("a submit after an unknown task is refused", result.returncode == 2 and "nosuch" in result.stderr, result)
result = place.run("export", "again.yaml")
check("submitted tasks stay out of the roadmap's export", "mine" not in place.read("again.yaml")
      and "left out" in result.stderr, result)

events = lines_of_json(place.run("events", "--json").stdout)
numbers = [event["seq"] for event in events]
check("events rise by number", numbers == sorted(set(numbers)) and len(numbers) > 5, numbers)
tail = lines_of_json(place.run("events", "--tail", "2", "--json").stdout)
# Each command here starts services of its own, which says so in the log.
check("events --tail", len(tail) == 2 and tail[0]["seq"] + 1 == tail[1]["seq"] and tail[1]["seq"] > numbers[-1], tail)
rest = lines_of_json(place.run("events", "--after", str(numbers[2]), "--json").stdout)
check("events --after", [event["seq"] for event in rest][:len(numbers) - 3] == numbers[3:])
check("events of a task", all(event["task"] == "a" for event in
                              lines_of_json(place.run("events", "--task", "a", "--json").stdout)))

# Backup, check, restore.
result = place.run("store", "backup", "copy.db")
shutil.copy(os.path.join(place.path, "copy.db"), os.path.join(place.path, "again.db"))
check("backup", result.returncode == 0 and os.path.exists(os.path.join(place.path, "copy.db")), result)
result = place.run("check")
check("check", result.returncode == 0 and "sound" in result.stdout, result)
place.run("submit", "--id", "late", "true")
result = place.run("restore", "copy.db")
check("restore", result.returncode == 0 and "kept as" in result.stdout, result)
result = place.run("task", "late")
check("what came after the backup is gone", result.returncode == 2, result)
check("what was before is there", status_of("mine") == "pending")
with sqlite3.connect(os.path.join(place.path, "copy.db")) as store:
    store.execute("DROP TABLE checkpoint")
result = place.run("restore", "copy.db")
check("a restore that can't note what was before is one all the same, with a warning", result.returncode == 0 and
      "restored from " in result.stdout and "warning: it is restored, but" in result.stderr, result)
place.run("submit", "--id", "scrap", "true")
shutil.copy(os.path.join(place.path, "again.db"), os.path.join(place.path, "copy.db"))
check("and another restore", place.run("restore", "copy.db").returncode == 0 and status_of("mine") == "pending")
place.write("junk.db", "no database")
result = place.run("restore", "junk.db")
check("junk is refused and changes nothing", result.returncode == 2 and status_of("mine") == "pending", result)

result = place.run("leader", "--json")
check("leader", any(peer["role"] == "scheduler" for peer in json.loads(result.stdout)["peers"]), result)
result = place.run("status", "--broker", f"ipc://{place.path}/nobody.sock", "--connect-timeout", "200ms")
check("an explicit broker that isn't there: exit 3", result.returncode == 3 and "nobody.sock" in result.stderr, result)
result = place.run("status", "--broker", "nonsense")
check("an endpoint that is none: exit 2", result.returncode == 2, result)

# Ids and titles from outside cannot do anything to a terminal.
place.write("evil.yaml", 'name: evil\ntasks:\n  - {id: evil, title: "x\\e[2Jy", run: "true"}\n')
place.run("import", "evil.yaml")
for verb in (["tasks"], ["task", "evil"], ["status"]):
    check(f"rota {verb[0]} prints no escape", "\x1b" not in place.run(*verb).stdout)
check("nothing is left running at the end", wait_until(lambda: not place.processes(), 10), place.processes())
finish()
