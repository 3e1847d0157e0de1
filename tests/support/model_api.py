#!/usr/bin/python3
"""A model API of our own on 127.0.0.1: Anthropic Messages, OpenAI Responses and chat/completions, streamed or not.

    http://127.0.0.1:PORT/s/SCENARIO/KEY/v1/messages       (or .../v1/responses, .../v1/chat/completions)

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
import datetime
import email.utils
import json
import random
import re
import select
import signal
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

INPUT_TOKENS, OUTPUT_TOKENS = 1000, 50
HANG_S = 600  # longer than any test waits
SLOW_S = 300
MARK = "the answer of our model"
MAX_BODY_BYTES = 64 << 20
PROMPT_CHARACTERS = 500  # of each prompt are logged

# `prompts`: what people said so far; `earlier`: how many answers of ours the request holds, that is, what resume proves.
Call = collections.namedtuple("Call", "scenario key answer earlier api model stream prompts tool_results time")


class Api:
    def __init__(self, log=None, seed=1, window_s=3, random_percent=30):
        self.calls, self.turns, self.overrides, self.dice = [], {}, {}, {}
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
        if control:
            self.api.set_scenario(control[1], request.get("scenario"))
            self.send_json(200, {})
        elif not match:
            self.send_json(404, {"type": "error", "error": {"type": "not_found_error", "message": self.path}})
        elif match[4]:
            self.send_json(200, {"input_tokens": INPUT_TOKENS})  # count_tokens
        else:
            self.answer(match[1], match[2], SPEAKERS[match[3]](self, request))

    def answer(self, scenario, key, speak):
        describe = {"earlier": speak.earlier(), "api": speak.name, "model": speak.request.get("model"),
                    "stream": bool(speak.request.get("stream")), "prompts": [p[-PROMPT_CHARACTERS:] for p in speak.prompts()],
                    "tool_results": speak.tool_results()}
        answer = self.api.take(scenario, key, lambda name: name in ASK_FOR_TOOL and not speak.has_result(), describe)
        if answer in ANSWERS:
            ANSWERS[answer](self, speak)
        else:
            self.send_json(404, {"type": "error", "error": {"type": "not_found_error", "message": f"no answer {answer}"}})

    def hang(self):
        """Until the client has gone."""
        end = time.monotonic() + HANG_S
        while not self.api.ended.is_set() and time.monotonic() < end:
            if select.select([self.connection], [], [], 0.2)[0] and not self.connection.recv(1, socket.MSG_PEEK):
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


def event_bytes(event):
    if event is None:
        return b"data: [DONE]\n\n"
    name = f"event: {event['type']}\n" if "type" in event else ""
    return f"{name}data: {json.dumps(event)}\n\n".encode()


def text_of(content):
    """Of a message's content: a string, or blocks of which some are text."""
    if isinstance(content, str):
        return content
    return "\n".join(block.get("text") or "" for block in content or [] if isinstance(block, dict))


class Speaker:
    """One of the three languages; it knows its request."""

    def __init__(self, handler, request):
        self.handler, self.request = handler, request

    def messages(self):
        messages = self.request.get("messages")
        return [message for message in messages if isinstance(message, dict)] if isinstance(messages, list) else []

    def prompts(self):
        texts = [text_of(message.get("content")) for message in self.messages() if message.get("role") == "user"]
        return [text for text in texts if text]

    def earlier(self):
        return sum(MARK in text_of(message.get("content")) for message in self.messages() if message.get("role") == "assistant")

    def tools(self):
        tools = [tool for tool in self.request.get("tools") or [] if isinstance(tool, dict)]
        return [tool.get("name") or (tool.get("function") or {}).get("name") or tool.get("type") for tool in tools]

    def wanted(self):
        """The file that the last prompt which names one asks for."""
        for prompt in reversed(self.prompts()):
            path = re.search(r"FILE=([^\s\"\\]+)", prompt)
            if path:
                content = re.search(r"CONTENT=([\w.-]+)", prompt)
                return path[1], content[1] if content else "hello"
        return "/dev/null", "hello"

    def message(self):
        raise NotImplementedError

    def write(self, _prefer_shell):
        path, content = self.wanted()
        self.shell(f"echo {content} > '{path}'")

    def shell(self, command):
        raise NotImplementedError


