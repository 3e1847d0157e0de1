#!/usr/bin/python3
"""The agent programs themselves, driven by rota against a model API of our own: work, limits, failures, silence, stops.

The programs are real and pinned (install), the model is not (model_api.py). They get a home of their own, a key that opens
nothing, and no way but to 127.0.0.1. Scenarios run two at a time, each in a place of its own.

    programs.py [WORD...]   only the kinds or scenarios of these names, for example: programs.py codex-acp write
    ROTA_TEST_TIMES=1       says how long each took; ROTA_TEST_KEEP=1 leaves the places to look at
"""
import collections
import concurrent.futures
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
from checks import check, finish, processes_of, wait_until  # noqa: E402
from installed import CODEX_CONFIG, install  # noqa: E402
from model_api import INPUT_TOKENS, OUTPUT_TOKENS, Api  # noqa: E402
from model_speakers import NOTE  # noqa: E402

BIN = os.environ.get("ROTA_BIN") or sys.exit("ROTA_BIN is not set: run this by ctest or ./dev test")
ROTA = os.path.join(BIN, "rota")
WATCHDOG_S = 150
AT_ONCE = 2
SLEEP = "time.sleep(300)"  # in the command line of the tool that takes long
api = Api(beside="ok-text")  # some programs have the session's title made up meanwhile

SETTINGS = """
scheduler: {backoff_base: 200ms, cooldown: 1s, cooldown_capacity: 1s, cooldown_floor: 1s, cooldown_margin: 300ms, grace: 5s}
"""

# `tokens`: whether it tells how many it used; `cost`: and what they cost; `silence`: how long it may be silent where that ends
# it, far more than it takes to start on a busy machine, so that nothing else is ended by it.
Kind = collections.namedtuple("Kind", "agent settings tokens cost silence", defaults=["30s"])
KINDS = {
    "claude": Kind("claude", "claude_tools: [Write, Bash]", True, True),
    "codex": Kind("codex", "codex_protocol: exec", True, False),
    "codex by app-server": Kind("codex", "codex_protocol: app-server", True, False),
    "claude-agent-acp": Kind("acp", "acp_command: [claude-agent-acp], acp_mode: default", True, True),
    "codex-acp": Kind("acp", "acp_command: [codex-acp], acp_mode: full-access", False, False),
    "gemini --acp": Kind("acp", "acp_command: [gemini, --acp, -m, gemini-2.5-flash], acp_authenticate: gemini-api-key",
                         True, False),
    "opencode acp": Kind("acp", "acp_command: [opencode, acp]", False, False, "60s"),
}

GEMINI_SETTINGS = {"security": {"auth": {"selectedType": "gemini-api-key"}, "folderTrust": {"enabled": False}},
                   "privacy": {"usageStatisticsEnabled": False}, "general": {"disableAutoUpdate": True}}


def opencode_config(url):
    return {"model": "ours/model", "small_model": "ours/model", "autoupdate": False, "share": "disabled",
            "enabled_providers": ["ours"], "provider": {"ours": {
                "npm": "@ai-sdk/openai-compatible", "name": "Ours", "options": {"baseURL": url + "/v1", "apiKey": "dummy"},
                "models": {"model": {"name": "model", "tool_call": True, "limit": {"context": 200000, "output": 10000}}}}}}


