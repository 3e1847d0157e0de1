#!/usr/bin/python3
"""What an attempt sees of the machine: the system, toolchains and its program wherever they lie; nothing that people keep."""
import os
import socket
import sys

from cli_support import Place, check, finish, json, subprocess
from workspace_support import ISOLATES, Work, gate, git, read, script, write

if not ISOLATES:
    print("SKIP isolation: bubblewrap is missing here, or this kernel doesn't let it: NOTHING of it was checked")
    sys.exit(77)

SECRETS = (".ssh/id_ed25519", ".aws/credentials", ".netrc", ".gitconfig", ".cargo/credentials.toml", ".local/share/keyrings/login",
           ".bash_history", "other-project/.env", ".claude/.credentials.json")


def home_of(work):
    """A home with what homes have: keys, and toolchains."""
    home = os.path.join(work.place, "home")
    for name in SECRETS:
        write(os.path.join(home, name), "planted\n")
    script(os.path.join(home, ".cargo/bin/cargo-tool"), "echo cargo\n")
    node = os.path.join(home, ".nvm/versions/node/v1")
    write(os.path.join(node, "lib/node_modules/prog/words"), "from beside it\n")
    script(os.path.join(node, "lib/node_modules/prog/cli"), 'cat "$(dirname "$(readlink -f "$0")")/words"\n')
    os.makedirs(os.path.join(node, "bin"))
    os.symlink("../lib/node_modules/prog/cli", os.path.join(node, "bin/prog"))
    # Installed where no table knows of it, and called by a link in PATH.
    script(os.path.join(home, "apps/agent/node_modules/one/cli"), 'cat "$(dirname "$(readlink -f "$0")")/../two/words"; sh -c "$1"\n')
    write(os.path.join(home, "apps/agent/node_modules/two/words"), "its library\n")
    write(os.path.join(home, "apps/agent/key"), "planted\n")
    os.makedirs(os.path.join(home, ".local/bin"))
    os.symlink("../../apps/agent/node_modules/one/cli", os.path.join(home, ".local/bin/agent"))
    return home


def environment_of(home):
    return {"HOME": home, "PATH": f"{home}/.cargo/bin:{home}/.nvm/versions/node/v1/bin:{home}/.local/bin:{os.environ['PATH']}"}


def sees(work, home, what, result):
    """The words that a program said, of those that nobody may find."""
    said = result.stdout + result.stderr.split("--- record")[0]
    check(f"{what}: nothing that is kept in the home is there", "planted" not in said, result)
    check(f"{what}: the work itself is taken", result.state == "done", result)


LOOK = "cd; find . -type f | sort; cat " + " ".join(f"~/{name}" for name in SECRETS) + " ~/apps/agent/key; cd - > /dev/null; "


def homes():
    work = Work()
    home = home_of(work)
    environment = environment_of(home)
    agent_socket = socket.socket(socket.AF_UNIX)
    agent_socket.bind(os.path.join(home, ".ssh/agent"))
    agent_socket.listen()
    beside = write(os.path.join(work.place, "beside"), "planted\n")
    write(os.path.join(work.path, ".env"), "planted\n")
    other = write(os.path.join(work.state, "clones", "other", "file"), "planted\n")
    connect = ("python3 -c 'import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])' \"$SSH_AUTH_SOCK\" 2> /dev/null && "
               "echo planted socket; ")
    result = work.run("work", ["sh", "-c", LOOK + connect + f"cat {beside} {other} {work.path}/.env {work.path}/.git/config; ls -a /home /root; "
                               "cargo-tool; prog; echo kept > ~/x && cat ~/x; cat /etc/shadow | head -n 1; echo x > x"],
                      environment={**environment, "SSH_AUTH_SOCK": os.path.join(home, ".ssh/agent")})
    sees(work, home, "the user's home", result)
    check("toolchains are there, wherever in a home they lie", "cargo\nfrom beside it\n" in result.stdout, result)
    check("its home can be written, and is gone behind it", "kept\n" in result.stdout and not os.path.exists(home + "/x"), result)
    check("what only root has to know isn't told to programs of root's either", "root:*" not in result.stdout
          and "root:x" not in result.stdout and "root:$" not in result.stdout and "root:!" not in result.stdout, result)
    check("nor is there anything of another's home", "other" not in result.stdout and ".profile" not in result.stdout, result)
    agent_socket.close()

    own = os.path.join(work.state, "slot-home")
    os.mkdir(own)
    result = work.run("work", ["agent", f"cat {home}/apps/agent/key {home}/.ssh/id_ed25519; ls -A {home}; echo mine > ~/mine; echo x > x"],
                      environment={**environment, "HOME": own}, keep=[own], home=home)
    sees(work, home, "an agent program with a home of its slot's", result)
    check("it runs from where it was installed, with its libraries", result.stdout.startswith("its library\n"), result)
    check("and keeps what it keeps in its own", read(own + "/mine") == "mine\n", result)

    commit = result.record["commit"]
    result = work.run("gate", start=commit, environment=environment, gates=[
        {"name": "look", "command": LOOK + "cargo-tool && prog && echo x > ~/.cache-of-a-tool && ! cat ~/.ssh/id_ed25519"}])
    check("a gate has the toolchains, a home to write to, and no key", result.state == "done" and
          "planted" not in gate(result, "look")["output"] and "from beside it" in gate(result, "look")["output"], result)


