#!/usr/bin/python3
"""A disk that fills up: held before it is full, refused when it is, going on by itself when there is room; and one that is
read-only. On a small tmpfs in a mount namespace of its own."""
import sqlite3
import sys

if __name__ == "__main__" and "ROTA_TEST_NAMESPACE" not in __import__("os").environ:
    import os
    import subprocess
    way = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--mount"]
    if subprocess.run([*way, "sh", "-c", "mount -t tmpfs none /mnt"], capture_output=True, check=False).returncode:
        print("SKIPPED: no mount namespace can be made here, which a small disk needs")
        sys.exit(77)
    os.execvpe(way[0], [*way, "/usr/bin/python3", os.path.abspath(__file__)], dict(os.environ, ROTA_TEST_NAMESPACE="1"))

from cli_support import BIN, Place, check, finish, json, os, subprocess, time, wait_until  # noqa: E402

place = Place()
os.mkdir(place.state, 0o700)
SIZE = 48 << 20
subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=0700", "none", place.state], check=True)
filler = os.path.join(place.state, "filler")


def free():
    room = os.statvfs(place.state)
    return room.f_bavail * room.f_frsize


def fill(leave):
    with open(filler, "ab") as file:
        try:
            while free() > leave:
                file.write(b"x" * min(free() - leave, 1 << 20))
                file.flush()
        except OSError:
            pass


def status():
    ran = place.run("status", "--json")
    return json.loads(ran.stdout) if ran.returncode == 0 else {}


def state_of(task):
    ran = place.run("task", task, "--json")
    return json.loads(ran.stdout)["status"] if ran.returncode == 0 else None


try:
    TELEMETRY = f"telemetry: {{batch_interval: 50ms, hook_events: [disk], hook: {place.hook()}}}\n"
    place.write("rota.yaml", "scheduler: {disk_reserve: 16MiB}\n" + TELEMETRY)
    check("up", place.run("up", "--agent", "exec=1").returncode == 0)
    go = os.path.join(place.path, "go")
    ran = place.run("submit", "--id", "runs", "--", "sh", "-c", f"until [ -e {go} ]; do sleep 0.05; done; echo out")
    check("work is taken while there is room", ran.returncode == 0, ran)
    check("and begun", wait_until(lambda: state_of("runs") == "in_progress"))
    check("a second waits for its slot", place.run("submit", "--id", "waits", "--", "true").returncode == 0)
    fill(12 << 20)
    check("the state is shown", wait_until(lambda: status().get("disk_low")), status())
    check("with what it waits for", any(wait["code"] == "disk" for wait in status()["waits"]), status())
    ran = place.run("submit", "--id", "more", "--", "true")
    check("submit is refused in words", ran.returncode != 0 and "disk is nearly full" in ran.stderr and "disk_reserve" in ran.stderr, ran)
    place.write("plan.yaml", "tasks: [{id: planned, run: 'true'}]\n")
    ran = place.run("import", "plan.yaml")
    check("so is an import", ran.returncode != 0 and "disk is nearly full" in ran.stderr, ran)
    open(go, "w", encoding="utf-8").close()
    check("what runs ends and is written down", wait_until(lambda: state_of("runs") == "done"), state_of("runs"))
    check("nothing new is begun", state_of("waits") == "pending")
    ran = place.run("why", "waits")
    check("why says so", "disk is nearly full" in ran.stdout, ran)
    os.unlink(filler)
    check("it goes on by itself when there is room", wait_until(lambda: state_of("waits") == "done"), status())
    check("the state is over", not status().get("disk_low"))
    check("and work is taken again", place.run("submit", "--id", "more", "--", "true").returncode == 0
          and wait_until(lambda: state_of("more") == "done"))
    events = [json.loads(line) for line in place.run("events", "--json").stdout.splitlines()]
    seen = [event.get("type", event.get("event")) for event in events]
    check("both are events, once", [seen.count(name) for name in ("disk.low", "disk.recovered")] == [1, 1], seen)
    check("which a hook is told", wait_until(lambda: place.told("disk") == ["disk.low", "disk.recovered"]), place.told("disk"))
    check("down", place.run("down").returncode == 0)

    # No reserve: the disk is really full.
    place.write("rota.yaml", "scheduler: {disk_reserve: 0}\n" + TELEMETRY)
    check("up without a reserve", place.run("up", "--agent", "exec=1").returncode == 0)
    check("a task before", place.run("submit", "--id", "before", "--wait", "--", "true").returncode == 0)
    open_gate = os.path.join(place.path, "gate")
    ran = place.run("submit", "--id", "ends-full", "--", "sh", "-c",
                    f"echo >> {place.path}/runs; until [ -e {open_gate} ]; do sleep 0.05; done; echo out; echo >> {place.path}/ended")
    check("one runs", ran.returncode == 0 and wait_until(lambda: state_of("ends-full") == "in_progress"
                                                         and os.path.exists(os.path.join(place.path, "runs"))), ran)
    fill(0)
    taken = []
    for i in range(300):
        ran = place.run("submit", "--id", f"full-{i}", "--", "true", "x" * 20000)
        if ran.returncode:
            break
        taken.append(f"full-{i}")
    check("a full disk refuses in words", ran.returncode != 0 and ("full" in ran.stderr), ran)
    check("the scheduler still answers", status().get("total", 0) >= 1, status())
    place.write("gate", "")
    check("an attempt ends on the full disk", wait_until(lambda: os.path.exists(os.path.join(place.path, "ended"))))
    time.sleep(2)
    os.unlink(filler)
    ran = place.run("submit", "--id", "after", "--", "true")
    check("taken again", ran.returncode == 0, ran)
    check("it goes on by itself", wait_until(lambda: state_of("after") == "done"), place.run("why", "after"))
    check("what ended on the full disk is done", wait_until(lambda: state_of("ends-full") == "done"), place.run("why", "ends-full"))
    once = json.loads(place.run("task", "ends-full", "--json").stdout)
    check("once, as its first attempt", once["attempt"] == 1 and place.read("runs") == "\n", once, place.read("runs"))
    check("what was taken is there", all(wait_until(lambda: state_of(task) == "done") for task in taken), taken)
    check("the store is sound", place.run("check").returncode == 0, place.run("check"))
    check("down again", place.run("down").returncode == 0)
    store = sqlite3.connect(f"file:{place.state}/rota.db?mode=ro", uri=True)
    last = store.execute("SELECT max(seq) FROM event").fetchone()[0]
    store.close()
    seqs = place.journal()
    check("the journal has every event once", seqs == list(range(1, last + 1)), last, len(seqs), seqs[-3:])

    # Read-only: nothing starts, and it is said why.
    wait_until(lambda: not place.processes())
    subprocess.run(["mount", "-o", "remount,ro", place.state], check=True)
    for name in ("rota-broker", "rota-scheduler", "rota-telemetry", "rota-agent"):
        ended = subprocess.run([os.path.join(BIN, name), "--state", place.state], cwd=place.path, capture_output=True, text=True,
                               env=place.environment(), stdin=subprocess.DEVNULL, timeout=60, check=False)
        check(f"{name} on a read-only disk ends and says why", ended.returncode not in (0, -6, -11)
              and "read-only" in ended.stderr.lower(), ended)
    subprocess.run(["mount", "-o", "remount,rw", place.state], check=True)
    check("writable again, all is there", place.run("up", "--agent", "exec=1").returncode == 0 and state_of("more") == "done")
    place.run("down")
finally:
    place.run("down")
    subprocess.run(["umount", "-l", place.state], check=False)
finish()
