"""A strict reader of Prometheus' text format 0.0.4: what promtool would refuse raises here."""
import re

NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*$")
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\\\|\\"|\\n)*)"')
KINDS = ("counter", "gauge", "histogram")


class BadFormat(Exception):
    pass


def need(good, what):
    if not good:
        raise BadFormat(what)


def read_labels(text):
    labels, at = {}, 0
    while at < len(text):
        match = LABEL.match(text, at)
        need(match, f"labels {text!r}")
        need(match.group(1) not in labels, f"label twice in {text!r}")
        labels[match.group(1)] = match.group(2)
        at = match.end()
        if at < len(text):
            need(text[at] == ",", f"labels {text!r}")
            at += 1
    return labels


def check_histogram(name, samples):
    series = {}
    for (suffix, labels), value in samples.items():
        rest = tuple(pair for pair in labels if pair[0] != "le")
        series.setdefault(rest, []).append((suffix, dict(labels).get("le"), value))
    for labels, parts in series.items():
        buckets = [(le, value) for suffix, le, value in parts if suffix == "_bucket"]
        counts = [value for suffix, _, value in parts if suffix == "_count"]
        need(len(counts) == 1 and [1 for suffix, _, _ in parts if suffix == "_sum"], f"{name}{labels}: _sum and _count")
        need(buckets and buckets[-1][0] == "+Inf", f"{name}{labels}: the last bucket is +Inf")
        bounds = [float(le) for le, _ in buckets]
        values = [value for _, value in buckets]
        need(bounds == sorted(bounds) and values == sorted(values), f"{name}{labels}: buckets rise")
        need(values[-1] == counts[0], f"{name}{labels}: +Inf is the count")


def read(text):
    """{name: (kind, {(suffix, ((label, value), ...)): number})}"""
    need(text.endswith("\n"), "ends with a newline")
    families, name = {}, None
    for line in text[:-1].split("\n"):
        if line.startswith("# HELP "):
            name, help_text = line[7:].split(" ", 1)
            need(NAME.match(name) and help_text and name not in families, f"HELP once: {line}")
            families[name] = [None, {}]
            continue
        if line.startswith("# TYPE "):
            named, kind = line[7:].split(" ")
            need(named == name and kind in KINDS and families[name][0] is None, f"TYPE after HELP: {line}")
            families[name][0] = kind
            continue
        match = re.match(r"([^{ ]+)(?:\{(.*)\})? (\S+)$", line)
        need(match and families.get(name, [None])[0], f"a sample of its family: {line}")
        full, labels, value = match.groups()
        need(full.startswith(name), f"{full} stands among {name}")
        suffix = full[len(name):]
        kind = families[name][0]
        need(suffix in ("_bucket", "_sum", "_count") if kind == "histogram" else suffix == "", f"{full} is a {kind}")
        key = (suffix, tuple(read_labels(labels or "").items()))
        need(key not in families[name][1], f"twice: {line}")
        families[name][1][key] = float(value)
    for name, (kind, samples) in families.items():
        need(samples, f"{name} has no sample")
        need(kind != "counter" or name.endswith("_total"), f"counter {name} ends in _total")
        if kind == "histogram":
            check_histogram(name, samples)
    return {name: (kind, samples) for name, (kind, samples) in families.items()}


def value(families, name, suffix="", **labels):
    """None when it isn't there."""
    for (have, pairs), number in families.get(name, (None, {}))[1].items():
        if have == suffix and dict(pairs) == labels:
            return number
    return None
