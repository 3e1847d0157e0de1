#!/usr/bin/python3
"""Agents that must be talked to: the program that does it alone (rota-agent --converse), and as the kinds acp, claude and codex."""
import fcntl
import re
import shutil
import sys

from cli_support import BIN, SOURCE, Place, check, finish, json, lines_of_json, os, signal, subprocess, time, wait_until

sys.path.insert(0, os.path.join(SOURCE, "tests", "support"))
import model_api  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
AGENT = os.path.join(BIN, "rota-agent")
WATCHDOG_S = 60
ACP = [sys.executable, os.path.join(HERE, "fake_acp.py")]
TWO = ("--protocol-version", "2")
CODEX = [sys.executable, os.path.join(HERE, "fake_codex.py")]
CLAUDE = [sys.executable, os.path.join(HERE, "fake_claude.py")]
TELL_FD = 3


def objects(text):
    found = []
    for line in text.splitlines():
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            found.append(value)
    return found


def is_alive(pid):
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rsplit(b")", 1)[1].split()[0] != b"Z"
    except OSError:
        return False


class Talk:
    """A directory of its own for one conversation."""

    def __init__(self):
        self.place = Place()
        self.path = os.path.join(self.place.path, "work")
        for name in ("work", "work/sub", "work-beside"):
            os.mkdir(os.path.join(self.place.path, name))
        os.symlink("/etc", os.path.join(self.path, "link"))
        os.symlink("/etc/rota-nothing", os.path.join(self.path, "link-to-nothing"))

    def start(self, protocol, program, *options):
        return subprocess.Popen([AGENT, "--converse", protocol, *options, "--", *program], cwd=self.path, stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace")

    def run(self, protocol, program, prompt, *options):
        process = self.start(protocol, program, *options)
        out, err = process.communicate(prompt, timeout=WATCHDOG_S)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def begin(self, protocol, program, prompt, *options):
        """Until its tool runs; returns the process, and the ids of what must be gone afterwards."""
        process = self.start(protocol, program, *options)
        process.stdin.write(prompt)
        process.stdin.close()
        process.stdin = None
        path = os.path.join(self.path, "pids")
        check(f"{protocol} {prompt}: it is at work", wait_until(lambda: os.path.exists(path), WATCHDOG_S))
        return process, [int(pid) for pid in self.place.read("work/pids").split()]

    def heard(self):
        return lines_of_json(self.place.read("work/heard.jsonl"))

    def methods(self):
        return [message["method"] for message in self.heard() if "method" in message]


def stop_of(result):
    return [message["result"]["stopReason"] for message in objects(result.stdout)
            if "stopReason" in (message.get("result") or {})]


def updates_of(result):
    return [message["params"]["update"] for message in objects(result.stdout) if message.get("method") == "session/update"]


def words_of(result):
    return [update["content"]["text"] for update in updates_of(result) if "content" in update]


def states_of(result):
    return [update["state"] for update in updates_of(result) if "state" in update]


def acp_brings_a_turn_to_its_end():
    talk = Talk()
    result = talk.run("acp", ACP, "do it: é\n\"quoted\"\t\\")
    check("acp: a turn that ends well is exit 0, all that was said is printed, the agent's errors pass by",
          result.returncode == 0 and words_of(result) == ["It is ", "done."] and stop_of(result) == ["end_turn"] and
          "a word on standard error" in result.stderr, result)
    heard = talk.heard()
    check("acp: initialize, session/new in the directory, session/prompt with the prompt, and nothing else",
          talk.methods() == ["initialize", "session/new", "session/prompt"] and heard[1]["params"]["cwd"] == talk.path and
          heard[2]["params"]["prompt"][0]["text"] == "do it: é\n\"quoted\"\t\\" and
          all(message["jsonrpc"] == "2.0" for message in heard), heard)


def acp_mode_and_login_come_first():
    talk = Talk()
    result = talk.run("acp", ACP, "do it", "--mode", "careful", "--authenticate", "key")
    check("acp: the login comes before the session, its mode before the prompt", result.returncode == 0 and talk.methods() ==
          ["initialize", "authenticate", "session/new", "session/set_mode", "session/prompt"], result, talk.methods())


def acp_goes_on_with_a_session():
    talk = Talk()
    result = talk.run("acp", ACP + ["--load"], "do it", "--session", "session-1")
    check("acp: a session is loaded; what it told before is not told again, its name is", result.returncode == 0 and
          "session/load" in talk.methods() and "session/new" not in talk.methods() and words_of(result) == ["It is ", "done."] and
          any((message.get("result") or {}).get("sessionId") == "session-1" for message in objects(result.stdout)), result)
    check("acp: and told that it was interrupted", "interrupted" in talk.heard()[-1]["params"]["prompt"][0]["text"])
    for name, program, session in (("that isn't there", ACP + ["--load"], "session-2"), ("nobody can load", ACP, "session-1")):
        talk = Talk()
        result = talk.run("acp", program, "do it", "--session", session)
        check(f"acp: instead of a session {name} a new one is begun, with the whole task", result.returncode == 0 and
              "a new one is begun" in result.stderr and talk.heard()[-1]["params"]["prompt"][0]["text"] == "do it" and
              not any("error" in message for message in objects(result.stdout)), result)


def denied_in(result):
    return [message["rota"]["denied"] for message in objects(result.stdout) if "rota" in message]


def acp_permissions():
    for name, program, options in (("acp", ACP, ()), ("acp 2", ACP + ["--speaks", "2"], TWO)):
        result = Talk().run("acp", program, "permission", *options)
        check(f"{name}: files in the directory may be touched, but no others, no hooks of git, and no commands run",
              result.returncode == 0 and words_of(result) == ["yes yes yes" + " no" * 10], result)
        check(f"{name}: each refusal is told as it comes", denied_in(result) == list(range(1, 11)), result)
        result = Talk().run("acp", program, "permission", "--trust", *options)
        check(f"{name}: a trusted agent may do all of it, each time once",
              words_of(result) == ["yes" + " yes" * 12] and denied_in(result) == [], result)


def acp_of_version_2():
    talk = Talk()
    result = talk.run("acp", ACP + ["--speaks", "2"], "do it", *TWO, "--mode", "careful", "--authenticate", "key")
    heard = talk.heard()
    check("acp 2: the turn ends when the session is idle after it ran, not when the prompt is accepted", result.returncode == 0 and
          words_of(result) == ["It is ", "done."] and states_of(result) == ["running", "idle"], result)
    check("acp 2: login and mode go by their new names", talk.methods() ==
          ["initialize", "auth/login", "session/new", "session/set_config_option", "session/prompt"] and
          heard[3]["params"] == {"sessionId": "session-1", "configId": "how", "type": "id", "value": "careful"}, heard)
    talk = Talk()
    result = talk.run("acp", ACP + ["--speaks", "2"], "do it", *TWO, "--session", "session-1")
    check("acp 2: a session is gone on with; that it was idle before is no end", result.returncode == 0 and
          talk.methods() == ["initialize", "session/resume", "session/prompt"] and words_of(result) == ["It is ", "done."] and
          states_of(result) == ["running", "idle"] and "interrupted" in talk.heard()[-1]["params"]["prompt"][0]["text"], result)
    result = Talk().run("acp", ACP + ["--speaks", "2"], "limit", *TWO)
    check("acp 2: a turn that fails is exit 1, its error is printed", result.returncode == 1 and "rate_limit" in result.stdout, result)
    talk = Talk()
    result = talk.run("acp", ACP, "do it", *TWO)
    check("acp: an agent that speaks version 1 only is talked to so", result.returncode == 0 and
          stop_of(result) == ["end_turn"] and talk.heard()[0]["params"]["protocolVersion"] == 2, result)
    for speaks, words in (("2", "speaks version 2 of ACP, not 1: set agents.acp_version"), ("3", "speaks version 3 of ACP, not 1\n"),
                          ("0", "speaks no version of ACP up to 1")):
        result = Talk().run("acp", ACP + ["--speaks", speaks, "--stubborn"], "do it")
        check(f"acp: another version isn't spoken: {words.strip()}", result.returncode == 1 and words in result.stderr, result)


def acp_failures():
    talk = Talk()
    result = talk.run("acp", ACP, "limit")
    check("acp: an error is printed and exit 1", result.returncode == 1 and
          any("errorKind" in message.get("error", {}).get("data", {}) for message in objects(result.stdout)), result)
    talk = Talk()
    result = talk.run("acp", ACP, "die")
    check("acp: an agent that dies is exit 1, with its exit code in words",
          result.returncode == 1 and "exit code 3 in the middle" in result.stderr and words_of(result) == ["I am about"], result)
    talk = Talk()
    result = talk.run("acp", ["no-such-program"], "do it")
    check("acp: a program that isn't there is named", result.returncode == 1 and "no-such-program: No such file" in result.stderr,
          result)
    result = talk.run("acp", [sys.executable, "-c", ""], "do it")
    check("acp: a program that says nothing and ends is exit 1", result.returncode == 1 and "exit code 0 in" in result.stderr,
          result)
    talk = Talk()
    result = talk.run("acp", ACP, "garbage")
    check("acp: garbage, unknown messages and a line too long don't disturb it", result.returncode == 0 and
          words_of(result) == ["done"] and "too long" in result.stderr and "bytes" in result.stdout, result)
    answers = {message.get("id"): message for message in talk.heard()}
    check("acp: what it asks of us and we haven't is refused", answers["read"]["error"]["code"] == -32601, answers)
    check("acp: wrong options are exit 2", talk.run("acp", [], "x").returncode == 2 and talk.run("xyz", ACP, "x").returncode == 2)


def stops(protocol, program, method, number, *options):
    talk = Talk()
    process, pids = talk.begin(protocol, program, "silent", *options)
    process.send_signal(number)
    out, err = process.communicate(timeout=WATCHDOG_S)
    check(f"{protocol}: at {number.name} the turn is cancelled, everything ends, exit 143", process.returncode == 143 and
          method in talk.methods() and not any(map(is_alive, pids)), process.returncode, out, err, talk.heard(), pids)


def acp_deaf():
    talk = Talk()
    process, pids = talk.begin("acp", ACP, "deaf")
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=WATCHDOG_S)
    check("acp: an agent that hears neither a cancel, nor its end of input, nor SIGTERM is killed",
          process.returncode == 143 and not is_alive(pids[0]), process.returncode, out, err)
    os.kill(pids[1], signal.SIGKILL)  # what it leaves is its shim's


