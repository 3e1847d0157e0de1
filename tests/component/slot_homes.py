#!/usr/bin/python3
"""The home of a slot belongs to one program at a time: also while a process that outlives SIGKILL, or one that an earlier host
started, is still alive in it."""
import ctypes

from cli_support import Place, check, finish, json, os, processes_of, signal, wait_until

PTRACE_SEIZE = 0x4206
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]


def make_place():
    place = Place()
    place.write("teller", "#!/bin/sh\necho \"home $HOME\"\ncase \"$*\" in *stay*) exec sleep 271829 ;; esac\necho FINISHED\n")
    os.chmod(os.path.join(place.path, "teller"), 0o755)
    place.write("teller.yaml", "name: teller\narguments: [teller, \"{prompt}\"]\nprompt: argument\nsuccess: '^FINISHED$'\n")
    place.write("rota.yaml", "agents: {commands: [tell teller.yaml]}\n")
    os.environ["PATH"] = place.path + ":" + os.environ["PATH"]
    check("up", place.run("up", "--agent", "command/tell=2").returncode == 0)
    return place


def submit(place, name, prompt, more=""):
    place.write("plan.yaml", f"name: {name}\ntasks: [{{id: {name}, prompt: {prompt}, agent: teller{more}}}]\n")
    result = place.run("import", "plan.yaml")
    check(f"{name} is imported", result.returncode == 0, result)


def home_of(place, name):
    def said():
        return [line.split()[1] for line in place.run("log", name).stdout.splitlines() if line.startswith("home ")]
    wait_until(said, 30)
    return (said() or [None])[-1]


def sleeper(home):
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                if file.read() != b"sleep\x00271829\x00":
                    continue
            with open(f"/proc/{pid}/environ", "rb") as file:
                if f"HOME={home}".encode() in file.read().split(b"\0"):
                    return pid
        except OSError:
            pass
    return None


def outlives_sigkill():
    place = make_place()
    submit(place, "stays", "stay")
    home = home_of(place, "stays")
    wait_until(lambda: sleeper(home), 30)
    pid = sleeper(home)
    check("its death will be noted by nobody", pid and libc.ptrace(PTRACE_SEIZE, pid, None, None) == 0, home, place.run("status"))
    place.run("cancel", "stays")
    log = lambda: "".join(open(os.path.join(place.state, "logs/services", name), encoding="utf-8", errors="replace").read()
                          for name in os.listdir(os.path.join(place.state, "logs/services")))
    check("it outlives SIGKILL", wait_until(lambda: "attempt.survives" in log(), 90), log()[-2000:])
    submit(place, "next", "go")
    other = home_of(place, "next")
    check("the next one has another home", other and other != home, home, other)
    os.waitpid(pid, 0x40000000)  # __WALL: now it may go
    check("down", place.run("down").returncode == 0)


def host_died():
    place = make_place()
    submit(place, "stays", "stay", ", on_lost: continue")
    home = home_of(place, "stays")
    host = [pid for pid, command in processes_of(place.path) if "--kind command" in command and "rota-agent" in command]
    # The spawner beside the host looks the same; the host is its parent.
    host = min(host) if host else None
    check("there is a host", host is not None, processes_of(place.path))
    os.kill(host, signal.SIGKILL)
    check("another one comes", wait_until(lambda: json.loads(place.run("agents", "--json").stdout)["agents"][0].get("connected") and
                                          not os.path.exists(f"/proc/{host}"), 60), place.run("agents", "--json"))
    for name in ("one", "two"):
        submit(place, name, "go")
        other = home_of(place, name)
        check(f"{name}: not the home in which a program of an earlier host is at work", other and other != home and sleeper(home),
              home, other, place.run("status"))
    check("down", place.run("down").returncode == 0)


outlives_sigkill()
host_died()
finish()
