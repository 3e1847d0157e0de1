"""A `claude -p` of JSON lines without a model: what it does is in the prompt's words. It writes what it hears to heard.jsonl."""
import json
import os
import sys


def send(**message):
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def listen():
    line = sys.stdin.readline()
    if not line:
        sys.exit(0)
    with open("heard.jsonl", "a", encoding="utf-8") as file:
        file.write(line)
    return json.loads(line)["message"]["content"]


def echo(text):
    send(type="user", message={"role": "user", "content": text}, isReplay=True)


def result(text, error=False):
    send(type="result", subtype="success", is_error=error, result=text, session_id="session-1",
         usage={"input_tokens": 100, "output_tokens": 5}, total_cost_usd=0.01)


def say(text):
    send(type="assistant", message={"role": "assistant", "content": [{"type": "text", "text": text}]}, session_id="session-1")


prompt = listen()
send(type="system", subtype="init", session_id="session-1", model="fake", claude_code_version="2.1.330")
echo(prompt)
if "die" in prompt:
    os._exit(3)
elif "error" in prompt:
    result("It went wrong.", error=True)
elif "silent" in prompt:
    with open("pids.new", "w", encoding="utf-8") as file:
        file.write(str(os.getpid()))
    os.rename("pids.new", "pids")
    echo(listen())
elif "late" in prompt:  # the word comes when the turn has all but ended, and begins another one
    word = listen()
    result("The first is done.")
    send(type="system", subtype="init", session_id="session-1", model="fake")
    echo(word)
if "error" not in prompt:
    say("It is done.")
    result("It is done.")
while "badly" not in prompt:
    listen()
sys.exit(1)