class Place:
    """A repository with an account for each program, whose model follows the scenario."""

    programs = None  # the directory of the programs

    def __init__(self, name, scenario):
        # Not under /tmp: Codex refuses to keep its helpers there.
        self.path = tempfile.mkdtemp(prefix="rota-real-", dir="/var/tmp")
        self.name, self.scenario = name, scenario
        self.kind = KINDS.get(name)
        self.key = os.path.basename(self.path)
        self.home = os.path.join(self.path, "home")
        subprocess.run(["git", "init", "-q", self.path], check=True)
        self.write("rota.yaml", SETTINGS + (f"agents: {{{self.kind.settings}}}\n" if self.kind else ""))
        url = api.url(scenario, self.key)
        self.write("home/.codex/config.toml", CODEX_CONFIG.format(url=url))
        self.write("home/.gemini/settings.json", json.dumps(GEMINI_SETTINGS))
        self.write("home/.config/opencode/opencode.json", json.dumps(opencode_config(url)))
        # Or it fetches this for plugins, which there are none of.
        self.write("home/.config/opencode/node_modules/none", "")
        self.write("home/.config/opencode/package-lock.json",
                   json.dumps({"packages": {"": {"dependencies": {"@opencode-ai/plugin": "*"}}}}))
        self.environment = {"PATH": self.programs + ":" + os.environ["PATH"], "HOME": self.home, "TERM": "dumb",
                            "ANTHROPIC_BASE_URL": url, "CODEX_API_KEY": "dummy", "CODEX_HOME": self.home + "/.codex",
                            "GOOGLE_GEMINI_BASE_URL": url, "GEMINI_API_KEY": "dummy"}
        # A token stands for a subscription, whose limits come with a time; a key for pay as you go.
        self.environment["CLAUDE_CODE_OAUTH_TOKEN" if "window" in scenario else "ANTHROPIC_API_KEY"] = "dummy"

    def write(self, name, text):
        path = os.path.join(self.path, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)

    def rota(self, *arguments, timeout=WATCHDOG_S):
        return subprocess.run([ROTA, *arguments], cwd=self.path, env=self.environment, stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, errors="replace", timeout=timeout, check=False)

    def run(self, more="", *options):
        self.write("plan.yaml", f"name: plan\ntasks:\n  - {{id: t, prompt: 'Write hello. FILE={self.path}/made.txt'{more}}}\n")
        return self.rota("run", "plan.yaml", "--agent", self.kind.agent, *options)

    def task(self, name="t"):
        return json.loads(self.rota("task", name, "--json").stdout)

    def attempts(self):
        return [attempt.get("result", {}) for attempt in sorted(self.task()["attempts"], key=lambda attempt: attempt["number"])]

    def tools(self, words=SLEEP):
        return [(pid, command) for pid, command in processes_of(self.path, by_environment=True) if words in command]

    def check(self, what, good, *more):
        check(f"{self.name}, {self.scenario}: {what}", good, *more)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.rota("down")
        wait_until(lambda: not processes_of(self.path, by_environment=True), 10)
        left = processes_of(self.path, by_environment=True)
        self.check("no process is left", not left, left)
        if not os.environ.get("ROTA_TEST_KEEP"):
            shutil.rmtree(self.path, ignore_errors=True)


def scenario(name, answers, expect, **more):
    """Runs it; `expect` are the attempts' classes."""
    with Place(name, answers) as place:
        result = place.run(more.get("task", ", attempts: 1"), *more.get("options", ()))
        attempts = place.attempts()
        classes = [attempt["class"] for attempt in attempts if attempt]
        place.check(expect, classes == expect.split(), classes, result, attempts, api.calls_of(place.key), place.rota("log", "t"))
        for look in more.get("then", ()) if attempts else ():
            look(place, result)


# ---- what is looked at behind a scenario

def wrote(place, result):
    place.check("the run is done and the file is there",
                result.returncode == 0 and os.path.exists(os.path.join(place.path, "made.txt")), result)


def counted(place, _result):
    usage, kind = place.attempts()[-1], place.kind
    tokens = (2 * INPUT_TOKENS, 2 * OUTPUT_TOKENS) if kind.tokens else (None, None)
    place.check("tokens are those that the model counted" if kind.tokens else "what the program doesn't tell is unknown, not 0",
                (usage.get("input_tokens"), usage.get("output_tokens")) == tokens and ("cost_usd" in usage) == kind.cost, usage)


def resumed(place, result):
    first, last = place.attempts()[0], place.attempts()[-1]
    place.check("the limit came with its time", first.get("limited_until") and first.get("limit_kind") == "window", first)
    place.check("the session was gone on with", first.get("session") and first["session"] == last.get("session"), first, last,
                place.rota("log", "t"))
    text = "\n".join(api.calls_of(place.key)[-1].prompts)
    place.check("what was asked before is still known to it", "FILE=" in text.partition("You were interrupted.")[0], text)


def unused(place, result):
    place.check("no attempt was used", place.task().get("attempts_used", 0) == 0, place.task(), result)


def quiet(kind):
    """One attempt that ends when it is silent."""
    return f", attempts: 1, silence: {KINDS[kind].silence}"


def limit(kind):
    def look(place, _result):
        first = place.attempts()[0]
        place.check(f"the limit is a matter of {kind}", first.get("limit_kind") == kind, first, place.rota("log", "t"))
    return look


