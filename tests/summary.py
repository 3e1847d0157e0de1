#!/usr/bin/python3
"""What a test run showed, from ctest's JUnit reports: time and counts of each suite, every skip with its reason, and
as the last line "N passed, N failed". Counted are the cases inside a cmocka program, and scripts as one each.
Fails when anything failed or nothing passed."""

import collections
import re
import sys
import xml.etree.ElementTree

# cmocka names what failed or was skipped twice: where it happened and in a list at the end.
CASE = re.compile(r"^\[ *(OK|FAILED|SKIPPED) *\] (?!\d+ test|tests: )(.*)$")


class Suite:
    def __init__(self):
        self.passed = self.failed = self.skipped = self.programs = 0
        self.seconds = 0.0


def cases(test):
    """(passed, failed, skipped, what was skipped and why) of one test of ctest."""
    output = test.findtext("system-out") or ""
    if test.find("skipped") is not None or test.get("status") in ("notrun", "disabled"):
        return 0, 0, 1, output.strip().splitlines()[-1:] or ["no reason given"]

    found = collections.defaultdict(dict)
    before = ""
    for line in output.splitlines():
        match = CASE.match(line)
        if match:
            found[match[1]].setdefault(match[2], before)
        before = line
    skips = [name + ("" if why.startswith("[") else f" ({why})") for name, why in found["SKIPPED"].items()]
    passed, failed = len(found["OK"]), len(found["FAILED"])
    bad = test.get("status") != "run"
    if bad and not failed:
        failed = 1  # it crashed, timed out, or a sanitizer spoke at the end
    if not bad and not passed and not skips:
        passed = 1  # a script
    return passed, failed, len(skips), skips


def main(reports):
    suites = collections.defaultdict(Suite)
    skips = []
    failures = []
    for report in reports:
        for test in xml.etree.ElementTree.parse(report).getroot().iter("testcase"):
            name = test.get("name", "")
            suite = suites[name.partition(".")[0]]
            passed, failed, skipped, reasons = cases(test)
            suite.passed += passed
            suite.failed += failed
            suite.skipped += skipped
            suite.programs += 1
            suite.seconds += float(test.get("time") or 0)
            skips += [f"SKIPPED {name}: {reason}" for reason in reasons]
            failures += [f"FAILED {name}"] if failed else []

    print()
    for name, suite in suites.items():
        skipped = f", {suite.skipped} skipped" if suite.skipped else ""
        print(f"{name:12} {suite.seconds:7.1f} s  {suite.passed:5} passed, {suite.failed} failed{skipped}"
              f"  ({suite.programs} programs)")
    for line in skips + failures:
        print(line)
    passed = sum(suite.passed for suite in suites.values())
    failed = sum(suite.failed for suite in suites.values())
    skipped = sum(suite.skipped for suite in suites.values())
    print(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
    return 1 if failed or not passed else 0


sys.exit(main(sys.argv[1:]))
