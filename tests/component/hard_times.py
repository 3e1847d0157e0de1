#!/usr/bin/python3
"""A clock that jumps by a day and back, no process to be had, no descriptors: what is stated in docs/operations.md happens, and
nothing is lost. The clock and fork are a library's that is loaded before the C library."""
import resource

from cli_support import BIN, Place, check, finish, json, os, signal, subprocess, time, wait_until

LIBRARY = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

static long number_in (const char *variable)
{
    const char *path = getenv (variable);
    long number = 0;
    FILE *file = path ? fopen (path, "re") : NULL;
    if (file) {
        if (fscanf (file, "%ld", &number) != 1)
            number = 0;
        fclose (file);
    }
    return number;
}

int clock_gettime (clockid_t clock, struct timespec *now)
{
    static int (*real) (clockid_t, struct timespec *);
    if (!real)
        real = (int (*) (clockid_t, struct timespec *))dlsym (RTLD_NEXT, "clock_gettime");
    int r = real (clock, now);
    if (r == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        now->tv_sec += number_in ("HARD_CLOCK");
    return r;
}

/* As libfaketime has it: a time is one of the clock that it fakes, whatever clock the timer has. */
int timerfd_settime (int timer, int flags, const struct itimerspec *when, struct itimerspec *before)
{
    static int (*real) (int, int, const struct itimerspec *, struct itimerspec *);
    if (!real)
        real = (int (*) (int, int, const struct itimerspec *, struct itimerspec *))dlsym (RTLD_NEXT, "timerfd_settime");
    struct itimerspec moved = *when;
    if (flags & TFD_TIMER_ABSTIME)
        moved.it_value.tv_sec -= number_in ("HARD_CLOCK");
    return real (timer, flags, &moved, before);
}

time_t time (time_t *ret)
{
    struct timespec now;
    clock_gettime (CLOCK_REALTIME, &now);
    if (ret)
        *ret = now.tv_sec;
    return now.tv_sec;
}

static pid_t try (const char *name)
{
    if (number_in ("HARD_FORK")) {
        errno = EAGAIN;
        return -1;
    }
    return ((pid_t (*) (void))dlsym (RTLD_NEXT, name)) ();
}

pid_t fork (void) { return try ("fork"); }
pid_t _Fork (void) { return try ("_Fork"); }
"""

place = Place()
os.mkdir(place.state, 0o700)
place.write("hard.c", LIBRARY)
subprocess.run(["cc", "-shared", "-fPIC", "-o", "hard.so", "hard.c", "-ldl"], cwd=place.path, check=True)
place.write("clock", "0")
place.write("fork", "0")
place.write("rota.yaml", "scheduler: {backoff_base: 100ms, backoff_max: 200ms, lease: 5s, lease_margin: 1s, agent_heartbeat: 500ms,\n"
            "            checkpoint_retention: 12h}\n"
            f"telemetry: {{batch_interval: 50ms, metrics_listen: 0, hook_retry: 50ms, hook_events: [failed], hook: ['{place.path}/hook']}}\n"
            "agents: {memory_reserve: 0}\n")
place.write("hook", f"""#!/bin/sh
body=$(cat)
[ -e {place.path}/deaf ] && echo >> {place.path}/unheard && exit 1
printf '%s\\n' "$body" >> {place.path}/told
""")
os.chmod(os.path.join(place.path, "hook"), 0o755)
running = {}


def start(name, *more):
    with open(os.path.join(place.path, name + ".log"), "a", encoding="utf-8") as log:
        running[name] = subprocess.Popen(
            [os.path.join(BIN, name), "--state", place.state, *more], cwd=place.path, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            env=place.environment({"LD_PRELOAD": os.path.join(place.path, "hard.so"), "HARD_CLOCK": os.path.join(place.path, "clock"),
                                   "HARD_FORK": os.path.join(place.path, "fork")}))


def task(name):
    ran = place.run("task", name, "--json")
    return json.loads(ran.stdout) if ran.returncode == 0 else {}


def done(name):
    return wait_until(lambda: task(name).get("status") == "done")


def lines(name):
    path = os.path.join(place.path, name)
    return place.read(name).splitlines() if os.path.exists(path) else []


def submit(name, *command):
    ran = place.run("submit", "--id", name, "--", *command)
    check(f"{name} is taken", ran.returncode == 0, ran)


try:
    for service in ("rota-broker", "rota-scheduler", "rota-telemetry"):
        start(service)
    start("rota-agent", "--kind", "exec", "--slots", "2")
    submit("warm", "true")
    check("all is up", done("warm"), task("warm"))

    go = os.path.join(place.path, "go")
    submit("long", "sh", "-c", f"until [ -e {go} ]; do sleep 0.05; done")
    check("a task runs", wait_until(lambda: task("long").get("status") == "in_progress"))
    check("a checkpoint is taken", place.run("checkpoint").returncode == 0)
    for name, offset in (("a day ahead", 86400), ("two days back", -86400), ("back to now", 0)):
        place.write("clock", str(offset))
        submit("at" + str(offset), "true")
        check(f"{name}: work goes on", done("at" + str(offset)), task("at" + str(offset)))
        time.sleep(2)
        now = task("long")
        check(f"{name}: the lease holds", now["status"] == "in_progress" and now["attempt"] == 1, now)
        check(f"{name}: nothing ended", all(process.poll() is None for process in running.values()))
        if offset > 0:
            check(f"{name}: a checkpoint is taken", place.run("checkpoint").returncode == 0)
            kept = json.loads(place.run("checkpoint", "list", "--json").stdout)["checkpoints"]
            check(f"{name}: the one before is not older than it is", len(kept) == 2, kept)
    open(go, "w", encoding="utf-8").close()
    check("the task ends as the first attempt", done("long") and task("long")["attempt"] == 1, task("long"))
    events = [line for line in place.run("events", "--json").stdout.splitlines() if line]
    check("no event is missing", len(events) == json.loads(place.run("status", "--json").stdout)["last_event"], len(events))

    place.write("deaf", "")
    submit("tells", "sh", "-c", "exit 3")
    check("a notification fails", wait_until(lambda: lines("unheard")), place.read("rota-telemetry.log")[-2000:])
    place.write("clock", "86400")
    tries = len(lines("unheard"))
    check("a day ahead it is tried again", wait_until(lambda: len(lines("unheard")) > tries + 1), place.read("rota-telemetry.log")[-2000:])
    os.unlink(os.path.join(place.path, "deaf"))
    check("and told when it can be", wait_until(lambda: [json.loads(it)["event"].get("task") for it in lines("told")] == ["tells"]),
          lines("told"), place.read("rota-telemetry.log")[-2000:])
    place.write("clock", "0")

    place.write("clock", "-86400")
    running["rota-broker"].kill()
    running["rota-broker"].wait()
    start("rota-broker")
    submit("refound", "true")
    check("a day back the new broker is found by all", done("refound"), task("refound"), place.read("rota-scheduler.log")[-2000:])
    place.write("clock", "0")

    place.write("fork", "1")
    submit("forks", "true")
    wait_until(lambda: task("forks").get("attempt", 0) >= 1 and task("forks").get("status") != "in_progress", 5)
    held = task("forks")
    check("no process to be had: it isn't done, and the host lives", held["status"] != "done" and running["rota-agent"].poll() is None, held)
    check("and it uses no attempt", held.get("attempts_used", 0) == 0, held)
    place.write("fork", "0")
    place.run("release", "forks")
    check("it is done when there is one", done("forks"), task("forks"), place.read("rota-agent.log")[-3000:])

    pid = running["rota-agent"].pid
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    used = len(os.listdir(f"/proc/{pid}/fd"))
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (used + 1, before[1]))
    submit("files", "true")
    wait_until(lambda: task("files").get("attempt", 0) >= 1 and task("files").get("status") != "in_progress", 5)
    held = task("files")
    check("no descriptor: it isn't done, and the host lives", held["status"] != "done" and running["rota-agent"].poll() is None, held,
          place.read("rota-agent.log")[-2000:])
    check("and it uses no attempt", held.get("attempts_used", 0) == 0, held)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
    place.run("release", "files")
    check("it is done when there are some", done("files"), task("files"), place.read("rota-agent.log")[-3000:])

    # Broker and scheduler without descriptors: who is connected works on.
    for service in ("rota-broker", "rota-scheduler", "rota-telemetry"):
        pid = running[service].pid
        before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (len(os.listdir(f"/proc/{pid}/fd")), before[1]))
        ran = place.run("submit", "--id", "none-" + service, "--", "true", environment={"ROTA_TIMEOUT": "5s"}) if service != "rota-broker" else None
        time.sleep(2)
        check(f"{service} without descriptors lives", running[service].poll() is None, ran)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
        submit("some-" + service, "true")
        check(f"{service} goes on when there are some", done("some-" + service), task("some-" + service))
    last = json.loads(place.run("status", "--json").stdout)["last_event"]
    check("the journal has every event once, in the files of whatever day it was", wait_until(lambda: last in place.journal())
          and sorted(place.journal()) == list(range(1, len(place.journal()) + 1)), last, sorted(place.journal()))
    ran = place.run("check")
    check("the store is sound", ran.returncode == 0, ran)
finally:
    for process in running.values():
        process.send_signal(signal.SIGTERM)
    for process in running.values():
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
finish()
