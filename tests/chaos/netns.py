"""Hosts as network namespaces on one bridge, and what may go wrong between them: cuts, loss, delay and reordering.

`enter ()` runs the test again in network, mount and pid namespaces of its own, so that all of it ends with the test, however
that ends: nothing is made outside them, and nothing has to be removed."""
import array
import ctypes
import fcntl
import heapq
import os
import random
import re
import select
import socket
import struct
import subprocess
import sys
import threading
import time

PACKET_OUTGOING, SIOCETHTOOL, ETHTOOL_STXCSUM, CLONE_NEWNET = 4, 0x8946, 0x17, 0x40000000
SWITCH = "10.77.0.254"


def run(*argv, text=None):
    result = subprocess.run(argv, input=text, capture_output=True, text=True, check=False)
    if result.returncode:
        raise RuntimeError(f"{' '.join(argv)}: {result.stderr.strip()}")


def enter():
    if os.environ.get("ROTA_TEST_NAMESPACES") != "1":
        environment = dict(os.environ, ROTA_TEST_NAMESPACES="1")
        if os.geteuid() != 0:
            print("network namespaces need root")
            sys.exit(77)
        os.execvpe("unshare", ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc",
                               sys.executable, *sys.argv], environment)
    os.makedirs("/run/netns", exist_ok=True)
    run("mount", "-t", "tmpfs", "netns", "/run/netns")


def whole_packets_only(device):
    """Checksums are made when a packet is sent, not left to a card that isn't there: the proxy passes on what it reads."""
    value = array.array("I", [ETHTOOL_STXCSUM, 0])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as it:
        fcntl.ioctl(it, SIOCETHTOOL, struct.pack("16sP", device.encode(), value.buffer_info()[0]))


def inside(name, function, *arguments):
    """Calls it in a host's network; sockets stay where they were made."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open("/proc/thread-self/ns/net", "rb") as here, open(f"/run/netns/{name}", "rb") as there:
        if libc.setns(there.fileno(), CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"setns {name}")
        try:
            return function(*arguments)
        finally:
            libc.setns(here.fileno(), CLONE_NEWNET)


class Proxy(threading.Thread):
    """Passes a host's packets on, each after a delay of its own, so that they overtake each other."""

    def __init__(self, outer, inner):
        super().__init__(daemon=True)
        self.ends, self.due, self.delay_s, self.ended = [], [], (0, 0), False
        self.rng, self.delayed = random.Random(7), 0
        for device in (outer, inner):
            end = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
            end.bind((device, 3))
            self.ends.append(end)
        self.start()

    def run(self):
        number = 0
        while not self.ended:
            wait_s = min(0.05, self.due[0][0] - time.monotonic()) if self.due else 0.05
            for end in select.select(self.ends, [], [], max(0, wait_s))[0]:
                frame, address = end.recvfrom(65536)
                if address[2] == PACKET_OUTGOING:
                    continue
                number += 1
                low, high = self.delay_s
                self.delayed += high > 0
                heapq.heappush(self.due, (time.monotonic() + self.rng.uniform(low, high), number,
                                          self.ends[self.ends[0] is end], frame))
            while self.due and self.due[0][0] <= time.monotonic():
                _, _, to, frame = heapq.heappop(self.due)
                try:
                    to.send(frame)
                except OSError:
                    pass  # the other end is down, or its queue is full: lost


class Network:
    def __init__(self, names, delayed=()):
        self.addresses = {name: f"10.77.0.{i + 1}" for i, name in enumerate(names)}
        self.rules = {name: [] for name in names}
        self.proxies = {}
        run("ip", "link", "set", "lo", "up")
        run("ip", "link", "add", "br0", "type", "bridge")
        run("ip", "addr", "add", f"{SWITCH}/24", "dev", "br0")
        run("ip", "link", "set", "br0", "up")
        whole_packets_only("br0")
        for name in names:
            self.add(name, name in delayed)

    def add(self, name, is_delayed):
        run("ip", "netns", "add", name)
        run("ip", "link", "add", f"p-{name}", "type", "veth", "peer", "name", "eth0", "netns", name)
        run("ip", "-n", name, "addr", "add", f"{self.addresses[name]}/24", "dev", "eth0")
        for device in ("lo", "eth0"):
            run("ip", "-n", name, "link", "set", device, "up")
        inside(name, whole_packets_only, "eth0")
        run("ip", "link", "set", f"p-{name}", "up")
        if not is_delayed:
            run("ip", "link", "set", f"p-{name}", "master", "br0")
            return
        run("ip", "link", "add", f"q-{name}", "type", "veth", "peer", "name", f"r-{name}")
        run("ip", "link", "set", f"r-{name}", "master", "br0", "up")
        run("ip", "link", "set", f"q-{name}", "up")
        whole_packets_only(f"r-{name}")
        self.proxies[name] = Proxy(f"p-{name}", f"q-{name}")

    def command(self, name, argv):
        return ["ip", "netns", "exec", name, *argv]

    def write(self, name):
        """All rules of a host, in place of those it had."""
        chains = {"input": [], "output": []}
        for chain, rule in self.rules[name]:
            chains[chain].append(rule)
        text = "table inet faults\ndelete table inet faults\ntable inet faults {\n"
        for chain, rules in chains.items():
            text += f"chain {chain} {{\ntype filter hook {chain} priority 0; policy accept;\n" + "".join(f"{it}\n" for it in rules) + "}\n"
        run(*self.command(name, ["nft", "-f", "-"]), text=text + "}\n")

    def change(self, name, rules, remove=False):
        for it in rules:
            (self.rules[name].remove if remove else self.rules[name].append)(it)
        self.write(name)

    def dropped(self, name):
        """Packets, since the rules of that host were last changed."""
        listed = subprocess.run(self.command(name, ["nft", "list", "table", "inet", "faults"]), capture_output=True, text=True, check=True)
        return sum(int(it) for it in re.findall(r"counter packets (\d+)", listed.stdout))

    def cut(self, name, directions=("input", "output"), others=None):
        """What comes in or goes out is lost, from and to `others` or everybody; returns how to end it."""
        rules = []
        for chain in directions:
            field = "saddr" if chain == "input" else "daddr"
            rules += ([(chain, f"ip {field} {self.addresses[it]} counter drop") for it in others] if others
                      else [(chain, "meta oifname \"eth0\" counter drop" if chain == "output" else "meta iifname \"eth0\" counter drop")])
        self.change(name, rules)
        return lambda: self.change(name, rules, remove=True)

    def lose(self, name, percent):
        rules = [("input", f"meta iifname \"eth0\" numgen random mod 100 < {percent} counter drop")]
        self.change(name, rules)
        return lambda: self.change(name, rules, remove=True)

    def delay(self, name, low_s, high_s):
        proxy = self.proxies[name]
        proxy.delay_s = (low_s, high_s)
        return lambda: setattr(proxy, "delay_s", (0, 0))
