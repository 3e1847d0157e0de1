#!/usr/bin/python3
"""rota mcp by its raw protocol: against a running system, without services, and within an attempt in its sandbox, where what an
agent writes down and asks comes to the store by its outbox."""
import threading

from cli_support import Place, ROTA, WATCHDOG_S, check, finish, json, os, subprocess

place = Place()
META = {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}}


def git(*arguments):
    return subprocess.run(["git", "-c", "user.name=Owner", "-c", "user.email=owner@example.org", "-c", "init.defaultBranch=main",
                           *arguments], cwd=place.path, capture_output=True, text=True, check=True).stdout.strip()


def message(number, method, **params):
    return json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params})


class Client:
    """A session that is kept: `rota mcp` in the place, a request and its answer at a time."""

    def __init__(self, *arguments):
        self.process = subprocess.Popen([ROTA, "mcp", *arguments], cwd=place.path, env=place.environment(), stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.watchdog = threading.Timer(WATCHDOG_S, self.process.kill)
        self.watchdog.start()
        self.number = 0
        self.hello = self.request("initialize", protocolVersion="2025-06-18", capabilities={}, clientInfo={"name": "t", "version": "1"})
        self.process.stdin.write('{"jsonrpc": "2.0", "method": "notifications/initialized"}\n')

    def request(self, method, **params):
        self.number += 1
        self.process.stdin.write(message(self.number, method, **params) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        answer = json.loads(line) if line else {}
        if answer.get("id") != self.number:
            check(f"the answer to {method} is the next line", False, line, self.process.stderr.read() if not line else "")
        return answer

    def call(self, name, **arguments):
        """(failed, text, structure)"""
        result = self.request("tools/call", name=name, arguments=arguments).get("result", {"content": [{"text": ""}]})
        return result.get("isError"), result["content"][0]["text"], result.get("structuredContent")

    def names(self):
        return [tool["name"] for tool in self.request("tools/list")["result"]["tools"]]

    def end(self):
        self.process.stdin.close()
        code = self.process.wait(WATCHDOG_S)
        self.watchdog.cancel()
        return code, self.process.stdout.read(), self.process.stderr.read()


def told(text):
    """What is between the marks, which are another each time."""
    return text.split(" -----\n", 1)[1].rsplit("----- END", 1)[0]


LOOKING = ["status", "tasks_list", "task_get", "task_why", "task_log", "agents_list", "context_get", "context_search"]
WITHIN = ["task_get", "context_get", "context_search", "notes_list", "note_add", "question_ask"]
session = [message(1, "initialize", protocolVersion="2025-11-25", capabilities={}), message(2, "tools/list"),
           message(3, "tools/call", name="task_get"), message(4, "tools/call", name="context_get"),
           message(5, "tools/call", name="context_search", arguments={"words": "rounding"}),
           message(6, "tools/call", name="note_add", arguments={"type": "decision", "topic": "mcp", "text": "Told by a tool.\nTwo lines.",
                                                               "confidence": 0.5, "tasks": ["second", "nowhere"]}),
           message(7, "tools/call", name="note_add", arguments={"type": "opinion", "text": "x"}),
           message(8, "tools/call", name="status"), message(9, "tools/call", name="notes_list", _meta=META),
           *(message(number, "tools/call", name="note_add", arguments={"type": "learning", "text": f"{number} " + "x" * 1900})
             for number in range(20, 40))]
question = [message(1, "tools/call", name="question_ask", arguments={"text": "Which currency?"}, _meta=META)]
place.write(".gitignore", ".rota\n")
place.write("session.jsonl", "\n".join(session) + "\n")
place.write("question.jsonl", question[0] + "\n")
git("init", "-q", ".")
git("add", "-A")
git("commit", "-q", "-m", "Begin")
place.write("plan.yaml", f"""
name: plan
repository: .
defaults: {{attempts: 1, timeout: 2m, agent: sim}}
tasks:
  - id: first
    title: Balance of the ledger
    prompt: >-
      sim: run {ROTA} mcp < session.jsonl > answers.jsonl 2> errors.txt;
      run {ROTA} mcp --allow submit < /dev/null 2> refused.txt || echo $? > code.txt;
      run ROTA_PHASE=review {ROTA} mcp < session.jsonl | sed -n 2p > review.jsonl; ok
  - id: second
    after: first
    prompt: >-
      sim: run {ROTA} mcp < question.jsonl > asked.jsonl; nothing; run cat "$ROTA_CONTEXT" > told.txt; ok
  - id: third
    approval: required
    prompt: "sim: write third.c x; ok"
""")

# ---- without services

check("import", place.run("import", "plan.yaml").returncode == 0)
place.run("context", "add", "constraint", "No rounding before the end.", "--topic", "ledger rounding")
client = Client()
check("the version is agreed", client.hello["result"]["protocolVersion"] == "2025-06-18", client.hello)
check("what is offered by default: looking, and notes", client.names() == LOOKING + ["note_add"], client.names())
failed, text, status = client.call("status")
check("status, without services", not failed and status["total"] == 3 and status["services"] is False and json.loads(text) == status, text)
failed, text, why = client.call("task_why", id="second")
check("task_why", not failed and "first" in text and why["status"] == "pending", text)
failed, text, _ = client.call("task_get", id="nowhere")
check("no such task is an answer for the model", failed and "nowhere" in text, text)
failed, text, _ = client.call("task_get")
check("and so is a missing argument", failed and '"id" is missing' in text, text)
failed, text, page = client.call("tasks_list", limit=2)
rest = client.call("tasks_list", limit=2, after=page["next"])[2]
check("tasks_list in pages", [task["id"] for task in page["tasks"] + rest["tasks"]] == ["first", "second", "third"] and
      "next" not in rest, page, rest)
failed, text, _ = client.call("task_log", id="first")
check("no output yet", failed and "not started" in text, text)
failed, text, _ = client.call("context_get", id="first")
shown = place.run("context", "show", "first").stdout
check("context_get is what rota context show prints", not failed and "No rounding before the end." in text and
      told(text) == told(shown), text, shown)
failed, text, _ = client.call("task_approve", id="third")
check("what isn't allowed can't be called", client.request("tools/call", name="task_approve", arguments={"id": "third"})
      .get("error", {}).get("code") == -32602)

# The server waits for its client all the while: it holds nobody up.
result = place.run("run", "plan.yaml", "--agent", "sim=2", "--agent", "git=2")
check("the run ends: people are awaited", result.returncode == 5 and "rota answer second" in result.stdout + result.stderr, result)
place.run("up", "--agent", "sim=2", "--agent", "git=2")

# ---- within the attempt


def file_of(name):
    return git("show", f"rota/main:{name}")


work = [attempt for attempt in json.loads(place.run("task", "first", "--json").stdout)["attempts"] if attempt["phase"] == "work"]
check("it was in a sandbox", work[0]["work"]["isolated"], work)
answers = {answer["id"]: answer for answer in map(json.loads, file_of("answers.jsonl").splitlines())}
check("each request was answered, and nothing else was printed", len(answers) == len(session) and not file_of("errors.txt"), answers,
      file_of("errors.txt"))
check("its tools are its own", [tool["name"] for tool in answers[2]["result"]["tools"]] == WITHIN, answers[2])
task = answers[3]["result"]["structuredContent"]
check("task_get", task["id"] == "first" and task["title"] == "Balance of the ledger" and task["attempt"] == "1" and
      task["phase"] == "work", task)
was_told = answers[4]["result"]["content"][0]["text"]
check("context_get is the file of ROTA_CONTEXT, with its marks", "----- BEGIN CONTEXT" in was_told and "No rounding" in was_told, was_told)
found = answers[5]["result"]["content"][0]["text"]
check("context_search finds the constraint alone", found.startswith("- ledger rounding: No rounding before the end.") and
      found.count("\n") == 1, found)
check("note_add", not answers[6]["result"]["isError"] and answers[7]["result"]["isError"] and "decision,constraint,learning" in
      answers[7]["result"]["content"][0]["text"], answers[6], answers[7])
check("no way to the services", answers[8]["error"]["code"] == -32602, answers[8])
notes = answers[9]["result"]
check("notes_list, in the other era of the protocol", notes["resultType"] == "complete" and
      [note["text"] for note in notes["structuredContent"]["notes"]] == ["Told by a tool.\nTwo lines."] and
      notes["structuredContent"]["notes_left"] == 99, notes)
taken = [number for number in range(20, 40) if not answers[number]["result"]["isError"]]
check("what is too much is refused where it can still be mended", 10 < len(taken) < 20 and taken == list(range(20, 20 + len(taken)))
      and "may write down" in answers[39]["result"]["content"][0]["text"], taken, answers[39])
check("nothing can be allowed there", file_of("code.txt") == "4" and "within an attempt" in file_of("refused.txt"), file_of("refused.txt"))
check("a review can't ask", [tool["name"] for tool in json.loads(file_of("review.jsonl"))["result"]["tools"]] == WITHIN[:-1])
entries = client.call("context_search", words="Told by a tool")[2]["entries"]
check("what it wrote down is in the store, with task, attempt, agent and what it is about", len(entries) == 1 and
      entries[0]["task"] == "first" and entries[0]["attempt"] == 1 and entries[0]["author"].startswith("sim@") and
      entries[0]["confidence"] == 0.5 and sorted(entries[0]["about"]) == ["first", "second"] and "by_hand" not in entries[0], entries)
learned = client.call("context_search", type="learning", limit=100)[2]["entries"]
check("and exactly what was taken of the rest", len(learned) == len(taken), len(learned), taken)
check("nothing was lost on the way", work[0]["result"].get("notes_bad", 0) == 0, work)
failed, text, second = client.call("task_get", id="second")
check("the question parks its task", second["blocked"] == "needs_input" and second["reason"] == "Which currency?", text)

# ---- with services

failed, text, _ = client.call("task_log", id="first", lines=5)
check("task_log", not failed and text, text)
failed, text, agents = client.call("agents_list")
check("agents_list", not failed and "sim" in [agent["kind"] for agent in agents["agents"]] and agents["services"], text)
failed, text, note = client.call("note_add", type="constraint", text="Euro only.", tasks=["second"])
check("note_add by hand", not failed and note["number"] > 0, text)
failed, text, _ = client.call("note_add", type="constraint", text="x", tasks=["nowhere"])
check("about nothing", failed and "nowhere" in text, text)
code, out, err = client.end()
check("at the end of its input it ends", code == 0 and not out, code, out, err)

client = Client("--read-only")
check("--read-only", client.names() == LOOKING, client.names())
client.end()
client = Client("--allow", "answer", "--allow", "review", "--allow", "submit")
check("--allow", client.names() == LOOKING + ["note_add", "task_submit", "task_answer", "task_approve", "task_reject"], client.names())
failed, text, _ = client.call("task_submit", title="Both", run="true", prompt="x")
check("a task is one of two", failed, text)
failed, text, added = client.call("task_submit", title="One more", prompt="sim: ok", agent="sim", id="more", after=["first"])
check("task_submit", not failed and added == {"id": "more", "added": True}, text)
failed, text, changed = client.call("task_answer", id="second", text="Euro.")
check("task_answer", not failed and changed == {"changed": 1}, text)
failed, text, changed = client.call("task_approve", id="third", reason="fine")
check("task_approve", not failed and changed["changed"] == 1, text)
place.run("wait", "second", "third", "more", "--timeout", "60")
check("and they are done", client.call("status")[2]["counts"]["done"] == 4, client.call("status"), place.run("tasks"))
check("the answer was told", "Euro." in file_of("told.txt"), file_of("told.txt"))
client.end()

for arguments, code, words in ((["--allow", "everything"], 2, "none of submit"), (["--state", "/nowhere/at/all"], 0, "")):
    result = place.run("mcp", *arguments, input="")
    check(f"rota mcp {' '.join(arguments)}", result.returncode == code and words in result.stderr and not result.stdout, result)
result = place.run("mcp", "--state", "/nowhere/at/all", input=message(1, "tools/call", name="status", _meta=META) + "\n")
answer = json.loads(result.stdout)["result"]
check("no state is an answer, too", answer["isError"] and "/nowhere/at" in answer["content"][0]["text"], result)
result = place.run("mcp", input="x\n" * 3 + "[" * 3000 + "\n" + message(1, "ping") + "\n")
check("rubbish is answered, and what follows it", [line.get("error", {}).get("code") for line in map(json.loads, result.stdout.splitlines())]
      == [-32700] * 4 + [None] and result.returncode == 0, result)
place.run("down")
finish()