class Anthropic(Speaker):
    name = "messages"

    def has_result(self):
        last = (self.messages() or [{}])[-1].get("content")
        return isinstance(last, list) and any(block.get("type") == "tool_result" for block in last)

    def tool_results(self):
        blocks = [block for message in self.messages() for block in message.get("content") or [] if isinstance(block, dict)]
        return sum(block.get("type") == "tool_result" for block in blocks)

    def message(self):
        return {"id": f"msg_{time.time_ns()}", "type": "message", "role": "assistant", "model": self.request.get("model", "m"),
                "content": [], "stop_reason": None, "stop_sequence": None,
                "usage": {"input_tokens": INPUT_TOKENS, "output_tokens": 1}}

    def send(self, block, delta, reason, headers):
        message = self.message()
        if self.request.get("stream"):
            self.handler.send_events([
                {"type": "message_start", "message": message},
                {"type": "content_block_start", "index": 0, "content_block": block},
                {"type": "content_block_delta", "index": 0, "delta": delta},
                {"type": "content_block_stop", "index": 0},
                {"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": None},
                 "usage": {"output_tokens": OUTPUT_TOKENS}},
                {"type": "message_stop"}], headers)
            return
        full = dict(block)
        if "text" in delta:
            full["text"] = delta["text"]
        else:
            full["input"] = json.loads(delta["partial_json"])
        self.handler.send_json(200, {**message, "content": [full], "stop_reason": reason, "usage": {
            "input_tokens": INPUT_TOKENS, "output_tokens": OUTPUT_TOKENS}}, headers)

    def text(self, headers=None):
        self.send({"type": "text", "text": ""}, {"type": "text_delta", "text": MARK}, "end_turn", headers)

    def tool(self, name, arguments):
        self.send({"type": "tool_use", "id": f"toolu_{time.time_ns()}", "name": name, "input": {}},
                  {"type": "input_json_delta", "partial_json": json.dumps(arguments)}, "tool_use", None)

    def write(self, prefer_shell):
        path, content = self.wanted()
        if "Write" in self.tools() and not (prefer_shell and "Bash" in self.tools()):
            self.tool("Write", {"file_path": path, "content": content + "\n"})
        else:
            super().write(prefer_shell)

    def shell(self, command):
        self.tool("Bash", {"command": command, "description": "Do it", "timeout": SLOW_S * 1000})

    def begin(self):
        return [{"type": "message_start", "message": self.message()}]

    def fail(self, status, kind, _code, text, headers=None):
        self.handler.send_json(status, {"type": "error", "error": {"type": kind, "message": text}}, headers)

    def rate(self, headers):
        self.fail(429, "rate_limit_error", "", "This request would exceed the rate limit of your organization.", {
            "anthropic-ratelimit-requests-limit": "50", "anthropic-ratelimit-requests-remaining": "0",
            "anthropic-ratelimit-requests-reset": iso(time.time() + 30), **headers})

    def unified(self, claim, status, reset, used):
        """A subscription's windows; `claim` is the one that counts."""
        headers = {"anthropic-ratelimit-unified-status": status, "anthropic-ratelimit-unified-reset": str(reset),
                   "anthropic-ratelimit-unified-representative-claim": claim,
                   "anthropic-ratelimit-unified-overage-status": "rejected",
                   "anthropic-ratelimit-unified-overage-disabled-reason": "org_level_disabled"}
        for window, name in (("five_hour", "5h"), ("seven_day", "7d")):
            mine = window == claim
            prefix = f"anthropic-ratelimit-unified-{name}-"
            headers.update({prefix + "status": status if mine else "allowed",
                            prefix + "reset": str(reset if mine else reset + 86400),
                            prefix + "utilization": used if mine else "0.4"})
        return headers

    def window(self, claim, after_s):
        headers = {"retry-after": str(after_s), **self.unified(claim, "rejected", int(time.time()) + after_s, "1.0")}
        self.fail(429, "rate_limit_error", "", "This request would exceed your account's rate limit. Please try again later.",
                  headers)

    def warned(self):
        self.text(self.unified("five_hour", "allowed_warning", int(time.time()) + 7200, "0.92"))

    def quota(self):
        self.fail(400, "invalid_request_error", "", "Your credit balance is too low to access the Anthropic API.")

    def overloaded(self):
        self.fail(529, "overloaded_error", "", "Overloaded")

    def context(self):
        self.fail(400, "invalid_request_error", "", "prompt is too long: 250000 tokens > 200000 maximum")

    def failing_stream(self):
        self.handler.send_events([*self.begin(), {"type": "error", "error": {"type": "overloaded_error",
                                                                             "message": "Overloaded"}}])