def codex_alone():
    talk = Talk()
    result = talk.run("codex-rpc", CODEX, "do it")
    heard = talk.heard()
    check("codex: a turn that ends well is exit 0, that of a subagent isn't its end", result.returncode == 0 and
          "It is done." in result.stdout and talk.methods() == ["initialize", "initialized", "thread/start", "turn/start"], result)
    check("codex: nothing is approved, and it works in its sandbox", heard[2]["params"] == {
        "cwd": talk.path, "approvalPolicy": "never", "sandbox": "workspace-write"} and heard[-1]["error"]["code"] == -32601, heard)
    talk = Talk()
    result = talk.run("codex-rpc", CODEX, "do it", "--trust", "--session", "thread-1")
    check("codex: a thread is gone on with, and a trusted one has no sandbox", result.returncode == 0 and
          talk.heard()[2]["method"] == "thread/resume" and talk.heard()[2]["params"]["sandbox"] == "danger-full-access" and
          "interrupted" in talk.heard()[3]["params"]["input"][0]["text"], result, talk.heard())
    talk = Talk()
    result = talk.run("codex-rpc", CODEX, "do it", "--session", "thread-2")
    check("codex: instead of one that isn't there a new one is begun", result.returncode == 0 and
          talk.methods()[2:4] == ["thread/resume", "thread/start"] and "a new one is begun" in result.stderr, result)
    result = Talk().run("codex-rpc", CODEX, "limit")
    check("codex: a turn that failed is exit 1", result.returncode == 1 and "usageLimitExceeded" in result.stdout, result)
    result = Talk().run("codex-rpc", CODEX, "die")
    check("codex: one that dies is exit 1", result.returncode == 1 and "exit code 3 in the middle" in result.stderr, result)


