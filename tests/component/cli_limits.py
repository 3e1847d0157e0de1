#!/usr/bin/python3
"""rota limits test: what the texts of errors come to, by the rules built in and by one's own; faults with their place."""
import datetime

from cli_support import Place, ROTA, check, finish, lines_of_json, os, subprocess

place = Place()
UTC = {"TZ": "UTC"}


def clock(minutes):
    return (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(minutes=minutes)).strftime("%H:%M")


def limits(text, *arguments):
    return subprocess.run([ROTA, "limits", "test", "-", *arguments], cwd=place.path, env=place.environment(UTC),
                          input=text, capture_output=True, errors="replace", encoding="utf-8", timeout=90, check=False)


TEXTS = f"""You\u2019ve hit your usage limit. Visit the settings or try again at {clock(180)}.

   \t
Rate limited, try again in 20 minutes
Credit balance is too low
prompt is too long: 210000 tokens > 200000 maximum
Not logged in \u00b7 Please run /login
line too long (88 > 79 characters) E501
The reviewed code handles HTTP status code 429 with retry fallback.
"""
EXPECTED = [("limited", "window"), ("limited", "burst"), ("limited", "credit"), ("context_limit", None), ("auth", None),
            ("unknown", None), ("unknown", None)]

result = limits(TEXTS, "--json")
found = lines_of_json(result.stdout) if result.returncode == 0 else []
check("each line that isn't blank has its class and kind",
      [(line["class"], line.get("kind")) for line in found] == EXPECTED and not result.stderr, result)
check("its time where it says one", ["until" in line for line in found] == [True, True] + [False] * 5, result)
check("and its rule", ["rule" in line for line in found] == [True] * 5 + [False] * 2, result)

place.write("texts", TEXTS)
result = place.run("limits", "test", "texts", environment=UTC)
check("for people: class, kind, until and in how long, rule, text", result.returncode == 0
      and "limited burst until " in result.stdout and "(in 20 min" in result.stdout + "(in 19 min"
      and "  by rate-limit\n    Rate limited" in result.stdout and "unknown  by no rule\n" in result.stdout, result)
check("a file says what standard input says", result.stdout.count("\n    ") == len(EXPECTED), result)

result = limits("no newline \0 and \x1b[31mRate limited")
check("control characters don't reach the terminal", result.returncode == 0 and "\x1b" not in result.stdout
      and "\0" not in result.stdout and "Rate limited" in result.stdout, result)
check("nothing in, nothing out", limits("").stdout == "" and limits("").returncode == 0)

AHEAD = clock(360)
late = limits(f"rate limited, resets {AHEAD} (UTC)", "--json")
early = limits(f"rate limited, resets {AHEAD}", "--json", "--zone", "CET")
moments = [datetime.datetime.fromisoformat(lines_of_json(result.stdout)[0]["until"].replace("Z", "+00:00"))
           for result in (early, late) if result.returncode == 0]
check("--zone is the zone of times that name none", len(moments) == 2
      and moments[1] - moments[0] == datetime.timedelta(hours=1), early, late)

RULES = "rules:\n  - {name: tea, provider: codex, pattern: 'no more tea', class: limited, kind: window}\n"
place.write("rules.yaml", RULES)
for provider, expected in (("codex", "limited"), ("claude", "unknown")):
    result = limits("There is no more tea", "--json", "--rules", "rules.yaml", "--provider", provider)
    check(f"a rule for codex, told of {provider}", result.returncode == 0
          and lines_of_json(result.stdout)[0]["class"] == expected, result)
result = limits("Rate limited", "--json", "--rules", "rules.yaml")
check("rules of one's own replace those built in", lines_of_json(result.stdout)[0]["class"] == "unknown", result)
place.write("rota.yaml", f"agents:\n  limits: {os.path.join(place.path, 'rules.yaml')}\n")
result = limits("There is no more tea", "--json", "--provider", "codex")
check("the setting agents.limits names them", lines_of_json(result.stdout)[0]["rule"] == "tea", result)
os.unlink(os.path.join(place.path, "rota.yaml"))

for text, part in ((RULES.replace("limited,", "limit,"), "bad.yaml:2:"), (RULES.replace("no more tea", "(tea"), "pattern"),
                   (RULES.replace("no more tea", "tea|"), "matches every text"), ("rules: []\n", "bad.yaml:1:"),
                   ("rules: [\n", "bad.yaml:"), (RULES.replace("name: tea, ", ""), "needs a name")):
    place.write("bad.yaml", text)
    result = limits("Rate limited", "--rules", "bad.yaml")
    check(f"faulty rules are refused: {part}", result.returncode == 2 and part in result.stderr
          and not result.stdout, result)
for arguments in (["limits", "test", "missing"], ["limits", "test", "-", "--rules", "missing"], ["limits", "tset", "-"],
                  ["limits", "test"]):
    result = place.run(*arguments)
    check(f"rota {' '.join(arguments)} is refused", result.returncode == 2 and result.stderr.startswith("rota: ")
          and not result.stdout, result)
check("no state was made", not os.path.exists(place.state))
finish()