class Responses(Speaker):
    name = "responses"

    def items(self):
        items = self.request.get("input")
        items = [{"role": "user", "content": items}] if isinstance(items, str) else items
        return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []

    def messages(self):
        return [item for item in self.items() if item.get("role")]

    def has_result(self):
        return (self.items() or [{}])[-1].get("type", "").endswith("_call_output")

    def tool_results(self):
        return sum(item.get("type", "").endswith("_call_output") for item in self.items())

    def response(self, **more):
        return {"id": f"resp_{time.time_ns()}", "object": "response", "model": self.request.get("model", "m"), **more}

    def send(self, item, headers=None):
        usage = {"input_tokens": INPUT_TOKENS, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": OUTPUT_TOKENS,
                 "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": INPUT_TOKENS + OUTPUT_TOKENS}
        response = self.response(status="completed", output=[item], usage=usage)
        if not self.request.get("stream"):
            self.handler.send_json(200, response, headers)
            return
        self.handler.send_events([*self.begin(), {"type": "response.output_item.done", "output_index": 0, "item": item},
                                  {"type": "response.completed", "response": response}], headers)

    def text(self, headers=None):
        self.send({"type": "message", "role": "assistant", "id": "msg_1", "status": "completed",
                   "content": [{"type": "output_text", "text": MARK, "annotations": []}]}, headers)

    def shell(self, command):
        offered = self.tools()
        name = next((name for name in ("exec_command", "shell_command", "shell", "bash") if name in offered), "exec_command")
        arguments = {"exec_command": {"cmd": command, "yield_time_ms": 250000},
                     "shell": {"command": ["bash", "-c", command], "timeout_ms": SLOW_S * 1000}}
        arguments = arguments.get(name, {"command": command, "timeout_ms": SLOW_S * 1000})
        self.send({"type": "function_call", "id": "fc_1", "call_id": f"call_{time.time_ns()}", "name": name,
                   "arguments": json.dumps(arguments)})

    def begin(self):
        return [{"type": "response.created", "response": self.response(status="in_progress")}]

    def fail(self, status, kind, code, text, headers=None):
        self.handler.send_json(status, {"error": {"message": text, "type": kind, "param": None, "code": code}}, headers)

    def rate(self, headers):
        wait = headers.get("retry-after", "20")
        self.fail(429, "tokens", "rate_limit_exceeded", "Rate limit reached for this model on tokens per min (TPM): Limit 30000, "
                  f"Used 30000, Requested 1000. Please try again in {wait}s.",
                  {"x-ratelimit-limit-tokens": "30000", "x-ratelimit-remaining-tokens": "0",
                   "x-ratelimit-reset-tokens": f"{wait}s", **headers})

    @staticmethod
    def windows(claim, used, reset):
        """A subscription's windows as headers."""
        first = claim == "five_hour"
        values = {"primary": (300, first), "secondary": (10080, not first)}
        return {f"x-codex-{name}-{what}": str(value) for name, (minutes, mine) in values.items() for what, value in (
            ("used-percent", used if mine else 40), ("window-minutes", minutes), ("reset-at", reset if mine else reset + 86400))}

    def window(self, claim, after_s):
        reset = int(time.time()) + after_s
        self.handler.send_json(429, {"error": {
            "type": "usage_limit_reached", "message": "The usage limit has been reached", "plan_type": "plus",
            "resets_at": reset, "resets_in_seconds": after_s}}, self.windows(claim, 100, reset))

    def warned(self):
        self.text(self.windows("five_hour", 92, int(time.time()) + 7200))

    def quota(self):
        self.fail(429, "insufficient_quota", "insufficient_quota",
                  "You exceeded your current quota, please check your plan and billing details.")

    def overloaded(self):
        self.fail(503, "server_error", "server_is_overloaded", "The server is currently overloaded. Please try again later.")

    def context(self):
        self.fail(400, "invalid_request_error", "context_length_exceeded",
                  "Your input exceeds the context window of this model. Please adjust your input and try again.")

    def failing_stream(self):
        error = {"code": "rate_limit_exceeded", "message": "Rate limit reached for this model. Please try again in 2s."}
        self.handler.send_events([*self.begin(), {"type": "response.failed",
                                                  "response": self.response(status="failed", error=error)}])


