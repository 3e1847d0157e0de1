#!/usr/bin/python3
"""Reviews: an answer without a verdict is asked for it once, by the same reviewer; a large difference is reviewed in parts, and
what one of them wants changed is not lost; and what the work was worth in the end."""
import http.client
import re

from cli_support import Place, check, finish, json, os, subprocess, time, wait_until
import prometheus

place = Place()
CALLS = os.path.join(place.path, "calls")

# Speaks as Claude Code does. What it thinks goes by the name of the task.
place.write("claude", f"""#!/usr/bin/python3
import json, re, sys
if "--version" in sys.argv:
    print("2.1.330 (Claude Code)")
    sys.exit()
prompt = json.loads(sys.stdin.readline())["message"]["content"]
task = re.search("Task ([a-z]+): |at task ([a-z]+) [(]", prompt)
task = task.group(1) or task.group(2)
again = "no verdict could be read" in prompt
with open({CALLS!r}, "a+") as file:
    file.seek(0)
    seen = sum(json.loads(line)["task"] == task for line in file)
    file.write(json.dumps({{"task": task, "again": again, "size": len(prompt), "files": "all its files" in prompt,
                           "first": "fine by me" in prompt}}) + "\\n")
mine = re.search('{{"review": "([0-9a-f]+)"', prompt)
mine = mine and mine[1]
def verdict(word, *comments):
    return json.dumps({{"review": mine, "verdict": word, "summary": "so it is", "scores": {{"correctness": 9, "tests": 7}},
                       "comments": [{{"file": "x", "line": 3, "severity": "major", "text": text}} for text in comments]}})
bad = re.search("^[+]THE BAD LINE", prompt, re.M)
text = {{"prose": "I looked at all of it.\\n```json\\n" + verdict("approve") + "\\n```\\nThat is all.",
        "never": "I have no idea.",
        "later": verdict("approve") if again else "That is fine by me, as far as I can see.",
        "both": verdict("approve") + (" But: " + verdict("changes", "make up your mind") if seen == 0 else ""),
        "once": verdict("approve"),
        "large": verdict("changes", "take it out") if bad else verdict("approve")}}[task]
print(json.dumps({{"type": "system", "subtype": "init", "session_id": "s-1"}}))
print(json.dumps({{"type": "result", "subtype": "success", "is_error": False, "result": text, "session_id": "s-1"}}))
""")
os.chmod(os.path.join(place.path, "claude"), 0o755)
place.write(".gitignore", ".rota\nclaude\ncalls\nplan.yaml\nrota.yaml\n")
place.write("file.txt", "one\n")
for command in (["init", "-q", "-b", "main"], ["add", "-A"], ["-c", "user.name=o", "-c", "user.email=o@example.org", "commit", "-qm", "x"]):
    subprocess.run(["git", *command], cwd=place.path, check=True)
place.write("rota.yaml", "telemetry: {metrics_listen: 0}\nscheduler: {backoff_base: 100ms, review_part: 1MiB}\nagents: {isolation: off}\n")
LINES = "for i in $(seq 1 60); do seq -f 'line %.0f of a file that nobody wants to read' 1 1000 > many-$i.txt; done"
place.write("plan.yaml", f"""
name: plan
repository: .
defaults: {{timeout: 2m, agent: sim, review: true}}
tasks:
  - {{id: prose, prompt: "sim: write prose.txt x; ok"}}
  - {{id: never, prompt: "sim: write never.txt x; ok"}}
  - {{id: later, prompt: "sim: write later.txt x; ok"}}
  - {{id: both, prompt: "sim: write both.txt x; ok; write both.txt y; ok"}}
  - {{id: large, prompt: "sim: run sh {place.path}/fill; run echo THE BAD LINE > zz.txt; ok; run echo a good line > zz.txt; ok"}}
""")
place.write("fill", LINES + "\nhead -c 100 /dev/zero > nul.bin\n")
environment = {"PATH": place.path + ":" + os.environ["PATH"], "ANTHROPIC_API_KEY": "dummy", "ANTHROPIC_BASE_URL": "http://127.0.0.1:1"}
result = place.run("run", "plan.yaml", "--agent", "sim=2", "--agent", "claude=2", "--agent", "git=1", environment=environment)
calls = [json.loads(line) for line in place.read("calls").splitlines()]
place.run("up", "--agent", "git=1", "--agent", "sim=1", "--agent", "claude=1", environment=environment)


def task(name):
    return json.loads(place.run("task", name, "--json").stdout)


def reviews(name):
    """Oldest first."""
    found = [attempt for attempt in task(name)["attempts"] if attempt["phase"] == "review"]
    return sorted(found, key=lambda attempt: attempt["number"])


def of(name):
    return [call for call in calls if call["task"] == name]


