#!/usr/bin/python3
"""Claude Code and Codex themselves, driven by rota against a model API of our own: work, limits, failures, silence, stops.

The programs are real and pinned (install), the model is not (model_api.py). They get a home of their own, a key that opens
nothing, and no way but to 127.0.0.1.
"""
import datetime
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "support"))
sys.dont_write_bytecode = True
from model_api import INPUT_TOKENS, OUTPUT_TOKENS, Api  # noqa: E402

BIN = os.environ.get("ROTA_BIN") or sys.exit("ROTA_BIN is not set: run this by ctest or ./dev test")
ROTA = os.path.join(BIN, "rota")
WATCHDOG_S = 120
api = Api()
failures = 0

SETTINGS = """
scheduler: {backoff_base: 200ms, cooldown: 1s, cooldown_capacity: 1s, cooldown_floor: 1s, cooldown_margin: 300ms, grace: 5s}
agents: {claude_tools: [Write, Bash], codex_protocol: @protocol@}
"""

CODEX_CONFIG = """
model = "gpt-5"
model_provider = "ours"
check_for_update_on_startup = false
[analytics]
enabled = false
[model_providers.ours]
name = "Ours"
base_url = "{url}/v1"
env_key = "CODEX_API_KEY"
wire_api = "responses"
request_max_retries = 1
stream_max_retries = 1
"""


def check(what, good, *more):
    global failures
    print(f"{'ok  ' if good else 'FAIL'} {what}", flush=True)
    if not good:
        failures += 1
        for text in more:
            if isinstance(text, subprocess.CompletedProcess):
                text = f"exit {text.returncode}\n--- stdout\n{text.stdout}\n--- stderr\n{text.stderr}"
            print(str(text)[-4000:], flush=True)


def install():
    """The directory of the programs; a test that has none fails, it doesn't skip."""
    result = subprocess.run([os.path.join(HERE, "install")], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True,
                            timeout=600, check=False)
    if result.returncode:
        sys.exit("the agent programs could not be installed: tests/real/install says why above")
    return result.stdout.strip()


class Place:
    """A repository with an account for each program, whose model follows the scenario."""

    def __init__(self, programs, kind, scenario):
        # Not under /tmp: Codex refuses to keep its helpers there.
        self.path = tempfile.mkdtemp(prefix="rota-real-", dir="/var/tmp")
        self.kind = kind
        self.program, _, protocol = kind.partition(" by ")  # "codex by app-server"
        self.key = os.path.basename(self.path)
        self.scenario = scenario
        self.state = os.path.join(self.path, ".rota")
        self.home = os.path.join(self.path, "home")
        os.makedirs(os.path.join(self.home, ".codex"))
        subprocess.run(["git", "init", "-q", self.path], check=True)
        self.write("rota.yaml", SETTINGS.replace("@protocol@", protocol or "exec"))
        url = api.url(scenario, self.key)
        self.write("home/.codex/config.toml", CODEX_CONFIG.format(url=url))
        self.environment = {"PATH": programs + ":" + os.environ["PATH"], "HOME": self.home, "TERM": "dumb",
                            "ANTHROPIC_BASE_URL": url, "CODEX_API_KEY": "dummy", "CODEX_HOME": self.home + "/.codex"}
        # A token stands for a subscription, whose limits come with a time; a key for pay as you go.
        self.environment["CLAUDE_CODE_OAUTH_TOKEN" if "window" in scenario else "ANTHROPIC_API_KEY"] = "dummy"

    def write(self, name, text):
        with open(os.path.join(self.path, name), "w", encoding="utf-8") as file:
            file.write(text)

    def rota(self, *arguments, timeout=WATCHDOG_S):
        return subprocess.run([ROTA, *arguments], cwd=self.path, env=self.environment, stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, errors="replace", timeout=timeout, check=False)

    def options(self):
        return ["--agent", self.program]

    def run(self, more="", *options):
        self.write("plan.yaml", f"name: plan\ntasks:\n  - {{id: t, prompt: 'Write hello. FILE={self.path}/made.txt'{more}}}\n")
        return self.rota("run", "plan.yaml", *self.options(), *options)

    def attempts(self):
        document = json.loads(self.rota("task", "t", "--json").stdout)
        return [attempt["result"] for attempt in sorted(document["attempts"], key=lambda attempt: attempt["number"])]

    def classes(self):
        return [attempt["class"] for attempt in self.attempts()]

    def calls(self):
        return [call for call in api.calls if call[1] == self.key]

    def processes(self):
        """Every process that was started for this place, by its environment or command line."""
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/environ", "rb") as file:
                    text = file.read()
                with open(f"/proc/{pid}/cmdline", "rb") as file:
                    text += file.read()
                with open(f"/proc/{pid}/stat", "rb") as file:
                    state = file.read().rsplit(b")", 1)[1].split()[0]
            except OSError:
                continue
            if self.path.encode() in text and state != b"Z" and int(pid) != os.getpid():
                found.append(int(pid))
        return found

    def close(self):
        self.rota("down")
        end = time.monotonic() + 10
        while self.processes() and time.monotonic() < end:
            time.sleep(0.05)
        check(f"{self.kind} {self.scenario}: no process is left", not self.processes(), self.processes())
        shutil.rmtree(self.path, ignore_errors=True)


