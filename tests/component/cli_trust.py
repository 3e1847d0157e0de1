#!/usr/bin/python3
"""Work that can be trusted: a roadmap on a repository, worked by agents some of which lie, break, leak and meddle. In the end
the integration branch has exactly the good work, and each of its commits passes the tests."""
import re

from cli_support import ROTA, Place, check, finish, json, os, subprocess, wait_until

place = Place()


def git(*arguments, directory=None, text=None):
    result = subprocess.run(["git", "-c", "user.name=Owner", "-c", "user.email=owner@example.org", "-c",
                             "init.defaultBranch=main", *arguments], cwd=directory or place.path, input=text,
                            capture_output=True, text=True, check=False)
    return result.stdout.strip() if result.returncode == 0 else f"git failed: {result.stderr}"


def make_repository():
    """A small C project whose test is that everything compiles and the program says that it is well."""
    place.write(".gitignore", ".rota\n*.o\napp\n")
    place.write("Makefile", "check: app\n\t./app\napp: $(wildcard *.c)\n\t$(CC) -Wall -Werror -o $@ $^\n")
    place.write("main.c", "int main (void)\n{\n    return 0;\n}\n")
    place.write("shared.txt", "line one\nline two\n")
    place.write("notes.txt", "a note\n")
    git("init", "-q", ".")
    git("add", "-A")
    git("commit", "-q", "-m", "The beginning")


OUTSIDE = os.path.join(place.path, "outside.txt")
make_repository()
before = git("rev-parse", "main")
place.write("rota.yaml", "scheduler: {backoff_base: 200ms}\nagents: {environment: [PATH, HOME, ODD_TOKEN], commands: [hasty hasty.yaml]}\n")
place.write("hasty.yaml", f"""
name: hasty
arguments: [sh, -c, "echo '#define HASTY 7' > hasty.c; echo FINISHED"]
prompt: stdin
success: '^FINISHED$'
environment: [PATH]
""")
os.environ["ODD_TOKEN"] = "correct horse battery"
os.environ["ROTA_AGENTS_LEAST_TIME"] = "10m"  # of what asks a model; commands and sim take what they take
TELL = "run cat $ROTA_CONTEXT >&2"  # into the log of the attempt
place.write("plan.yaml", f"""
name: plan
repository: .
defaults: {{attempts: 2, timeout: 2m, gates: [test], agent: sim}}
gates: {{test: make -s check}}
tasks:
  - {{id: parser, touches: [parser.h], prompt: "sim: write parser.c #define PARSER 1; ok"}}
  - {{id: lexer, after: parser, prompt: "sim: write lexer.c #define LEXER 1; ok"}}
  - {{id: liar, attempts: 1, prompt: "sim: say all is well; ok"}}
  - {{id: breaks, attempts: 1, review: true, prompt: "sim: write broken.c this is no C; ok"}}
  - {{id: left, prompt: "sim: run printf 'left one\\\\nline two\\\\n' > shared.txt; work 500ms; ok; {TELL}; run printf 'left and right\\\\nline two\\\\n' > shared.txt; ok"}}
  - {{id: right, prompt: "sim: run printf 'right one\\\\nline two\\\\n' > shared.txt; ok; {TELL}; run printf 'left and right\\\\nline two\\\\n' > shared.txt; ok"}}
  - id: meddler
    prompt: >-
      sim: run echo meddled > {OUTSIDE}; run echo x > {place.state}/meddled; run {ROTA} --state {place.state} approve guarded;
      run git push -q origin HEAD:refs/heads/main; run git update-ref refs/heads/main HEAD;
      run mkdir -p .git/hooks && printf '#!/bin/sh\\necho hooked >> {OUTSIDE}\\n' > .git/hooks/post-commit && chmod +x .git/hooks/post-commit && cp .git/hooks/post-commit .git/hooks/pre-commit;
      run git config core.fsmonitor 'echo watched >> {OUTSIDE}' && git config filter.bad.clean 'tee -a {OUTSIDE}' && echo '*.c filter=bad' > .gitattributes && rm .gitattributes;
      write meddler.c #define MEDDLER 2; ok
  - {{id: claim-1, touches: ["claimed.*"], prompt: "sim: run echo one >> claimed.txt; work 500ms; ok"}}
  - {{id: claim-2, touches: [claimed.txt], prompt: "sim: run echo two >> claimed.txt; work 500ms; ok"}}
  - {{id: leak, attempts: 1, gates: [], prompt: "sim: run printf 'key = AKIA%s' IOSFODNN7EXAMPLQ > config.ini; ok"}}
  - {{id: leak-again, attempts: 1, gates: [], prompt: "sim: run printf 'AKIA%s' IOSFODNN7EXAMPLQ > k && git add k && git commit -qm a && git rm -q k && git commit -qm b && echo x > leak; ok"}}
  - {{id: leak-given, attempts: 1, gates: [], run: 'echo "$ODD_TOKEN" > given.txt', commit: true, agent: exec}}
  - {{id: judged, review: true, prompt: "sim: write judged.c #define JUDGED 3; ok; {TELL}; write judged.c #define JUDGED 4; ok  review: changes"}}
  - {{id: guarded, approval: required, prompt: "sim: write guarded.c #define GUARDED 5; ok"}}
  - {{id: hasty, attempts: 1, gates: [], prompt: "do it", agent: hasty}}
  - {{id: held, after: guarded, run: "until test -e go; do sleep 0.05; done; rm go; echo '#define HELD 8' > held.c", commit: true, agent: exec}}
  - {{id: looks, run: "test -f main.c && echo scratch > scratch.txt", agent: exec}}
  - {{id: command, run: "echo '#define COMMAND 6' > command.c", commit: true, agent: exec}}
""")
place.write("notes.txt", "a note that the owner is still writing\n")

