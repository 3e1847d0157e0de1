#!/usr/bin/python3
"""Help, usage faults, init, and what is generated from the table of verbs."""
import re
import shutil

from cli_support import Place, SOURCE, check, finish, json, os, subprocess

place = Place()

for arguments in ([], ["--help"], ["-h"], ["help"]):
    result = place.run(*arguments)
    check(f"rota {' '.join(arguments)}: the front page", result.returncode == 0 and "rota run" in result.stdout
          and "rota help VERB" in result.stdout and not result.stderr, result)
result = place.run("help", "all")
verbs = sorted({line.split()[1] for line in result.stdout.splitlines() if line.startswith("  rota ")})
check("help all lists the verbs", {"run", "validate", "submit", "events", "store", "completion"} <= set(verbs), result)
for verb in verbs:
    if verb in ("store", "key", "context"):  # of two words
        check(f"rota {verb} says what else", f"{verb} what?" in place.run(verb).stderr)
        continue
    result = place.run(verb, "--help")
    check(f"rota {verb} --help", result.returncode == 0 and f"rota {verb}" in result.stdout
          and "--json" in result.stdout, result)
    check(f"rota help {verb} says the same", place.run("help", verb).stdout == result.stdout)
check("--version", place.run("--version").stdout.startswith("rota "))

for arguments, part in ([["valdate"], "did you mean validate"], [["run", "--tiemout", "3"], "did you mean --timeout"],
                        [["xyzzy"], "no verb"], [["why"], "usage: rota why ID"], [["store"], "backup"],
                        [["status", "extra"], "too many arguments"], [["run", "--timeout", "soon"], "duration"],
                        [["run", "--agent", "nosuch"], "agent kind"], [["run", "--agent", "exec=0"], "slots"],
                        [["tasks", "--status", "doen"], "did you mean done"], [["--nosuch"], "unknown option"],
                        [["priority", "a", "urgent"], "no priority"], [["submit"], "usage"],
                        [["status", "--config", "missing.yaml"], "missing.yaml"]):
    result = place.run(*arguments)
    check(f"rota {' '.join(arguments)} is refused", result.returncode == 2 and part in result.stderr
          and result.stderr.startswith("rota: ") and not result.stdout, result)

place.write("rota.yaml", "scheduler:\n  leese: 5s\n")
result = place.run("status")
check("a faulty settings file is refused before anything starts", result.returncode == 2
      and "rota.yaml:2:" in result.stderr and not os.path.exists(place.state), result)
os.unlink(os.path.join(place.path, "rota.yaml"))

for verb in (["status"], ["tasks"], ["why", "a"], ["events"], ["down"], ["export"], ["retry", "a"], ["check"]):
    result = place.run(*verb)
    check(f"rota {' '.join(verb)} without a state says how to begin", result.returncode == 2
          and "rota run" in result.stderr, result)
check("and makes none", not os.path.exists(place.state))

result = place.run("init")
check("init writes a roadmap", result.returncode == 0 and os.path.exists(os.path.join(place.path, "roadmap.yaml")), result)
result = place.run("validate", "--strict")
check("which is valid, without a warning", result.returncode == 0 and not result.stderr, result)
result = place.run("run", "--dry-run")
check("a dry run shows the order", result.returncode == 0 and "build, lint" in result.stdout
      and not os.path.exists(place.state), result)
result = place.run("run", "--dry-run", "--json")
check("as JSON too", json.loads(result.stdout)["waves"][1] == ["build", "lint"], result)
result = place.run("init")
check("init leaves a file that is there", result.returncode == 2 and "--force" in result.stderr, result)
check("unless forced", place.run("init", "--force").returncode == 0)

made = place.run("keygen", "worker", "--json")
check("keygen makes a key", made.returncode == 0 and json.loads(made.stdout)["public"], made)
public = json.loads(made.stdout)["public"]
result = place.run("grant", public, "agent", "--name", "worker")
listed = place.run("key", "list")
check("grant lets it in", result.returncode == 0 and any("worker" in line and "agent" in line for line in listed.stdout.splitlines()), listed)
result = place.run("revoke", "worker")
listed = [it for it in place.run("key", "list").stdout.splitlines() if public in it]
check("revoke lets it in no more", result.returncode == 0 and len(listed) == 1 and re.search(r"agent +\d{4}-\d\d-\d\dT", listed[0]), listed)
for alias, verb in (("keygen", "key new"), ("grant", "key grant"), ("revoke", "key revoke")):
    check(f"rota {alias} is {verb}", place.run("help", alias).stdout == place.run("help", *verb.split()).stdout)

for generated, arguments in (("deploy/completion/rota.bash", ["completion", "bash"]),
                             ("deploy/completion/_rota", ["completion", "zsh"]), ("docs/man/rota.1", ["man"])):
    with open(os.path.join(SOURCE, generated), encoding="utf-8") as file:
        check(f"{generated} is what `rota {' '.join(arguments)}` prints", file.read() == place.run(*arguments).stdout)
bash = place.write("completion.bash", place.run("completion", "bash").stdout)
script = f'source {bash}; COMP_WORDS=(rota %s); COMP_CWORD=%d; _rota; printf "%%s\\n" "${{COMPREPLY[@]}}"'
for words, expected in (("va", "validate"), ("run --ti", "--timeout"), ("store re", "restore"),
                        ("tasks --status bl", "blocked"), ("help sub", "submit")):
    result = subprocess.run(["bash", "-c", script % (words, len(words.split()))], capture_output=True, text=True,
                            check=False)
    check(f"bash completes rota {words}", expected in result.stdout.split(), result)
for shell in ("zsh", "man"):
    if not shutil.which(shell):
        print(f"SKIPPED a part: there is no {shell} here")
if shutil.which("zsh"):
    path = place.write("_rota", place.run("completion", "zsh").stdout)
    check("zsh reads its completion", subprocess.run(["zsh", "-n", path], check=False).returncode == 0)
if shutil.which("man"):
    path = place.write("rota.1", place.run("man").stdout)
    result = subprocess.run(["man", "--warnings", "-E", "UTF-8", "-l", path], capture_output=True, text=True,
                            env=dict(os.environ, MANPAGER="cat", LC_ALL="C.UTF-8"), check=False)
    check("the manual page formats without a warning", result.returncode == 0 and not result.stderr, result)
finish()
