#!/usr/bin/python3
"""What a host keeps for the next clone: a mirror of each repository that a URL names, and what set-up commands made."""
import concurrent.futures
import glob
import os
import threading
import time

from cli_support import Place, check, finish
from workspace_support import WATCHDOG_S, Work, git, read, write

OBJECTS = "find $(head -n 1 .git/objects/info/alternates) -type f | grep -vc /info/; true"


def bare_of(work):
    bare = os.path.join(work.place, "bare.git")
    git(work.place, "clone", "-q", "--bare", work.path, bare)
    return bare


def mirrors():
    work = Work()
    bare = bare_of(work)
    url, place = "file://" + bare, os.path.join(work.state, "mirrors")

    def sh(command, step="work", **more):
        return work.sh(command, step, repository=url, target=None, mirrors=place, **more)
    first = sh(f"cat a.txt; echo x > x; {OBJECTS}")
    check("mirror: the first attempt makes it", first.state == "done" and len(os.listdir(place)) == 1, first)
    check("mirror: a clone has no objects of its own", first.stdout.splitlines()[3:] == ["0"], first)
    mirror = os.path.join(place, os.listdir(place)[0])
    packs = set(glob.glob(mirror + "/objects/pack/*.pack"))
    git(work.path, "push", "-q", bare, work.commit("second", {"new.txt": "new\n"}) + ":refs/heads/main")
    second = sh(f"cat new.txt; echo y > y; {OBJECTS}")
    check("mirror: what is new there is fetched, and nothing else", second.state == "done" and second.stdout.startswith("new\n") and
          packs <= set(glob.glob(mirror + "/objects/pack/*.pack")), second, packs)
    merged = work.run("merge", start=second.record["commit"], repository=url, mirrors=place,
                      gates=[{"name": "g", "command": "cat new.txt y"}])
    check("mirror: a merge by way of it", merged.state == "done" and git(bare, "show", "rota/main:y") == "y", merged)

    # Packed anew when there are many packs; a broken one is passed by, and made anew.
    for number in range(31):
        blob = git(mirror, "hash-object", "-w", "--stdin", input=f"{number}".encode())
        git(mirror, "pack-objects", "-q", "objects/pack/pack", input=blob.encode() + b"\n")
    check("mirror: many packs become one", sh("cat y; echo z > z").stdout == "y\n" and
          len(glob.glob(mirror + "/objects/pack/*.pack")) <= 3, os.listdir(mirror + "/objects/pack"))
    for pack in glob.glob(mirror + "/objects/pack/*"):
        os.unlink(pack)
    results = [sh("cat y; echo z > z") for _ in range(2)]
    check("mirror: a broken one is passed by, and made anew", [result.state for result in results] == ["done"] * 2 and
          results[1].stdout == "y\n" and not os.path.exists(mirror + "/broken") and
          git(mirror, "fsck", "--connectivity-only", "--no-dangling", good=False) == "", *results)

    other = Work()
    old = os.path.join(place, "0123456789abcdef-old")
    write(os.path.join(old, "lock"), "")
    os.utime(os.path.join(old, "lock"), (1, 1))
    result = other.sh("echo x > x", repository="file://" + bare_of(other), target=None, mirrors=place)
    check("mirror: each URL has its own, and one that nobody used is removed", result.state == "done" and
          not os.path.exists(old) and len(os.listdir(place)) == 2, result, os.listdir(place))
    result = sh("echo x > x", cache_retention_ms=0)
    check("mirror: what was used just now isn't old to who uses it", result.state == "done" and os.path.exists(mirror), result)


def mirror_of_many_at_once():
    work = Work()
    url, place = "file://" + bare_of(work), os.path.join(work.state, "mirrors")
    lock, plain = threading.Lock(), work.spec

    def locked(*arguments, **more):
        with lock:
            return plain(*arguments, **more)
    work.spec = locked
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        results = list(pool.map(lambda number: work.sh(f"cat a.txt; echo {number} > f{number}", repository=url, target=None,
                                                       mirrors=place), range(12)))
    check("mirror: twelve attempts at once make one and share it", [result.state for result in results] == ["done"] * 12 and
          len(os.listdir(place)) == 1 and work.leftovers() == [], *[result for result in results if result.state != "done"])