result = place.run("run", "plan.yaml", "--agent", "sim=3", "--agent", "exec=2", "--agent", "git=2", "--agent", "command/hasty")
check("only the owner is awaited, or what failed is told", result.returncode in (1, 5), result)


def task(name):
    return json.loads(place.run("task", name, "--json").stdout)


def status(name):
    return task(name)["status"]


place.run("up", "--agent", "sim=3", "--agent", "exec=2", "--agent", "git=2", "--agent", "command/hasty")
check("guarded waits for its owner", task("guarded").get("phase") == "approval", task("guarded"))
check("approve", place.run("approve", "guarded").returncode == 0)
place.run("wait", "guarded", "--timeout", "60")
check("rota open: there is a clone while it is worked on", wait_until(lambda: place.run("open", "held").returncode == 0, 60), task("held"))
result = place.run("open", "held")
clone = result.stdout.strip()
check("rota open prints its path", result.stdout == clone + "\n" and os.path.isabs(clone) and os.path.isdir(os.path.join(clone, ".git")) and
      git("rev-parse", "--abbrev-ref", "HEAD", directory=clone).startswith("rota-work/held."), result)
check("rota open --json", json.loads(place.run("open", "held", "--json").stdout) == {"path": clone}, place.run("open", "held", "--json"))
place.write(os.path.join(clone, "go"), "")
check("what is put there is seen by who works there", place.run("wait", "held", "--timeout", "60").returncode == 0, task("held"))
for name in ("held", "no-such-task"):
    result = place.run("open", name)
    check(f"rota open {name}: refused in words where there is none", result.returncode == 4 and result.stdout == "" and
          f"{name} has no clone here now" in result.stderr, result)
for name in ("claim-1", "claim-2", "parser", "lexer", "left", "right", "meddler", "judged", "guarded", "held", "looks", "command"):
    check(f"{name} is done", status(name) == "done", json.dumps(task(name), indent=1), place.run("log", name))
for name, why in (("liar", "nothing was changed"), ("breaks", "test"), ("leak", "secret"),
                  ("hasty", "it says it is done after"), ("leak-again", "secret"), ("leak-given", "secret")):
    found = task(name)
    check(f"{name} failed, and it says why", found["status"] == "failed" and why in (found.get("reason") or "").lower(),
          json.dumps(found, indent=1))

