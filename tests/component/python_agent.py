#!/usr/bin/python3
"""examples/agent.py against the real broker and scheduler: it takes work, survives a restart of either, reports results
once, and drains. The client here speaks the protocol of docs/protocol.md by hand too."""
import os
import shutil
import subprocess
import sys
import tempfile
import time

BIN, SOURCE = os.environ["ROTA_BIN"], os.environ["ROTA_SOURCE"]
directory = tempfile.mkdtemp(prefix="rota-python-")
subprocess.run(["protoc", f"--python_out={directory}", f"--proto_path={SOURCE}/proto", f"{SOURCE}/proto/rota.proto"], check=True)
sys.path.insert(0, directory)
import rota_pb2 as rota  # noqa: E402
import zmq  # noqa: E402

STATE = os.path.join(directory, "state")
PATIENCE_S = 60
SUBMIT, SUBMIT_REPLY, STATUS_QUERY, STATUS_REPLY, TASK_QUERY, TASK_REPLY = 20, 21, 40, 41, 44, 45
processes = {}


def start(name, *argv):
    processes[name] = subprocess.Popen(argv, stdin=subprocess.DEVNULL, env=dict(os.environ, PYTHONPATH=directory))


def service(name):
    start(name, os.path.join(BIN, "rota-" + name), "--state", STATE, "--log-level", "warning")


class Client:
    def __init__(self):
        self.conversation, self.sequence = os.urandom(16), 0
        self.instance = os.urandom(16)
        self.open()

    def open(self):
        self.socket = zmq.Context.instance().socket(zmq.DEALER)
        self.socket.linger = 0
        self.socket.connect(f"ipc://{STATE}/run/client.sock")

    def exchange(self, kind, body, sequence):
        envelope = rota.Envelope(version=1, type=kind, conversation=self.conversation, sequence=sequence)
        self.socket.send_multipart([envelope.SerializeToString(), body.SerializeToString()])
        deadline = time.monotonic() + 2
        while self.socket.poll(max(0, int((deadline - time.monotonic()) * 1000))):
            head, data = self.socket.recv_multipart()
            reply = rota.Envelope.FromString(head)
            if reply.sequence == sequence:
                return reply, data
        return None, b""

    def request(self, kind, body, wanted, again=False):
        """The same request until there is an answer: the retry rule of the protocol."""
        if not again:
            self.sequence += 1
        sequence = self.sequence
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            reply, data = self.exchange(kind, body, sequence)
            if reply is None:
                self.open()
            elif reply.type == wanted:
                return data
            elif reply.type == 5:
                error = rota.Error.FromString(data)
                if error.code == rota.ERROR_CODE_HELLO_REQUIRED:
                    self.exchange(1, rota.Hello(instance=self.instance, wants=rota.ROLE_ADMIN, name=b"test"), 1 << 40)
                elif error.code in (rota.ERROR_CODE_UNAVAILABLE, rota.ERROR_CODE_RETRY_LATER):
                    time.sleep(0.1)
                else:
                    raise AssertionError(f"refused: {error}")
        raise AssertionError("no answer")


def wait_for(client, count):
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        status = rota.StatusReply.FromString(client.request(STATUS_QUERY, rota.StatusQuery(), STATUS_REPLY))
        done = sum(it.tasks for it in status.counts if it.status == rota.TASK_STATUS_DONE)
        if done == count:
            return
        time.sleep(0.05)
    raise AssertionError(f"{done} of {count} done")


def task(name, run, after=()):
    return rota.TaskSpec(id=name.encode(), run=run.encode(), dependencies=[rota.Dependency(on=it.encode()) for it in after])


def main():
    os.mkdir(STATE, 0o700)
    service("broker")
    service("scheduler")
    agent_socket = f"ipc://{STATE}/run/agent.sock"
    start("agent", "/usr/bin/python3", f"{SOURCE}/examples/agent.py", agent_socket, "--name", "python", "--slots", "3")
    client = Client()
    first = rota.Submit(tasks=[task("a", f"echo a >> {directory}/marks")]
                        + [task(f"b{i}", f"echo b{i} >> {directory}/marks", ["a"]) for i in range(10)])
    reply = rota.SubmitReply.FromString(client.request(SUBMIT, first, SUBMIT_REPLY))
    assert reply.added == 11, reply
    again = rota.SubmitReply.FromString(client.request(SUBMIT, first, SUBMIT_REPLY, again=True))
    assert again.added == 11, f"a repeated request gets its first answer: {again}"
    anew = rota.SubmitReply.FromString(client.request(SUBMIT, first, SUBMIT_REPLY))
    assert (anew.added, anew.already) == (0, 11), f"the same tasks in a new request are there already: {anew}"
    wait_for(client, 11)

    for victim in ("broker", "scheduler"):
        client.request(SUBMIT, rota.Submit(tasks=[task(f"{victim}-{i}", f"sleep 0.3; echo x >> {directory}/marks")
                                                  for i in range(6)]), SUBMIT_REPLY)
        processes[victim].kill()
        processes[victim].wait()
        service(victim)
    wait_for(client, 23)
    with open(f"{directory}/marks", encoding="utf-8") as file:
        marks = file.read().split()
    assert marks[0] == "a" and len(marks) == 23, marks

    data = client.request(TASK_QUERY, rota.TaskQuery(id=b"a"), TASK_REPLY)
    history = rota.TaskReply.FromString(data)
    assert history.attempts[0].agent == b"python" and history.attempts[0].result.exit_code == 0, history
    processes["agent"].terminate()
    assert processes["agent"].wait(PATIENCE_S) == 0
    print("1 passed, 0 failed")


try:
    main()
finally:
    for process in processes.values():
        if process.poll() is None:
            process.terminate()
            process.wait(20)
    shutil.rmtree(directory)
