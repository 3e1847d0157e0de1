#!/usr/bin/python3
"""Webhooks and the command hook: what they are told, once each, in order, over failures, hangs and restarts."""
import hashlib
import hmac
import http.server
import threading

from cli_support import BIN, Place, check, finish, json, os, signal, subprocess, time, wait_until
from checks import processes_of

KEY = b"a key of ours"
place = Place()
os.mkdir(place.state, 0o700)
running = {}


class Server:
    """Answers as it is told, and remembers."""

    def __init__(self):
        self.answers = []  # status for each next request, "hang" or "close"; none left: 200
        self.taken, self.tries, self.bad = [], [], []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                wanted = "sha256=" + hmac.new(KEY, body, hashlib.sha256).hexdigest()
                if self.headers["X-Rota-Signature-256"] != wanted or self.headers["Content-Type"] != "application/json":
                    outer.bad.append(dict(self.headers))
                outer.tries.append(self.headers["X-Rota-Delivery"])
                answer = outer.answers.pop(0) if outer.answers else 200
                if answer == "hang":
                    time.sleep(3)
                    return
                if answer == "close":
                    self.close_connection = True
                    return
                if answer == 200:
                    outer.taken.append((self.headers["X-Rota-Delivery"], json.loads(body)))
                self.send_response(answer)
                if answer == 302:
                    self.send_header("Location", "/elsewhere")
                text = b"x" * 100000
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_):
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_port}/in"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def kinds(self, kind):
        return [body["event"].get("task") for _, body in self.taken if body["kind"] == kind]


def start(name, *more):
    with open(os.path.join(place.path, name + ".log"), "a", encoding="utf-8") as log:
        running[name] = subprocess.Popen([os.path.join(BIN, name), "--state", place.state, *more], cwd=place.path,
                                         env=place.environment({"HOOK_KEY": KEY.decode()}), stdin=subprocess.DEVNULL,
                                         stdout=log, stderr=log)


def stop(name, number=signal.SIGTERM):
    running[name].send_signal(number)
    running.pop(name).wait(60)


def submit(name, command):
    ran = place.run("submit", "--id", name, "--", command)
    if ran.returncode:
        check(f"submit {name}", False, ran)


def lines(name):
    path = os.path.join(place.path, name)
    return [json.loads(line) for line in open(path, encoding="utf-8")] if os.path.exists(path) else []


def finished_by_program(count):
    return wait_until(lambda: [line["kind"] for line in lines("told")].count("finished") == count)


def configure(more):
    place.write("rota.yaml", "scheduler: {attempts: 1}\ntelemetry:\n  batch_interval: 20ms\n  hook_retry: 20ms\n  hook_timeout: 1s\n" + more)


