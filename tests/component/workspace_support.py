"""What the tests of work in clones share: repositories, SPEC files, and running the driver."""
import atexit
import json
import os
import resource
import shutil
import signal
import subprocess
import tempfile
import time

from cli_support import BIN

AGENT = os.path.join(BIN, "rota-agent")
WATCHDOG_S = 100
KEY = "-----BEGIN RSA " + "PRIVATE KEY-----"
HOOKS = ("applypatch-msg pre-applypatch post-applypatch pre-commit prepare-commit-msg commit-msg post-commit pre-rebase "
         "post-checkout post-merge pre-push pre-receive update proc-receive post-receive post-update reference-transaction "
         "pre-auto-gc post-rewrite fsmonitor-watchman post-index-change push-to-checkout pre-merge-commit").split()


def sandbox_works():
    """Whether this machine can isolate at all, found out without rota."""
    try:
        return subprocess.run(["bwrap", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--unshare-pid", "true"],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=WATCHDOG_S).returncode == 0
    except OSError:
        return False


ISOLATES = sandbox_works()


def git(path, *arguments, binary=False, good=True, **more):
    """Git of the test's own, with hooks and configuration as they are in the repository."""
    environment = dict(os.environ, GIT_CONFIG_GLOBAL="/dev/null", GIT_CONFIG_NOSYSTEM="1", GIT_AUTHOR_NAME="user",
                       GIT_AUTHOR_EMAIL="user@example.org", GIT_COMMITTER_NAME="user", GIT_COMMITTER_EMAIL="user@example.org",
                       GIT_ALLOW_PROTOCOL="file:git")
    environment.update(more.pop("environment", {}))
    result = subprocess.run(["git", "-C", path, *arguments], capture_output=True, env=environment, timeout=WATCHDOG_S, **more)
    if good and result.returncode:
        raise RuntimeError(f"git {arguments}: {result.stderr.decode(errors='replace')}")
    return result.stdout if binary else result.stdout.decode(errors="replace").strip()


def write(path, text):
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    with open(path, "wb" if isinstance(text, bytes) else "w") as file:
        file.write(text)
    return path


def read(path):
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


def script(path, text):
    write(path, "#!/bin/sh\n" + text)
    os.chmod(path, 0o755)
    return path


class Work:
    """A repository in a directory of its own, with a state directory beside it."""

    def __init__(self, files=None, name="repo", initial=("-b", "main")):
        self.place = tempfile.mkdtemp(prefix="rota-test-work-", dir=os.environ.get("ROTA_TEST_DIR", "/var/tmp"))
        atexit.register(shutil.rmtree, self.place, ignore_errors=True)
        self.path = os.path.join(self.place, name)
        self.state = os.path.join(self.place, "state")
        self.count = 0
        os.makedirs(self.path)
        os.mkdir(self.state)
        git(self.path, "init", "-q", *initial)
        self.first = self.commit("first", files or {"a.txt": "one\ntwo\nthree\n", "d/b.txt": "b\n"})

    def commit(self, message, files):
        for file, text in files.items():
            write(os.path.join(self.path, file), text)
        git(self.path, "add", "-A")
        git(self.path, "commit", "-q", "--allow-empty", "--no-verify", "-m", message)
        return self.rev("HEAD")

    def rev(self, name):
        return git(self.path, "rev-parse", "--verify", "-q", name, good=False)

    def show(self, name):
        return git(self.path, "show", name, good=False)

    def spec(self, step, **more):
        self.count += 1
        spec = {"step": step, "repository": self.path, "branch": f"rota-work/t.{self.count}", "task": "t",
                "title": "Do it", "attempt": self.count, "agent": "exec@here", "hide": [self.state],
                "clone": os.path.join(self.state, "clones", f"t.{self.count}"),
                "record": os.path.join(self.state, f"record.{self.count}.json"), "isolate": "auto"}
        spec.update(more)
        spec = {key: value for key, value in spec.items() if value is not None}
        return write(os.path.join(self.place, f"spec.{self.count}.json"), json.dumps(spec)), spec

    def start(self, step, program=None, environment=None, limits=None, **more):
        path, spec = self.spec(step, **more)
        command = [AGENT, "--workspace", path, *(["--", *program] if program else [])]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                   errors="replace", env=dict(os.environ, **(environment or {})),
                                   preexec_fn=lambda: [resource.setrlimit(what, (most, most)) for what, most in (limits or {}).items()])
        return process, spec

    def run(self, step, program=None, prompt="", environment=None, limits=None, **more):
        """A result with .record (None without one) and .spec."""
        process, spec = self.start(step, program, environment, limits, **more)
        out, err = process.communicate(prompt, timeout=WATCHDOG_S)
        result = subprocess.CompletedProcess(process.args, process.returncode, out, err)
        result.spec, result.record = spec, None
        if os.path.exists(spec.get("record", "")):
            result.record = json.loads(read(spec["record"]))
        result.state = (result.record or {}).get("state")
        result.message = (result.record or {}).get("message", "")
        # Never by accident: what a test says of the sandbox must have been in it.
        if result.record and spec["isolate"] == "auto" and "isolated" in result.record and not (environment or {}).get("PATH"):
            assert result.record["isolated"] is ISOLATES, err
        result.stderr += f"--- record\n{json.dumps(result.record, indent=1)}"
        return result

    def sh(self, command, step="work", **more):
        return self.run(step, ["sh", "-c", command], **more)

    def change(self, files, base=None):
        """A commit on top of `base`, without touching the checkout."""
        index = os.path.join(self.place, "index")
        environment = {"GIT_INDEX_FILE": index}
        base = base or self.first
        git(self.path, "read-tree", base, environment=environment)
        for file, text in files.items():
            blob = git(self.path, "hash-object", "-w", "--stdin", input=text if isinstance(text, bytes) else text.encode())
            git(self.path, "update-index", "--add", "--cacheinfo", f"100644,{blob},{file}", environment=environment)
        tree = git(self.path, "write-tree", environment=environment)
        os.unlink(index)
        return git(self.path, "commit-tree", tree, "-p", base, "-m", "change")

    def leftovers(self):
        found = []
        for directory in ("clones",):
            path = os.path.join(self.state, directory)
            found += os.listdir(path) if os.path.isdir(path) else []
        return found

    def status(self):
        return git(self.path, "status", "--porcelain"), git(self.path, "rev-parse", "HEAD"), read(
            os.path.join(git(self.path, "rev-parse", "--absolute-git-dir"), "HEAD"))


def gate(result, name):
    return next((item for item in result.record["gates"] if item["name"] == name), {})


def lives(pid):
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rsplit(b")", 1)[1].split()[0] != b"Z"
    except OSError:
        return False


def parents():
    found = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:
                found.setdefault(int(file.read().rsplit(b")", 1)[1].split()[1]), []).append(int(pid))
        except OSError:
            pass
    return found


def kill_tree(root):
    """SIGKILL to a process and all below it, after all of it was stopped, so that nothing escapes."""
    stopped = []
    while True:
        children, todo, fresh = parents(), [root], []
        while todo:
            pid = todo.pop()
            todo += children.get(pid, [])
            if pid not in stopped:
                fresh.append(pid)
        if not fresh:
            break
        for pid in fresh:
            stopped.append(pid)
            try:
                os.kill(pid, signal.SIGSTOP)
            except OSError:
                pass
    for pid in stopped:
        try:
            os.kill(pid, signal.SIGKILL)
        except OSError:
            pass
    end = time.monotonic() + WATCHDOG_S
    while any(map(lives, stopped[1:])) and time.monotonic() < end:
        time.sleep(0.002)


def plant(git_dir, canary, attributes=None):
    """Everything in a git directory that can make git run something; each writes its name into `canary`."""
    def run(name):
        return f"echo {name} >> {canary}; "

    for hook in HOOKS:
        script(os.path.join(git_dir, "hooks", hook), run(f"hook-{hook}"))
        script(os.path.join(git_dir, "evil-hooks", hook), run(f"hooksPath-{hook}"))
    tool = script(os.path.join(git_dir, "evil-tool"), run("tool") + "cat 2> /dev/null; exit 0\n")
    included = write(os.path.join(git_dir, "included"), f"[core]\n\tfsmonitor = {tool}\n\tsshCommand = {tool}\n")
    settings = [("core.fsmonitor", tool), ("core.hooksPath", os.path.join(git_dir, "evil-hooks")), ("core.pager", tool),
                ("core.editor", tool), ("core.sshCommand", tool), ("core.askPass", tool), ("core.gitProxy", tool),
                ("core.alternateRefsCommand", tool), ("filter.evil.clean", tool), ("filter.evil.smudge", tool),
                ("filter.evil.required", "true"), ("filter.lfs.process", tool), ("filter.lfs.smudge", tool),
                ("diff.evil.command", tool), ("diff.evil.textconv", tool), ("diff.external", tool),
                ("merge.evil.driver", tool), ("credential.helper", "!" + tool), ("gpg.program", tool),
                ("commit.gpgSign", "true"), ("uploadpack.packObjectsHook", tool), ("alias.fetch", "!" + tool),
                ("alias.read-tree", "!" + tool), ("remote.origin.uploadpack", tool), ("remote.origin.receivepack", tool),
                ("remote.origin.url", f"ext::{tool}"), ("protocol.ext.allow", "always"), ("sequence.editor", tool),
                ("interactive.diffFilter", tool), ("gc.auto", "1"), ("include.path", included),
                ("submodule.recurse", "true"), ("trailer.evil.command", tool), ("trailer.evil.cmd", tool)]
    config = os.path.join(git_dir, "config")
    for name, value in settings:
        subprocess.run(["git", "config", "--file", config, "--add", name, value], check=True, env=dict(os.environ, GIT_DIR=git_dir))
    write(os.path.join(git_dir, "info", "attributes"), attributes or "* filter=evil diff=evil merge=evil\n")