tree = git("ls-tree", "-r", "--name-only", "rota/main").splitlines()
good = {".gitignore", "Makefile", "main.c", "shared.txt", "notes.txt", "parser.c", "lexer.c", "meddler.c", "judged.c", "guarded.c",
        "command.c", "claimed.txt", "held.c"}
check("the integration branch has exactly the good work", set(tree) == good, sorted(set(tree) ^ good))
check("with both changes of the same line", git("show", "rota/main:shared.txt") == "left and right\nline two",
      git("show", "rota/main:shared.txt"))
check("those that touch the same file were worked on one after the other",
      sorted(git("show", "rota/main:claimed.txt").splitlines()) == ["one", "two"] and
      all(len([attempt for attempt in task(name)["attempts"] if attempt.get("phase") == "work"]) == 1
          for name in ("claim-1", "claim-2")), task("claim-1"), task("claim-2"))
check("what changed other files than it touches is marked", "marked  diff: touches" in place.run("review", "parser").stdout,
      place.run("review", "parser"))
check("and what the review wanted", "JUDGED 4" in git("show", "rota/main:judged.c"))


def second_turn(name):
    """What the second attempt at the work printed; "" without one."""
    numbers = sorted(attempt["number"] for attempt in task(name)["attempts"] if attempt["phase"] == "work")
    return place.run("log", name, "--attempt", str(numbers[1])).stdout if len(numbers) > 1 else ""


told = second_turn("judged")
check("who is to do it better is told in the reviewer's words", "it pretends to want more" in told and "major: say more" in told, told)
told = [second_turn(name) for name in ("left", "right")]
check("who met a conflict is told where", sum("conflicts with what rota/main has by now: shared.txt" in text for text in told) == 1, told)
check("the owner's branch has not moved", git("rev-parse", "main") == before)
check("nor was the owner's checkout touched", place.read("notes.txt").startswith("a note that") and
      not os.path.exists(os.path.join(place.path, "parser.c")))
isolated = any(attempt.get("work", {}).get("isolated") for attempt in task("meddler")["attempts"])
if isolated:
    check("nothing was written outside of the clone", not os.path.exists(OUTSIDE) and
          not os.path.exists(os.path.join(place.state, "meddled")))
else:
    print("SKIP what a sandbox keeps out: there is none here (bubblewrap)", flush=True)
    if os.path.exists(OUTSIDE):
        with open(OUTSIDE, encoding="utf-8") as file:
            text = file.read()
        check("what was planted in the clone was run by nobody else", "hooked" not in text and "watched" not in text, text)

history = git("rev-list", "--first-parent", "--reverse", f"{before}..rota/main").splitlines()
taken = [git("log", "-1", "--format=%P", commit).split()[1:] for commit in history]
check("each task's work was merged once, some of it together", sum(map(len, taken)) == 11 and len(set(sum(taken, []))) == 11, taken)
work = os.path.join(place.path, ".rota", "try")
for commit in history:
    git("worktree", "add", "-q", "--detach", work, commit)
    made = subprocess.run(["make", "-s", "check"], cwd=work, capture_output=True, text=True, check=False)
    check(f"{git('log', '-1', '--format=%s', commit)}: it passes the tests", made.returncode == 0, made)
    git("worktree", "remove", "--force", work)
messages = git("log", "--format=%B", f"{before}..rota/main")
check("the history says who did what", "Rota-Task: judged" in messages and "Rota-Agent: sim@" in messages, messages)
judged = git("log", "--first-parent", "--format=%(trailers:only,unfold)", "--grep=Rota-Task: judged", "rota/main")
check("a merge says whose work it is and who approved it", "Rota-Work-By: sim@" in judged and "Rota-Reviewed-By: sim@" in judged, judged)

branches = git("for-each-ref", "--format=%(refname:short)", "refs/heads/rota-work/").splitlines()
check("a key never comes into the repository", not any(branch.startswith("rota-work/leak") for branch in branches), branches)
check("nor the value of one that the agent was given", "value of ODD_TOKEN" in place.run("log", "leak-given").stdout and
      git("log", "--all", "-S", os.environ["ODD_TOKEN"], "--format=%H") == "", place.run("log", "leak-given"))
