#!/usr/bin/python3
"""The coordinator's epoch: what it gets as the coordinator carries it, its late verdict is refused by it and said, its work of
before counts; over a scheduler that is killed in between."""
from cli_support import SOURCE, Place, check, finish, json, os, signal, wait_until
import sys
import time

sys.path.insert(0, os.path.join(SOURCE, "tests", "support"))
from scripted_agent import ScriptedAgent, protocol, rota  # noqa: E402


class Deliberate(ScriptedAgent):
    """Says what it thinks when the test wants it, whether it was told to stop or not."""

    def __init__(self, *arguments, slow=True, **options):
        super().__init__(*arguments, **options)
        self.slow, self.assignments, self.stops, self.refused = slow, {}, [], []

    def start(self, assignment, store):
        name = assignment.spec.id.decode()
        self.assignments[name, assignment.attempt] = (assignment, store)
        if not self.slow:
            super().start(assignment, store)
            return
        where = (assignment.key, assignment.attempt)
        self.send(protocol.ACCEPTED, rota.Accepted(attempts=[rota.Held(key=where[0], attempt=where[1])]))
        if where not in self.running:
            self.given.append((name, assignment.phase, assignment.attempt))
            self.running[where] = None

    def collect(self):
        pass

    def stop(self, where):
        self.stops.append(where)

    def handle(self, frames):
        if rota.Envelope.FromString(frames[0]).type == protocol.REPORT_REPLY:
            self.refused += [(it.key, it.attempt) for it in rota.ReportReply.FromString(frames[1]).reports
                             if it.refused == rota.ERROR_CODE_STALE]
        super().handle(frames)

    def say(self, name, attempt, epoch=None):
        assignment, store = self.assignments[name, attempt]
        now_ms = int(time.time() * 1000)
        result = rota.Result(started_ms=now_ms, finished_ms=now_ms, result_class=rota.RESULT_CLASS_OK, answer=b"It is done.")
        if assignment.phase == rota.PHASE_REVIEW:
            result.verdict.CopyFrom(rota.Verdict(approved=True, summary=b"good"))
        where = (assignment.key, assignment.attempt)
        epoch = assignment.coordinator_epoch if epoch is None else epoch
        self.finished[where] = rota.AttemptReport(key=where[0], attempt=where[1], result=result, store=store, coordinator_epoch=epoch)
        self.running.pop(where, None)
        self.next_report = 0.0

    def epoch_of(self, name):
        """Of the newest that it was given."""
        return next((it.coordinator_epoch for (task, _), (it, _) in reversed(self.assignments.items()) if task == name), None)


place = Place()
place.write("rota.yaml", "scheduler: {backoff_base: 10ms, failback: 1h, prefer_complex: [preferred, other]}\n")
check("services start", place.run("up", "--agent", "exec=1").returncode == 0)
first = Deliberate(place.state, "first", "preferred").begin()


def role():
    result = place.run("coordinator", "--json")
    return json.loads(result.stdout) if result.returncode == 0 else {}


def task(name):
    return json.loads(place.run("task", name, "--json").stdout or "{}")


def until(what, condition):
    check(what, wait_until(condition), role(), place.run("status"), place.run("events"))


until("the first gets the role", lambda: role().get("holder") == "first@here")
second = Deliberate(place.state, "second", "other", slow=False).begin()
author = ScriptedAgent(place.state, "author", "author", coordinates=False).begin()
until("the others join", lambda: len(json.loads(place.run("agents", "--json").stdout)["agents"]) == 4)
begun = role()["epoch"]
place.write("one.yaml", """
name: one
tasks:
  - {id: judged, prompt: x, review: true, agent: author}
  - {id: hard, prompt: x, complexity: 9}
  - {id: easy, prompt: x, complexity: 2, agent: "first@here"}
""")
check("import", place.run("import", "one.yaml").returncode == 0)
until("the first has a review, a complex task and another", lambda: len(first.given) == 3)
check("the review and the complex task carry its epoch, the other none",
      (first.epoch_of("judged"), first.epoch_of("hard"), first.epoch_of("easy")) == (begun, begun, 0), first.assignments)
