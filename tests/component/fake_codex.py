"""A `codex app-server` without a model: what it does is in the prompt's words. It writes what it hears to heard.jsonl."""
import json
import os
import signal
import sys
import time

THREAD = "thread-1"


def send(message):
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def notify(method, **params):
    send({"method": method, "params": params})


def end(status, error=None, thread=THREAD):
    notify("turn/completed", threadId=thread, turn={"id": "turn-1", "status": status, "error": error})


def told_to_die(_number, _frame):
    with open("heard.jsonl", "a", encoding="utf-8") as file:
        file.write('{"method": "SIGTERM"}\n')
    os._exit(1)


def usage(tokens):
    notify("thread/tokenUsage/updated", threadId=THREAD, tokenUsage={"total": {
        "totalTokens": tokens + 5, "inputTokens": tokens, "cachedInputTokens": 0, "outputTokens": 5}})


def turn(text):
    notify("turn/started", threadId=THREAD, turn={"id": "turn-1"})
    if "you were interrupted" not in text.lower() and "limit" in text:
        window = {"usedPercent": 100, "windowDurationMins": 300, "resetsAt": int(time.time()) + 2}
        notify("account/rateLimits/updated", rateLimits={"primary": window, "secondary": None})
        error = {"message": "You've hit your usage limit.", "codexErrorInfo": "usageLimitExceeded"}
        notify("error", threadId=THREAD, error=error, willRetry=False)
        end("failed", error)
    elif "die" in text:
        os._exit(3)
    elif "silent" in text:
        signal.signal(signal.SIGTERM, told_to_die)
        with open("pids.new", "w", encoding="utf-8") as file:
            file.write(str(os.getpid()))
        os.rename("pids.new", "pids")
    else:
        end("completed", thread="thread-of-a-subagent")
        send({"id": 77, "method": "item/commandExecution/requestApproval", "params": {"threadId": THREAD}})


def hear(message):
    method, identity, params = message.get("method"), message.get("id"), message.get("params") or {}
    if method == "initialize":
        send({"id": identity, "result": {"userAgent": "rota/0.169.0 (fake)"}})
    elif method == "thread/start" or (method == "thread/resume" and params["threadId"] == THREAD):
        notify("thread/started", thread={"id": THREAD})
        send({"id": identity, "result": {"thread": {"id": THREAD}, "model": "fake"}})
    elif method == "thread/resume":
        send({"id": identity, "error": {"code": -32600, "message": "no rollout found"}})
    elif method == "turn/start":
        send({"id": identity, "result": {"turn": {"id": "turn-1", "status": "inProgress"}}})
        turn(params["input"][0]["text"])
    elif method == "turn/steer" and "refused" in params["input"][0]["text"]:
        send({"id": identity, "error": {"code": -32600, "message": "the turn can't be steered now"}})
    elif method == "turn/steer":
        send({"id": identity, "result": {"turnId": params["expectedTurnId"]}})
        notify("item/completed", threadId=THREAD, item={"type": "agentMessage", "id": "m", "text": "So I shall."})
        end("completed")
    elif method == "turn/interrupt":
        send({"id": identity, "result": {}})
        end("interrupted")
    elif not method and identity == 77:
        notify("item/completed", threadId=THREAD, item={"type": "agentMessage", "id": "m", "text": "It is done."})
        usage(100)
        end("completed")


with open("heard.jsonl", "a", encoding="utf-8") as heard:
    for line in sys.stdin:
        heard.write(line)
        heard.flush()
        hear(json.loads(line))
