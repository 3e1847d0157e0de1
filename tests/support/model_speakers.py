"""The languages of the model API (model_api.py): Anthropic Messages, OpenAI Responses and chat/completions, Gemini.

A speaker knows one request: what was asked, and how each kind of answer is said in its language.
"""
import datetime
import json
import re
import time

INPUT_TOKENS, OUTPUT_TOKENS = 1000, 50
SLOW_S = 300
MARK = "the answer of our model"
NOTE = "The model wrote this down by a tool."


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


def iso(when):
    return datetime.datetime.fromtimestamp(int(when), datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


class Speaker:
    """One of the languages; it knows its request."""

    def __init__(self, handler, request):
        self.handler, self.request = handler, request

    def approve(self):
        word = re.findall(r'{"review": "(\w+)"', "\n".join(self.prompts())) or [""]
        self.text(words=MARK + '\n{"review": "' + word[-1] + '", "verdict": "approve", "summary": "good", "score": 90, "comments": []}')

    def text(self, headers=None, words=MARK):
        raise NotImplementedError

    def messages(self):
        messages = self.request.get("messages")
        return [message for message in messages if isinstance(message, dict)] if isinstance(messages, list) else []

    def prompts(self):
        """What people said: Claude Code hands on what it is told in the middle of a turn as a word of the system's."""
        texts = [text_of(message.get("content")) for message in self.messages() if message.get("role") in ("user", "system")]
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

    def note(self):
        """By the tool of rota's own server, where the program offers it: otherwise nothing is noted."""
        name = next((name for name in self.tools() if name and name.endswith("note_add")), None)
        if name:
            self.tool(name, {"type": "learning", "text": NOTE})
        else:
            self.text()

    def tool(self, name, arguments):
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

    def text(self, headers=None, words=MARK):
        self.send({"type": "text", "text": ""}, {"type": "text_delta", "text": words}, "end_turn", headers)

    def tool(self, name, arguments):
        self.send({"type": "tool_use", "id": f"toolu_{time.time_ns()}", "name": name, "input": {}},
                  {"type": "input_json_delta", "partial_json": json.dumps(arguments)}, "tool_use", None)

    def write(self, prefer_shell):
        path, content = self.wanted()
        if "Write" in self.tools() and not (prefer_shell and "Bash" in self.tools()):
            self.tool("Write", {"file_path": path, "content": content + "\n"})
        else:
            super().write(prefer_shell)

    def note(self):
        """Claude Code keeps the tools of servers back until they are looked for."""
        if any(name and name.endswith("note_add") for name in self.tools()) or "ToolSearch" not in self.tools():
            super().note()
        elif not self.tool_results():
            self.tool("ToolSearch", {"query": "select:mcp__rota__note_add", "max_results": 1})
        else:
            self.tool("mcp__rota__note_add", {"type": "learning", "text": NOTE})

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

    def text(self, headers=None, words=MARK):
        self.send({"type": "message", "role": "assistant", "id": "msg_1", "status": "completed",
                   "content": [{"type": "output_text", "text": words, "annotations": []}]}, headers)

    def shell(self, command):
        offered = self.tools()
        name = next((name for name in ("exec_command", "shell_command", "shell", "bash") if name in offered), "exec_command")
        arguments = {"exec_command": {"cmd": command, "yield_time_ms": 250000},
                     "shell": {"command": ["bash", "-c", command], "timeout_ms": SLOW_S * 1000}}
        self.tool(name, arguments.get(name, {"command": command, "timeout_ms": SLOW_S * 1000}))

    def note(self):
        """Codex puts the tools of a server into a space of names."""
        spaces = [tool.get("name") for tool in self.request.get("tools") or [] if isinstance(tool, dict)
                  and "note_add" in [one.get("name") for one in tool.get("tools") or []]]
        if spaces:
            self.tool("note_add", {"type": "learning", "text": NOTE}, namespace=spaces[0])
        else:
            super().note()

    def tool(self, name, arguments, **more):
        self.send({"type": "function_call", "id": "fc_1", "call_id": f"call_{time.time_ns()}", "name": name,
                   "arguments": json.dumps(arguments), **more})

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


class Gemini(Speaker):
    name = "gemini"

    def messages(self):
        contents = self.request.get("contents")
        contents = [content for content in contents if isinstance(content, dict)] if isinstance(contents, list) else []
        return [{"role": "assistant" if content.get("role") == "model" else "user", "content": content.get("parts")}
                for content in contents]

    def parts(self, message):
        return [part for part in message.get("content") or [] if isinstance(part, dict)]

    def has_result(self):
        return any("functionResponse" in part for part in self.parts((self.messages() or [{}])[-1]))

    def tool_results(self):
        return sum("functionResponse" in part for message in self.messages() for part in self.parts(message))

    def tools(self):
        return [tool.get("name") for group in self.request.get("tools") or [] for tool in group.get("functionDeclarations") or []]

    def send(self, part, headers=None):
        body = {"candidates": [{"index": 0, "content": {"role": "model", "parts": [part]}, "finishReason": "STOP"}],
                "usageMetadata": {"promptTokenCount": INPUT_TOKENS, "candidatesTokenCount": OUTPUT_TOKENS,
                                  "totalTokenCount": INPUT_TOKENS + OUTPUT_TOKENS},
                "modelVersion": self.request.get("model"), "responseId": f"r{time.time_ns()}"}
        if self.request.get("stream"):
            self.handler.send_events([body], headers)
        else:
            self.handler.send_json(200, body, headers)

    def text(self, headers=None):
        self.send({"text": MARK}, headers)

    def write(self, prefer_shell):
        path, content = self.wanted()
        if "write_file" in self.tools() and not prefer_shell:
            self.send({"functionCall": {"name": "write_file", "args": {"file_path": path, "content": content + "\n"}}})
        else:
            super().write(prefer_shell)

    def shell(self, command):
        self.send({"functionCall": {"name": "run_shell_command", "args": {"command": command, "description": "Do it"}}})

    def begin(self):
        return [{"candidates": [{"index": 0, "content": {"role": "model", "parts": [{"text": "I "}]}}]}]

    def fail(self, status, _kind, code, text, headers=None, details=()):
        words = {401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND", 429: "RESOURCE_EXHAUSTED", 500: "INTERNAL",
                 503: "UNAVAILABLE"}
        self.handler.send_json(status, {"error": {"code": status, "message": text, "status": words.get(status, code),
                                                  "details": list(details)}}, headers)

    def exhausted(self, text, quota, after_s):
        types = "type.googleapis.com/google.rpc."
        self.fail(429, "", "", text, None, [
            {"@type": types + "QuotaFailure", "violations": [{"quotaMetric": "generate_content_requests", "quotaId": quota}]},
            {"@type": types + "RetryInfo", "retryDelay": f"{after_s}s"}])

    def rate(self, headers):
        wait = headers.get("retry-after", "20")
        self.exhausted(f"Resource has been exhausted. Please retry in {wait}s.", "GenerateRequestsPerMinutePerProjectPerModel",
                       wait if wait.isdigit() else 3600)

    def window(self, _claim, after_s):
        self.exhausted("You exceeded your current quota.", "GenerateRequestsPerDayPerProjectPerModel", after_s)

    def warned(self):
        self.text()

    def quota(self):
        self.exhausted("You exceeded your current quota, please check your plan and billing details.",
                       "GenerateRequestsPerDayPerProjectPerModel", 86400)

    def overloaded(self):
        self.fail(503, "", "", "The model is overloaded. Please try again later.")

    def context(self):
        self.fail(400, "", "INVALID_ARGUMENT", "The input token count (250000) exceeds the maximum number of tokens allowed (200000).")

    def failing_stream(self):
        self.handler.send_events([*self.begin(), {"error": {"code": 503, "status": "UNAVAILABLE", "message": "Overloaded"}}])


SPEAKERS = {"messages": Anthropic, "responses": Responses, "chat/completions": Chat, "gemini": Gemini}
