#!/usr/bin/python3
"""A disk that fails under the store, through all services: writes, and syncs, end in EIO for a while. What docs/operations.md
states happens: the scheduler ends, since a repeated sync may lie, its supervisor starts it again, what was acknowledged is there,
what ran meanwhile is reported when the disk works again, once. Writes fail in a library that is loaded before the C library."""
from cli_support import Place, check, finish, json, os, subprocess, time, wait_until

LIBRARY = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

/* The file DISK_FAULT holds: nothing, or "write", or "sync"; it strikes the store and its WAL alone. */
static int fails (const char *what, int fd)
{
    char link[64], name[4096], fault[16] = "";
    const char *path = getenv ("DISK_FAULT");
    FILE *file = path ? fopen (path, "re") : NULL;
    if (!file)
        return 0;
    if (!fgets (fault, sizeof fault, file))
        fault[0] = 0;
    fclose (file);
    if (strcmp (fault, what) != 0)
        return 0;
    snprintf (link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink (link, name, sizeof name - 1);
    name[length > 0 ? length : 0] = 0;
    if (!strstr (name, "/rota.db") || strstr (name, "-shm"))
        return 0;
    errno = EIO;
    return 1;
}

#define REAL(name, type) ((type)dlsym (RTLD_NEXT, name))
ssize_t pwrite (int fd, const void *bytes, size_t size, off_t at)
{
    return fails ("write", fd) ? -1 : REAL ("pwrite", ssize_t (*) (int, const void *, size_t, off_t)) (fd, bytes, size, at);
}
ssize_t pwrite64 (int fd, const void *bytes, size_t size, off64_t at)
{
    return fails ("write", fd) ? -1 : REAL ("pwrite64", ssize_t (*) (int, const void *, size_t, off64_t)) (fd, bytes, size, at);
}
int fsync (int fd) { return fails ("sync", fd) ? -1 : REAL ("fsync", int (*) (int)) (fd); }
int fdatasync (int fd) { return fails ("sync", fd) ? -1 : REAL ("fdatasync", int (*) (int)) (fd); }
"""

place = Place()
place.write("disk.c", LIBRARY)
subprocess.run(["cc", "-shared", "-fPIC", "-o", "disk.so", "disk.c", "-ldl"], cwd=place.path, check=True)
place.write("fault", "")
place.write("rota.yaml", "scheduler: {lease: 60s, lease_margin: 1s, agent_heartbeat: 500ms}\ntelemetry: {batch_interval: 50ms}\n")
FAULTY = {"LD_PRELOAD": os.path.join(place.path, "disk.so"), "DISK_FAULT": os.path.join(place.path, "fault")}
taken = []


def task(name):
    ran = place.run("task", name, "--json")
    return json.loads(ran.stdout) if ran.returncode == 0 else {}


def done(name):
    return wait_until(lambda: task(name).get("status") == "done")


def submit(name, *command):
    ran = place.run("submit", "--id", name, "--", *command)
    if ran.returncode == 0:
        taken.append(name)
    return ran


def scheduler():
    return [pid for pid, command in place.processes() if "rota-scheduler" in command]


try:
    check("the services start", place.run("up", "--agent", "exec=2", environment=FAULTY).returncode == 0)
    check("a task is taken", submit("before", "true").returncode == 0 and done("before"))
    for fault in ("write", "sync"):
        go, name = os.path.join(place.path, "go-" + fault), "runs-" + fault
        check(f"{fault}: a task runs", submit(name, "sh", "-c", f"until [ -e {go} ]; do sleep 0.05; done; echo run >> {go}").returncode == 0
              and wait_until(lambda name=name: task(name).get("status") == "in_progress"))
        pids = scheduler()
        place.write("fault", fault)
        asks = place.start("submit", "--id", "during-" + fault, "--", "true")
        check(f"{fault} fails: the scheduler doesn't go on as if nothing were", wait_until(lambda pids=pids: scheduler() != pids, 30), pids, scheduler())
        check(f"{fault} fails: what can't be stored isn't acknowledged", asks.poll() != 0, asks.poll())
        asks.kill()
        asks.communicate()
        open(go, "w", encoding="utf-8").close()  # the work ends while nobody can take its result
        time.sleep(2)
        place.write("fault", "")
        check(f"{fault} works again: the work is reported", done(name), task(name), place.run("why", name))
        check(f"{fault} works again: it ran once", place.read("go-" + fault) == "run\n" and task(name)["attempt"] == 1, place.read("go-" + fault))
        check(f"{fault} works again: work is taken", wait_until(lambda fault=fault: submit("after-" + fault, "true").returncode == 0, 60)
              and done("after-" + fault))
    check("all that was acknowledged is there", all(done(name) for name in taken), taken)
    ran = place.run("store", "check")
    check("the store is sound", ran.returncode == 0, ran)
    events = [line for line in place.run("events", "--json").stdout.splitlines() if line]
    check("no event is missing", len(events) == json.loads(place.run("status", "--json").stdout)["last_event"], len(events))
finally:
    place.run("down")
finish()
