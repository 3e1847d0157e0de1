#!/usr/bin/python3
"""How things go: parts that add up, no data where nobody knows, the mode with its reason, kept, pinned, restored; watching."""
from cli_support import Place, check, finish, json, lines_of_json, signal, wait_until

QUICK = {"ROTA_SCHEDULER_BACKOFF_BASE": "100ms", "ROTA_SCHEDULER_MODE_DWELL": "0s", "ROTA_SCHEDULER_MODE_SAMPLES": "4",
         "ROTA_RESILIENCE_BREAKER_FAILURES": "0"}
place = Place()


def health(*arguments):
    result = place.run("health", "--json", *arguments)
    check("health works", result.returncode == 0, result)
    return json.loads(result.stdout)


def adds_up(part):
    return sum(part["counts"].values()) == part["total"] == sum(part["places"].values())


def mode():
    return health()["mode"]


check("up", place.run("up", "--agent", "sim=2", "--agent", "exec=1", environment=QUICK).returncode == 0)
words = place.run("health").stdout
check("nobody knows, and it says so", "mode        balance since" in words and words.count("no data") == 3, words)
place.write("plan.yaml", "name: plan\nepics:\n  - id: e\n    tasks:\n"
            + "".join(f'      - {{id: f{i}, prompt: "sim: fail badly", attempts: 1}}\n' for i in range(6))
            + '      - {id: behind, run: "true", after: f0}\n      - {id: held, run: "true", status: blocked}\n'
            + '  - id: other\n    tasks:\n      - {id: good, run: "true"}\n')
check("imported", place.run("import", "plan.yaml").returncode == 0)
check("what can end has ended", wait_until(lambda: health()["places"]["ended"] == 7), place.run("status"))
whole = health()
check("all parts add up, of all and of each epic", adds_up(whole) and len(whole["groups"]) == 2
      and all(adds_up(part) for part in whole["groups"]), whole)
check("what failed, is blocked or unreachable is counted", whole["places"]["blocked"] == 1
      and whole["places"]["unreachable"] == 1 and whole["failure_rate"] > 0.8, whole)
check("no score is no data, not nought", "quality" not in whole and whole["scored"] == 0, whole)
one = health("--epic", "other")["groups"]
check("one epic alone", len(one) == 1 and one[0]["id"] == "other" and one[0]["total"] == 1 and one[0]["failure_rate"] == 0, one)
check("one that is not there is an error", place.run("health", "--epic", "nobody").returncode not in (0, 3)
      and "no epic" in place.run("health", "--epic", "nobody").stderr)
check("failures stabilize", wait_until(lambda: mode() == "stabilize"), health())
whole = health()
check("with the reason in words", "of the agents' work of late failed" in whole["mode_reason"] and whole["agents"]["at_most"] == 1, whole)
check("status says it too", "mode stabilize: " in place.run("status").stdout
      and json.loads(place.run("status", "--json").stdout)["mode"] == "stabilize", place.run("status"))
check("so does the log", any(line["type"] == "mode.changed" for line in lines_of_json(place.run("events", "--json").stdout)))
taken = json.loads(place.run("checkpoint", "--json").stdout)
shown = json.loads(place.run("checkpoint", "show", str(taken["id"]), "--json").stdout)
check("a checkpoint holds it, in less than 4 KiB", shown["mode"] == "stabilize" and taken["size_bytes"] < 4096, shown)

place.write("more.yaml", 'name: more\ntasks:\n  - {id: w1, prompt: "sim: work 20s; ok"}\n  - {id: w2, prompt: "sim: work 20s; ok"}\n')
check("more work", place.run("import", "more.yaml").returncode == 0)
check("why says it and what to do", wait_until(lambda: "the mode is stabilize" in place.run("why", "w1").stdout
                                               + place.run("why", "w2").stdout),
      place.run("why", "w1"), place.run("why", "w2"))

check("down", place.run("down").returncode == 0)
check("up again", place.run("up", "--agent", "exec=1", environment=QUICK).returncode == 0)
check("the mode outlives a restart", mode() == "stabilize", health())
check("down", place.run("down").returncode == 0)
pinned = dict(QUICK, ROTA_SCHEDULER_MODE="accelerate")
check("up with a mode of one's own", place.run("up", "--agent", "exec=1", environment=pinned).returncode == 0)
check("it holds", wait_until(lambda: mode() == "accelerate") and health().get("mode_pinned") is True, health())
back = json.loads(place.run("checkpoint", "restore", str(taken["id"]), "--json").stdout)
check("a checkpoint does not change what the settings say", any("scheduler.mode" in text for text in back["kept"]), back)
check("down", place.run("down").returncode == 0)
slow = dict(QUICK, ROTA_SCHEDULER_MODE_DWELL="1h", ROTA_SCHEDULER_MODE_HALF_LIFE="1s")
check("up", place.run("up", "--agent", "exec=1", environment=slow).returncode == 0)
check("the pin is gone, the mode stays for its least time", mode() == "accelerate", health())
back = json.loads(place.run("checkpoint", "restore", str(taken["id"]), "--json").stdout)
check("a checkpoint brings its mode back", "the mode: stabilize" in back["restored"] and mode() == "stabilize", back)

watching = place.start("status", "--watch", "--json")
first = json.loads(watching.stdout.readline())
check("who watches gets the state at once", first["total"] == 11, first)
check("a change", place.run("submit", "--", "true").returncode == 0)
seen = first
while seen["total"] < 12:
    seen = json.loads(watching.stdout.readline())
while seen["counts"]["done"] < 2:  # the last change of a burst arrives
    seen = json.loads(watching.stdout.readline())
watching.send_signal(signal.SIGINT)
check("Ctrl-C ends it", watching.wait(timeout=60) == 130, watching.stderr.read())
finish()
