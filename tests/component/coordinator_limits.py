#!/usr/bin/python3
"""The coordinator meets a limit: another one goes on with reviews and complex tasks, and the preferred one gets the role back
when it was fit for long enough, not sooner. With nobody left only that work waits, and it is said until when."""
from cli_support import SOURCE, Place, check, finish, json, os, wait_until
import sys

sys.path.insert(0, os.path.join(SOURCE, "tests", "support"))
from scripted_agent import ScriptedAgent  # noqa: E402

ALTERNATIONS = 50
HOUR_S = 3600
SETTINGS = ("scheduler: {{backoff_base: 10ms, failback: {}, prefer_complex: [preferred, other], cooldown_floor: 100ms, "
            "cooldown_margin: 50ms}}\n")


class Stage(Place):
    """Two agents that can coordinate, the kind of one preferred, and one that only works."""

    def __init__(self, failback):
        super().__init__()
        self.write("rota.yaml", SETTINGS.format(failback))
        result = self.run("up", "--agent", "exec=1")
        check(f"services start, with a failback of {failback}", result.returncode == 0, result)
        self.first = ScriptedAgent(self.state, "first", "preferred").begin()
        check("the first that comes gets the role", wait_until(lambda: self.holder() == "first@here"), self.role())
        self.second = ScriptedAgent(self.state, "second", "other").begin()
        self.author = ScriptedAgent(self.state, "author", "author", coordinates=False).begin()
        check("the others join", wait_until(lambda: len(json.loads(self.run("agents", "--json").stdout)["agents"]) == 4),
              self.run("agents"))

    def role(self):
        result = self.run("coordinator", "--json")
        return json.loads(result.stdout) if result.returncode == 0 else {}

    def holder(self):
        return self.role().get("holder", "")

    def candidate(self, name):
        return next((it for it in self.role().get("candidates", []) if it["name"] == name), {})

    def until(self, what, condition):
        check(what, wait_until(condition), self.role(), self.run("status"), self.run("agents"))

    def submit(self, name, *tasks):
        self.write(f"{name}.yaml", f"name: {name}\ntasks:\n" + "".join(f"  - {{{task}}}\n" for task in tasks))
        result = self.run("import", f"{name}.yaml")
        check(f"import of {name}", result.returncode == 0, result)

    def done(self, what, *names):
        result = self.run("wait", *names, "--timeout", "60")
        check(what, result.returncode == 0, result, self.run("why", names[0]), self.role())

    def changes(self):
        events = [json.loads(line) for line in self.run("events", "--json").stdout.splitlines()]
        return [event.get("agent", "") for event in events if event["type"] == "coordinator.changed"]

    def meets_limit(self, agent, task, limit_s):
        """By a task of its own, which waits for it."""
        agent.limit_s = limit_s
        before = agent.limits
        self.submit(task, f'id: {task}, prompt: x, agent: "{agent.name}"')
        self.until(f"{agent.name} meets a limit by {task}", lambda: agent.limits > before)

    def close(self):
        for agent in (self.first, self.second, self.author):
            agent.limit_s = None
        self.run("down")
        for agent in (self.first, self.second, self.author):
            agent.leaving = True
            agent.running.clear()
            agent.finished.clear()
            agent.thread.join()


