#!/usr/bin/python3
"""All services at work for a while: what runs in a steady state grows in nothing. Programs with AddressSanitizer where they
are built; 2 minutes, 20 by `./dev bench soak`, or ROTA_SOAK_SECONDS.

Forty tasks are worked again and again by simulated agents and commands: some fail, some meet limits, some crash; one of the
agent hosts is killed each half minute, and the scheduler once at the beginning. The other two hosts, one of each kind, are left
alone and watched like the rest. After a fifth of the time, which warms up, the rest is cut in
two halves. The rule, for each process that lived through both:

  memory       the median of the second half is at most that of the first and 4 % and 1.5 MiB
  descriptors, threads    the least of the second half is at most the least of the first and 2 (agent hosts: and 8, they have
               some for each attempt)

Of a process that has just started nothing is counted: not all it needs is open yet.
From ten minutes on also, since before that what is kept for a minute is not in balance yet:

  files        in the state directory: the most is at most that of the first half, a half more and 50; they are looked for each
               minute, so their number goes up and down
  disk         the state directory is at most as large as in the first half and 10 %, 1 MiB, and 700 bytes for each attempt
               that succeeded: of a task that recurs the last 512 are kept (docs/operations.md)
"""
import os

BUILD = os.environ.get("ROTA_BUILD", "")
if os.path.exists(os.path.join(BUILD, "bin", "rota")):
    os.environ["ROTA_BIN"] = os.path.join(BUILD, "bin")

from statistics import median  # noqa: E402

from cli_support import BIN, Place, check, finish, json, signal, subprocess, time, wait_until  # noqa: E402

SECONDS = float(os.environ.get("ROTA_SOAK_SECONDS", "120"))
LONG = 600  # what is kept for a minute is looked for each minute: from here on all of it is in balance
SETTLED = 10  # seconds until a process has opened what it always has open
TASKS = 40
SERVICES = ("rota-broker", "rota-scheduler", "rota-telemetry", "rota-agent sim", "rota-agent exec", "rota-agent exec/still", "rota-up")

place = Place()
os.mkdir(place.state, 0o700)
sanitizers = {"ASAN_OPTIONS": f"detect_leaks=1:abort_on_error=0:quarantine_size_mb=1:thread_local_quarantine_size_kb=16:"
              f"malloc_context_size=8:log_path={place.path}/asan",
              "UBSAN_OPTIONS": f"print_stacktrace=1:log_path={place.path}/ubsan"}
place.write("rota.yaml", """
scheduler: {backoff_base: 200ms, backoff_max: 1s, cooldown_floor: 1s, cooldown_margin: 100ms, cooldown: 2s, lease: 10s, lease_margin: 1s,
            agent_heartbeat: 1s, event_cap: 1000, event_retention: 1m, attempt_retention: 1m, checkpoints: 5, checkpoint_retention: 1m,
            conversation_idle: 1m, wal_limit: 1MiB, coordinator: false}
resilience: {breaker_failures: 0, give_up_after: 0}
telemetry: {rotate_size: 64KiB, retention: 1m, retention_size: 1MiB, metrics_listen: 0, batch_interval: 1s}
agents: {log_retention: 1m, memory_reserve: 0, output_limit: 64KiB}
log: {level: warning}
""")
PROMPTS = ("sim: work 100ms; ok", "sim: work 50ms; say hello; ok", "sim: fail boom; ok", "sim: use 1000 0.01; ok", "sim: flood 20KiB; ok",
           "sim: crash; ok", "sim: limit 1s; ok", "sim: nothing; ok")


def definition(i):
    work = f"run: echo {i}" if i % 4 == 0 else f"prompt: '{PROMPTS[i // 4 % len(PROMPTS)]}'"
    after = f", after: t{i - 5}" if i % 5 == 0 and i >= 5 else ""
    return f"  - {{id: t{i}, attempts: 9, {work}{after}}}\n"


place.write("plan.yaml", "name: plan\ntasks:\n" + "".join(map(definition, range(TASKS))))


def run(*arguments):
    return place.run(*arguments, environment=sanitizers)


def stat_of(pid):
    """What comes after the name in /proc/PID/stat: state, parent, ..."""
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
        return file.read().rsplit(")", 1)[1].split()


def parent_of(pid):
    try:
        return stat_of(pid)[1]
    except OSError:
        return ""


def age_of(pid):
    """Seconds since it was started."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) - int(stat_of(pid)[19]) / os.sysconf("SC_CLK_TCK")


def services():
    """Name of the service -> pid. Shims and spawners look like their hosts, but aren't children of the supervisor."""
    found = {}
    running = [(str(pid), command.split()) for pid, command in place.processes()]
    supervisors = [pid for pid, words in running if os.path.basename(words[0]) == "rota" and parent_of(pid) == "1"]
    for pid, words in running:
        name = os.path.basename(words[0])
        if name == "rota-agent" and "--kind" in words:
            name += " " + words[words.index("--kind") + 1]
            if "--account" in words:
                name += "/" + words[words.index("--account") + 1]
        if pid in supervisors:
            name = "rota-up"
        elif parent_of(pid) not in supervisors:
            continue
        if name in SERVICES:
            found[name] = pid
    return found


