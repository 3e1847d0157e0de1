#!/usr/bin/python3
"""What outlives SIGKILL: its task counts as running until the last process of it is dead, and is dispatched again only then.

A process can't be made deaf to SIGKILL from outside the kernel; but one whose tracer doesn't take note of its death is not given
to its parent, which is what the watcher of an attempt waits for. Beside it stands another process with the attempt's mark.
"""
import ctypes
import re

from cli_support import Place, check, finish, json, os, subprocess, wait_until

PTRACE_SEIZE = 0x4206
libc = ctypes.CDLL(None, use_errno=True)
place = Place()
check("up", place.run("up", "--agent", "exec=1").returncode == 0)
check("submit", place.run("submit", "--id", "t", "--", "exec sleep 271828").returncode == 0)


def find():
    return [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if command(pid) == b"sleep\x00271828\x00"]


def command(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read()
    except OSError:
        return b""


def status():
    return json.loads(place.run("task", "t", "--json").stdout)["status"]


check("it runs", wait_until(find, 20), place.run("status"))
tracee = find()[0]
with open(f"/proc/{tracee}/environ", "rb") as file:
    environment = dict(item.split(b"=", 1) for item in file.read().split(b"\0") if b"=" in item)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]
check("its death will be noted by nobody", libc.ptrace(PTRACE_SEIZE, tracee, None, None) == 0, ctypes.get_errno())
beside = subprocess.Popen(["sleep", "314159"], env=environment, start_new_session=True)
check("cancel", place.run("cancel", "t").returncode == 0)
ended = wait_until(lambda: status() == "cancelled", 60)
check("the task ends", ended, place.run("task", "t"))
check("not before the last of its processes was dead", beside.poll() == -9, beside.poll())
log = "".join(open(os.path.join(place.state, "logs/services", name), encoding="utf-8", errors="replace").read()
              for name in os.listdir(os.path.join(place.state, "logs/services")) if "exec" in name)
check("the log says why it took so long", re.search(r"attempt\.survives .*task=t", log), log[-2000:])
os.waitpid(tracee, 0x40000000)  # __WALL: now it may go
check("down", place.run("down").returncode == 0)
finish()
