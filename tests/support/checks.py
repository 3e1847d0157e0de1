"""What the tests in Python share: one line a check, waiting for something, and finding what was left running."""
import json
import os
import subprocess
import sys
import threading
import time

WATCHDOG_S = 90
failures = 0
lock = threading.Lock()  # of failures and of the output: tests may run several things at once


def check(what, good, *more):
    """One line; when it fails, what helps to see why behind it."""
    global failures
    with lock:
        print(f"{'ok  ' if good else 'FAIL'} {what}", flush=True)
        if good:
            return
        failures += 1
        for text in more:
            if isinstance(text, subprocess.CompletedProcess):
                text = f"exit {text.returncode}\n--- stdout\n{text.stdout}\n--- stderr\n{text.stderr}"
            print(str(text)[-6000:], flush=True)


def finish():
    sys.exit(1 if failures else 0)


def wait_until(condition, seconds=WATCHDOG_S):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False


def lines_of_json(text):
    return [json.loads(line) for line in text.splitlines() if line.strip()]


def processes_of(path, by_environment=False):
    """(pid, command line) of each process whose command line, or else environment, mentions `path`."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                command = file.read().replace(b"\0", b" ").decode(errors="replace")
            with open(f"/proc/{pid}/stat", "rb") as file:
                state = file.read().rsplit(b")", 1)[1].split()[0]
            environment = b""
            if by_environment:
                with open(f"/proc/{pid}/environ", "rb") as file:
                    environment = file.read()
        except OSError:
            continue
        if (path in command or path.encode() in environment) and state != b"Z" and int(pid) != os.getpid():
            found.append((int(pid), command))
    return found