def claude_alone():
    for prompt, code, what in (("do it", 0, "a turn that ends well is exit 0, and its input ends with it"),
                               ("error", 1, "a turn that ended with an error is exit 1"),
                               ("badly", 1, "an exit code other than 0 counts against its word"),
                               ("die", 1, "one that dies is exit 1")):
        talk = Talk()
        result = talk.run("claude-stream", CLAUDE, prompt)
        kinds_of_lines = [line["type"] for line in objects(result.stdout)]
        check(f"claude: {what}", result.returncode == code and "user" not in kinds_of_lines and
              (prompt == "die" or kinds_of_lines[-1] == "result") and
              talk.heard() == [{"type": "user", "message": {"role": "user", "content": prompt}}], result, talk.heard())
    talk = Talk()
    low, its = os.pipe()
    ours = fcntl.fcntl(low, fcntl.F_DUPFD_CLOEXEC, 10)  # nor is it the one that it becomes
    os.close(low)
    process = subprocess.Popen([AGENT, "--converse", "claude-stream", "--tell", "--", *CLAUDE], cwd=talk.path, stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, close_fds=False,
                               preexec_fn=lambda: os.dup2(ours, TELL_FD))
    os.write(its, b"mind the gap\0")
    os.close(its)
    out, err = process.communicate("be late", timeout=WATCHDOG_S)
    os.close(ours)
    ends = [line["result"] for line in objects(out) if line.get("type") == "result"]
    texts = [message["message"]["content"] for message in talk.heard()]
    check("claude: what it was told too late for its turn it takes up in another one, and ends after that",
          process.returncode == 0 and (ends == ["The first is done.", "It is done."] and texts == ["be late", "mind the gap"]), out, err,
          texts)