def refused(place, _result):
    first = place.attempts()[0]
    place.check("what it may not do is not done, and the attempt says so", not os.path.exists(os.path.join(place.path, "made.txt"))
                and first["message"].startswith("1 permission refused (--trust-agents allows all)"), first, place.rota("log", "t"))


def noted(place, _result):
    entries = json.loads(place.rota("context", "list", "--json").stdout)["entries"]
    place.check("what the model wrote down by rota's tool is in the store, with task and agent",
                [(entry["text"], entry["task"], entry["author"].split("@")[0]) for entry in entries] ==
                [(NOTE, "t", place.kind.agent)], entries, place.rota("log", "t"))


def when(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


# ---- scenarios of their own

def refused_key():
    with Place("claude", "key-refused") as place:
        result = place.run()
        place.check("a wrong key is said at once, with the remedy, and nothing is handed out",
                    result.returncode == 1 and "the key in ANTHROPIC_API_KEY is refused (401)" in result.stdout
                    and place.attempts() == [] and api.calls_of(place.key) == [], result, api.calls_of(place.key))


def stop_in_the_middle(name):
    with Place(name, "slow") as place:
        place.write("plan.yaml", "name: plan\ntasks:\n  - {id: t, prompt: 'Wait.'}\n")
        place.rota("up", "--agent", place.kind.agent, "--trust-agents")
        place.rota("import", "plan.yaml")
        place.check("a tool is running", wait_until(place.tools, WATCHDOG_S), place.rota("log", "t"), place.attempts())
        place.rota("cancel", "t")
        place.rota("wait", "t")
        place.check("stopped in the middle of it the task is cancelled", place.task()["status"] == "cancelled", place.task())
        place.check("and the tool is dead", not place.tools(), place.tools())


def told_in_the_middle(name):
    """While its tool waits for a file: what it is told is in its next request."""
    with Place(name, "waiting-tool") as place:
        place.write("plan.yaml", f"name: plan\ntasks:\n  - {{id: t, prompt: 'Wait. FILE={place.path}/go'}}\n")
        place.rota("up", "--agent", place.kind.agent, "--trust-agents")
        place.rota("import", "plan.yaml")
        place.check("a tool is running", wait_until(lambda: place.tools("until ["), WATCHDOG_S), place.rota("log", "t"), place.attempts())
        told = place.rota("tell", "t", "mind the gap")
        place.check("it can be told something", told.returncode == 0, told)
        place.write("go", "")
        place.rota("wait", "t")
        calls = api.calls_of(place.key)
        place.check("it goes on with that in the same turn", place.task()["status"] == "done" and
                    any("mind the gap" in prompt for call in calls for prompt in call.prompts), place.task(), calls, place.rota("log", "t"))


def rests_as_long_as_said(name):
    """For those that tell the time of a long wait, or sit it out until the watchdog ends that."""
    with Place(name, "429-long") as place:
        place.write("plan.yaml", f"name: plan\ntasks:\n  - {{id: t, prompt: 'Write hello. FILE={place.path}/made.txt'{quiet(name)}}}\n")
        place.rota("up", "--agent", place.kind.agent)
        place.rota("import", "plan.yaml")
        wait_until(lambda: place.attempts()[:1] not in ([], [{}]), WATCHDOG_S)
        result = (place.attempts() or [{}])[0]
        place.check("limited", result.get("class") == "limited", result, place.rota("log", "t"))
        ahead = when(result["limited_until"]) - time.time() if result.get("limited_until") else 0
        place.check("the account rests for the hour that was said", 3000 < ahead < 3700, result, place.rota("why", "t"))
        unused(place, result)


def version_2_of_acp():
    """Against the protocol's own library, which refuses what its schema doesn't have."""
    library = os.path.join(Place.programs, "..", "@agentclientprotocol", "sdk", "dist", "v2", "stable", "acp.js")
    with Place("ACP 2 by its library", "limit, then write") as place:
        place.kind = Kind("acp", "", False, False)
        place.write("rota.yaml", SETTINGS + f"agents: {{acp_version: 2, acp_command: [node, {HERE}/agent_v2.mjs, {library}]}}\n")
        result = place.run(", attempts: 1")
        attempts = place.attempts()
        place.check("a limit, the session resumed, the file written by permission", [attempt["class"] for attempt in attempts] ==
                    ["limited", "ok"] and attempts[-1]["message"] == "Written." and attempts[-1]["session"] == "one", result,
                    attempts, place.rota("log", "t"))
        wrote(place, result)


def mcp_by_its_libraries():
    """`rota mcp` against public clients of both eras; their libraries refuse what their schemas don't have."""
    packages = os.path.join(Place.programs, "..", "@modelcontextprotocol")
    version_1 = [f"{packages}/sdk/dist/esm/client/{name}.js" for name in ("index", "stdio")]
    version_2 = [f"{packages}/client/dist/{name}.mjs" for name in ("index", "stdio")]
    with Place("mcp by its libraries", "ok") as place:
        place.write("plan.yaml", "name: plan\ntasks:\n  - {id: t, run: 'true'}\n")
        place.check("import", place.rota("import", "plan.yaml").returncode == 0)
        for library, era, version in ((version_1, "", None), (version_2, "", "2025-11-25"), (version_2, "auto", "2026-07-28"),
                                      (version_2, "2026-07-28", "2026-07-28")):
            place.scenario = f"{library[0].split('@')[-1].split('/')[1]}, {era or 'handshake'}"
            result = subprocess.run(["node", os.path.join(HERE, "mcp_client.mjs"), *library, ROTA, "mcp"], cwd=place.path,
                                    env={**place.environment, "ERA": era}, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                                    timeout=WATCHDOG_S, check=False)
            said = json.loads(result.stdout) if result.returncode == 0 else {}
            place.check("it is understood", said and said["version"] == version and said["server"]["name"] == "rota" and
                        "status" in said["tools"] and said["required"] == ["type", "text"], result)
            place.check("tools answer", said and said["status"]["structuredContent"]["total"] == 1 and
                        not said["note"].get("isError"), result)
            place.check("and complain in words or with a code", said and "decision,constraint" in said["wrong"]["content"][0]["text"]
                        and "nowhere" in said["missing"]["content"][0]["text"] and said["unknown"] == {"code": -32602}, result)
        entries = json.loads(place.rota("context", "list", "--json").stdout)["entries"]
        place.check("what they wrote down is there, once", [entry["text"] for entry in entries] == ["By a public client."], entries)


def done_wrong(place, names):
    """Tasks that were not done once with nothing lost, and how many attempts met a limit."""
    lost, limited = [], 0
    for name in names:
        task = place.task(name)
        classes = sorted(attempt["result"]["class"] for attempt in task["attempts"])
        limited += classes.count("limited")
        if classes.count("ok") != 1 or set(classes) - {"ok", "limited"} or task["attempts_used"] != 0:
            lost.append((name, classes, task["attempts_used"]))
        if not os.path.exists(os.path.join(place.path, name + ".txt")):
            lost.append((name, "no file"))
    return lost, limited


def many_tasks_with_limits_at_random():
    """Two slots of each program; every fourth turn or so meets the limit of its account."""
    seed = int(os.environ.get("ROTA_TEST_SEED") or random.randrange(1 << 30))
    rng = random.Random(seed)
    answers = [rng.choice(["write", "write", "write", "window"]) for _ in range(40)] + ["write"]
    with Place("claude and codex", "+".join(answers)) as place:
        place.scenario = f"20 tasks, limits at random (seed {seed})"
        place.write("rota.yaml", SETTINGS + "agents: {claude_tools: [Write, Bash]}\n")
        names = [f"t{number}" for number in range(20)]
        place.write("plan.yaml", "name: plan\ntasks:\n" + "".join(
            f"  - {{id: {name}, prompt: 'Write hello. FILE={place.path}/{name}.txt', attempts: 1}}\n" for name in names))
        result = place.rota("run", "plan.yaml", "--agent", "claude=2", "--agent", "codex=2", "--trust-agents", timeout=400)
        place.check("all done", result.returncode == 0, result)
        lost, limited = done_wrong(place, names)
        place.check("each was done once, and no attempt was used up by a limit", not lost, lost)
        place.check(f"some of the {limited + len(names)} attempts met a limit: {limited}", limited > 0)
        rests, early = {}, []
        for event in [json.loads(line) for line in place.rota("events", "--json").stdout.splitlines()]:
            until = re.match(r"rests until (\S+Z): ", event.get("reason", ""))
            if until:
                rests[event["agent"]] = when(until[1])
            elif event.get("to") == "in_progress" and when(event["time"]) < rests.get(event.get("agent"), 0):
                early.append(event)
        place.check("every account rested as long as was said, and nothing was begun meanwhile", rests and not early, rests, early)


# ---- all of them

Job = collections.namedtuple("Job", "seconds kind name call")  # `seconds`: about how long; the long ones begin first


def job(seconds, kind, answers, expect, **more):
    return Job(seconds, kind, answers, lambda: scenario(kind, answers, expect, **more))


# How often one answer must come until an attempt ends by it: each program tries once more by itself, but not after every kind.
TWICE = {"claude": ("529", "cut", "429-short", "429-date", "429-bare"), "codex": ("529", "cut", "429-short")}
SITS_OUT = ("429-date", "429-long")  # Codex waits for these itself, until the watchdog ends it: what it waited for counts
TRUSTED = ["--trust-agents"]


def failing_api(kind):
    family = KINDS[kind].agent
    for answer in ("529", "cut", "429-short", "429-date", "429-bare", "429-no-retry", "429-long"):
        then = [unused] if answer == "cut" else [unused, limit("capacity" if answer == "529" else "burst")]
        answers = (answer + "+") * (2 if answer in TWICE[family] else 1) + "ok"
        seconds = 35 if family == "codex" and answer in SITS_OUT else 5
        yield job(seconds, kind, answers, "network ok" if answer == "cut" else "limited ok", task=quiet(kind), then=then)


def jobs_of(kind):
    yield job(5, kind, "write", "ok", then=[wrote, counted], options=TRUSTED)
    yield Job(10, kind, "slow", lambda: stop_in_the_middle(kind))
    if kind in ("claude", "codex by app-server"):
        yield Job(10, kind, "tell", lambda: told_in_the_middle(kind))
    if KINDS[kind].agent != "acp":
        for trusted in ([], TRUSTED):
            yield job(5, kind, "ok-note", "ok", then=[noted], options=trusted)
    elif kind == "claude-agent-acp":
        yield job(5, kind, "ok-note", "ok", then=[noted], options=TRUSTED)
    if kind in ("claude-agent-acp", "gemini --acp"):  # the others have a sandbox, or ask nobody
        yield job(5, kind, "ok-tool", "ok", then=[refused])
    if kind in ("gemini --acp", "opencode acp"):
        yield Job(70, kind, "429-long", lambda: rests_as_long_as_said(kind))
        return
    yield job(13, kind, "window+write", "limited ok", then=[wrote, resumed, unused], options=TRUSTED)
    yield job(5, kind, "context", "context_limit")
    yield job(12, kind, "auth", "auth", then=[unused])
    yield job(35, kind, "hang", "timeout", task=quiet(kind))
    if KINDS[kind].agent == "acp":
        yield job(30, kind, "429-long+ok", "limited ok", task=quiet(kind), then=[unused, limit("burst")])
    else:
        yield from failing_api(kind)


def main():
    started = time.monotonic()
    Place.programs = install()
    jobs = [job for kind in KINDS for job in jobs_of(kind)]
    jobs.append(Job(10, "claude", "key-refused", refused_key))
    jobs.append(Job(5, "", "version-2", version_2_of_acp))
    jobs.append(Job(8, "", "mcp", mcp_by_its_libraries))
    alone = Job(60, "", "random", many_tasks_with_limits_at_random)  # four programs by itself
    jobs.append(alone)
    words = set(sys.argv[1:])
    kinds, names = words & set(KINDS), words - set(KINDS)
    jobs = [job for job in jobs if (not kinds or job.kind in kinds) and (not names or job.name in names)]
    if alone in jobs:
        timed(alone)
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        for future in [pool.submit(timed, job) for job in sorted(jobs, key=lambda job: -job.seconds) if job is not alone]:
            future.result()
    api.close()
    print(f"     {len(jobs)} scenarios, {time.monotonic() - started:.0f} s")
    finish()


def timed(job):
    started = time.monotonic()
    try:
        job.call()
    except (OSError, ValueError, LookupError, subprocess.SubprocessError) as error:
        check(f"{job.kind}, {job.name}: it came to its end", False, repr(error))
    if os.environ.get("ROTA_TEST_TIMES"):
        check(f"{job.kind}, {job.name}: {time.monotonic() - started:.0f} s", True)


main()
