#!/usr/bin/python3
"""/metrics, /healthz and /readyz of running services: the format, the figures, who is down, and clients that behave badly."""
import http.client
import re
import socket
import threading

from cli_support import BIN, Place, check, finish, json, os, signal, subprocess, time, wait_until
import prometheus

place = Place()
place.write("rota.yaml", "telemetry: {metrics_listen: 0, batch_interval: 50ms}\nscheduler: {backoff_base: 10ms, attempts: 2}\n")
place.write("plan.yaml", """
tasks:
  - {id: good, run: "true"}
  - {id: bad, run: "false"}
  - {id: after, run: "true", after: [bad]}
  - {id: person, run: "true", approval: true}
""")
os.mkdir(place.state, 0o700)
running = {}


def start(name, *more):
    log = open(os.path.join(place.path, name + ".log"), "a", encoding="utf-8")
    running[name] = subprocess.Popen([os.path.join(BIN, name), "--state", place.state, *more], cwd=place.path,
                                     env=place.environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log)


def stop(name, number=signal.SIGTERM):
    running[name].send_signal(number)
    running.pop(name).wait(60)


def address():
    found = re.findall(r"metrics.listening .*address=127\.0\.0\.1:(\d+)", place.read("rota-telemetry.log"))
    return int(found[-1]) if found else None


def get(path, method="GET", port=None):
    connection = http.client.HTTPConnection("127.0.0.1", port or address(), timeout=60)
    connection.request(method, path)
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    return answer.status, answer.getheader("Content-Type"), body


def figures():
    """Past the second in which a text is kept."""
    time.sleep(1.05)
    status, kind, body = get("/metrics")
    check("200 in the text format", status == 200 and kind == "text/plain; version=0.0.4; charset=utf-8", status, kind)
    try:
        return prometheus.read(body)
    except prometheus.BadFormat as error:
        check("the format is Prometheus'", False, error, body)
        return {}