def mirror_killed():
    """At any moment of its making."""
    work = Work({f"f{number}": f"{number}\n" * 50 for number in range(300)})
    url, place = "file://" + bare_of(work), os.path.join(work.state, "mirrors")
    for number in range(6):
        process, _ = work.start("work", ["sh", "-c", "echo x > x"], repository=url, target=None, mirrors=place)
        time.sleep(0.03 * number)
        process.kill()
        process.communicate(timeout=WATCHDOG_S)
    result = work.sh("cat f7 | head -n 1; echo x > x", repository=url, target=None, mirrors=place)
    check("mirror: killed while it was made, the next one goes on", result.state == "done" and result.stdout == "7\n" and
          "no mirror is used" not in result.stderr and git(os.path.join(place, os.listdir(place)[0]), "fsck", "--no-dangling") == "",
          result)


SETUP = "echo run >> \"$COUNT\"; mkdir -p deps/in && cat lock > deps/in/made && ln -s made deps/in/link && head -c 20000 /dev/zero > deps/big"


def setups():
    work = Work({"lock": "one\n", ".gitignore": "deps\n", "postinstall": "good\n"})
    count, place = os.path.join(work.place, "count"), os.path.join(work.state, "setups")
    setup = SETUP.replace('"$COUNT"', count)

    def runs():
        return len(read(count).split()) if os.path.exists(count) else 0

    def sh(command, **more):
        more = {"setup": setup, "setups": place, "setup_needs": ["lock"], "setup_makes": ["deps"], "sandbox_paths": [
            os.path.dirname(count) + ":rw"], **more}
        return work.sh(command, **more)
    first = sh("cat deps/in/link; echo x > x")
    second = sh("cat deps/in/link; echo spoilt > deps/in/made; echo y > y; stat -c %h deps/big")
    third = sh("cat deps/in/link; echo z > z")
    check("set-up: it ran once, and what it made is there each time", runs() == 1 and [result.stdout.splitlines()[0] for result in (
        first, second, third)] == ["one"] * 3 and [result.state for result in (first, second, third)] == ["done"] * 3, runs(), first,
        second, third)
    check("set-up: as a copy of its own, and nobody's work", third.stdout == "one\n" and second.stdout.splitlines()[-1] == "1" and
          git(work.path, "ls-tree", "--name-only", third.record["commit"]).split() == [".gitignore", "lock", "postinstall", "z"], second,
          third)
    changed = work.change({"lock": "two\n"})
    git(work.path, "update-ref", "refs/heads/rota/main", changed)
    check("set-up: where what it needs is another it runs again", sh("cat deps/in/made; echo x > x").stdout == "two\n" and runs() == 2)
    check("set-up: and where it is another command", sh("cat deps/in/made; echo x > x", setup=setup + "; true").stdout == "two\n" and
          runs() == 3)
    # What an agent has changed is set up as it is, and never kept for others.
    spoilt = work.change({"lock": "three\n", "postinstall": "evil\n"}, base=changed)
    before = set(os.listdir(place))
    result = work.run("gate", start=spoilt, setup=setup, setups=place, setup_needs=["lock"], setup_makes=["deps"],
                      sandbox_paths=[os.path.dirname(count) + ":rw"], gates=[{"name": "g", "command": "cat deps/in/made"}])
    check("set-up: of an agent's tree nothing is kept", result.state == "done" and runs() == 4 and set(os.listdir(place)) == before,
          result, os.listdir(place))
    for bad in ("/etc", "../out", ".git/hooks", "a/../../b"):
        result = sh("echo x > x", setup_makes=[bad])
        check(f"set-up: {bad} is no directory that it may make", result.state == "environment" and "is no directory of" in result.message,
              result)
    link = work.change({"lock": "link\n"}, base=changed)
    git(work.path, "update-ref", "refs/heads/rota/main", link)
    before = set(os.listdir(place))
    result = sh("echo x > x", setup=f"rm -rf deps; ln -s {work.state} deps")
    check("set-up: a link instead of a directory is neither followed nor kept", result.state == "done" and
          set(os.listdir(place)) == before, result, os.listdir(place))
    plain = work.sh("cat deps/in/made; echo x > x", setup=setup, setups=place, sandbox_paths=[os.path.dirname(count) + ":rw"])
    check("set-up: nothing is kept where nobody says what it makes", plain.state == "done" and runs() == 5 and
          set(os.listdir(place)) == before, plain, runs(), os.listdir(place))
    git(work.path, "update-ref", "refs/heads/rota/main", work.change({"made/own": "own\n"}, base=link))
    tracked = [sh("cat made/own; cat made/m; echo x > x", setup="mkdir -p made; echo m > made/m", setup_makes=["made"]) for _ in range(2)]
    check("set-up: what the commit has there itself is never replaced", [result.stdout for result in tracked] == ["own\nm\n"] * 2, *tracked)
    for name in os.listdir(place):
        os.utime(os.path.join(place, name), (1, 1))
    sh("echo x > x", setup=setup + "; :")
    check("set-up: what nobody took is removed", len(os.listdir(place)) == 1, os.listdir(place))


