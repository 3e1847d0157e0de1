"""An ACP agent without a model: what it does is in the prompt's words. It writes what it hears to heard.jsonl, and the
process ids of itself and of its tool to pids.

    --load           it can load sessions
    --speaks N       the highest version of the protocol that it speaks, 1 if not said; --stubborn: it answers that one always
"""
import json
import os
import signal
import subprocess
import sys
import threading

CHUNK = 4 << 10
SESSION = "session-1"
PERMISSIONS = [
    ("edit", "inside.txt"),
    ("edit", "new/directory/inside.txt"),
    ("read", ".git/config"),
    ("edit", ".git/hooks/post-commit"),
    ("edit", "/etc/passwd"),
    ("edit", "sub/../../outside.txt"),
    ("edit", "missing/../../outside.txt"),
    ("edit", "../work-beside/outside.txt"),
    ("edit", "link/outside.txt"),
    ("edit", "link-to-nothing"),
    ("differs", "inside.txt"),  # an edit that says it is of this file, and whose difference is of another
    ("execute", "inside.txt"),
    ("edit", None),
]
tool = None
asked = []
version = 1
OPENERS = {1: "session/load", 2: "session/resume"}
USAGE = {"inputTokens": 100, "outputTokens": 7, "totalTokens": 107}


def send(message):
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def update(**what):
    send({"method": "session/update", "params": {"sessionId": SESSION, "update": what}})


def say(text):
    update(sessionUpdate="agent_message_chunk", content={"type": "text", "text": text})


def state(what, **more):
    update(sessionUpdate="state_update", state=what, **more)


def finish(identity, reason="end_turn"):
    if version == 1:
        send({"id": identity, "result": {"stopReason": reason, "usage": USAGE}})
    else:
        state("idle", stopReason=reason, usage=USAGE)


def fail(identity, error):
    if version == 1:
        send({"id": identity, "error": error})
    else:
        state("idle", stopReason="error", error=error)


def told_to_die(_number, _frame):
    with open("heard.jsonl", "a", encoding="utf-8") as file:
        file.write('{"method": "SIGTERM"}\n')
    os._exit(1)


def start_tool():
    global tool
    tool = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"], stdin=subprocess.DEVNULL,
                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    with open("pids.new", "w", encoding="utf-8") as file:
        file.write(f"{os.getpid()} {tool.pid}")
    os.rename("pids.new", "pids")


def ask_next():
    kind, path = PERMISSIONS[len(asked)]
    asked.append(None)
    locations = [{"path": path if path.startswith("/") else os.path.join(os.getcwd(), path)}] if path else []
    call = {"toolCallId": "c", "kind": kind, "title": str(path), "locations": locations}
    if kind == "differs":
        change = {"path": "/etc/passwd"}
        call["kind"] = "edit"
        call["content"] = [{"type": "diff", **change} if version == 1 else {"type": "diff", "changes": [change]}]
    subject = {"toolCall": call}
    if version == 2:
        if kind == "execute":
            subject = {"type": "command", "command": "true", "cwd": os.getcwd()}
        else:
            subject["type"] = "tool_call"
        subject = {"title": str(path), "subject": subject}
    send({"id": f"ask-{len(asked)}", "method": "session/request_permission", "params": {
        "sessionId": SESSION, **subject,
        "options": [{"optionId": "always", "name": "Always", "kind": "allow_always"},
                    {"optionId": "yes", "name": "Yes", "kind": "allow_once"},
                    {"optionId": "no", "name": "No", "kind": "reject_once"}]}})


def garbage():
    out = sys.stdout.buffer
    out.write(b"\n\n{\n[1, 2]\n\"text\"\nnull\n{\"id\": 99, \"result\": {}}\n{\"method\": 7}\n\xff\xfe\x00\x01 bytes\n")
    out.write(b"[" * 5000 + b"\n")
    out.write(b"{\"x\": \"" + b"y" * (5 << 20) + b"\"}\n")
    out.write(b"{\"jsonrpc\": \"2.0\", \"method\": \"something/new\", \"params\": [3]}\n")
    out.flush()
    send({"id": "read", "method": "fs/read_text_file", "params": {"path": "/etc/passwd"}})