check("branches of merged work are gone, of failed work they stay", branches and
      not any(branch.startswith("rota-work/judged.") for branch in branches), branches)

result = place.run("review", "judged")
check("rota review", result.returncode == 0 and "changes wanted" in result.stdout and "approved" in result.stdout and
      "passed" in result.stdout, result)
result = place.run("review", "breaks")
check("and why a gate failed: the end of what it printed", "failed  test\n    " in result.stdout and "    broken.c:1:" in result.stdout,
      result)
result = place.run("diff", "judged", "--stat")
check("rota diff", result.returncode == 0 and "judged.c" in result.stdout, result)
result = place.run("merge")
check("rota merge refuses a dirty tree", result.returncode == 4 and "not committed" in result.stderr, result)
git("checkout", "-q", "notes.txt")
result = place.run("merge")
check("rota merge takes the work", result.returncode == 0 and git("rev-parse", "main") == git("rev-parse", "rota/main") and
      os.path.exists(os.path.join(place.path, "parser.c")), result)
result = place.run("check")
check("rota check", result.returncode == 0, result)
place.run("down")
check("no clone is left", not os.listdir(os.path.join(place.state, "clones")) if
      os.path.isdir(os.path.join(place.state, "clones")) else True)

# Without a sandbox: it is said, and what an agent starts is no client all the same.
place = Place()
make_repository()
place.write("rota.yaml", "scheduler: {backoff_base: 200ms}\nagents: {isolation: off}\n")
os.makedirs(os.path.join(place.path, "inner"))
place.write("inner/plan.yaml", "name: inner\ntasks: [{id: within, run: 'true'}]\n")
HEAD = "repository: .\ndefaults: {attempts: 1, timeout: 2m, agent: sim}\n"
place.write("plan.yaml", f"name: plan\n{HEAD}tasks: [{{id: guarded, approval: required, prompt: 'sim: write guarded.c #define GUARDED 5; ok'}}]\n")
place.write("meddle", f"""
{ROTA} --state {place.state} approve guarded > {place.path}/said 2>&1; echo $? >> {place.path}/said
(setsid env -i sh -c 'sleep 0.3; {ROTA} --state {place.state} approve guarded; echo $?' > {place.path}/said-later 2>&1 &)
""")
place.write("more.yaml", f"""
name: more
{HEAD}tasks:
  - id: meddler
    prompt: >-
      sim: run sh {place.path}/meddle;
      work 1s; write meddler.c #define MEDDLER 2; ok
  - {{id: nested, agent: exec, run: "cd {place.path}/inner && {ROTA} --state {place.path}/inner-state run plan.yaml --agent exec=1 > said 2>&1"}}
""")
result = place.run("run", "plan.yaml", "--agent", "sim=2", "--agent", "git=1")
check("the owner is awaited", result.returncode == 5 and task("guarded").get("phase") == "approval", result)
place.run("up", "--agent", "sim=2", "--agent", "exec=1", "--agent", "git=1")
result = place.run("run", "more.yaml")
check("what was started within an attempt has services of its own", status("nested") == "done" and
      "all done" in place.read("inner/said"), place.run("log", "nested"), place.read("inner/said"))
check("an agent that approves is told that it may not", "may not direct its own work" in place.read("said") and
      place.read("said").splitlines()[-1] != "0", place.read("said"))
check("nor may what it lets loose", wait_until(lambda: "may not direct its own work" in place.read("said-later"), 30),
      place.read("said-later"))
check("what it would have approved waits on", task("guarded").get("phase") == "approval" and task("guarded")["status"] != "done",
      task("guarded"))
check("rota review says that nothing was isolated", "not isolated" in place.run("review", "guarded").stdout, place.run("review", "guarded"))
result = place.run("approve", "guarded")
check("and so does rota approve", result.returncode == 0 and "not isolated" in result.stdout, result)
place.run("down")
finish()
