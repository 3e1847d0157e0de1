#!/usr/bin/python3
"""A model API of our own on 127.0.0.1: Anthropic Messages, OpenAI Responses and chat/completions, Gemini, streamed or not.

    http://127.0.0.1:PORT/s/SCENARIO/KEY/v1/messages       (or .../v1/responses, .../v1/chat/completions,
                                                            .../v1beta/models/MODEL:generateContent)

KEY counts for one client. A scenario is a list of answers joined by "+": the n-th request under a KEY gets the n-th, the last
repeats; asking for a tool doesn't count, so that "429-5h+ok-tool" is a limit, then a whole turn with a tool. ANSWERS names
them all. What a tool shall do stands in the prompt: FILE=/path [CONTENT=word].

    import: api = Api(); api.url(SCENARIO, KEY); api.calls; api.set_scenario(KEY, SCENARIO); api.close()
    as a program: prints its port, then logs each call as a line of JSON (--log FILE); ends at SIGTERM, SIGINT or SIGHUP
    control: GET /control/calls[/KEY]; POST /control/scenario/KEY with {"scenario": NAME or null}

Usage in answers is fixed: INPUT_TOKENS, OUTPUT_TOKENS. Threads: one for each connection; Api.lock guards what they share.
"""
import argparse
import collections
import email.utils
import json
import os
import random
import re
import select
import signal
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from model_speakers import INPUT_TOKENS, OUTPUT_TOKENS, SLOW_S, SPEAKERS, event_bytes

HANG_S = 600  # longer than any test waits
MAX_BODY_BYTES = 64 << 20
PROMPT_CHARACTERS = 4000

# `prompts`: what people said so far; `earlier`: how many answers of ours the request holds, that is, what resume proves.
Call = collections.namedtuple("Call", "scenario key answer earlier api model stream prompts tools tool_results time")


