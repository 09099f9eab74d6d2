"""Finds loss-free rates: a multiple loss ratio search (MLRsearch, RFC 2544's 26.1 for trials that repeat badly).

A load passes a goal when at least half of its trials at full length lose no more than the goal allows; so one
pause of the hypervisor does not decide. Both goals share the trials. A search is a coroutine: it yields the
load and length of the next trial and is sent its loss ratio, so that several devices take turns.
"""

import math

GOALS = {"ndr": 0.0, "pdr": 0.005}  # loss ratios; the names and the 0.5 % are those of FD.io's CSIT


class Search:
    def __init__(self, first, length, trials, width):
        self.first, self.length, self.trials, self.width = first, length, trials, width
        self.losses = {}  # load -> loss ratios of its trials
        self.rates = {}  # goal -> the highest load that passed, pps

    def verdict(self, load, allowed):
        """True or false once the trials decide; None before."""
        losses = self.losses.get(load, [])
        good = sum(loss <= allowed for loss in losses)
        half = self.trials / 2
        if good >= half:
            return True
        return False if len(losses) - good > self.trials - half else None

    def steps(self):
        """The coroutine."""
        for goal, allowed in sorted(GOALS.items(), key=lambda item: -item[1]):
            low, high, load = self.known(allowed)
            load = load or self.first
            while True:
                verdict = self.verdict(load, allowed)
                while verdict is None:
                    self.losses.setdefault(load, []).append((yield load, self.length))
                    verdict = self.verdict(load, allowed)
                if verdict:
                    low = load
                else:
                    high = load
                if low and high and high / low <= 1 + self.width:
                    break
                if not low:
                    load = high * (1 - self.width * 2 ** self.tried(allowed, False))
                    if load < 1000:
                        low = 0.0
                        break
                elif not high:
                    load = low * (1 + self.width * 2 ** self.tried(allowed, True))
                else:
                    load = math.sqrt(low * high)
            self.rates[goal] = low
        # A rate without loss is one within any goal, whatever noise said of the trials between.
        self.rates["pdr"] = max(self.rates.values())

    def tried(self, allowed, passed):
        """Steps double: how many loads passed, or failed, so far."""
        return min(4, sum(self.verdict(load, allowed) is passed for load in self.losses))

    def known(self, allowed):
        """What the trials of the goal before say about this one: (highest that passed, lowest that failed, next)."""
        passed = [load for load in self.losses if self.verdict(load, allowed) is True]
        failed = [load for load in self.losses if self.verdict(load, allowed) is False]
        low, high = max(passed, default=None), min(failed, default=None)
        if low and high and low > high:  # noise: believe the lower
            low = max((load for load in passed if load < high), default=None)
        undecided = [load for load in self.losses if self.verdict(load, allowed) is None]
        if high:
            return low, high, math.sqrt(low * high) if low else high
        return low, high, max(undecided, default=low)