def goes_on_and_does_not_flap():
    """A long failback: whatever happens within it, the role changes once."""
    stage = Stage("1h")
    first, second, author = stage.first, stage.second, stage.author
    first.limit_s = HOUR_S
    stage.submit("hard", "id: hard, prompt: x, complexity: 8")
    stage.until("a limit gives the role to the other", lambda: stage.holder() == "second@here")
    role = stage.role()
    check("and says why", role["reason"].startswith("first@here rests"), role)
    stage.done("the complex task that met the limit is done", "hard")
    check("by the one that has the role now", first.worked() == ["hard"] and second.worked() == ["hard"], first.given, second.given)
    stage.submit("judged", f'id: judged, prompt: x, review: true, agent: "{author.name}"', "id: harder, prompt: x, complexity: 9")
    stage.done("reviews and complex tasks go on", "judged", "harder")
    check("with it", second.reviewed() == ["judged"] and "harder" in second.worked(), second.given)
    stage.submit("swing", f'id: swing, prompt: x, agent: "{first.name}"')
    for turn in range(ALTERNATIONS):  # opened by hand, it takes the task again and meets the limit again
        before = first.limits
        if stage.run("resume", "first@here").returncode or not wait_until(lambda: first.limits > before):
            check(f"alternation {turn}", False, stage.run("why", "swing"), stage.run("agents"))
            break
    check(f"{ALTERNATIONS} alternations of limit and open", first.limits == ALTERNATIONS + 1, first.limits)
    changes = stage.changes()
    check("changed the role not once: it was given twice, at the start and at the first limit",
          changes == ["first@here", "second@here"], changes)
    check("the task that met them all used no attempt", json.loads(stage.run("task", "swing", "--json").stdout)
          .get("attempts_used", 0) == 0)
    stage.close()


def comes_back():
    """A short failback: the preferred one gets the role back by itself."""
    stage = Stage("300ms")
    stage.meets_limit(stage.first, "limited", 1)
    stage.first.limit_s = None
    stage.until("after limit and failback the preferred one has the role again, by itself",
                lambda: stage.changes() == ["first@here", "second@here", "first@here"])
    check("and says why", "preferred" in stage.role()["reason"], stage.role())
    stage.done("what met the limit is done", "limited")
    stage.submit("after", "id: after, prompt: x, complexity: 10")
    stage.done("complex work goes to it again", "after")
    check("and not to the other", "after" in stage.first.worked() and "after" not in stage.second.worked(), stage.second.given)
    stage.close()


def vacant():
    """Both limited: only what needs the role waits."""
    stage = Stage("1h")
    first, second = stage.first, stage.second
    stage.meets_limit(first, "one", HOUR_S)
    stage.until("the other has the role", lambda: stage.holder() == "second@here")
    stage.meets_limit(second, "two", 2 * HOUR_S)
    stage.until("with both limited the role is vacant", lambda: stage.role() and not stage.holder())
    stage.submit("waiting", "id: hard, prompt: x, complexity: 8", "id: judged, prompt: x, review: true, agent: author",
                 "id: easy, prompt: x, complexity: 2", 'id: command, run: "true", complexity: 10')
    stage.done("other work goes on", "easy", "command")
    stage.until("a review waits", lambda: json.loads(stage.run("task", "judged", "--json").stdout)["status"] == "needs_review")
    result = stage.run("wait", "judged", "--timeout", "1")
    check("`rota wait` doesn't take that for something that only a person can end", result.returncode == 6, result)
    role = stage.role()
    ends = {it["name"]: it.get("until") for it in role["candidates"]}
    check("`rota coordinator --json` has a time for each", all(ends.values()) and ends["first@here"] < ends["second@here"], role)
    shown = stage.run("coordinator").stdout
    check("`rota coordinator` says that they wait until then", "coordinator: nobody: reviews and complex tasks wait until " in shown
          and shown.count("limited, until ") == 2, shown)
    for name in ("hard", "judged"):
        why = json.loads(stage.run("why", name, "--json").stdout)
        reason = next((it for it in why.get("reasons", []) if it["code"] == "coordinator"), {})
        check(f"`rota why {name}` says vacant until when", "vacant until 2" in reason.get("text", "")
              and reason.get("until") == ends["first@here"], why)
    status = stage.run("status").stdout
    check("`rota status` says until when", "the next until " in status, status)
    check("nothing that waits was handed out", "hard" not in first.worked() + second.worked() + stage.author.worked()
          and not first.reviewed() + second.reviewed() + stage.author.reviewed())
    first.limit_s = None
    second.limit_s = None
    check("a limit is lifted", stage.run("resume", "second@here").returncode == 0)
    stage.done("it goes on by itself", "hard", "judged")
    check("by the one that is fit", "hard" in second.worked() and second.reviewed() == ["judged"], second.given, first.given)
    stage.close()


goes_on_and_does_not_flap()
comes_back()
vacant()
finish()
