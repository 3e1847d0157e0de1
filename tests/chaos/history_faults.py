#!/usr/bin/python3
"""The checker of histories must find what it is there to find: each violation is planted once in a history without any, and
must be named; that history itself must pass."""
import copy
import sys

from history import NAMES, faults


def act(witness, role, epoch, actor, scope="one"):
    return {"what": "act", "witness": witness, "role": role, "epoch": epoch, "actor": actor, "scope": scope}


def start(task, attempt, agent, is_complex=False, review=False):
    return {"what": "start", "task": task, "attempt": attempt, "agent": agent, "complex": is_complex, "review": review}


def verdict(task, attempt):
    return {"what": "verdict", "task": task, "attempt": attempt}


def done(task, attempt):
    return {"what": "done", "task": task, "attempt": attempt}


def ack(task):
    return {"what": "ack", "task": task}


def hold(epoch, actor):
    return {"what": "hold", "epoch": epoch, "actor": actor}


def led(epoch, actor, since, until):
    return {"what": "led", "epoch": epoch, "actor": actor, "since": since, "until": until}


GOOD = [
    led(4, "b1", 10.0, 12.5), led(9, "b2", 12.5, None), led(12, "b1", 14.0, 15.0),
    act("client", "leader", 4, "b1"), act("client", "scheduler", 1, "s"), ack("a"), ack("b"), hold(1, "x"),
    start("a", 1, "y"), start("b", 1, "x", True), act("client", "leader", 9, "b2"), act("log", "leader", 4, "b1"),
    act("log", "leader", 9, "b2"), act("client", "leader", 3, "b9", "another cluster"), done("a", 1), hold(2, None), hold(3, "y"),
    act("client", "scheduler", 2, "t"), start("b", 2, "y", True), {"what": "healed"}, start("b", 3, "y", review=True),
    verdict("b", 3), done("b", 3), {"what": "moved"},
]
# What the coordinator did itself, another one judges, and that counts whoever coordinates by then.
JUDGED = [start("c", 1, "y", True), start("c", 2, "z", review=True), hold(4, "x"), verdict("c", 2), done("c", 2)]


def without(what, **fields):
    return [it for it in GOOD if not (it["what"] == what and all(it.get(k) == v for k, v in fields.items()))]


PLANTED = {
    "two leaders in one epoch": ("two in one epoch", GOOD + [act("agent", "leader", 9, "b3")]),
    "two schedulers in one epoch": ("two in one epoch", GOOD + [act("client", "scheduler", 2, "s")]),
    "two coordinators in one epoch": ("two in one epoch", GOOD + [hold(3, "x")]),
    "a leader of an older epoch": ("epoch fell", GOOD + [act("client", "leader", 4, "b1")]),
    "a leader that goes on when another has begun": ("overlap", GOOD + [led(13, "b2", 14.8, None)]),
    "a leader that wakes and acts": ("overlap", GOOD + [led(8, "b3", 12.5, 14.1)]),
    "a scheduler that woke up": ("epoch fell", GOOD + [act("client", "scheduler", 1, "s")]),
    "an acknowledged task that is gone": ("lost", GOOD + [ack("c")]),
    "an acknowledged task that is never done": ("lost", without("done", task="a")),
    "a second completion": ("done twice", GOOD + [done("a", 1)]),
    "a late report of a lost attempt": ("stale accepted", [done("b", 1) if it == done("b", 3) else it for it in GOOD]),
    "complex work for a deposed coordinator": ("out of role", GOOD + [start("d", 1, "x", True), done("d", 1)]),
    "a review by an agent that has no role": ("out of role", GOOD + [hold(4, "x"), start("b", 4, "z", review=True)]),
    "a verdict of a deposed coordinator": ("late verdict", [it for record in GOOD for it in
                                                            ([hold(4, "x"), record] if record == verdict("b", 3) else [record])]),
    "a verdict of one who has the role again": ("late verdict", [
        it for record in GOOD for it in ([hold(4, "x"), hold(5, "y"), record] if record == verdict("b", 3) else [record])]),
    "standstill": ("no progress", without("moved")),
}

failures = 0
for records in (GOOD, GOOD + JUDGED):
    found = faults(copy.deepcopy(records))
    print("ok   a good history passes" if not found else f"FAIL a good history: {found}")
    failures += bool(found)
for title, (name, records) in PLANTED.items():
    found = {it for it, _ in faults(copy.deepcopy(records))}
    failures += found != {name}
    print(f"{'ok  ' if found == {name} else 'FAIL'} {title}: {sorted(found)}")
missing = NAMES.keys() - {name for name, _ in PLANTED.values()}
failures += bool(missing)
print(f"FAIL never planted: {missing}" if missing else "ok   every violation was planted")
sys.exit(1 if failures else 0)
