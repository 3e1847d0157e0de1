#!/usr/bin/python3
"""Services that see no other users' processes in /proc, as their systemd units have it (ProtectProc=invisible): whoever has a
parent that they can't see is a peer all the same. Needs root, for a user and a /proc of its own."""
import shutil
import tempfile

from cli_support import BIN, check, finish, os, subprocess, wait_until

USER = 65534
if os.geteuid() != 0:
    print("SKIP this needs root: nothing was tried", flush=True)
    finish()
if os.environ.get("ROTA_TEST_HIDDEN") != "1":
    os.environ["ROTA_TEST_HIDDEN"] = "1"
    os.execvp("unshare", ["unshare", "--mount", os.path.abspath(__file__)])

subprocess.run(["mount", "-t", "proc", "-o", "hidepid=2", "proc", "/proc"], check=True)
place = tempfile.mkdtemp(prefix="rota-test-hidden-", dir="/tmp")
state, programs, running = os.path.join(place, "state"), os.path.join(place, "bin"), []
os.mkdir(programs)
for name in ("rota", "rota-broker", "rota-scheduler", "rota-agent"):
    shutil.copy(os.path.join(BIN, name), programs)
os.mkdir(state, 0o700)
for path in (place, state, programs):
    os.chown(path, USER, USER)


def command(name, *arguments):
    return ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", os.path.join(programs, name), *arguments]


def rota(verb, *arguments):
    return subprocess.run(command("rota", verb, "--state", state, *arguments), cwd=place, env=dict(os.environ, HOME=place),
                          capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60, check=False)


try:
    seen = subprocess.run(command("rota", "help")[:4] + ["ls", f"/proc/{os.getpid()}"], capture_output=True, check=False)
    check("its parents are hidden from that user", seen.returncode != 0, seen)
    for name, *more in (("rota-broker",), ("rota-scheduler",), ("rota-agent", "--kind", "exec")):
        with open(os.path.join(place, name + ".log"), "w", encoding="utf-8") as log:
            running.append(subprocess.Popen(command(name, "--state", state, *more), cwd=place, stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log))
    wait_until(lambda: os.path.exists(os.path.join(state, "run", "client.sock")))
    result = rota("submit", "--id", "a", "--", "true")
    check("a client is served", result.returncode == 0, result)
    result = rota("wait", "a", "--timeout", "60")
    check("scheduler and agent are, too: a task is done", result.returncode == 0, result,
          open(os.path.join(place, "rota-broker.log"), encoding="utf-8").read())
    # And an attempt is known all the same: what is between it and its shim is of the same user.
    result = rota("submit", "--id", "b", "--", f"env -i {programs}/rota pause --state {state}; exit 0")
    rota("wait", "b", "--timeout", "60")
    check("but none that belongs to an attempt", "belongs to an attempt" in rota("log", "b").stdout, rota("log", "b"))
finally:
    for process in running:
        process.terminate()
    for process in running:
        process.wait(60)
    shutil.rmtree(place, ignore_errors=True)
finish()