class Agent:
    def __init__(self, options):
        self.loads = "--load" in options
        self.stubborn = "--stubborn" in options
        self.speaks = int(options[options.index("--speaks") + 1]) if "--speaks" in options else 1
        self.turn, self.resumed = None, False

    def prompt(self, identity, text):
        self.turn = identity
        if version == 2:
            send({"id": identity, "result": {"messageId": "u1"}})
            if self.resumed:
                state("idle", stopReason="end_turn")  # once more how the turn before ended
            state("running")
        if "you were interrupted" in text.lower() and "limit" in text:
            say("I went on.")
            finish(identity)
        elif "limit" in text:
            fail(identity, {"code": -32603, "message": "Internal error: You've hit your limit", "data": {"errorKind": "rate_limit"}})
        elif "permission" in text:
            ask_next()
        elif "die" in text:
            say("I am about")
            os._exit(3)
        elif "garbage" in text:
            garbage()
        elif "silent" in text or "deaf" in text:
            signal.signal(signal.SIGTERM, signal.SIG_IGN if "deaf" in text else told_to_die)
            start_tool()
            self.turn = None if "deaf" in text else identity
        else:
            print("a word on standard error", file=sys.stderr, flush=True)
            say("It is ")
            say("done.")
            finish(identity)

    def initialize(self, identity, asked_for):
        global version
        version = self.speaks if self.stubborn else min(self.speaks, asked_for)
        info = {"name": "fake", "version": "1.0"}
        if version == 1:
            send({"id": identity, "result": {"protocolVersion": 1, "agentCapabilities": {"loadSession": self.loads},
                                             "agentInfo": info}})
        elif version == 0:
            send({"id": identity, "error": {"code": -32022, "message": "Unsupported protocol version",
                                            "data": {"requested": asked_for, "supported": [7]}}})
        else:
            send({"id": identity, "result": {"protocolVersion": version, "info": info, "capabilities": {"session": {}}}})

    def hear(self, message):
        method, identity, params = message.get("method"), message.get("id"), message.get("params") or {}
        if method == "initialize":
            self.initialize(identity, params["protocolVersion"])
        elif method == "session/new":
            send({"id": identity, "result": {"sessionId": SESSION, "configOptions": [
                {"configId": "how", "name": "How", "category": "mode", "type": "select", "currentValue": "x", "options": []}]}})
        elif method == OPENERS[version] and params["sessionId"] == SESSION:
            self.resumed = True
            say("An old word.")
            send({"id": identity, "result": None if version == 1 else {}})
        elif method == OPENERS[version]:
            send({"id": identity, "error": {"code": -32602, "message": "no such session"}})
        elif method == "session/prompt":
            self.prompt(identity, params["prompt"][0]["text"])
        elif method == "session/cancel" and self.turn is not None:
            tool.kill()
            tool.wait()
            finish(self.turn, "cancelled")
        elif method:
            if identity is not None:
                send({"id": identity, "result": {}})
        elif identity == "read":
            say("done")
            finish(self.turn)
        elif str(identity).startswith("ask-"):
            asked[-1] = message["result"]["outcome"].get("optionId", "none")
            if len(asked) < len(PERMISSIONS):
                ask_next()
            else:
                say(" ".join(asked))
                finish(self.turn)


def main():
    agent = Agent(sys.argv[1:])
    with open("heard.jsonl", "a", encoding="utf-8") as heard:
        for line in sys.stdin:
            heard.write(line)
            heard.flush()
            agent.hear(json.loads(line))
    if agent.turn is None and tool:
        threading.Event().wait()  # codex-acp stays too when its input ends


main()
