#!/usr/bin/python3
"""Every kind of bad input: exit 2, its position, and nothing started or changed."""
import re

from cli_support import Place, check, finish, json, os

place = Place()
TASK = "  - {id: %s, run: 'true'%s}\n"


def tasks(*pairs):
    return "tasks:\n" + "".join(TASK % (name, more) for name, more in pairs)


def deep(levels):
    return "tasks:\n  - id: a\n    run: 'true'\n    x: " + "[" * levels + "]" * levels + "\n"


LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(8)) + "tasks: []\n"

# name, content, what the message must hold, whether a line and column are known
CASES = [
    ("not YAML", "tasks:\n  - id: [a\n", "", True),
    ("a tab as indentation", "tasks:\n\t- id: a\n", "", True),
    ("a list where a map belongs", "- a\n- b\n", "", True),
    ("tasks that are no list", "tasks: 5\n", "tasks", True),
    ("a number as id list", "tasks:\n  - {id: {a: b}, run: x}\n", "id", True),
    ("an unknown dependency", tasks(("a", ", after: nosuch")), "nosuch", True),
    ("a dependency on itself", tasks(("a", ", after: a")), "a", True),
    ("a duplicate id", tasks(("a", ""), ("a", "")), "twice", True),
    ("an unknown status", tasks(("a", ", status: doen")), "doen", True),
    ("an id with a control character", 'tasks:\n  - {id: "a\\tb", run: x}\n', "control", True),
    ("an id over 200 bytes", tasks(("a" * 201, "")), "200", True),
    ("invalid UTF-8", b"tasks:\n  - {id: a, run: \"\xff\"}\n", "UTF-8", True),
    ("a NUL byte", b"tasks:\n  - {id: a, run: \"x\0y\"}\n", "NUL", True),
    ("exploding aliases", LAUGHS, "alias", True),
    ("65 levels of nesting", deep(66), "64", True),
]
for name, text, part, positioned in CASES:
    path = place.write("bad.yaml", text)
    for verb in ("validate", "run", "import"):
        result = place.run(verb, "bad.yaml")
        position = re.search(r"^bad\.yaml:\d+:\d+: error: ", result.stderr, re.M)
        check(f"{verb}: {name}", result.returncode == 2 and bool(position) == positioned and part in result.stderr,
              result)
check("nothing was made", not os.path.exists(place.state))

cycle = place.write("cycle.yaml", tasks(("a", ", after: c"), ("b", ", after: a"), ("c", ", after: b")))
result = place.run("validate", "cycle.yaml")
edges = [line for line in result.stderr.splitlines() if "cycle.yaml:" in line]
check("a cycle shows every edge with its line",
      result.returncode == 2 and all(f"cycle.yaml:{line}:" in result.stderr or f"line {line}" in result.stderr
                                     for line in (2, 3, 4)), result)

result = place.run("validate", "missing.yaml")
check("a missing file", result.returncode == 2 and "missing.yaml" in result.stderr, result)
result = place.run("validate", ".")
check("a directory", result.returncode == 2, result)
with open(os.path.join(place.path, "large.yaml"), "wb") as file:
    file.truncate((64 << 20) + 1)
result = place.run("validate", "large.yaml")
check("a file over the limit", result.returncode == 2 and "64" in result.stderr, result)
result = place.run("validate")
check("no roadmap.yaml here", result.returncode == 2 and "roadmap.yaml" in result.stderr, result)

place.write("empty.yaml", "")
result = place.run("validate", "empty.yaml")
check("an empty roadmap is valid, with a warning", result.returncode == 0 and "warning" in result.stderr, result)

place.write("good.yaml", tasks(("a", ""), ("b", ", after: a")))
result = place.run("validate", "good.yaml", "bad.yaml", "--json")
document = json.loads(result.stdout)
check("--json is one document", result.returncode == 2 and document["valid"] is False
      and [file["valid"] for file in document["files"]] == [True, False]
      and document["files"][1]["faults"][0]["line"] > 0, result)
place.write("key.yaml", tasks(("a", ", whatever: 1")))
check("an unknown key warns", place.run("validate", "key.yaml").returncode == 0)
check("and is an error with --strict", place.run("validate", "--strict", "key.yaml").returncode == 2)
check("still nothing was made", not os.path.exists(place.state))
finish()