class Api:
    def __init__(self, log=None, seed=1, window_s=3, random_percent=30, beside=None, script=None):
        self.calls, self.turns, self.overrides, self.dice = [], {}, {}, {}
        self.beside = beside  # the answer to requests that offer no tool, which use up none of the scenario's; None: as others
        self.script = script  # the answer "scripted": a function of the speaker, which makes it say something
        self.log, self.seed, self.window_s, self.random_percent = log, seed, window_s, random_percent
        self.lock = threading.Lock()
        self.ended = threading.Event()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Handler,), {"api": self}))
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def url(self, scenario, key):
        return f"http://127.0.0.1:{self.port}/s/{scenario}/{key}"

    def set_scenario(self, key, scenario):
        """From now on, whatever the path says; it starts at its first answer. None: as the path says again."""
        with self.lock:
            self.turns = {turn: count for turn, count in self.turns.items() if turn[1] != key}
            if scenario is None:
                self.overrides.pop(key, None)
            else:
                self.overrides[key] = scenario

    def calls_of(self, key):
        with self.lock:
            return [call for call in self.calls if call.key == key]

    def scenario_of(self, scenario, key):
        with self.lock:
            return self.overrides.get(key, scenario)

    def take(self, scenario, key, asks_for_tool, describe):
        """Which answer this request gets: an answer is used up, unless it only asks for a tool."""
        if self.beside and not describe["tools"]:
            return self.beside
        with self.lock:
            scenario = self.overrides.get(key, scenario)
            answers = [step for name in scenario.split("+") for step in ALIASES.get(name, name).split("+")]
            turn = self.turns.get((scenario, key), 0)
            answer = answers[min(turn, len(answers) - 1)]
            if answer == "random":
                answer = self.throw(key, turn)
            if not asks_for_tool(answer):
                self.turns[(scenario, key)] = turn + 1
            call = Call(scenario=scenario, key=key, answer=answer, time=time.time(), **describe)
            self.calls.append(call)
            if self.log:
                print(json.dumps(call._asdict()), file=self.log, flush=True)
            return answer

    def throw(self, key, turn):
        """Holds for a turn, whose requests are several; the same seed throws the same for a key."""
        dice = self.dice.setdefault(key, {"random": random.Random(f"{self.seed}/{key}"), "thrown": []})
        while len(dice["thrown"]) <= turn:
            limited = dice["random"].randrange(100) < self.random_percent
            dice["thrown"].append("window" if limited else "ok-tool")
        return dice["thrown"][turn]

    def close(self):
        self.ended.set()
        self.server.shutdown()
        self.server.server_close()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    api = None

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.send_json(200, {})

    def do_GET(self):
        control = re.fullmatch(r"/control/calls(?:/([^/]+))?", self.path)
        match = re.match(r"/s/([^/]+)/([^/]+)/", self.path)
        if control:
            with self.api.lock:
                calls = [call._asdict() for call in self.api.calls if control[1] in (None, call.key)]
            self.send_json(200, calls)
        elif match and self.api.scenario_of(match[1], match[2]) == "key-refused":
            self.send_json(401, {"type": "error", "error": {"type": "authentication_error", "message": "invalid x-api-key"}})
        else:
            self.send_json(200, {"data": [], "object": "list"})

    def do_POST(self):
        size = self.headers.get("content-length", "0")
        if not size.isdigit() or int(size) > MAX_BODY_BYTES:
            self.close_connection = True
            self.send_json(413, {"type": "error", "error": {"type": "request_too_large", "message": "too large"}})
            return
        try:
            request = json.loads(self.rfile.read(int(size)) or b"{}")
        except ValueError as error:
            self.send_json(400, {"type": "error", "error": {"type": "invalid_request_error", "message": str(error)}})
            return
        path = self.path.split("?")[0]
        control = re.fullmatch(r"/control/scenario/([^/]+)", path)
        match = re.fullmatch(r"/s/([^/]+)/([^/]+)/v1/(messages|responses|chat/completions)(/\w+)?", path)
        gemini = re.fullmatch(r"/s/([^/]+)/([^/]+)/v1\w*/models/([^/:]+):(\w+)", path)
        if control:
            self.api.set_scenario(control[1], request.get("scenario"))
            self.send_json(200, {})
        elif gemini and gemini[4] == "countTokens":
            self.send_json(200, {"totalTokens": INPUT_TOKENS})
        elif gemini:
            request.update(model=gemini[3], stream=gemini[4] == "streamGenerateContent")
            self.answer(gemini[1], gemini[2], SPEAKERS["gemini"](self, request))
        elif not match:
            self.send_json(404, {"type": "error", "error": {"type": "not_found_error", "message": self.path}})
        elif match[4]:
            self.send_json(200, {"input_tokens": INPUT_TOKENS})  # count_tokens
        else:
            self.answer(match[1], match[2], SPEAKERS[match[3]](self, request))

    def answer(self, scenario, key, speak):
        describe = {"earlier": speak.earlier(), "api": speak.name, "model": speak.request.get("model"),
                    "stream": bool(speak.request.get("stream")), "prompts": [p[-PROMPT_CHARACTERS:] for p in speak.prompts()],
                    "tools": len(speak.tools()), "tool_results": speak.tool_results()}
        answer = self.api.take(scenario, key, lambda name: name in ASK_FOR_TOOL and not speak.has_result(), describe)
        if answer in ANSWERS:
            ANSWERS[answer](self, speak)
        else:
            self.send_json(404, {"type": "error", "error": {"type": "not_found_error", "message": f"no answer {answer}"}})

    def hang(self):
        """Until the client has gone."""
        end = time.monotonic() + HANG_S
        while not self.api.ended.is_set() and time.monotonic() < end:
            try:
                if select.select([self.connection], [], [], 0.2)[0] and not self.connection.recv(1, socket.MSG_PEEK):
                    break
            except OSError:  # reset, not closed
                break
            self.api.ended.wait(0.05)
        self.close_connection = True

    def send_body(self, status, kind, data, headers):
        self.send_response(status)
        number = f"{time.time_ns():x}"
        for name, value in {"content-type": kind, "content-length": str(len(data)), "request-id": f"req_{number}",
                            "x-request-id": f"req_{number}", **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def send_json(self, status, body, headers=None):
        self.send_body(status, "application/json", json.dumps(body).encode(), headers or {})

    def send_events(self, events, headers=None):
        self.send_body(200, "text/event-stream", b"".join(event_bytes(event) for event in events), headers or {})

    def send_part(self, events):
        """The beginning of a stream that nothing ends."""
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        for event in events:
            self.wfile.write(event_bytes(event))
        self.wfile.flush()
        self.close_connection = True


def write_then_text(prefer_shell):
    return lambda _handler, speak: speak.text() if speak.has_result() else speak.write(prefer_shell)


def note_then_text(_handler, speak):
    if speak.has_result() and (speak.tool_results() > 1 or "ToolSearch" not in speak.tools()):
        speak.text()
    else:
        speak.note()


def slow_tool(_handler, speak):
    if speak.has_result():
        speak.text()
    else:  # two children: one that the shell waits for, one in the background
        sleep = f"python3 -c 'import time; time.sleep({SLOW_S})'"
        speak.shell(f"{sleep} & {sleep}")


def waiting_tool(_handler, speak):
    path, _ = speak.wanted()
    if os.path.exists(path):
        speak.text()
    else:
        speak.shell(f"until [ -e '{path}' ]; do sleep 0.1; done")


def cut(handler, speak):
    if speak.request.get("stream"):
        handler.send_part(speak.begin())
    else:
        handler.send_body(200, "application/json", b"{", {"content-length": "1000"})
        handler.wfile.flush()
        handler.close_connection = True
    handler.connection.shutdown(socket.SHUT_RDWR)


def stream_hang(handler, speak):
    handler.send_part(speak.begin())
    handler.hang()


def window(claim, after_s):
    return lambda handler, speak: speak.window(claim, handler.api.window_s if after_s is None else after_s)


def rate(headers):
    return lambda _handler, speak: speak.rate(headers() if callable(headers) else headers)


def failure(*arguments):
    return lambda _handler, speak: speak.fail(*arguments)


def say(method):
    return lambda _handler, speak: getattr(speak, method)()


ANSWERS = {
    "ok-text": say("text"),
    "ok-approve": say("approve"),       # words, and the verdict of a reviewer
    "ok-tool": write_then_text(True),   # by the shell
    "ok-write": write_then_text(False),  # by the tool for writing, where there is one
    "ok-note": note_then_text,          # by the tool of `rota mcp`
    "ok-warn": say("warned"),           # served, with the word that 92 % of a window are used
    "slow-tool": slow_tool,             # minutes
    "waiting-tool": waiting_tool,       # until the file is there
    "429-short": rate({"retry-after": "2"}),
    "429-long": rate({"retry-after": "3600"}),
    "429-date": rate(lambda: {"retry-after": email.utils.formatdate(time.time() + 3600, usegmt=True)}),
    "429-bare": rate({}),
    "429-no-retry": rate({"x-should-retry": "false"}),
    "429-5h": window("five_hour", 7200),
    "429-7d": window("seven_day", 3 * 86400),
    "window": window("five_hour", None),  # with a reset a few seconds ahead
    "quota": say("quota"),              # no credit: waiting doesn't help
    "529": say("overloaded"),           # where the vendor says so by 503, that
    "503": failure(503, "api_error", "service_unavailable", "Service unavailable"),
    "500": failure(500, "api_error", "server_error", "Internal server error"),
    "401": failure(401, "authentication_error", "invalid_api_key", "invalid x-api-key"),
    "401-no-retry": failure(401, "authentication_error", "invalid_api_key", "invalid x-api-key", {"x-should-retry": "false"}),
    "403": failure(403, "permission_error", "forbidden", "Your account has no permission to use this."),
    "404": failure(404, "not_found_error", "model_not_found", "model: no such model"),
    "context": say("context"),
    "failing-stream": say("failing_stream"),  # an error inside a stream that began well
    "cut": cut,
    "hang": lambda handler, _speak: handler.hang(),
    "scripted": lambda handler, speak: handler.api.script(speak),
    "stream-hang": stream_hang,
}
ASK_FOR_TOOL = ("ok-tool", "ok-write", "ok-note", "slow-tool", "waiting-tool")
ALIASES = {"limit-once-then-ok": "window+ok-tool", "ok": "ok-text", "write": "ok-write", "slow": "slow-tool", "rate": "429-long",
           "overloaded": "529", "auth": "401", "error": "500", "key-refused": "401"}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--log", help="a file for the calls, a line of JSON each")
    parser.add_argument("--seed", type=int, default=1, help="of the limits that come at random")
    parser.add_argument("--window", type=int, default=3, help="seconds until the answer window resets")
    parser.add_argument("--random-percent", type=int, default=30, help="how often random is a limit")
    options = parser.parse_args()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: stop.set())
    log = open(options.log, "a", encoding="utf-8") if options.log else None
    api = Api(log, options.seed, options.window, options.random_percent)
    print(api.port, flush=True)
    stop.wait()
    api.close()


if __name__ == "__main__":
    sys.exit(main())