def in_a_roadmap():
    place = Place()
    git(place.path, "init", "-q", "-b", "main", ".")
    write(f"{place.path}/.gitignore", ".rota\ndeps\nbare.git\nplan.yaml\nbad.yaml\n")
    write(f"{place.path}/lock", "one\n")
    git(place.path, "add", ".gitignore", "lock")
    git(place.path, "commit", "-q", "-m", "first")
    bare = os.path.join(place.path, "bare.git")
    git(place.path, "clone", "-q", "--bare", ".", bare)
    place.write("plan.yaml", f"""
name: plan
repository: file://{bare}
setup: {{run: "mkdir deps; cat lock > deps/made; date +%N >> deps/made", needs: [lock], makes: [deps]}}
gates: {{same: test -s deps/made}}
defaults: {{gates: [same], agent: exec}}
tasks:
  - {{id: a, run: cp deps/made a, commit: true}}
  - {{id: b, run: cp deps/made b, commit: true, after: a}}
""")
    result = place.run("run", "plan.yaml", "--agent", "exec=2")
    check("a roadmap: what set-up made for the first is what the second has", result.returncode == 0 and
          git(bare, "show", "rota/main:a") == git(bare, "show", "rota/main:b") != "", result, place.run("log", "a"), place.run("log", "b"))
    check("a roadmap: one mirror for it", len(os.listdir(f"{place.state}/mirrors")) == 1)
    result = place.run("export", "out.yaml")
    check("a roadmap: it is exported as it was", "needs: [lock]" in place.read("out.yaml") and "makes: [deps]" in place.read("out.yaml"),
          result, place.read("out.yaml"))
    for text, words in (("{needs: [lock]}", "there is no command"), ("{run: x, makes: [deps]}", "say which files it needs"),
                        ("{run: x, needs: [/etc/passwd]}", "a path within the repository"), ("{run: x, neds: [a]}", "run, needs and makes")):
        place.write("bad.yaml", f"name: bad\nrepository: .\nsetup: {text}\ntasks: [{{id: t, run: 'true'}}]\n")
        result = place.run("validate", "bad.yaml")
        check(f"setup: {text} is refused: {words}", result.returncode == 2 and words in result.stdout + result.stderr, result)


for scenario in (mirrors, mirror_of_many_at_once, mirror_killed, setups, in_a_roadmap):
    started = time.monotonic()
    scenario()
    print(f"     {scenario.__name__}: {time.monotonic() - started:.1f} s")
finish()
