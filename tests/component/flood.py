#!/usr/bin/python3
"""An attempt that floods its output: neither the host nor its shim grows, the log keeps head and tail, others go on."""
import threading

from cli_support import Place, check, finish, json, os, time

SIZE_MIB = 2048 if os.environ.get("ROTA_TEST_LONG") else 256
MOST_MIB = 64  # of a process of rota's; what it floods is many times that
place = Place()
place.write("plan.yaml", f"""
name: flood
defaults: {{attempts: 1, timeout: 10m}}
tasks:
  - {{id: flood, priority: high, run: 'echo the head; yes 0123456789abcdef | head -c {SIZE_MIB << 20}; echo the tail'}}
""" + "".join(f"  - {{id: t{i}, run: 'echo {i}'}}\n" for i in range(100)))
highest, stop = {}, threading.Event()


def watch():
    """The most that each process of rota's had in memory, by its name."""
    while not stop.is_set():
        for pid, command in place.processes():
            try:
                with open(f"/proc/{pid}/status", encoding="utf-8") as file:
                    lines = dict(line.split(":", 1) for line in file if ":" in line)
            except OSError:
                continue
            if lines["Name"].strip().startswith("rota") and "VmHWM" in lines:
                highest[pid] = max(highest.get(pid, (0, ""))[0], int(lines["VmHWM"].split()[0]) >> 10), command[:100]
        time.sleep(0.05)


thread = threading.Thread(target=watch)
thread.start()
process = place.start("run", "plan.yaml", "--agent", "exec=2")
out, err = process.communicate(timeout=600)
stop.set()
thread.join()
check("all are done, the flood too", process.returncode == 0, out[-3000:], err)
check(f"no process of rota's had more than {MOST_MIB} MiB", highest and max(most for most, _ in highest.values()) <= MOST_MIB,
      highest)
print(f"     at most {max(most for most, _ in highest.values())} MiB for {SIZE_MIB} MiB of output")
attempt = json.loads(place.run("task", "flood", "--json").stdout)["attempts"][0]
size, dropped = attempt["result"]["output_bytes"], attempt["result"].get("output_dropped_bytes", 0)
check("all that came is counted", size == (SIZE_MIB << 20) + len("the head\nthe tail\n"), attempt)
kept = sum(os.path.getsize(os.path.join(place.state, "logs/flood", name)) for name in os.listdir(place.state + "/logs/flood"))
check("what is kept is within its cap", kept <= 11 << 20 and dropped >= size - (11 << 20), kept, dropped)
events = [json.loads(line) for line in place.run("events", "--json").stdout.splitlines()]
end = next(event["seq"] for event in events if event.get("task") == "flood" and event.get("to") == "done")
early = [event for event in events if event.get("to") == "done" and event["seq"] < end and event["task"] != "flood"]
check("others were done while it flooded", len(early) > 0, len(early))
log = place.run("log", "flood").stdout
check("head and tail are there, and the gap is told", log.startswith("the head\n") and log.rstrip().endswith("the tail") and
      "dropped" in log + err, log[:200], log[-200:])
finish()