try:
    start("rota-telemetry")
    check("it listens without a broker", wait_until(address))
    check("/healthz is ok at once", get("/healthz")[::2] == (200, "ok\n"))
    check("/readyz says that it waits for a broker", get("/readyz")[::2] == (503, "waits for a broker\n"))
    alone = figures()
    check("without the others their figures are missing, and they are down",
          [prometheus.value(alone, "rota_up", service=name) for name in ("telemetry", "scheduler", "broker")] == [1, 0, 0], alone)
    start("rota-broker")
    start("rota-scheduler")
    start("rota-agent", "--kind", "exec", "--slots", "2")
    check("/readyz turns to 200", wait_until(lambda: get("/readyz")[0] == 200))

    ran = place.run("import", "plan.yaml")
    check("a plan is taken", ran.returncode == 0, ran)

    def settled():
        now = figures()
        return now if (prometheus.value(now, "rota_tasks_total", status="failed") == 1
                       and prometheus.value(now, "rota_tasks_total", status="done") == 1
                       and prometheus.value(now, "rota_tasks_waiting", **{"for": "human"}) == 1
                       and prometheus.value(now, "rota_journal_lag_events") == 0) else None

    seen = []
    check("tasks are counted by status", wait_until(lambda: seen.append(settled()) or seen[-1]), seen and figures())
    now = seen[-1] or figures()
    total = sum(now["rota_tasks_total"][1].values())
    check("all statuses together are all tasks", total == 4 and len(now["rota_tasks_total"][1]) == 9, now["rota_tasks_total"])
    check("what is behind a failed one is unreachable", prometheus.value(now, "rota_tasks_waiting", **{"for": "unreachable"}) == 1)
    check("attempts by kind and result", prometheus.value(now, "rota_attempts_total", kind="exec", result="ok") == 2
          and prometheus.value(now, "rota_attempts_total", kind="exec", result="failed") == 2, now["rota_attempts_total"])
    check("as many durations as attempts", prometheus.value(now, "rota_attempt_duration_seconds", "_count", kind="exec") == 4)
    check("as many waits as assignments", prometheus.value(now, "rota_queue_wait_seconds", "_count") == 4, now["rota_queue_wait_seconds"])
    check("agents and slots", prometheus.value(now, "rota_agents", kind="exec", state="connected") == 1
          and prometheus.value(now, "rota_agent_slots", kind="exec") == 2)
    check("commits are timed", prometheus.value(now, "rota_commit_duration_seconds", "_count") > 0)
    check("the broker's figures", prometheus.value(now, "rota_broker_messages_total") > 10
          and prometheus.value(now, "rota_broker_peers", role="scheduler") == 1)
    check("the processes' figures", all(prometheus.value(now, name, service=service) > 0
                                        for name in ("rota_process_resident_memory_bytes", "rota_process_open_fds",
                                                     "rota_process_cpu_seconds_total")
                                        for service in ("broker", "scheduler", "telemetry")))
    HOST = "agent/" + json.loads(place.run("agents", "--json").stdout)["agents"][0]["name"]
    PROCESS = ("rota_process_resident_memory_bytes", "rota_process_open_fds", "rota_process_cpu_seconds_total")
    check("an agent host's too, and it is up", prometheus.value(now, "rota_up", service=HOST) == 1
          and all(prometheus.value(now, name, service=HOST) > 0 for name in PROCESS), HOST, now["rota_up"])
    own = prometheus.value(now, "rota_process_resident_memory_bytes", service=HOST)
    with open(f"/proc/{running['rota-agent'].pid}/status", encoding="ascii") as file:
        resident = int(dict(line.split(":", 1) for line in file)["VmRSS"].split()[0]) * 1024
    check("which are of its process", resident / 2 < own < resident * 2, own, resident)
    check("events by type", prometheus.value(now, "rota_events_total", type="task.moved") == 8
          and prometheus.value(now, "rota_events_total", type="roadmap.imported") == 1, now["rota_events_total"])
    check("no more than 300 series", sum(len(samples) for _, samples in now.values()) < 300)

    refused = place.run("why", "nobody")
    check("refusals are counted", prometheus.value(figures(), "rota_scheduler_refused_total", code="NOT_FOUND") == 1, refused)

    check("404 says what there is", get("/")[0] == 404 and "/metrics" in get("/")[2])
    check("405 for what would change something", get("/metrics", "POST")[0] == 405 and get("/metrics", "DELETE")[0] == 405)
    check("HEAD has no body", get("/metrics", "HEAD")[2] == "")
    results = []
    threads = [threading.Thread(target=lambda: results.append(get("/metrics")[0])) for _ in range(30)]
    time.sleep(1.05)
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    check("thirty at once all get it", results == [200] * 30, results)
    for junk in (b"\0\xff\x01", b"GET /metrics HTTP/1.1\r\n" + b"X: " + b"y" * 100000 + b"\r\n\r\n", b"GET / HTTP/9\r\n\r\n"):
        rough = socket.create_connection(("127.0.0.1", address()), timeout=60)
        try:
            rough.sendall(junk)
            rough.shutdown(socket.SHUT_WR)
            rough.recv(100)
        except OSError:
            pass
        rough.close()
    time.sleep(1.05)
    going = socket.create_connection(("127.0.0.1", address()))
    going.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
    going.close()  # while its text is on its way
    check("who talks nonsense or hangs up does no harm", get("/healthz")[0] == 200 and figures())

    stop("rota-agent", signal.SIGKILL)
    check("a host that is lost is down", wait_until(lambda: prometheus.value(figures(), "rota_up", service=HOST) == 0), figures()["rota_up"])
    check("and takes nothing", prometheus.value(figures(), PROCESS[0], service=HOST) is None)
    start("rota-agent", "--kind", "exec", "--slots", "2")
    check("until it is back", wait_until(lambda: prometheus.value(figures(), PROCESS[0], service=HOST)))
    stop("rota-agent")
    check("one that leaves is not missed", wait_until(lambda: prometheus.value(figures(), "rota_up", service=HOST) is None))

    stop("rota-scheduler")
    check("/readyz says that the scheduler is gone",
          wait_until(lambda: get("/readyz")[::2] == (503, "waits for a scheduler\n")), get("/readyz"))
    lost = figures()
    check("its figures are gone, the others' are there", prometheus.value(lost, "rota_up", service="scheduler") == 0
          and prometheus.value(lost, "rota_up", service="broker") == 1 and "rota_tasks_total" not in lost)
    time.sleep(1.05)
    hanging = socket.create_connection(("127.0.0.1", address()))
    hanging.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
    time.sleep(0.2)
    stop("rota-telemetry")
    check("it ends though somebody waits for an answer", True)
    hanging.close()

    taken = socket.create_server(("127.0.0.1", 0))
    port = taken.getsockname()[1]
    place.write("rota.yaml", f"telemetry: {{metrics_listen: '127.0.0.1:{port}'}}\n")
    start("rota-telemetry")
    check("an address that is taken is said", wait_until(lambda: "metrics.not_listening" in place.read("rota-telemetry.log")))
    check("the journal goes on without", running["rota-telemetry"].poll() is None)
    stop("rota-telemetry")
    taken.close()
    for wrong in ("nowhere:80", "127.0.0.1", "127.0.0.1:99999", "http://127.0.0.1:80"):
        place.write("rota.yaml", f"telemetry: {{metrics_listen: '{wrong}'}}\n")
        ended = subprocess.run([os.path.join(BIN, "rota-telemetry"), "--state", place.state], cwd=place.path, timeout=60,
                               env=place.environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        check(f"{wrong} is refused by name", ended.returncode != 0 and "telemetry.metrics_listen" in ended.stderr, ended)
finally:
    for name in list(running):
        stop(name, signal.SIGKILL)
finish()