def acp_programs_keep_their_logins():
    """They are given the user's home, because which login is theirs only they know."""
    work = Work()
    home = home_of(work)
    result = work.run("work", ["sh", "-c", "cat ~/.ssh/id_ed25519 ~/.netrc; cat ~/.claude/.credentials.json; echo token > ~/.claude/token; "
                               "echo x > x"], environment={"HOME": home}, keep=[home], home=home, programs=["claude-agent-acp"])
    check("a program that keeps its login in the home has that, and no more", result.stdout == "planted\n" and
          read(home + "/.claude/token") == "token\n", result)
    result = work.run("work", ["sh", "-c", "cat ~/.claude/.credentials.json; echo x > x"], environment={"HOME": home}, keep=[home],
                      home=home, programs=["some-agent"])
    check("and another's it has not", result.stdout == "" and result.state == "done", result)


def settings_name_more():
    work = Work()
    data, cache = os.path.join(work.place, "data"), os.path.join(work.place, "home", "cache")
    write(data + "/set", "the data\n")
    write(cache + "/old", "cached\n")
    result = work.run("work", ["sh", "-c", f"cat {data}/set ~/cache/old; echo n > {data}/n; echo new > ~/cache/new; echo x > x"],
                      environment={"HOME": os.path.join(work.place, "home")},
                      sandbox_paths=[data, "~/cache:rw", "/not/there", "relative"])
    check("what the settings name is there: to be read, or to be written too", result.stdout == "the data\ncached\n" and
          not os.path.exists(data + "/n") and read(cache + "/new") == "new\n", result)
    check("what isn't there is said, and so is what can't be meant", "/not/there isn't there (agents.sandbox_paths)" in result.stderr and
          '"relative" must be a path that begins with / or ~/' in result.stderr, result)


def by_a_whole_run():
    place = Place()
    git(place.path, "init", "-q", "-b", "main", ".")
    write(os.path.join(place.path, ".gitignore"), ".rota\nhome\ndata\n")
    git(place.path, "add", ".gitignore")
    git(place.path, "commit", "-q", "-m", "first")
    home = os.path.join(place.path, "home")
    write(home + "/.ssh/id_ed25519", "planted\n")
    write(os.path.join(place.path, "data", "set"), "the data\n")
    place.write("rota.yaml", f"agents: {{sandbox_paths: [{place.path}/data]}}\n")
    place.write("plan.yaml", """
name: plan
repository: .
gates: {look: "! cat ~/.ssh/id_ed25519"}
defaults: {gates: [look]}
tasks:
  - {id: command, run: "! cat ~/.ssh/id_ed25519 && cat %s/data/set > copied", commit: true}
  - {id: agent, prompt: "sim: run test ! -e %s/.ssh && echo x > x; ok", agent: sim}
""" % (place.path, home))
    result = place.run("run", "plan.yaml", "--agent", "sim", "--agent", "exec", environment={"HOME": home})
    check("tasks and gates of a run: no key is to be seen", result.returncode == 0 and
          git(place.path, "show", "rota/main:copied") == "the data", result, place.run("log", "command"), place.run("log", "agent"),
          place.run("review", "command"))
    found = json.loads(place.run("task", "agent", "--json").stdout)
    check("and they were isolated", all(attempt.get("work", {}).get("isolated") for attempt in found["attempts"]
                                         if attempt["phase"] == "work"), found)


for scenario in (homes, acp_programs_keep_their_logins, settings_name_more, by_a_whole_run):
    scenario()
finish()