check("one is left for a person", result.returncode == 1, result)
for name in ("prose", "later", "both", "large"):
    check(f"{name} is done", task(name)["status"] == "done", json.dumps(task(name), indent=1)[:4000], place.run("log", name))
found = reviews("prose")
check("a verdict between other words, with its scores", len(found) == 1 and found[0]["verdict"]["approved"] and
      found[0]["verdict"]["scores"] == {"correctness": 9, "tests": 7}, found)
work = [attempt for attempt in task("prose")["attempts"] if attempt["phase"] == "work"]
check("the score of the work is that of its review: the mean of 9 and 7", work[0].get("quality") == 0.8, work)
check("and is shown", "0.80" in place.run("attempts", "prose").stdout and "correctness 9" in place.run("review", "prose").stdout,
      place.run("attempts", "prose"), place.run("review", "prose"))
found = reviews("later")
check("one without a verdict is asked for it once more", [call["again"] for call in of("later")] == [False, True] and
      "verdict" not in found[0] and found[1]["verdict"]["approved"], found, of("later"))
check("by the same reviewer, with what it said", found[0]["agent"] == found[1]["agent"] and of("later")[1]["first"] and
      of("later")[1]["size"] < of("later")[0]["size"], of("later"))
check("who never gives one is asked once each time, and then a person is", [call["again"] for call in of("never")] ==
      [False, True] * 3 and task("never")["status"] == "blocked" and "no verdict after 3 reviews" in task("never")["reason"],
      task("never"), of("never"))
found = reviews("both")
check("an approval that the same answer contradicts is none", [item["verdict"]["approved"] for item in found] == [False, True], found)
check("and costs the work of its round", [attempt.get("quality") for attempt in reversed(task("both")["attempts"])
                                          if attempt["phase"] == "work"] == [0.5, 0.72], task("both"))
found, seen = reviews("large"), of("large")
parts = found[0]["verdict"]["parts"]
check("a large difference is reviewed in parts, each within its bounds", parts > 3 and len(found) == 2 * parts and
      all(call["size"] < 1100 * 1024 for call in seen) and [item["verdict"]["part"] for item in found] ==
      list(range(1, parts + 1)) * 2, [item["verdict"] for item in found], seen)
check("the last one looks at the list of all files", [call["files"] for call in seen] == ([False] * (parts - 1) + [True]) * 2, seen)
last = found[parts - 1]["verdict"]
check("what the last part but one wants changed is wanted by the whole", not last["approved"] and
      [comment["text"] for comment in last["comments"]] == ["take it out"], last)
check("and when all parts approve it is approved", found[-1]["verdict"]["approved"], found[-1])
status = json.loads(place.run("status", "--json").stdout)
check("the average is told, of all and of the kind that did the work", 0 < status["average_quality"] <= 1 and
      status["quality"]["kinds"]["sim"]["rounds"] == 6, status)
check("and shown", "quality 0." in place.run("status").stdout, place.run("status"))
# The services were started again meanwhile: the scores come from the store.
health = json.loads(place.run("health", "--json").stdout)
scores = [next(attempt["quality"] for attempt in task(name)["attempts"] if attempt["phase"] == "work")
          for name in ("prose", "later", "both", "large")]
check("health has the scores of those that were judged, also after a restart",
      health["scored"] == 4 and abs(health["quality"] - sum(scores) / 4) < 0.002, health, scores)


# These services have worked on nothing yet.
def figures():
    time.sleep(1.05)  # past the second in which a text is kept
    log = place.read(".rota/logs/services/telemetry.log")
    port = re.findall(r"metrics.listening .*address=127\.0\.0\.1:(\d+)", log)[-1]
    connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=60)
    connection.request("GET", "/metrics")
    body = connection.getresponse().read().decode()
    connection.close()
    return prometheus.read(body)


place.write("once.yaml", """
name: once
repository: .
tasks:
  - {id: once, timeout: 2m, agent: sim, review: true, prompt: "sim: write once.txt x; ok"}
""")
result = place.run("import", "once.yaml")
check("import", result.returncode == 0, result)
place.run("context", "show", "once")  # that is for a person
place.run("wait", "once", "--timeout", "120")
check("once is done", task("once")["status"] == "done", json.dumps(task("once"), indent=1), place.run("log", "once"))
told, seen = len([attempt for attempt in task("once")["attempts"] if attempt["phase"] in ("work", "review")]), []
check("the metrics know the scheduler", wait_until(
    lambda: seen.append(figures()) or "rota_contexts_total" in seen[-1]), seen[-1:])
check("what an attempt is told is gathered once: for the work, and for the review", told == 2 and
      prometheus.value(seen[-1], "rota_contexts_total", **{"for": "attempt"}) == told,
      seen[-1]["rota_contexts_total"], task("once"))
result = place.run("check")
check("rota check", result.returncode == 0, result)
place.run("down")
finish()
