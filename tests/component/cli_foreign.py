#!/usr/bin/python3
"""Someone else than rota moves the integration branch: work goes on from there, and everyone is told, once."""
from cli_support import Place, check, finish, lines_of_json
from workspace_support import git, write

place = Place()
git(place.path, "init", "-q", "-b", "main", ".")
write(f"{place.path}/.gitignore", ".rota\n")
git(place.path, "add", ".gitignore")
git(place.path, "commit", "-q", "-m", "first")


def run(*names):
    place.write("plan.yaml", "name: plan\nrepository: .\ntasks:\n" + "".join(
        f"  - {{id: {name}, run: 'echo {name} > {name}; sleep 1', commit: true, agent: exec}}\n" for name in names))
    return place.run("run", "plan.yaml", "--agent", "exec=2")


def moves():
    return [event for event in lines_of_json(place.run("events", "--json").stdout) if event["type"] == "target.moved"]


result = run("one")
check("what rota moves itself is no news", result.returncode == 0 and moves() == [] and "someone else" not in result.stdout, result)
foreign = git(place.path, "commit-tree", "rota/main^{tree}", "-p", "rota/main", "-m", "by hand")
git(place.path, "update-ref", "refs/heads/rota/main", foreign)
result = run("one", "two", "three")
check("the run says so, and goes on from there", result.returncode == 0 and "someone else than rota moved" in result.stdout and
      foreign[:12] in result.stdout and git(place.path, "merge-base", foreign, "rota/main") == foreign, result)
check("the event log has it once, though several saw it", len(moves()) == 1 and place.path in moves()[0]["reason"], moves())
check("and so has the output of what was begun there", any(
    "someone else than rota moved rota/main" in place.run("log", name).stdout for name in ("two", "three")), place.run("log", "two"))
finish()