check("what the author got carries none", task("judged")["status"] == "in_review")

result = place.run("coordinator", "transfer", "second@here")
check("the role goes to the second, by hand", result.returncode == 0 and role()["epoch"] == begun + 1, result, role())
review = next((key, attempt) for key, attempt in first.running if first.assignments.get(("judged", attempt), (None,))[0]
              and first.assignments["judged", attempt][0].key == key)
until("the first is told to end its review", lambda: review in first.stops)
check("and nothing else", set(first.stops) == {review}, first.stops, first.running)
check("while it is at it nobody else reviews", second.reviewed() == [] and task("judged")["status"] == "in_review")

old = next(pid for pid, command in place.processes() if "rota-scheduler" in command)
os.kill(old, signal.SIGKILL)
until("the scheduler is killed, and another serves", lambda: role().get("epoch") == begun + 1 and
      any("rota-scheduler" in command and pid != old for pid, command in place.processes()))
first.stops.clear()
until("it knows that the review is to end", lambda: review in first.stops)
first.say("judged", review[1], epoch=0)  # a host of before the epochs, for which the scheduler knows it
until("the late verdict is refused", lambda: review in first.refused)
until("the second reviews it anew", lambda: second.reviewed() == ["judged"])
check("under its own epoch", second.epoch_of("judged") == begun + 1, second.assignments)
until("with which it is done", lambda: task("judged")["status"] == "done")
events = [json.loads(line) for line in place.run("events", "--json").stdout.splitlines()]
stale = [it for it in events if it["type"] == "attempt.stale"]
check("the refused verdict is an event, and says under which epoch it was given",
      len(stale) == 1 and stale[0]["task"] == "judged" and f"epoch {begun} of the coordinator" in stale[0]["reason"]
      and f"({begun + 1})" in stale[0]["reason"], stale)
shown = {it["number"]: it for it in task("judged")["attempts"]}
check("its attempt isn't shown as one that succeeded, nor its verdict", shown[review[1]]["result"]["class"] == "killed"
      and "verdict" not in shown[review[1]] and shown[max(shown)]["verdict"]["approved"], shown)

first.say("hard", 1)
first.say("easy", 1)
until("the work that the first had begun counts", lambda: task("hard")["status"] == task("easy")["status"] == "done")
check("and was done once, by it", [it["agent"] for it in task("hard")["attempts"]] == ["first@here"], task("hard"))

# The role comes back to who had it: what it judged before is no better for that.
check("another task to be judged", place.run("submit", "--json", "--", "true").returncode == 0)
check("the role goes back", place.run("coordinator", "transfer", "first@here").returncode == 0)
place.write("two.yaml", "name: two\ntasks:\n  - {id: again, prompt: x, review: true, agent: author}\n")
check("import", place.run("import", "two.yaml").returncode == 0)
until("the first reviews", lambda: first.epoch_of("again") == begun + 2)
attempt = next(number for name, number in first.assignments if name == "again")
check("away", place.run("coordinator", "transfer", "second@here").returncode == 0)
check("and back", place.run("coordinator", "transfer", "first@here").returncode == 0 and role()["epoch"] == begun + 4)
first.say("again", attempt)
until("it gets the review again", lambda: first.epoch_of("again") == begun + 4)
check("its verdict of the older epoch was refused", len(first.refused) == 2 and task("again")["status"] == "in_review", first.refused)
first.say("again", max(number for name, number in first.assignments if name == "again"))
until("and the newer one counts", lambda: task("again")["status"] == "done")

place.run("down")
for agent in (first, second, author):
    agent.leaving = True
    agent.running.clear()
    agent.finished.clear()
    agent.thread.join()
finish()