def scenario(programs, kind, name, expect, **more):
    """Runs it; `expect` are the attempts' classes."""
    place = Place(programs, kind, name)
    result = place.run(more.get("task", ""), *more.get("options", ()))
    classes = place.classes()
    check(f"{kind} {name}: {' '.join(expect)}", classes == list(expect), classes, result, place.attempts(), place.calls())
    if "then" in more:
        more["then"](place, result)
    place.close()


def wrote(place, result):
    check(f"{place.kind}: the run is done and the file is there",
          result.returncode == 0 and os.path.exists(os.path.join(place.path, "made.txt")), result)
    usage = place.attempts()[-1]
    check(f"{place.kind}: tokens are those that the model counted",
          usage.get("input_tokens") == 2 * INPUT_TOKENS and usage.get("output_tokens") == 2 * OUTPUT_TOKENS, usage)
    check(f"{place.kind}: a cost is known where the program says one", ("cost_usd" in usage) == (place.kind == "claude"), usage)


def resumed(place, result):
    first, last = place.attempts()[0], place.attempts()[-1]
    check(f"{place.kind}: the limit came with its time", first.get("limited_until") and first.get("limit_kind") == "window", first)
    check(f"{place.kind}: the session was gone on with", first.get("session") and first["session"] == last.get("session"),
          first, last)
    check(f"{place.kind}: after a limit the tokens are this attempt's alone", last.get("input_tokens") == 2 * INPUT_TOKENS, last)
    check(f"{place.kind}: one attempt was allowed, and was enough", result.returncode == 0, result)


def said(text):
    def look(place, result):
        check(f"{place.kind} {place.scenario}: says \"{text}\"", text in result.stdout.lower(), result)
    return look


def ends_without_attempt(place, result):
    task = json.loads(place.rota("task", "t", "--json").stdout)
    check(f"{place.kind} {place.scenario}: no attempt was used, the run says 1",
          result.returncode == 1 and task.get("attempts_used", 0) == 0, task, result)


def refused_key(programs):
    place = Place(programs, "claude", "key-refused")
    result = place.run()
    check("claude: a wrong key is said at once, with the remedy, and nothing is handed out",
          result.returncode == 1 and "the key in ANTHROPIC_API_KEY is refused (401)" in result.stdout
          and place.attempts() == [] and place.calls() == [], result, place.calls())
    place.close()


