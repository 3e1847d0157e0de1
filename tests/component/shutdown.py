#!/usr/bin/python3
"""Stopped under load, by a signal once and twice: afterwards no process, no temporary file, nothing unflushed; and the start
afterwards goes on to the end."""
import sqlite3

from cli_support import Place, check, finish, json, os, signal, time, wait_until

COUNT = 40


def files_of(directory):
    return sorted(os.path.relpath(os.path.join(root, name), directory) for root, _, names in os.walk(directory) for name in names)


def supervisor_of(place):
    return [pid for pid, command in place.processes() if "supervise" in command]


def started(place):
    with open(os.path.join(place.path, "started"), encoding="utf-8") as file:
        return file.read().split()


def stop_under_load(how, signals):
    place = Place()
    temporary = os.path.join(place.path, "tmp")
    os.mkdir(temporary)
    plain = place.environment
    place.environment = lambda extra=None: plain({"TMPDIR": temporary, **(extra or {})})
    place.write("plan.yaml", "tasks:\n" + "".join(
        f"  - {{id: t{i}, run: 'trap \"\" INT; echo t{i} >> started; sleep 0.2; head -c 20000 /dev/zero; (sleep 300 &)'}}\n" for i in range(COUNT)))
    place.write("started", "")
    check(f"{how}: up", place.run("up", "--agent", "exec=3").returncode == 0)
    check(f"{how}: imported", place.run("import", "plan.yaml").returncode == 0)
    check(f"{how}: it works", wait_until(lambda: len(started(place)) > 6))
    client = place.start("wait", "t0", f"t{COUNT - 1}")  # somebody who waits for an answer
    for number in signals:
        for pid in supervisor_of(place):
            os.kill(pid, number)
        time.sleep(0.05)
    ended = wait_until(lambda: not [p for p in place.processes() if p[0] != client.pid], 60)
    check(f"{how}: no process is left", ended, place.processes())
    client.kill()
    client.communicate()
    check(f"{how}: no temporary file is left", files_of(temporary) == [], files_of(temporary))
    left = files_of(place.state)
    odd = [name for name in left if name.endswith((".tmp", ".part", "-wal", "-shm", ".sock")) or
           (name.startswith("spool/") and not name.endswith(("/lock", "/scheduler")))]
    check(f"{how}: nothing half done lies in the state directory", odd == [], left)
    database = sqlite3.connect(f"file:{place.state}/rota.db?mode=ro", uri=True)
    last = database.execute("SELECT max(seq) FROM event").fetchone()[0]
    running = database.execute("SELECT count(*) FROM task WHERE agent IS NOT NULL").fetchone()[0]
    database.close()
    seqs = place.journal()
    check(f"{how}: what ran went back", running == 0, running)
    # In a hurry the last ones may wait in the store; the next start takes them.
    whole = seqs == list(range(1, last + 1)) if len(signals) == 1 else seqs == list(range(1, len(seqs) + 1))
    check(f"{how}: the journal has every event once", whole, last, len(seqs), seqs[-3:])
    before = len(started(place))
    check(f"{how}: there was work left", before < COUNT, before)
    check(f"{how}: up again", place.run("up", "--agent", "exec=3").returncode == 0)
    ran = place.run("wait", *[f"t{i}" for i in range(COUNT)])
    status = json.loads(place.run("status", "--json").stdout)
    check(f"{how}: it goes on to the end", ran.returncode == 0 and status["counts"]["done"] == COUNT, ran, status)
    check(f"{how}: the store is sound", place.run("check").returncode == 0)
    check(f"{how}: down", place.run("down").returncode == 0 and wait_until(lambda: not place.processes(), 30))
    seqs = place.journal()
    check(f"{how}: the journal has what came in the hurry", len(seqs) > last and seqs == list(range(1, len(seqs) + 1)), last, len(seqs))


def stop_what_will_not(how, signals):
    """A command that no signal but SIGKILL ends, and a sink that stands still."""
    place = Place()
    place.write("plan.yaml", f"""
tasks:
  - {{id: deaf, run: 'trap "" INT TERM; echo deaf >> {place.path}/started; while :; do sleep 0.1; done'}}
  - {{id: later, run: 'true', after: deaf}}
""")
    place.write("started", "")
    check(f"{how}: up", place.run("up", "--agent", "exec=1").returncode == 0)
    check(f"{how}: imported", place.run("import", "plan.yaml").returncode == 0)
    check(f"{how}: it works", wait_until(lambda: len(started(place)) == 1))
    sinks = [pid for pid, command in place.processes() if os.path.basename(command.split()[0]) == "rota-telemetry"]
    check(f"{how}: there is one sink", len(sinks) == 1, place.processes())
    os.kill(sinks[0], signal.SIGSTOP)
    for number in signals:
        for pid in supervisor_of(place):
            os.kill(pid, number)
        time.sleep(0.05)
    check(f"{how}: no process is left", wait_until(lambda: not place.processes()), place.processes())
    store = sqlite3.connect(f"file:{place.state}/rota.db?mode=ro", uri=True)
    running = store.execute("SELECT count(*) FROM task WHERE agent IS NOT NULL").fetchone()[0]
    status, used = store.execute("SELECT status, attempts_used FROM task WHERE id = 'deaf'").fetchone()
    store.close()
    check(f"{how}: what ran went back, with no attempt used", running == 0 and not used, running, status, used)
    check(f"{how}: up again", place.run("up", "--agent", "exec=1").returncode == 0)
    check(f"{how}: it is begun again", wait_until(lambda: len(started(place)) == 2))
    check(f"{how}: and cancelled, deaf as it is", place.run("cancel", "deaf").returncode == 0
          and wait_until(lambda: not [command for _, command in place.processes() if "while :" in command and "rota" not in command.split()[0]]))
    last = json.loads(place.run("status", "--json").stdout)["last_event"]
    check(f"{how}: down", place.run("down").returncode == 0 and wait_until(lambda: not place.processes()), place.processes())
    seqs = place.journal()
    check(f"{how}: the journal has what the sink slept through", len(seqs) >= last and seqs == list(range(1, len(seqs) + 1)), last, len(seqs))


stop_what_will_not("deaf", [signal.SIGTERM])
stop_what_will_not("deaf, twice", [signal.SIGTERM, signal.SIGTERM])
stop_under_load("SIGTERM", [signal.SIGTERM])
stop_under_load("SIGTERM twice", [signal.SIGTERM, signal.SIGTERM])
stop_under_load("SIGINT twice", [signal.SIGINT, signal.SIGINT])
finish()
