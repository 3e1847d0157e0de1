"""Who acted under which epoch, and what became of each task: the records of a run over several hosts, and what must never be
found in them.

A record is a dict; `what` says which:
  act     role, scope, epoch, actor, witness: the witness accepted something that the actor did in that role under that epoch.
          Epochs count within a scope (etcd's cluster, the store's incarnation).
  ack     task: it was acknowledged to its submitter
  start   task, attempt, agent: handed out (from the event log, in its order, as all that follow); `complex`, `review`: it is
          the coordinator's
  verdict task, attempt: a review said what is to become of the task, and that became of it
  done    task, attempt
  led     actor, epoch, since, until: a broker's own word, in seconds of one clock: it led from `since` on, and said nothing more
          as the leader after `until` (None: it was ended, or leads still)
  hold    epoch, actor: the coordinator's role was given to actor (None: to nobody)
  healed  from here on nothing was in the way
  moved   something was done after `healed`
`faults (records)` names each violation: (name, sentence)."""

NAMES = {
    "two in one epoch": "two acted in the same role under the same epoch, and both were accepted",
    "epoch fell": "a witness took a lower epoch after a higher one",
    "overlap": "a leader acted when another one of a higher epoch had begun",
    "lost": "a task was acknowledged and is not there, or not done",
    "done twice": "a task was completed more than once",
    "stale accepted": "a completion came from an attempt that was not the newest",
    "out of role": "complex work or a review was handed to an agent that was not the coordinator",
    "late verdict": "a verdict counted that was given by a coordinator whose epoch was over",
    "no progress": "nothing went on after all was healed",
}


def faults_of_epochs(records):
    actors, newest = {}, {}
    for it in records:
        if it["what"] not in ("act", "hold") or it.get("actor") is None and it["what"] == "act":
            continue
        role, scope = it.get("role", "coordinator"), it.get("scope")
        witness = it.get("witness", "store")
        before = actors.setdefault((role, scope, it["epoch"]), it["actor"])
        if before != it["actor"]:
            yield "two in one epoch", f"{role} {it['epoch']}: {before} and {it['actor']}"
        highest = newest.get((witness, role, scope), 0)
        if it["epoch"] < highest:
            yield "epoch fell", f"{witness} took {role} {it['epoch']} of {it['actor']} after {highest}"
        newest[witness, role, scope] = max(highest, it["epoch"])


def faults_of_leaders(records):
    led = [it for it in records if it["what"] == "led"]
    for it in led:
        for other in led:
            if it["until"] is not None and other["epoch"] > it["epoch"] and other["since"] < it["until"]:
                yield "overlap", (f"{it['actor']} acted in epoch {it['epoch']} until {it['until']:.3f}, and {other['actor']} in "
                                  f"{other['epoch']} from {other['since']:.3f} on")


def faults_of_tasks(records):
    acked, done, newest, holder, epoch, reviews, authors = set(), {}, {}, None, 0, {}, {}
    for it in records:
        if it["what"] == "ack":
            acked.add(it["task"])
        elif it["what"] == "hold":
            holder, epoch = it["actor"], it["epoch"]
        elif it["what"] == "start":
            newest[it["task"]] = max(newest.get(it["task"], 0), it["attempt"])
            if not it.get("review"):
                authors[it["task"]] = it["agent"]
            # What the coordinator did itself another one judges, and not by the role.
            elsewhere = it.get("review") and authors.get(it["task"]) == holder != it["agent"]
            if it.get("review") and not elsewhere:
                reviews[it["task"], it["attempt"]] = epoch
            if (it.get("complex") or it.get("review")) and it["agent"] != holder and not elsewhere:
                yield "out of role", f"{it['task']} to {it['agent']}, and {holder} is the coordinator"
        elif it["what"] == "verdict":
            begun = reviews.get((it["task"], it["attempt"]), epoch)
            if begun != epoch:
                yield "late verdict", f"{it['task']}.{it['attempt']} was begun under epoch {begun}, and counted in {epoch}"
        elif it["what"] == "done":
            done[it["task"]] = done.get(it["task"], 0) + 1
            if it["attempt"] < newest.get(it["task"], 0):
                yield "stale accepted", f"{it['task']}.{it['attempt']} after {it['task']}.{newest[it['task']]} began"
    for task in sorted(acked - done.keys()):
        yield "lost", task
    for task, times in sorted(done.items()):
        if times > 1:
            yield "done twice", f"{task}: {times} times"


def faults_of_progress(records):
    healed = [i for i, it in enumerate(records) if it["what"] == "healed"]
    if healed and not any(it["what"] == "moved" for it in records[healed[-1]:]):
        yield "no progress", "nothing was done after the last fault had ended"


def faults(records):
    return [*faults_of_epochs(records), *faults_of_leaders(records), *faults_of_tasks(records), *faults_of_progress(records)]