class Chat(Responses):
    name = "chat"

    def items(self):
        return Speaker.messages(self)

    def has_result(self):
        return (self.items() or [{}])[-1].get("role") == "tool"

    def tool_results(self):
        return sum(item.get("role") == "tool" for item in self.items())

    def chunk(self, delta, reason=None, **more):
        return {"id": f"chatcmpl-{time.time_ns()}", "object": "chat.completion.chunk", "created": int(time.time()),
                "model": self.request.get("model", "m"),
                "choices": [{"index": 0, "delta": delta, "finish_reason": reason}], **more}

    def complete(self, message, reason, headers=None):
        usage = {"prompt_tokens": INPUT_TOKENS, "completion_tokens": OUTPUT_TOKENS, "total_tokens": INPUT_TOKENS + OUTPUT_TOKENS}
        if not self.request.get("stream"):
            body = {**self.chunk({}), "object": "chat.completion", "usage": usage}
            body["choices"] = [{"index": 0, "message": {"role": "assistant", "content": None, **message}, "finish_reason": reason}]
            self.handler.send_json(200, body, headers)
            return
        counted = {**self.chunk({}, usage=usage), "choices": []}
        self.handler.send_events([*self.begin(), self.chunk(message), self.chunk({}, reason), counted, None], headers)

    def text(self, headers=None):
        self.complete({"content": MARK}, "stop", headers)

    def shell(self, command):
        offered = self.tools()
        name = next((name for name in ("bash", "shell", "exec_command", "run_shell_command") if name in offered), "bash")
        arguments = {"cmd" if name == "exec_command" else "command": command, "description": "Do it"}
        self.complete({"tool_calls": [{"index": 0, "id": f"call_{time.time_ns()}", "type": "function", "function": {
            "name": name, "arguments": json.dumps(arguments)}}]}, "tool_calls")

    def begin(self):
        return [self.chunk({"role": "assistant", "content": ""})]

    def failing_stream(self):
        self.handler.send_events([*self.begin(), {"error": {"code": "rate_limit_exceeded", "message": "Rate limit reached."}}])


SPEAKERS = {"messages": Anthropic, "responses": Responses, "chat/completions": Chat}


def iso(when):
    return datetime.datetime.fromtimestamp(int(when), datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def write_then_text(prefer_shell):
    return lambda _handler, speak: speak.text() if speak.has_result() else speak.write(prefer_shell)


def slow_tool(_handler, speak):
    if speak.has_result():
        speak.text()
    else:  # two children: one that the shell waits for, one in the background
        sleep = f"python3 -c 'import time; time.sleep({SLOW_S})'"
        speak.shell(f"{sleep} & {sleep}")


def cut(handler, speak):
    handler.send_part(speak.begin())
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
    "ok-tool": write_then_text(True),   # by the shell
    "ok-write": write_then_text(False),  # by the tool for writing, where there is one
    "ok-warn": say("warned"),           # served, with the word that 92 % of a window are used
    "slow-tool": slow_tool,             # minutes
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
    "stream-hang": stream_hang,
}
ASK_FOR_TOOL = ("ok-tool", "ok-write", "slow-tool")
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