# ---- under a shim

def task_of(place, name):
    return json.loads(place.run("task", name, "--json").stdout)


def results_of(place, name):
    return [attempt["result"] for attempt in sorted(task_of(place, name)["attempts"], key=lambda attempt: attempt["number"])]


def kinds(kind, settings, tokens, environment):
    place = Place()
    place.write("rota.yaml", f"agents: {settings}\nscheduler: {{cooldown: 1s, cooldown_floor: 1s, cooldown_margin: 100ms, "
                "backoff_base: 100ms, grace: 20s}\n")
    place.write("plan.yaml", "name: plan\ntasks:\n  - {id: good, prompt: do it}\n"
                "  - {id: full, prompt: meet the limit, attempts: 1, after: good}\n"
                "  - {id: dead, prompt: die, attempts: 1, after: full}\n")
    result = place.run("run", "plan.yaml", "--agent", kind, environment=environment)
    check(f"{kind}: what was done is done, what died is not", result.returncode == 1 and
          [task_of(place, name)["status"] for name in ("good", "full", "dead")] == ["done", "done", "failed"], result)
    good, full, dead = (results_of(place, name) for name in ("good", "full", "dead"))
    check(f"{kind}: its words and its tokens are known", good[0].get("message") == "It is done." and
          good[0].get("input_tokens") == tokens, good)
    check(f"{kind}: a limit used no attempt up, and the session was gone on with",
          [attempt["class"] for attempt in full] == ["limited", "ok"] and full[0]["session"] == full[1]["session"], full)
    check(f"{kind}: of the dead one is said how it ended",
          [attempt["class"] for attempt in dead] == ["failed"] and "exit code 3" in dead[0]["message"], dead)
    os.unlink(os.path.join(place.path, "heard.jsonl"))
    place.write("plan.yaml", "name: plan\ntasks:\n  - {id: long, prompt: be silent}\n")
    place.run("up", "--agent", kind, environment=environment)
    place.run("import", "plan.yaml")
    check(f"{kind}: it is at work", wait_until(lambda: os.path.exists(os.path.join(place.path, "pids"))), place.run("log", "long"))
    pids = [int(pid) for pid in place.read("pids").split()]
    place.run("cancel", "long")
    place.run("wait", "long")
    methods = [message.get("method") for message in lines_of_json(place.read("heard.jsonl"))]
    check(f"{kind}: cancelled, it was told so and not signalled, and nothing of it is left", task_of(place, "long")["status"] == "cancelled" and
          {"session/cancel", "turn/interrupt"} & set(methods) and "SIGTERM" not in methods and not any(map(is_alive, pids)), methods, pids)
    place.run("down")