def stop_in_the_middle(programs, kind):
    place = Place(programs, kind, "slow")
    place.write("plan.yaml", "name: plan\ntasks:\n  - {id: t, prompt: 'Wait.'}\n")
    place.rota("up", *place.options(), "--trust-agents")
    place.rota("import", "plan.yaml")
    end = time.monotonic() + 60
    sleeping = False
    while not sleeping and time.monotonic() < end:
        text = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=False).stdout
        sleeping = "time.sleep(300)" in text.replace("ps -eo", "") and len(place.processes()) > 0
        time.sleep(0.1)
    check(f"{kind}: a tool is running", sleeping, place.rota("log", "t"))
    before = set(place.processes())
    place.rota("cancel", "t")
    place.rota("wait", "t")
    status = json.loads(place.rota("task", "t", "--json").stdout)["status"]
    check(f"{kind}: stopped in the middle of a tool it is cancelled", status == "cancelled", status)
    left = [pid for pid in before & set(place.processes()) if b"time.sleep(300)" in open(f"/proc/{pid}/cmdline", "rb").read()]
    check(f"{kind}: and the tool is dead", not left, left)
    place.close()


def when(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def many_tasks_with_limits_at_random(programs):
    """Two slots of each program; every fourth turn or so meets the limit of its account."""
    seed = int(os.environ.get("ROTA_TEST_SEED") or random.randrange(1 << 30))
    rng = random.Random(seed)
    answers = [rng.choice(["write", "write", "write", "window"]) for _ in range(40)] + ["write"]
    place = Place(programs, "both", "+".join(answers))
    names = [f"t{number}" for number in range(20)]
    place.write("plan.yaml", "name: plan\ntasks:\n" + "".join(
        f"  - {{id: {name}, prompt: 'Write hello. FILE={place.path}/{name}.txt', attempts: 1}}\n" for name in names))
    result = place.rota("run", "plan.yaml", "--agent", "claude=2", "--agent", "codex=2", "--trust-agents", timeout=400)
    check(f"20 tasks, limits at random (seed {seed}): all done", result.returncode == 0, result)
    lost, limited = [], 0
    for name in names:
        task = json.loads(place.rota("task", name, "--json").stdout)
        classes = sorted(attempt["result"]["class"] for attempt in task["attempts"])
        limited += classes.count("limited")
        if classes.count("ok") != 1 or set(classes) - {"ok", "limited"} or task["attempts_used"] != 0:
            lost.append((name, classes, task["attempts_used"]))
        if not os.path.exists(os.path.join(place.path, name + ".txt")):
            lost.append((name, "no file"))
    check("each was done once, and no attempt was used up by a limit", not lost, lost)
    check("some met a limit", limited > 0)
    rests, early = {}, []
    events = [json.loads(line) for line in place.rota("events", "--json").stdout.splitlines()]
    for event in events:
        until = re.match(r"rests until (\S+Z): ", event.get("reason", ""))
        if until:
            rests[event["agent"]] = when(until[1])
        elif event.get("to") == "in_progress" and when(event["time"]) < rests.get(event.get("agent"), 0):
            early.append(event)
    check("every account rested as long as was said, and nothing was begun meanwhile", rests and not early, rests, early)
    print(f"     {limited + len(names)} attempts, {limited} of them limited")
    place.scenario = "at random"
    place.close()


def main():
    programs = install()
    # Claude Code fails at once at a long wait, Codex sits it out: there the watchdog ends it, and what it waited for counts.
    kinds = ("claude", "codex", "codex by app-server")
    for kind in kinds if not sys.argv[1:] else [kind for kind in kinds if set(sys.argv[1:]) & {kind, kind.split()[0]}]:
        scenario(programs, kind, "write", ["ok"], then=wrote, options=["--trust-agents"])
        scenario(programs, kind, "window+write", ["limited", "ok"], task=", attempts: 1", then=resumed, options=["--trust-agents"])
        scenario(programs, kind, "context", ["context_limit"], task=", attempts: 1")
        scenario(programs, kind, "auth", ["auth"], then=ends_without_attempt)
        scenario(programs, kind, "hang", ["timeout"], task=", attempts: 1, silence: 20s")
        stop_in_the_middle(programs, kind)
        scenario(programs, kind, "rate+ok", ["limited", "ok"], task=", attempts: 1, silence: 20s")
    if not sys.argv[1:]:
        refused_key(programs)
        many_tasks_with_limits_at_random(programs)
    api.close()
    sys.exit(1 if failures else 0)


main()
