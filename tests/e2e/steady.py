"""Traffic with sequence numbers: how much of it was lost, and for how long none came."""

import dataclasses
import subprocess
import sys
import time

import lab
from case import HOSTS


@dataclasses.dataclass
class Loss:
    """What became of the datagrams."""

    sent: int
    lost: int
    gap_ms: float  # the longest time that a flow had no service: from its last one that came to its next one, as they were sent
    late_ms: float  # the longest that one was on its way
    twice: int

    @property
    def pause_ms(self):
        """The longest time that a flow had to wait, whether for want of frames or because they came late."""
        return max(self.gap_ms, self.late_ms)

    @staticmethod
    def of(sent, came, flows):
        twice = late = gap = 0
        first = {}
        for number, at in came:
            twice += number in first
            first.setdefault(number, at)
            late = max(late, at - sent[number])
        for flow in range(min(flows, len(sent))):
            last, missing = sent[flow], False
            for number in range(flow, len(sent), flows):
                here, missing = sent[number], missing or number not in first
                if missing:
                    gap = max(gap, here - last)
                if number in first:
                    last, missing = here, False
        return Loss(len(sent), len(sent) - len(first), gap / 1e6, late / 1e6, twice)


class Steady:
    """Datagrams from an address of one host to an address that one or more hosts have; ends with `loss`."""

    def __init__(self, source, targets, target=None, *, pps=1_000, flows=8, six=False):
        self.source, self.targets = HOSTS[source], [HOSTS[name] for name in targets]
        own = self.source.addr6 if six else self.source.addr4
        to = target or (self.targets[0].addr6 if six else self.targets[0].addr4)
        self.send, self.receive = ["send", own, to, str(pps), str(flows)], ["receive", to]
        self.flows, self.loss = flows, None

    @staticmethod
    def run(host, words):
        with lab.inside(host.ns):
            return subprocess.Popen([sys.executable, lab.HERE / "steady.py", *words], text=True,
                                    stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __enter__(self):
        self.sinks = [self.run(host, self.receive) for host in self.targets]
        for sink in self.sinks:
            if sink.stdout.readline() != "ready\n":
                raise RuntimeError(f"cannot receive: {self.receive}")
        self.sender = self.run(self.source, self.send)
        return self

    def __exit__(self, *_):
        sent = [at for _, at in self.ended(self.sender)]
        time.sleep(0.3)  # what is on its way arrives
        came = [row for sink in self.sinks for row in self.ended(sink)]
        self.loss = Loss.of(sent, came, self.flows)

    @staticmethod
    def ended(process):
        output, _ = process.communicate(timeout=60)
        return [tuple(map(int, line.split())) for line in output.splitlines()]