def acp_denials_are_told():
    place = Place()
    place.write("rota.yaml", f"agents: {{acp_command: [{ACP[0]}, {ACP[1]}]}}\n")
    place.write("plan.yaml", "name: plan\ntasks:\n  - {id: asks, prompt: ask for permission}\n")
    for directory in ("sub", "work-beside"):
        os.mkdir(os.path.join(place.path, directory))
    result = place.run("run", "plan.yaml", "--agent", "acp")
    message = results_of(place, "asks")[0].get("message", "")
    check("acp: a task whose agent was refused something says so, with the remedy",
          re.match(r"\d+ permissions refused \(--trust-agents allows all\): yes yes yes no", message), message, result)
    place.run("down")


def acp_unconfigured():
    place = Place()
    result = place.run("doctor")
    check("acp: without a program the remedy is named", "set agents.acp_command, for example [gemini, --acp]" in result.stdout,
          result)


def refused_key(programs):
    """Codex would find out by its first task; rota asks before, where the key is for the usual service."""
    api = model_api.Api()
    place = Place()
    place.write("plan.yaml", "tasks:\n  - {id: t, prompt: work}\n")
    environment = {"PATH": programs.path + ":" + os.environ["PATH"], "CODEX_API_KEY": "dummy", "CODEX_HOME": programs.path,
                   "OPENAI_BASE_URL": api.url("key-refused", "codex") + "/v1"}
    result = place.run("run", "plan.yaml", "--agent", "codex", environment=environment)
    check("codex: a wrong key is said at once, with the remedy, and nothing is handed out", result.returncode == 1 and
          "the key in CODEX_API_KEY is refused (401)" in result.stdout and
          json.loads(place.run("task", "t", "--json").stdout)["attempts"] == [], result)
    programs.write("config.toml", 'model_provider = "another"\n')
    result = place.run("doctor", environment=environment)
    check("codex: a key for another service isn't tried there", "is refused" not in result.stdout, result)
    api.close()


def is_told(kind, agents, environment):
    """A word in the middle of the work: it reaches the agent, which goes on with it, and the log says so."""
    place = Place()
    place.write("rota.yaml", f"agents: {agents}\n")
    place.write("plan.yaml", f"name: plan\ndefaults: {{agent: {kind}}}\ntasks:\n  - {{id: work, prompt: silent}}\n")
    place.run("up", "--agent", kind, environment=environment)
    early = place.run("tell", "work", "too early")
    check(f"{kind}: a task that isn't there can't be told anything", early.returncode == 2 and "there is no task work" in early.stderr,
          early)
    place.run("import", "plan.yaml")
    check(f"{kind}: it is at work", wait_until(lambda: os.path.exists(os.path.join(place.path, "pids")), WATCHDOG_S))
    if kind == "codex":
        refused = place.run("tell", "work", "this is refused")
        check("codex: a word that it refuses is handed on", refused.returncode == 0, refused)
        check("codex: and its log says why it was refused", wait_until(
            lambda: '"untold": "this is refused"' in place.run("log", "work").stdout.replace('":"', '": "'), WATCHDOG_S),
              place.run("log", "work"))
    told = place.run("tell", "work", "-", input="mind the é gap\n")
    check(f"{kind}: it is told", told.returncode == 0 and f"told {kind}@" in told.stdout, told)
    place.run("wait", "work", "--timeout", "60")
    heard = place.read("heard.jsonl")
    check(f"{kind}: the word arrived, and the work went on to its end", "mind the \\u00e9 gap" in heard.replace("é", "\\u00e9") and
          task_of(place, "work")["status"] == "done", heard, task_of(place, "work"))
    check(f"{kind}: the log says that it was told", any("told" in (line.get("rota") or {})
          for line in objects(place.run("log", "work").stdout)), place.run("log", "work"))
    check(f"{kind}: its last words stay with the attempt", task_of(place, "work")["attempts"][0]["result"].get("answer") ==
          ("So I shall." if kind == "codex" else "It is done."), task_of(place, "work"))
    late = place.run("tell", "work", "too late")
    check(f"{kind}: what ended is not told anything", late.returncode == 4 and "no agent is at work on work now" in late.stderr, late)
    place.run("down")


