"""Agents whose answers a test decides: the protocol is that of examples/agent.py, the work is a function's."""
import atexit
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time

SOURCE = os.environ.get("ROTA_SOURCE") or sys.exit("ROTA_SOURCE is not set")
modules = tempfile.mkdtemp(prefix="rota-test-proto-", dir="/tmp")
atexit.register(shutil.rmtree, modules, True)
subprocess.run(["protoc", f"--python_out={modules}", f"--proto_path={SOURCE}/proto", f"{SOURCE}/proto/rota.proto"], check=True)
sys.path[:0] = [modules, os.path.join(SOURCE, "examples")]
sys.dont_write_bytecode = True
import agent as protocol  # noqa: E402
import rota_pb2 as rota  # noqa: E402


class ScriptedAgent(protocol.Agent):
    """In a thread of its own. `limit_s`: it meets a limit that is over in so many seconds; None: it does what it is given."""

    def __init__(self, state, name, kind, slots=4, coordinates=True):
        super().__init__(f"ipc://{state}/run/agent.sock", f"{name}@here", slots)
        self.kind, self.coordinates = kind, coordinates
        self.limit_s = None
        self.given = []  # (task, phase, attempt), in their order
        self.limits = 0
        self.on_start = self.on_limit = lambda _id: None
        self.thread = threading.Thread(target=self.work)

    def begin(self):
        self.thread.start()
        return self

    def register(self):
        self.send(protocol.REGISTER, rota.Register(
            name=self.name.encode(), kind=self.kind.encode(), host=b"here", slots=self.slots, held=self.held(),
            capabilities=[b"prompt", b"text", b"review"], can_coordinate=self.coordinates, drain=self.leaving), request=True)

    def start(self, assignment, store):
        where = (assignment.key, assignment.attempt)
        self.send(protocol.ACCEPTED, rota.Accepted(attempts=[rota.Held(key=where[0], attempt=where[1])]))
        if where in self.finished:
            return
        name = assignment.spec.id.decode()
        self.given.append((name, assignment.phase, assignment.attempt))
        self.on_start(name)
        now_ms = int(time.time() * 1000)
        result = rota.Result(started_ms=now_ms, finished_ms=now_ms)
        if self.limit_s is not None:
            result.result_class, result.limit_kind = rota.RESULT_CLASS_LIMITED, rota.LIMIT_KIND_WINDOW
            result.until_ms, result.message = now_ms + int(self.limit_s * 1000), b"the scripted limit"
            self.limits += 1
        else:
            result.result_class, result.answer = rota.RESULT_CLASS_OK, b"It is done."
            if assignment.phase == rota.PHASE_REVIEW:
                result.verdict.CopyFrom(rota.Verdict(approved=True, summary=b"good"))
        self.finished[where] = rota.AttemptReport(key=where[0], attempt=where[1], result=result, store=store,
                                                  coordinator_epoch=assignment.coordinator_epoch)
        if self.limit_s is not None:
            self.on_limit(name)
        self.next_report = 0.0

    def end(self):
        self.leave()
        self.thread.join()

    def reviewed(self):
        return [name for name, phase, _ in self.given if phase == rota.PHASE_REVIEW]

    def worked(self):
        return [name for name, phase, _ in self.given if phase != rota.PHASE_REVIEW]
