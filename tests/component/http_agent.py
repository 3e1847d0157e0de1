#!/usr/bin/python3
"""The kind http against a model API of our own: text comes, limits use no attempt, half an answer is none."""
import concurrent.futures
import os
import re
import sys

from cli_support import SOURCE, Place, check, finish, json

sys.path.insert(0, os.path.join(SOURCE, "tests", "support"))
import model_api  # noqa: E402
from model_speakers import INPUT_TOKENS, MARK, OUTPUT_TOKENS  # noqa: E402

KEY = "sk-only-for-this-test"
QUICK = {"ROTA_SCHEDULER_BACKOFF_BASE": "100ms", "ROTA_SCHEDULER_COOLDOWN_FLOOR": "100ms",
         "ROTA_SCHEDULER_COOLDOWN_MARGIN": "100ms", "ROTA_SCHEDULER_COOLDOWN": "1s",
         "ROTA_SCHEDULER_COOLDOWN_CAPACITY": "1s", "ROTA_AGENTS_HTTP_MODEL": "some-model",
         "ANTHROPIC_API_KEY": KEY, "OPENAI_API_KEY": KEY}
APIS = ("anthropic", "chat", "responses")
FLOOD_PIECE = "0123456789abcde " * 4096
api = model_api.Api()
api.server.handle_error = lambda *_: None  # clients that have gone are part of this


def deltas(speak, texts, end=True):
    """A whole answer out of these texts, in the language that was asked in."""
    if speak.name == "chat":
        return [speak.chunk({"content": text}) for text in texts] + ([speak.chunk({}, "stop"), None] if end else [])
    if speak.name == "responses":
        return [{"type": "response.output_text.delta", "delta": text} for text in texts] + (
            [{"type": "response.completed", "response": speak.response(status="completed")}] if end else [])
    return [{"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}} for text in texts] + (
        [{"type": "message_delta", "delta": {"stop_reason": "end_turn"}}, {"type": "message_stop"}] if end else [])


def cut_in_text(handler, speak):
    handler.send_part([*speak.begin(), *deltas(speak, ["half of the answer"], end=False)])
    handler.connection.shutdown(2)


def redirect(handler, _speak):
    handler.send_body(307, "text/plain", b"", {"location": api.url("ok", "stolen") + "/v1/messages"})


model_api.ANSWERS.update({
    "flood": lambda handler, speak: handler.send_events([*speak.begin(), *deltas(speak, [FLOOD_PIECE] * 192)]),  # 12 MiB
    "too-much": lambda handler, speak: handler.send_events([*speak.begin(), *deltas(speak, [FLOOD_PIECE] * 300)]),
    "garbage": lambda handler, _speak: handler.send_body(200, "text/html", b"<html>It works!</html>" * 1000, {}),
    "noise": lambda handler, _speak: handler.send_body(200, "text/event-stream", os.urandom(8 << 20), {}),
    "empty": lambda handler, speak: handler.send_events([*speak.begin(), *deltas(speak, [])]),
    "long": lambda handler, speak: handler.send_events([
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "and so on"}},
        {"type": "message_delta", "delta": {"stop_reason": "max_tokens"}, "usage": {"output_tokens": 7}}, {"type": "message_stop"}]),
    "cut-in-text": cut_in_text,
    "redirect": redirect,
})
turns = {}


def by_prompt(handler, speak):
    """The prompt says what its task is answered, the n-th time the n-th."""
    answers = re.search(r"ANSWERS=(\S+)", speak.prompts()[-1])[1]
    with api.lock:
        turn = turns.get((speak.name, answers), 0)
        turns[speak.name, answers] = turn + 1
    steps = answers.split("+")
    model_api.ANSWERS[steps[min(turn, len(steps) - 1)]](handler, speak)


model_api.ANSWERS["by-prompt"] = by_prompt


class Run:
    """Tasks that are told by their names what they are answered, each with one attempt, and what came of them."""

    def __init__(self, language, answers, more="", environment=None):
        self.language, self.place = language, Place()
        self.names = {name: re.sub(r"[^a-z0-9]+", "-", name) for name in answers}
        self.place.write("plan.yaml", "tasks:\n" + "".join(
            f"  - {{id: {self.names[name]}, prompt: \"ANSWERS={name}\", capabilities: [text], attempts: 1{more}}}\n"
            for name in answers))
        self.place.write("rota.yaml", f"agents:\n  http_url: {api.url('by-prompt', language + '-key')}\n  http_api: {language}\n")
        self.result = self.place.run("run", "plan.yaml", "--agent", "http=4", environment={**QUICK, **(environment or {})})

    def results(self, name):
        shown = self.place.run("task", self.names[name], "--json")
        attempts = json.loads(shown.stdout)["attempts"] if shown.returncode == 0 else []
        return [attempt["result"] for attempt in sorted(attempts, key=lambda attempt: attempt["number"])]

    def check(self, what, name, classes, *words):
        results = self.results(name)
        text = json.dumps(results)
        check(f"{self.language}: {what}", [result["class"] for result in results] == classes
              and all(word in text for word in words), text, self.result)


