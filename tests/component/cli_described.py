#!/usr/bin/python3
"""A program that a file describes instead of C: its prompt, success, errors, limits, session and usage."""
import os

from cli_support import BIN, Place, check, finish, json, subprocess

place = Place()
# It knows one conversation: limited at first, then gone on with, in the place where it was.
place.write("teller", """#!/bin/sh
printf 'hello from %s with %s\\n' "$TELLER_NAME" "$TELLER_KEY"
echo 'session=s-42'
case "$*" in
*--resume*s-42*) echo 'tokens in=30 out=3'; echo 'tokens in=10 out=2'; echo 'cost 0.25'; echo 'FINISHED' ;;
*limit*) echo 'tokens in=5 out=1'; echo 'ERROR: usage limit reached, try again in 1s'; exit 0 ;;
*silent*) exit 0 ;;
*broken*) echo 'ERROR: the disk is on fire'; exit 3 ;;
*) echo "$@" > "$ROTA_TASK_ID.out"; echo 'FINISHED' ;;
esac
""")
os.chmod(os.path.join(place.path, "teller"), 0o755)
DESCRIPTION = """
name: teller
arguments: [teller, --prompt, "{prompt}"]
prompt: argument
resume: [--resume, "{session}"]
environment: [TELLER_KEY=MY_KEY]
set: [TELLER_NAME=Tell]
success: '^FINISHED$'
error: '^ERROR: (.*)'
session: 'session=([a-z0-9-]+)'
input_tokens: 'in=([0-9]+)'
output_tokens: 'out=([0-9]+)'
cost_usd: 'cost ([0-9.]+)'
usage: sum
"""
place.write("teller.yaml", DESCRIPTION)
place.write("rota.yaml", "agents: {commands: [tell teller.yaml]}\n"
            "scheduler: {cooldown_floor: 1s, cooldown_margin: 100ms, backoff_base: 100ms}\n")
place.write("plan.yaml", """
name: plan
tasks:
  - {id: plain, prompt: "say it; $(touch injected)", agent: teller}
  - {id: limited, prompt: limit, agent: teller, attempts: 1}
  - {id: silent, prompt: silent, agent: teller, attempts: 1}
  - {id: broken, prompt: broken, agent: teller, attempts: 1}
""")
result = place.run("run", "plan.yaml", "--agent", "command/tell",
                   environment={"PATH": place.path + ":" + os.environ["PATH"], "MY_KEY": "k"})
check("two are done, two failed", result.returncode == 1 and "2 of 4 tasks done" in result.stdout, result)


def attempts(name):
    found = json.loads(place.run("task", name, "--json").stdout)["attempts"]
    return [attempt["result"] for attempt in sorted(found, key=lambda attempt: attempt["number"])]


check("the prompt was one argument, and no shell saw it",
      "say it; $(touch injected)" in place.read("plain.out") and not os.path.exists(os.path.join(place.path, "injected")))
check("a limit under exit 0 is a limit, and the session goes on", [a["class"] for a in attempts("limited")] == ["limited", "ok"]
      and attempts("limited")[0]["session"] == "s-42", attempts("limited"))
check("usage is summed as described", attempts("limited")[1].get("input_tokens") == 40
      and attempts("limited")[1].get("output_tokens") == 5 and attempts("limited")[1].get("cost_usd") == 0.25, attempts("limited"))
check("exit 0 without the word is no success", [a["class"] for a in attempts("silent")] == ["failed"], attempts("silent"))
check("an error is told in its words", "the disk is on fire" in attempts("broken")[0]["message"], attempts("broken"))

for wrong, says in (("name: x\n", "needs a name and arguments"), (DESCRIPTION + "colour: red\n", "has no colour"),
                    (DESCRIPTION + "stop: HUP\n", "TERM, INT or KILL"), (DESCRIPTION.replace("(.*)", "("), "error: "),
                    (DESCRIPTION.replace("(.*)", ".*"), "needs a group"), ("[", "teller.yaml:")):
    place.write("teller.yaml", wrong)
    result = subprocess.run([os.path.join(BIN, "rota-agent"), "--state", place.state, "--kind", "command", "--account", "tell"], cwd=place.path,
                            capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60, check=False)
    check(f"a wrong description is refused: {says}", result.returncode == 2 and says in result.stderr
          and "teller.yaml:" in result.stderr, result)
finish()