def others_are_not_told():
    place = Place()
    place.write("plan.yaml", "name: plan\ntasks:\n  - {id: work, run: sleep 60}\n")
    place.run("up", "--agent", "exec=1")
    place.run("import", "plan.yaml")
    check("exec: it is at work", wait_until(lambda: task_of(place, "work")["status"] == "in_progress", WATCHDOG_S))
    told = place.run("tell", "work", "hello")
    check("exec: a command can't be told anything, and rota says so", told.returncode == 4 and "takes no word" in told.stderr, told)
    for text, what in (("", "nothing to tell"), ("x" * 20000, "at most 16 KiB")):
        told = place.run("tell", "work", text)
        check(f"a word of {len(text)} bytes is refused", told.returncode == 2 and what in told.stderr, told)
    place.run("stop")
    place.run("down")


def main():
    started = time.monotonic()
    acp_brings_a_turn_to_its_end()
    acp_mode_and_login_come_first()
    acp_goes_on_with_a_session()
    acp_permissions()
    acp_of_version_2()
    acp_failures()
    codex_alone()
    claude_alone()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGURG):
        stops("acp", ACP, "session/cancel", number)
    stops("acp", ACP + ["--speaks", "2"], "session/cancel", signal.SIGTERM, *TWO)
    stops("codex-rpc", CODEX, "turn/interrupt", signal.SIGTERM)
    acp_deaf()
    acp_unconfigured()
    acp_denials_are_told()
    kinds("acp", f"{{acp_command: [{ACP[0]}, {ACP[1]}, --load]}}", 100, None)
    kinds("acp", f"{{acp_command: [{ACP[0]}, {ACP[1]}, --speaks, '2'], acp_version: 2}}", 100, None)
    programs = Place()
    shutil.copy(CODEX[1], programs.write("codex", ""))
    text = programs.read("codex").replace("THREAD =", "if '--version' in sys.argv:\n    print('codex-cli 0.169.0')\n    sys.exit(0)\n"
                                          "THREAD =", 1)
    programs.write("codex", f"#!{sys.executable}\n{text}")
    os.chmod(os.path.join(programs.path, "codex"), 0o755)
    kinds("codex", "{codex_protocol: app-server}", 100,
          {"PATH": programs.path + ":" + os.environ["PATH"], "CODEX_API_KEY": "dummy", "CODEX_HOME": programs.path,
           "OPENAI_BASE_URL": "http://127.0.0.1:9"})
    is_told("acp", f"{{acp_command: [{ACP[0]}, {ACP[1]}]}}", None)
    is_told("acp", f"{{acp_command: [{ACP[0]}, {ACP[1]}, --speaks, '2'], acp_version: 2}}", None)
    is_told("codex", "{}", {"PATH": programs.path + ":" + os.environ["PATH"], "CODEX_API_KEY": "dummy", "CODEX_HOME": programs.path,
                            "OPENAI_BASE_URL": "http://127.0.0.1:9"})
    shutil.copy(CLAUDE[1], programs.write("claude", ""))
    text = programs.read("claude").replace("prompt = listen()", "if '--version' in sys.argv:\n    print('2.1.330 (Claude Code)')\n"
                                           "    sys.exit(0)\nprompt = listen()", 1)
    programs.write("claude", f"#!{sys.executable}\n{text}")
    os.chmod(os.path.join(programs.path, "claude"), 0o755)
    is_told("claude", "{}", {"PATH": programs.path + ":" + os.environ["PATH"], "ANTHROPIC_API_KEY": "dummy",
                             "ANTHROPIC_BASE_URL": "http://127.0.0.1:9"})
    others_are_not_told()
    refused_key(programs)
    print(f"     {time.monotonic() - started:.0f} s")
    finish()


main()
