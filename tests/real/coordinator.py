#!/usr/bin/python3
"""Claude Code itself has the coordinator's role and meets the limit of its account (a 429 with the time of its end, from a model
API of our own): Codex gets the role, reviews and complex tasks go on; when the limit is over and Claude was fit for
a while, the role is its again.

Programs, home and key as in programs.py. The author of what is reviewed is an agent of the test (scripted_agent.py)."""
import json
import os
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "support"))
sys.dont_write_bytecode = True
from checks import check, finish, processes_of, wait_until  # noqa: E402
from installed import CODEX_CONFIG, install  # noqa: E402
from model_api import Api  # noqa: E402
from scripted_agent import ScriptedAgent  # noqa: E402

BIN = os.environ.get("ROTA_BIN") or sys.exit("ROTA_BIN is not set: run this by ctest or ./dev test")
LIMIT_S = 15  # enough for Codex to go on with both tasks; then the role goes back by itself
SETTINGS = """
scheduler: {backoff_base: 100ms, cooldown_floor: 1s, cooldown_margin: 300ms, failback: 2s, grace: 5s, prefer_complex: [claude, codex]}
agents: {codex_protocol: exec}
"""


class Place:
    def __init__(self, api):
        self.path = tempfile.mkdtemp(prefix="rota-real-", dir="/var/tmp")
        subprocess.run(["git", "init", "-q", self.path], check=True)
        self.write("rota.yaml", SETTINGS)
        self.write("home/.codex/config.toml", CODEX_CONFIG.format(url=api.url("ok-approve", "codex")))
        self.environment = {"PATH": install() + ":" + os.environ["PATH"], "HOME": self.path + "/home", "TERM": "dumb",
                            "ANTHROPIC_BASE_URL": api.url("ok-approve", "claude"), "CLAUDE_CODE_OAUTH_TOKEN": "dummy",
                            "CODEX_API_KEY": "dummy", "CODEX_HOME": self.path + "/home/.codex"}

    def write(self, name, text):
        path = os.path.join(self.path, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)

    def rota(self, *arguments):
        return subprocess.run([os.path.join(BIN, "rota"), *arguments], cwd=self.path, env=self.environment, stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, errors="replace", timeout=150, check=False)

    def json(self, *arguments):
        result = self.rota(*arguments, "--json")
        return json.loads(result.stdout) if result.returncode == 0 else {}

    def holder(self):
        return self.json("coordinator").get("holder", "").split("@")[0]

    def by(self, name):
        """Which kind of agent did what in which phase, and what came of it."""
        return [(it["agent"].split("@")[0], it["phase"], it["result"]["class"])
                for it in sorted(self.json("task", name)["attempts"], key=lambda it: it["number"]) if "result" in it]

    def until(self, what, condition):
        check(what, wait_until(condition, 90), self.rota("coordinator"), self.rota("status"), self.rota("agents"), self.rota("events"))

    def give(self, name, task):
        self.write(f"{name}.yaml", f"name: {name}\ntasks:\n  - {{id: {name}, {task}}}\n")
        result = self.rota("import", f"{name}.yaml")
        check(f"import of {name}", result.returncode == 0, result)


api = Api(window_s=LIMIT_S)
place = Place(api)
result = place.rota("up", "--agent", "claude=1", "--agent", "codex=1")
check("services, Claude and Codex start", result.returncode == 0, result)
author = ScriptedAgent(os.path.join(place.path, ".rota"), "author", "author", coordinates=False).begin()
place.until("Claude coordinates", lambda: place.holder() == "claude" and len(place.json("agents").get("agents", [])) == 3)
first = place.json("coordinator").get("epoch", 0)

api.set_scenario("claude", "window")
place.give("judged", "prompt: Say it., review: true, agent: author")
place.until("its review meets a 429, and Codex gets the role", lambda: place.holder() == "codex")
role = place.json("coordinator")
check("under the next epoch, and it says why", role["epoch"] == first + 1 and "rests: its account is limited" in role["reason"], role)
limited = next((it for it in role["candidates"] if it["name"].startswith("claude")), {})
check("and until when Claude rests", limited.get("until"), role)
api.set_scenario("claude", None)
place.give("hard", "prompt: Say it too., complexity: 8")
check("the review goes on, by Codex", place.rota("wait", "judged", "--timeout", "90").returncode == 0, place.rota("why", "judged"))
check("after Claude's, which met the limit and used no attempt",
      place.by("judged") == [("author", "work", "ok"), ("claude", "review", "limited"), ("codex", "review", "ok")]
      and place.json("task", "judged")["attempts_used"] == 0, place.by("judged"), place.rota("task", "judged"))
check("the complex task goes on", place.rota("wait", "hard", "--timeout", "90").returncode == 0, place.rota("why", "hard"))
check("by Codex", place.by("hard") == [("codex", "work", "ok")], place.by("hard"))

place.until("the limit is over, and a while later the role is Claude's again", lambda: place.holder() == "claude")
role = place.json("coordinator")
check("by itself, because it is preferred", role["epoch"] == first + 2 and "preferred" in role["reason"] and not role.get("by_hand"), role)
place.give("harder", "prompt: Say more., complexity: 9")
place.give("more", "prompt: Say the rest., review: true, agent: author")
result = place.rota("wait", "harder", "more", "--timeout", "90")
check("complex tasks and reviews are done", result.returncode == 0, result, place.rota("why", "harder"), place.rota("why", "more"),
      place.rota("agents"), place.rota("coordinator"))
check("by Claude", place.by("harder") == [("claude", "work", "ok")] and place.by("more")[1:] == [("claude", "review", "ok")],
      place.by("harder"), place.by("more"))
changes = [json.loads(line) for line in place.rota("events", "--json").stdout.splitlines()]
changes = [it.get("agent", "").split("@")[0] for it in changes if it["type"] == "coordinator.changed"]
check("the role changed hands twice, not more", changes[-3:] == ["claude", "codex", "claude"] and len(changes) <= 4, changes)

author.end()
place.rota("down")
wait_until(lambda: not processes_of(place.path, by_environment=True), 10)
check("no process is left", not processes_of(place.path, by_environment=True), processes_of(place.path, by_environment=True))
api.close()
if not os.environ.get("ROTA_TEST_KEEP"):
    shutil.rmtree(place.path, ignore_errors=True)
finish()