def run_bare(settings, environment):
    bare = Place()
    bare.write("rota.yaml", f"agents: {{ {settings} }}\n")
    bare.write("one.yaml", "tasks:\n  - {id: x, prompt: hello, capabilities: [text]}\n")
    return bare, bare.run("run", "one.yaml", "--agent", "http", environment={**QUICK, **environment})


# Those whose runs end by waiting for what doesn't come, side by side.
BARE = (("no URL", "", {}, "agents.http_url"),
        ("no model", "http_url: http://127.0.0.1:9", {"ROTA_AGENTS_HTTP_MODEL": ""}, "agents.http_model"),
        ("http beyond this host", "http_url: http://model.example", {}, "agents.http_plain"),
        ("no key", "http_url: https://model.example", {"ANTHROPIC_API_KEY": ""}, "ANTHROPIC_API_KEY"),
        *((f"a wrong key ({language})", f"http_url: {api.url('key-refused', language + '-refused')}, http_api: {language}", {},
           f"the key in {'ANTHROPIC' if language == 'anthropic' else 'OPENAI'}_API_KEY is refused (401)") for language in APIS))
pool = concurrent.futures.ThreadPoolExecutor(8)
refused = [pool.submit(Run, language, ("401",)) for language in APIS]
bare_runs = [pool.submit(run_bare, settings, environment) for _what, settings, environment, _words in BARE]

for language in APIS:
    run = Run(language, ("ok-text", "429-short+ok-text", "failing-stream+ok-text", "529+ok-text", "context", "cut+ok-text",
                         "cut-in-text+ok-text", "flood", "garbage"))
    calls = api.calls_of(language + "-key")
    run.check("an answer, and what it used", "ok-text", ["ok"], MARK, f'"input_tokens": {INPUT_TOKENS}',
              f'"output_tokens": {OUTPUT_TOKENS}')
    check(f"{language}: no cost that nobody said", "cost" not in json.dumps(run.results("ok-text")), run.results("ok-text"))
    check(f"{language}: the model was asked for, as a stream", calls and all(
        call.model == "some-model" and call.stream for call in calls), calls)
    output = run.place.run("log", "ok-text").stdout
    check(f"{language}: the text is in its output, the key is not", MARK in output and KEY not in output, output)
    run.check("a limit uses no attempt", "429-short+ok-text", ["limited", "ok"])
    run.check("an error inside a stream", "failing-stream+ok-text", ["limited", "ok"])
    run.check("overloaded", "529+ok-text", ["limited", "ok"])
    run.check("more than the context", "context", ["context_limit"])
    run.check("a stream that is cut", "cut+ok-text", ["network", "ok"])
    run.check("half an answer is none", "cut-in-text+ok-text", ["network", "ok"])
    run.check("12 MiB", "flood", ["ok"], "0123456789abcde")
    run.check("no stream of events", "garbage", ["failed"], "agents.http_url")

run = Run("anthropic", ("window+ok-text", "404", "too-much", "noise", "empty", "long", "redirect", "stream-hang+ok-text"),
          environment={"ROTA_AGENTS_HTTP_STALL": "2s"})
run.check("a window that is used up, until the moment that was said", "window+ok-text", ["limited", "ok"])
run.check("a model that there isn't", "404", ["invalid"])
run.check("more than 16 MiB", "too-much", ["failed"], "16 MiB")
run.check("noise that calls itself events", "noise", ["failed"], "agents.http_url")
run.check("an answer without a word is none", "empty", ["failed"], "without a word")
run.check("an answer cut at its length is none", "long", ["failed"], "http_max_tokens")
run.check("a redirection is said", "redirect", ["failed"], "redirects")
check("and not followed", not api.calls_of("stolen"), api.calls_of("stolen"))
run.check("a server that stalls", "stream-hang+ok-text", ["network", "ok"])
Run("chat", ("hang",), ", silence: 1s").check("silence is ended", "hang", ["timeout"], "wrote nothing")

# Said before any work, with the remedy.
for (what, _settings, _environment, words), future in zip(BARE, bare_runs):
    bare, result = future.result()
    check(f"{what}: said with the remedy, and no attempt was spent", result.returncode == 1 and words in result.stdout
          and json.loads(bare.run("task", "x", "--json").stdout)["attempts"] == [], result)
for future in refused:
    future.result().check("a key that is refused", "401", ["auth"])

# It can't change files: a prompt that doesn't ask for text alone is not for it.
other = Place()
other.write("rota.yaml", f"agents:\n  http_url: {api.url('ok', 'other')}\n")
other.write("two.yaml", "tasks:\n  - {id: work, prompt: \"sim: ok\"}\n  - {id: words, prompt: hello, capabilities: [text]}\n")
result = other.run("run", "two.yaml", "--agent", "http=1", "--agent", "sim=1", environment=QUICK)
kinds = {name: [attempt["agent"].split("@")[0] for attempt in json.loads(other.run("task", name, "--json").stdout)["attempts"]]
         for name in ("work", "words")}
check("text for the API, work for the agent", result.returncode == 0 and kinds == {"work": ["sim"], "words": ["http"]}, result, kinds)
api.close()
finish()
