#!/usr/bin/python3
"""A model API of our own on 127.0.0.1, for the real agent programs: Anthropic Messages and OpenAI Responses.

    http://127.0.0.1:PORT/s/SCENARIO/KEY/v1/messages    or .../v1/responses

A scenario is a list of answers joined by "+": the n-th conversation turn under a KEY gets the n-th, the last one repeats.
Answers: ok, write (asks for a file to be written, then ends), slow (a tool call that takes minutes), rate, window (with a
reset a few seconds ahead), overloaded, auth, context, error, hang, cut. The file is named in the prompt as FILE=/path.
Every call is kept: Api.calls has (scenario, key, answer, whether the request held an earlier answer of ours).
"""
import json
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

INPUT_TOKENS, OUTPUT_TOKENS = 1000, 50
WINDOW_S = 3
HANG_S = 600
MARK = "the answer of our model"


class Api:
    def __init__(self):
        self.calls = []
        self.turns = {}
        self.lock = threading.Lock()
        self.ended = threading.Event()
        handler = type("Handler", (Handler,), {"api": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def url(self, scenario, key):
        return f"http://127.0.0.1:{self.server.server_address[1]}/s/{scenario}/{key}"

    def answer_for(self, scenario, key, text):
        """A turn begins with a request that has no result of a tool at its end."""
        with self.lock:
            answers = scenario.split("+")
            turn = self.turns.get((scenario, key), 0)
            answer = answers[min(turn, len(answers) - 1)]
            self.calls.append((scenario, key, answer, MARK in text))
            return answer

    def turn_is_over(self, scenario, key):
        with self.lock:
            self.turns[(scenario, key)] = self.turns.get((scenario, key), 0) + 1

    def close(self):
        self.ended.set()
        self.server.shutdown()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    api = None

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.send_json(200, {})

    def do_GET(self):
        refused = re.match(r"/s/key-refused/", self.path)
        self.send_json(401 if refused else 200, {"data": [], "object": "list"})

    def do_POST(self):
        text = self.rfile.read(int(self.headers.get("content-length", 0))).decode(errors="replace")
        match = re.match(r"/s/([^/]+)/([^/]+)/v1/(messages|responses)(/\w+)?", self.path)
        if not match:
            self.send_json(404, {"type": "error", "error": {"type": "not_found_error", "message": self.path}})
        elif match[4]:
            self.send_json(200, {"input_tokens": INPUT_TOKENS})
        else:
            self.scenario, self.key = match[1], match[2]
            request = json.loads(text)
            answer = self.api.answer_for(self.scenario, self.key, text)
            speak = Anthropic(self) if match[3] == "messages" else OpenAi(self)
            getattr(self, "answer_" + answer)(speak, request, text)

    # ---- answers

    def answer_ok(self, speak, request, _text):
        self.api.turn_is_over(self.scenario, self.key)
        speak.text(request, MARK)

    def answer_write(self, speak, request, text):
        if speak.has_result(request):
            self.answer_ok(speak, request, text)
        else:
            path = re.search(r"FILE=([^\s\"\\]+)", text)
            speak.write(request, path[1] if path else "/dev/null")

    def answer_slow(self, speak, request, text):
        if speak.has_result(request):
            self.answer_ok(speak, request, text)
        else:
            speak.shell(request, "python3 -c 'import time; time.sleep(300)'")

    def answer_rate(self, speak, _request, _text):
        self.api.turn_is_over(self.scenario, self.key)
        speak.fail(429, "rate_limit_error", "rate_limit_exceeded", "Rate limit reached. Please try again in 2s.",
                   {"retry-after": "3600"})

    def answer_window(self, speak, _request, _text):
        self.api.turn_is_over(self.scenario, self.key)
        reset = int(time.time()) + WINDOW_S
        speak.window(reset)

    def answer_overloaded(self, speak, _request, _text):
        speak.overloaded()

    def answer_auth(self, speak, _request, _text):
        speak.fail(401, "authentication_error", "invalid_api_key", "invalid x-api-key", {})

    def answer_context(self, speak, _request, _text):
        self.api.turn_is_over(self.scenario, self.key)
        speak.context()

    def answer_error(self, speak, _request, _text):
        speak.fail(500, "api_error", "server_error", "Internal server error", {})

    def answer_hang(self, _speak, _request, _text):
        self.api.turn_is_over(self.scenario, self.key)
        self.api.ended.wait(HANG_S)

    def answer_cut(self, speak, request, _text):
        speak.begin(request)
        self.wfile.flush()
        self.close_connection = True
        self.connection.shutdown(2)

    # ---- HTTP

    def send_json(self, status, body, headers=None):
        data = json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"content-type": "application/json", "content-length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def send_events(self, events, headers=None):
        data = b"".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in events)
        self.send_response(200)
        for name, value in {"content-type": "text/event-stream", "content-length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)


class Anthropic:
    def __init__(self, handler):
        self.handler = handler

    @staticmethod
    def has_result(request):
        last = request["messages"][-1]["content"]
        return isinstance(last, list) and any(block.get("type") == "tool_result" for block in last)

    @staticmethod
    def message(request):
        return {"id": f"msg_{time.time_ns()}", "type": "message", "role": "assistant", "model": request.get("model", "m"),
                "content": [], "stop_reason": None, "stop_sequence": None,
                "usage": {"input_tokens": INPUT_TOKENS, "output_tokens": 1}}

    def send(self, request, block, deltas, reason):
        message = self.message(request)
        if not request.get("stream"):
            full = dict(block)
            for delta in deltas:
                if delta["type"] == "text_delta":
                    full["text"] = delta["text"]
                else:
                    full["input"] = json.loads(delta["partial_json"])
            message.update(content=[full], stop_reason=reason, usage={"input_tokens": INPUT_TOKENS,
                                                                     "output_tokens": OUTPUT_TOKENS})
            self.handler.send_json(200, message)
            return
        self.handler.send_events([
            {"type": "message_start", "message": message},
            {"type": "content_block_start", "index": 0, "content_block": block},
            *({"type": "content_block_delta", "index": 0, "delta": delta} for delta in deltas),
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": None},
             "usage": {"output_tokens": OUTPUT_TOKENS}},
            {"type": "message_stop"}])

    def text(self, request, text):
        self.send(request, {"type": "text", "text": ""}, [{"type": "text_delta", "text": text}], "end_turn")

    def tool(self, request, name, arguments):
        self.send(request, {"type": "tool_use", "id": f"toolu_{time.time_ns()}", "name": name, "input": {}},
                  [{"type": "input_json_delta", "partial_json": json.dumps(arguments)}], "tool_use")

    def write(self, request, path):
        self.tool(request, "Write", {"file_path": path, "content": "hello\n"})

    def shell(self, request, command):
        self.tool(request, "Bash", {"command": command, "description": "Wait", "timeout": 300000})

    def begin(self, request):
        self.handler.send_response(200)
        self.handler.send_header("content-type", "text/event-stream")
        self.handler.end_headers()
        self.handler.wfile.write(f"event: message_start\ndata: "
                                 f"{json.dumps({'type': 'message_start', 'message': self.message(request)})}\n\n".encode())

    def fail(self, status, kind, _code, text, headers):
        self.handler.send_json(status, {"type": "error", "error": {"type": kind, "message": text}}, headers)

    def window(self, reset):
        self.fail(429, "rate_limit_error", "", "This request would exceed your account's rate limit.", {
            "anthropic-ratelimit-unified-status": "rejected",
            "anthropic-ratelimit-unified-reset": str(reset),
            "anthropic-ratelimit-unified-representative-claim": "five_hour",
            "anthropic-ratelimit-unified-5h-status": "rejected",
            "anthropic-ratelimit-unified-5h-reset": str(reset),
            "anthropic-ratelimit-unified-5h-utilization": "1.0",
            "anthropic-ratelimit-unified-7d-status": "allowed",
            "anthropic-ratelimit-unified-7d-reset": str(reset + 86400),
            "anthropic-ratelimit-unified-7d-utilization": "0.4"})

    def overloaded(self):
        self.fail(529, "overloaded_error", "", "Overloaded", {})

    def context(self):
        self.fail(400, "invalid_request_error", "", "prompt is too long: 250000 tokens > 200000 maximum", {})


class OpenAi:
    def __init__(self, handler):
        self.handler = handler

    @staticmethod
    def has_result(request):
        last = request["input"][-1] if isinstance(request["input"], list) else {}
        return last.get("type") == "function_call_output"

    @staticmethod
    def response(**more):
        return {"id": f"resp_{time.time_ns()}", "object": "response", **more}

    def send(self, item):
        usage = {"input_tokens": INPUT_TOKENS, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": OUTPUT_TOKENS,
                 "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": INPUT_TOKENS + OUTPUT_TOKENS}
        self.handler.send_events([
            {"type": "response.created", "response": self.response()},
            {"type": "response.output_item.done", "item": item},
            {"type": "response.completed", "response": self.response(status="completed", output=[item], usage=usage)}])

    def text(self, _request, text):
        self.send({"type": "message", "role": "assistant", "id": "msg_1", "content": [{"type": "output_text", "text": text}]})

    def shell(self, _request, command):
        self.send({"type": "function_call", "id": "fc_1", "call_id": f"call_{time.time_ns()}", "name": "exec_command",
                   "arguments": json.dumps({"cmd": command, "yield_time_ms": 250000})})

    def write(self, request, path):
        self.shell(request, f"echo hello > {path}")

    def begin(self, _request):
        self.handler.send_response(200)
        self.handler.send_header("content-type", "text/event-stream")
        self.handler.end_headers()
        event = {"type": "response.created", "response": self.response()}
        self.handler.wfile.write(f"event: response.created\ndata: {json.dumps(event)}\n\n".encode())

    def fail(self, status, _kind, code, text, headers):
        self.handler.send_json(status, {"error": {"type": code, "code": code, "message": text}}, headers)

    def window(self, reset):
        self.handler.send_json(429, {"error": {"type": "usage_limit_reached", "message": "The usage limit has been reached",
                                               "plan_type": "plus", "resets_at": reset, "resets_in_seconds": WINDOW_S}})

    def overloaded(self):
        self.fail(503, "", "server_is_overloaded", "The server is currently overloaded", {})

    def context(self):
        self.fail(400, "", "context_length_exceeded", "Your input exceeds the context window of this model.", {})
