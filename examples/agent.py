#!/usr/bin/python3
"""A rota agent in another language: the protocol of docs/protocol.md in 150 lines.

    protoc --python_out=DIR --proto_path=proto proto/rota.proto
    PYTHONPATH=DIR examples/agent.py ipc:///path/to/.rota/run/agent.sock --name python --slots 2

It takes tasks that have a command, runs each with /bin/sh, reports what came of it, renews its leases, and lives through
restarts of the broker and the scheduler. Needs Debian's python3-zmq and python3-protobuf. What rota-agent does beyond
this: whole process trees, output files, and results kept on disk until they are acknowledged.
"""
import argparse
import os
import signal
import socket
import subprocess
import time

import rota_pb2 as rota
import zmq

HELLO, WELCOME, HEARTBEAT, GOODBYE, ERROR = 1, 2, 3, 4, 5
REGISTER, REGISTERED, ASSIGN, ACCEPTED, AGENT_HEARTBEAT, STOP, REPORT, REPORT_REPLY = 70, 71, 72, 73, 74, 76, 77, 78


class Agent:
    def __init__(self, endpoint, name, slots):
        self.endpoint, self.name, self.slots = endpoint, name, slots
        self.instance = os.urandom(16)
        self.conversation, self.sequence = os.urandom(16), 0
        self.running = {}   # (key, attempt) -> (process, store, started_ms, stopped)
        self.finished = {}  # (key, attempt) -> AttemptReport, until it is acknowledged
        self.registered = False
        self.heartbeat_s, self.lease_heartbeat_s = 1.0, 5.0
        self.next_heartbeat = self.next_lease_heartbeat = self.next_report = 0.0
        self.leaving = False
        self.socket = zmq.Context.instance().socket(zmq.DEALER)
        self.socket.linger = 500
        self.socket.connect(endpoint)

    def send(self, kind, body, request=False):
        envelope = rota.Envelope(version=1, type=kind)
        if request:
            self.sequence += 1
            envelope.conversation, envelope.sequence = self.conversation, self.sequence
        self.socket.send_multipart([envelope.SerializeToString(), body.SerializeToString()], zmq.DONTWAIT)

    def hello(self):
        self.registered = False
        self.send(HELLO, rota.Hello(instance=self.instance, wants=rota.ROLE_AGENT, name=self.name.encode(),
                                    host=socket.gethostname().encode(), pid=os.getpid()), request=True)

    def held(self):
        return ([rota.Held(key=key, attempt=attempt) for key, attempt in self.running]
                + [rota.Held(key=key, attempt=attempt, finished=True) for key, attempt in self.finished])

    def register(self):
        self.send(REGISTER, rota.Register(name=self.name.encode(), kind=b"exec", host=socket.gethostname().encode(),
                                          slots=self.slots, capabilities=[b"run"], held=self.held(),
                                          drain=self.leaving), request=True)

    def start(self, assignment, store):
        where = (assignment.key, assignment.attempt)
        self.send(ACCEPTED, rota.Accepted(attempts=[rota.Held(key=where[0], attempt=where[1])]))
        if where in self.running or where in self.finished:
            return  # it came again: the first ACCEPTED was lost
        spec = assignment.spec
        environment = dict(os.environ, ROTA_TASK_ID=spec.id.decode(), ROTA_TASK_TITLE=spec.title.decode(),
                           ROTA_ATTEMPT=str(assignment.attempt))
        process = subprocess.Popen(["/bin/sh", "-c", spec.run.decode()], stdin=subprocess.DEVNULL, env=environment,
                                   cwd=spec.directory.decode() or None, start_new_session=True)
        self.running[where] = (process, store, int(time.time() * 1000))

    def stop(self, where):
        if where in self.running:
            os.killpg(self.running[where][0].pid, signal.SIGKILL)

    def collect(self):
        for where, (process, store, started_ms) in list(self.running.items()):
            code = process.poll()
            if code is None:
                continue
            del self.running[where]
            result = rota.Result(started_ms=started_ms, finished_ms=int(time.time() * 1000))
            result.result_class = (rota.RESULT_CLASS_OK if code == 0
                                   else rota.RESULT_CLASS_KILLED if code == -signal.SIGKILL else rota.RESULT_CLASS_FAILED)
            if code < 0:
                result.signal = -code
            else:
                result.exit_code = code
            self.finished[where] = rota.AttemptReport(key=where[0], attempt=where[1], result=result, store=store)
            self.next_report = 0.0

    def handle(self, frames):
        envelope = rota.Envelope.FromString(frames[0])
        if envelope.type == WELCOME:
            welcome = rota.Welcome.FromString(frames[1])
            self.heartbeat_s = welcome.heartbeat_ms / 1000
            self.register()
        elif envelope.type == REGISTERED:
            self.lease_heartbeat_s = rota.Registered.FromString(frames[1]).heartbeat_ms / 1000
            self.registered = True
            self.next_report = 0.0
        elif envelope.type == ASSIGN and self.registered:
            for assignment in rota.Assign.FromString(frames[1]).assignments:
                self.start(assignment, envelope.store)
        elif envelope.type == STOP:
            for held in rota.Stop.FromString(frames[1]).attempts:
                self.stop((held.key, held.attempt))
        elif envelope.type == REPORT_REPLY:
            for status in rota.ReportReply.FromString(frames[1]).reports:
                self.finished.pop((status.key, status.attempt), None)  # taken or refused: either way it is over
        elif envelope.type == ERROR:
            error = rota.Error.FromString(frames[1])
            if error.code == rota.ERROR_CODE_HELLO_REQUIRED:
                self.hello()
            elif not self.registered:
                time.sleep(error.retry_after_ms / 1000 or 0.5)
                self.hello()

    def beat(self):
        now = time.monotonic()
        if now >= self.next_heartbeat:
            # The broker answers one that it doesn't know (it restarted) with HELLO_REQUIRED.
            self.send(HEARTBEAT, rota.Heartbeat())
            self.next_heartbeat = now + self.heartbeat_s
        if self.registered and now >= self.next_lease_heartbeat:
            self.send(AGENT_HEARTBEAT, rota.AgentHeartbeat(held=self.held(), draining=self.leaving), request=True)
            self.next_lease_heartbeat = now + self.lease_heartbeat_s
        if self.registered and self.finished and now >= self.next_report:
            self.send(REPORT, rota.Report(reports=self.finished.values()), request=True)
            self.next_report = now + 2.0

    def work(self):
        self.hello()
        while not self.leaving or self.running or self.finished:
            if self.socket.poll(50):
                self.handle(self.socket.recv_multipart())
            self.collect()
            self.beat()
        self.send(GOODBYE, rota.Goodbye(reason=b"done"))

    def leave(self, *_):
        self.leaving = True
        self.next_lease_heartbeat = 0.0


def main():
    parser = argparse.ArgumentParser(description="A rota agent in Python.")
    parser.add_argument("endpoint", help="of the broker, for agents: ipc://STATE/run/agent.sock")
    parser.add_argument("--name", default=f"python@{socket.gethostname()}")
    parser.add_argument("--slots", type=int, default=1)
    options = parser.parse_args()
    agent = Agent(options.endpoint, options.name, options.slots)
    signal.signal(signal.SIGTERM, agent.leave)
    signal.signal(signal.SIGINT, agent.leave)
    agent.work()


if __name__ == "__main__":
    main()