def look(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        status = dict(line.split(":", 1) for line in file)
    return {"kib": int(status["VmRSS"].split()[0]), "threads": int(status["Threads"]), "descriptors": len(os.listdir(f"/proc/{pid}/fd")),
            "age": age_of(pid)}


def disk():
    files = size = 0
    for where, _, names in os.walk(place.state):
        for name in names:
            try:
                size += os.stat(os.path.join(where, name)).st_blocks * 512
                files += 1
            except OSError:
                pass
    return {"files": files, "kib": size // 1024}


def sample():
    got = {"at": time.monotonic() - began, "disk": disk(), "ended": ended}
    for name, pid in services().items():
        try:
            got[name] = look(pid) | {"pid": pid}
        except (OSError, KeyError, ValueError):
            pass
    return got


def work_again():
    """Those that are done are opened again, those that failed tried again; how many."""
    tasks = json.loads(run("tasks", "--json").stdout or "[]")
    tasks = tasks["tasks"] if isinstance(tasks, dict) else tasks
    done = [task["id"] for task in tasks if task["status"] == "done"]
    failed = [task["id"] for task in tasks if task["status"] in ("failed", "blocked")]
    if done:
        run("reopen", *done)
    if failed:
        run("retry", *failed)
        run("release", *failed)
    return len(done)


def strike(name, how=signal.SIGKILL):
    pid = services().get(name)
    if pid:
        os.kill(int(pid), how)


def half(samples, name, key):
    return [it[name][key] for it in samples if name in it and it[name].get("age", SETTLED) >= SETTLED]


def grows(name, key, first, second, allowed):
    before, after = half(first, name, key), half(second, name, key)
    if not before or not after:
        return
    a, b = (median(before), median(after)) if key == "kib" else (max(before), max(after)) if key == "files" else (min(before), min(after))
    print(f"     {name:16} {key:12} {a:9.0f} -> {b:9.0f}  (most {max(before + after):.0f})")
    check(f"{name}: {key} stays", b <= a + allowed(a), before, after)


ended = 0
began = time.monotonic()
samples = []
killed = False
ran = run("up", "--agent", "sim=4", "--agent", "exec=2", "--agent", "exec/still=2")
check("the services start", ran.returncode == 0, ran)
ran = run("import", "plan.yaml")
check("the roadmap is taken", ran.returncode == 0, ran)
check("it is worked", wait_until(lambda: '"done"' in run("tasks", "--json").stdout))
next_kill = next_look = 0
while time.monotonic() - began < SECONDS:
    now = time.monotonic() - began
    ended += work_again()
    if now > SECONDS / 10 and not killed:
        killed = True
        strike("rota-scheduler")
    if now > next_kill:
        next_kill = now + 30
        strike("rota-agent exec")
        run("store", "checkpoint")
    if now > next_look:
        next_look = now + max(1, SECONDS / 200)
        samples.append(sample())
    time.sleep(1)
warm = [it for it in samples if it["at"] >= SECONDS / 5]
first, second = warm[:len(warm) // 2], warm[len(warm) // 2:]
print(f"{SECONDS:.0f} s, {ended} ends of tasks, {len(samples)} samples, {'with' if BIN == os.path.join(BUILD, 'bin') else 'without'} sanitizers")
work_done = second[-1]["ended"] - first[0]["ended"]
check("work went on in both halves", first[-1]["ended"] - first[0]["ended"] > SECONDS / 10 and second[-1]["ended"] - second[0]["ended"] > SECONDS / 10,
      [it["ended"] for it in warm])
for name in SERVICES:
    pids = {it[name]["pid"] for it in warm if name in it}
    if name == "rota-agent exec":
        check("the host that was killed came back", len(pids) > 1, pids)
        grows(name, "descriptors", first, second, lambda a: 8 if "agent" in name else 2)
        continue
    check(f"{name} lived through it", len(pids) == 1 and all(name in it for it in warm), pids)
    grows(name, "kib", first, second, lambda a: a * 0.04 + 1536)
    grows(name, "descriptors", first, second, lambda a: 8 if "agent" in name else 2)
    grows(name, "threads", first, second, lambda a: 0)
if SECONDS >= LONG:
    grows("disk", "files", first, second, lambda a: 50 + a * 0.5)
    grows("disk", "kib", first, second, lambda a: a * 0.1 + 1024 + work_done * 0.7)
else:
    print(f"     disk             {first[0]['disk']} -> {second[-1]['disk']}: what is kept for a minute is not at its end yet")
ran = run("store", "check")
check("the store is sound", ran.returncode == 0, ran)
ran = run("down")
check("all ends", ran.returncode == 0 and wait_until(lambda: not place.processes(), 30), ran, place.processes())
for name in sorted(os.listdir(place.path)):
    if name.startswith(("asan.", "ubsan.")):
        check("no sanitizer has a complaint", False, place.read(name))
finish()
