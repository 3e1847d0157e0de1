#!/usr/bin/python3
"""People in the loop: approval asked for by a task or by its epic, questions that park a task, and hooks that tell of both."""
from cli_support import Place, check, finish, json, os, wait_until

place = Place()
place.write("hook", f"#!/bin/sh\ncat >> {place.path}/told; echo >> {place.path}/told\n")
os.chmod(os.path.join(place.path, "hook"), 0o755)
place.write("rota.yaml", "scheduler: {backoff_base: 100ms}\ntelemetry: {batch_interval: 20ms, hook: ['%s/hook']}\n" % place.path)


def plan(approval):
    place.write("plan.yaml", f"""
name: plan
epics:
  - id: release
    {approval}
    tasks:
      - {{id: notes, run: "true"}}
      - {{id: tag, run: "true", after: notes, approval: false}}
      - {{id: late, run: "true", after: go}}
tasks:
  - {{id: deploy, approval: required, agent: sim, prompt: 'sim: run echo once >> deployed; ok; run echo again >> deployed; run cat "$ROTA_CONTEXT" > told-why; ok'}}
  - id: asks
    agent: sim
    prompt: >-
      sim: run echo '{{"type":"question","text":"Which colour?"}}' >> "$ROTA_OUTBOX"; nothing; run cat "$ROTA_CONTEXT" > told-it; ok
  - id: asked
    agent: sim
    approval: required
    prompt: >-
      sim: run echo '{{"type":"question","text":"Which day?"}}' >> "$ROTA_OUTBOX"; nothing; ok; run cat "$ROTA_CONTEXT" > told-back; ok
  - {{id: go, approval: required, run: "true"}}
""")
    return place.run("import", "plan.yaml")


def task(name):
    return json.loads(place.run("task", name, "--json").stdout)


def told():
    path = os.path.join(place.path, "told")
    if not os.path.exists(path):
        return []
    with open(path, encoding="utf-8") as file:
        found = [json.loads(line) for line in file.read().splitlines() if line.endswith("}")]
    return [(notice["kind"], notice["event"].get("task")) for notice in found]


def awaits(name):
    return wait_until(lambda: task(name).get("phase") == "approval", 60)


check("up", place.run("up", "--agent", "exec=2", "--agent", "sim=2").returncode == 0)
result = plan("approval: required")
check("import", result.returncode == 0, result)
for name in ("notes", "deploy", "go"):
    check(f"{name} awaits approval", awaits(name), task(name), place.run("status"))
    check(f"{name}: `why` says what to type", "`rota approve`" in place.run("why", name).stdout, place.run("why", name))
    check(f"{name}: a hook tells of it", wait_until(lambda name=name: ("human", name) in told(), 30), told())
check("what waits for it waits", task("tag")["status"] == "pending", task("tag"))
check("the question parks its task", wait_until(lambda: task("asks")["status"] == "blocked", 60) and
      task("asks")["reason"] == "Which colour?", task("asks"))
check("a hook tells of it", wait_until(lambda: ("blocked", "asks") in told(), 30), told())
check("nothing else goes on with it meanwhile", len(task("asks")["attempts"]) == 1, task("asks"))

result = place.run("answer", "asks", "Green.")
check("the answer resumes it", result.returncode == 0 and wait_until(lambda: task("asks")["status"] == "done", 60), result, task("asks"))
check("and is what the agent is told", "Green." in place.read("told-it"), place.read("told-it"))
check("approve", place.run("approve", "notes").returncode == 0 and wait_until(lambda: task("tag")["status"] == "done", 60), task("tag"))
check("who says of itself that it needs none has none, whatever its epic says", "approval" not in [
    attempt.get("phase") for attempt in task("tag")["attempts"]] and ("human", "tag") not in told(), told())
result = place.run("reject", "deploy", "--reason", "not on a Friday")
check("reject: it goes back with the reason, and asks again", result.returncode == 0 and wait_until(
    lambda: len([attempt for attempt in task("deploy")["attempts"] if attempt["phase"] == "work"]) == 2, 60) and awaits("deploy"),
    result, task("deploy"))
check("reject: the reason is what the agent is told", "it was sent back: not on a Friday" in place.read("told-why"), place.read("told-why"))
check("reject: a hook tells of it each time", wait_until(lambda: told().count(("human", "deploy")) == 2, 30), told())
check("approved in the end it is done", place.run("approve", "deploy").returncode == 0 and wait_until(lambda: task("deploy")["status"] == "done", 60) and
      place.read("deployed").split() == ["once", "again"], task("deploy"))
check("only what awaits it can be approved", place.run("approve", "deploy").returncode != 0)

# What a person said when it went back isn't lost to what was said before.
check("another question parks its task", wait_until(lambda: task("asked")["status"] == "blocked", 60), task("asked"))
check("it is answered", place.run("answer", "asked", "On Monday.").returncode == 0 and awaits("asked"), task("asked"))
check("pause", place.run("pause").returncode == 0)
result = place.run("reject", "asked", "--reason", "Monday is a holiday")
shown = place.run("context", "show", "asked").stdout
check("`rota context show` shows what will be sent", result.returncode == 0 and "it was sent back: Monday is a holiday" in shown and
      "On Monday." in shown, result, shown)
check("resume", place.run("resume").returncode == 0 and wait_until(
    lambda: os.path.exists(os.path.join(place.path, "told-back")) and awaits("asked"), 60), task("asked"))
check("the answer and the reason are both told", "it was sent back: Monday is a holiday" in place.read("told-back") and
      "On Monday." in place.read("told-back"), place.read("told-back"))
check("approve it", place.run("approve", "asked").returncode == 0)

result = plan("title: Release")
place.run("approve", "go")
check("an epic that asks for none any more asks for none", result.returncode == 0 and wait_until(
    lambda: task("late")["status"] == "done", 60) and ("human", "late") not in told(), task("late"), told())
check("rota check", place.run("check").returncode == 0)
check("down", place.run("down").returncode == 0)
finish()
