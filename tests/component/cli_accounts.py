#!/usr/bin/python3
"""Accounts: several of a kind, each with limits of its own; what waits for a person; what `rota agents` and doctor say of them."""
from cli_support import Place, check, finish, json, os, wait_until

QUICK = {"ROTA_SCHEDULER_BACKOFF_BASE": "200ms", "ROTA_SCHEDULER_COOLDOWN_FLOOR": "1s", "ROTA_SCHEDULER_COOLDOWN_MARGIN": "200ms"}


def attempts_of(place, name):
    found = json.loads(place.run("task", name, "--json").stdout)["attempts"]
    return [(attempt["agent"].split("@")[0], attempt["result"]["class"]) for attempt in sorted(found, key=lambda a: a["number"])]


def agents(place):
    return json.loads(place.run("agents", "--json").stdout)["agents"]


# The limit of one account stops its own agents alone: what waits goes on with the other.
place = Place()
result = place.run("up", "--agent", "sim/one=1", "--agent", "sim/two=1", environment=QUICK)
check("up with two accounts of a kind", result.returncode == 0, result)
names = {agent["account"]: agent["name"] for agent in agents(place)}
check("each agent has its own", set(names) == {"sim/one", "sim/two"}, names)
place.write("limited.yaml", f"""
name: limited
tasks:
  - {{id: first, prompt: "sim: limit 1h; ok", attempts: 1, agent: "{names['sim/one']}"}}
""")
place.run("import", "limited.yaml")
check("the one rests", wait_until(lambda: any(agent.get("cooldown_until") for agent in agents(place)), 20), agents(place))
place.write("plan.yaml", """
name: plan
tasks:
  - {id: second, prompt: "sim: ok"}
  - {id: third, prompt: "sim: fail boom", after: second, attempts: 1}
""")
place.run("import", "plan.yaml")
place.run("wait", "third")
other = names["sim/two"].split("@")[0]
check("what may go to another account goes there", attempts_of(place, "second") == [(other, "ok")], attempts_of(place, "second"))
check("what may not waits, with no attempt used", [c for _, c in attempts_of(place, "first")] == ["limited"]
      and json.loads(place.run("task", "first", "--json").stdout).get("attempts_used", 0) == 0, attempts_of(place, "first"))
check("the other doesn't rest", [agent["account"] for agent in agents(place) if agent.get("cooldown_until")] == ["sim/one"], agents(place))
table = place.run("agents").stdout
check("the table has kind and host where names don't tell them, and the share that ended well", all(
    word in table.splitlines()[0].split() for word in ("KIND", "HOST", "BUSY", "DONE", "FAILED", "GOOD", "TODAY", "NOW"))
    and " 50% " in table and "rests until" in table, table)
result = place.run("doctor")
check("doctor says what rests and what to do", f"{names['sim/one']} rests until" in result.stdout and "tries at once" in result.stdout, result)
check("and looks at git, room and rules", all(f" {word} " in result.stdout for word in ("git", "room", "limits")), result)
place.run("down")

# --no-auto-resume: a limit waits for a person, however soon it would be over.
place = Place()
place.write("plan.yaml", 'name: plan\ntasks:\n  - {id: t, prompt: "sim: limit 1s; ok", attempts: 1}\n')
check("up --no-auto-resume", place.run("up", "--agent", "sim=1", "--no-auto-resume", environment=QUICK).returncode == 0)
place.run("import", "plan.yaml")
closed = wait_until(lambda: any(agent.get("cooldown_by_hand") for agent in agents(place)), 20)
check("the limit waits for `rota resume`", closed and "closed until `rota resume`" in place.run("agents").stdout, agents(place))
check("doctor says so", "opens it" in place.run("doctor").stdout, place.run("doctor"))
name = agents(place)[0]["name"]
check("nothing more was tried", attempts_of(place, "t") == [("sim", "limited")], attempts_of(place, "t"))
os.remove(os.path.join(place.state, "accounts", "sim-default", "limited-until"))
check("resume opens it", place.run("resume", name).returncode == 0 and place.run("wait", "t").returncode == 0, place.run("status"))
check("and no attempt was used", [c for _, c in attempts_of(place, "t")] == ["limited", "ok"], attempts_of(place, "t"))
place.run("down")

# Accounts of the settings are looked at like the default one, each with its own login.
place = Place()
place.write("claude", "#!/bin/sh\necho '2.1.330 (Claude Code)'\n")
os.chmod(os.path.join(place.path, "claude"), 0o755)
place.write("rota.yaml", "agents:\n  credentials: [claude/work ANTHROPIC_API_KEY=WORK_KEY]\n  logins: [claude/home nowhere]\n")
here = {"PATH": place.path + ":" + os.environ["PATH"], "HOME": place.path, "WORK_KEY": "k", "ANTHROPIC_BASE_URL": "http://127.0.0.1:9",
        "ANTHROPIC_API_KEY": "", "ANTHROPIC_AUTH_TOKEN": "", "CLAUDE_CODE_OAUTH_TOKEN": "", "CLAUDE_CONFIG_DIR": ""}
lines = {line.split()[1]: line for line in place.run("doctor", environment=here).stdout.splitlines()}
check("doctor looks at every account", "2.1.330" in lines.get("claude/work", "") and "not logged in" in lines.get("claude/home", "")
      and "not logged in" in lines.get("claude", ""), lines)
place.write("plan.yaml", "name: plan\ntasks:\n  - {id: t, prompt: hello}\n")
result = place.run("run", "plan.yaml", "--timeout", "1s", environment=here)
check("run says why a program that it has found is not used", "claude is not used: not logged in" in result.stderr, result)
result = place.run("run", "plan.yaml", "--timeout", "1s", environment=dict(here, ANTHROPIC_API_KEY="k"))
check("and which it uses for what", "prompts go to claude; reviews, and what is of complexity 8 and up, to claude" in result.stderr, result)
finish()