first, second = Server(), Server()
place.write("hook", f"""#!/bin/sh
body=$(cat)
printf '%s\\n' "$body" >> {place.path}/told
if [ -e {place.path}/fail ]; then rm {place.path}/fail; exit 3; fi
if [ -e {place.path}/stay ]; then rm {place.path}/stay; setsid sh -c ': {place.path}-left; sleep 300; true' & sleep 300; fi
(exec sleep 299) &
""")
os.chmod(os.path.join(place.path, "hook"), 0o755)
HOOKS = f"  webhooks: ['{first.url}', '{second.url}']\n  webhook_key_environment: HOOK_KEY\n  hook: ['{place.path}/hook']\n"
try:
    configure(HOOKS)
    for service in ("rota-broker", "rota-scheduler", "rota-telemetry"):
        start(service)
    start("rota-agent", "--kind", "exec", "--slots", "2")

    submit("one", "false")
    check("a failure is told to both servers", wait_until(lambda: first.kinds("failed") == ["one"] and second.kinds("failed") == ["one"]),
          first.taken, place.read("rota-telemetry.log"))
    check("and that the roadmap is finished", wait_until(lambda: len(first.kinds("finished")) == 1), first.taken)
    told = [body for _, body in first.taken if body["kind"] == "finished"][0]
    check("in words", "1 failed" in told["text"] and told["event"]["event"] == "roadmap.settled", told)
    check("signed, with a body that can be read", not first.bad, first.bad)
    check("the program is told the same", wait_until(lambda: [line["kind"] for line in lines("told")] == ["failed", "finished"]), lines("told"))

    first.answers = [500, 503, 429, "close", "hang"]
    submit("two", "false")
    check("what isn't taken is sent again", wait_until(lambda: first.kinds("failed") == ["one", "two"]), first.tries)
    check("as the same delivery", len(first.tries) - len(set(first.tries)) == 5, first.tries)
    check("the other server didn't wait for it", second.kinds("failed") == ["one", "two"])
    wait_until(lambda: len(first.kinds("finished")) == 2)
    first.answers = [404, 302]
    submit("three", "false")
    check("a refusal is for good", wait_until(lambda: place.read("rota-telemetry.log").count("hook.gave_up") == 2),
          place.read("rota-telemetry.log"))
    check("and nothing is tried after it", wait_until(lambda: len(second.kinds("finished")) == 3) and first.kinds("failed") == ["one", "two"])

    check("the program has been told of three", finished_by_program(3))
    open(os.path.join(place.path, "fail"), "w").close()
    submit("four", "false")
    check("an exit code is a failed try", wait_until(lambda: [line["event"].get("task") for line in lines("told")].count("four") == 2))
    check("then of what follows", finished_by_program(4))
    open(os.path.join(place.path, "stay"), "w").close()
    submit("five", "false")
    check("a program that overstays is ended and run again",
          wait_until(lambda: [line["event"].get("task") for line in lines("told")].count("five") == 2), lines("told"))

    check("with all that it started", wait_until(lambda: not processes_of(place.path + "-left")), processes_of(place.path + "-left"))

    # The server is down for a while, and the sink restarts meanwhile, by SIGKILL.
    wait_until(lambda: len(second.kinds("failed")) == 5 and len(first.kinds("failed")) == 4)
    first.answers = ["close"] * 1000
    for i in range(3):
        submit(f"many-{i}", "false")
    specs = "\n".join(f"  - {{id: bulk-{i}, run: 'false'}}" for i in range(150))
    place.write("bulk.yaml", "tasks:\n" + specs + "\n")
    ran = place.run("import", "bulk.yaml")
    check("many are taken", ran.returncode == 0, ran)
    wanted = {f"many-{i}" for i in range(3)} | {f"bulk-{i}" for i in range(150)}
    check("the one that works is told of all", wait_until(lambda: wanted <= set(second.kinds("failed"))))
    stop("rota-telemetry", signal.SIGKILL)
    first.answers = []
    start("rota-telemetry")
    check("nothing is lost over a crash", wait_until(lambda: wanted <= set(first.kinds("failed"))),
          sorted(wanted - set(first.kinds("failed"))), place.read("rota-telemetry.log"))
    order = [body["event"]["seq"] for _, body in first.taken]
    check("in order", order == sorted(order), order)
    once = [delivery for delivery, _ in second.taken]
    check("at most what was on its way comes twice", len(once) - len(set(once)) <= 70, len(once), len(set(once)))
    time.sleep(1.5)
    before = len(first.taken), len(second.taken), len(lines("told"))
    stop("rota-telemetry")
    start("rota-telemetry")
    time.sleep(1)
    check("a restart repeats nothing", (len(first.taken), len(second.taken)) == before[:2], before, len(first.taken), len(second.taken))

    # What waits at the end has a moment to go out.
    stop("rota-agent")
    second.taken.clear()
    submit("last", "true")
    ran = place.run("cancel", "last")
    check("the last is taken back", ran.returncode == 0, ran)
    stop("rota-scheduler")
    stop("rota-telemetry")
    check("what came last was told before the end", second.kinds("finished") == [None], second.taken)

    configure("  webhooks: ['ftp://x/']\n")
    start("rota-telemetry")
    check("a URL that is none is refused", running.pop("rota-telemetry").wait(60) != 0 and "telemetry.webhooks" in place.read("rota-telemetry.log"))
    configure(f"  webhooks: ['{first.url}']\n  hook_events: [failed, fialed]\n")
    start("rota-telemetry")
    check("an event that is none is refused", running.pop("rota-telemetry").wait(60) != 0 and "fialed" in place.read("rota-telemetry.log"))
    place.write("key", "secret\n")
    os.chmod(os.path.join(place.path, "key"), 0o644)
    configure(f"  webhooks: ['{first.url}']\n  webhook_key_file: {place.path}/key\n")
    start("rota-telemetry")
    check("a key that others can read is refused", running.pop("rota-telemetry").wait(60) != 0 and "chmod 600" in place.read("rota-telemetry.log"))
    check("no key is in the log", "a key of ours" not in place.read("rota-telemetry.log"))
    configure("")
    start("rota-telemetry")
    check("cursors go with their hooks", wait_until(lambda: not os.listdir(os.path.join(place.state, "hooks"))))
finally:
    for service in list(running):
        stop(service, signal.SIGKILL)
finish()
