"""The users of one process: each waits for the steps that it has a part in.

Told what comes and when it begins, all of them wait for that moment, in all processes. When the
last has ended its part, the crew reports what happened.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import gevent
import msgspec
from gevent.queue import Queue

from loadtests.swarm.load import Meter
from loadtests.swarm.options import Settings
from loadtests.swarm.plan import Step
from loadtests.swarm.results import Ledger


@dataclass(frozen=True, slots=True)
class Order:
    """A step, as the conductor announces it to a process."""

    step: Step
    first_node: int
    """The number of this process's first node."""
    begins_s: float
    """By the clock, which machines that load together must agree on."""
    since_start_s: float
    """From the start of the first step to this one's."""


@dataclass(frozen=True, slots=True)
class Part:
    """A user's part in a step."""

    step: Step
    number: int
    """Among its kind: of the node over all processes, of other users in this one."""
    begins_s: float
    """Monotonic."""
    since_start_s: float

    @property
    def ends_s(self) -> float:
        return self.begins_s + self.step.lasts_s

    def since(self, moment_s: float) -> float:
        """Return how long after the first step's start something was."""
        return self.since_start_s + moment_s - self.begins_s

    def wait(self) -> None:
        gevent.sleep(max(0.0, self.begins_s - time.monotonic()))


class Member(Protocol):
    kind: str
    parts: Queue[Part]


Report = Callable[[Mapping[str, Any]], None]


class Crew:
    def __init__(self, process: str, report: Report) -> None:
        self.settings: Settings | None = None
        self.ledger = Ledger()
        self._process = process
        self._report = report
        self._members: dict[str, list[Member]] = defaultdict(list)
        self._busy = 0
        self._meter: Meter | None = None
        self._late_s = 0.0

    def enlist(self, member: Member) -> None:
        self._members[member.kind].append(member)

    def dismiss(self, member: Member) -> None:
        """A member is no more: Locust has stopped it."""
        members = self._members[member.kind]
        if member in members:
            members.remove(member)

    def assemble(self, wanted: Settings) -> None:
        """A run begins: forget the members of the last one."""
        self.settings = wanted
        self._members.clear()
        self._busy, self._meter, self.ledger = 0, None, Ledger()

    def begin(self, values: Any) -> None:
        """Hand out the parts of the step that is ordered."""
        order = msgspec.convert(values, Order)
        begins_s = time.monotonic() + order.begins_s - time.time()
        cast = [
            (member, Part(order.step, number, begins_s, order.since_start_s))
            for kind, members in self._members.items()
            for number, member in enumerate(members, order.first_node if kind == "node" else 0)
            if _takes_part(order.step, kind, number)
        ]
        self._busy = len(cast)
        gevent.spawn(self._measure, begins_s)
        for member, part in cast:
            member.parts.put(part)
        self._late_s = max(0.0, time.monotonic() - begins_s)
        if not cast:
            self._end(order.step)

    def leave(self, step: Step) -> None:
        """A member has ended its part."""
        self._busy -= 1
        if not self._busy:
            self._end(step)

    def tell(self, done: int | None = None) -> None:
        """Report what has happened since the last time, and the step that is done, if one is."""
        if self._meter is not None:
            self.ledger.loads[self._process] = self._meter.spent(self._late_s)
            self._meter = None if done is not None else Meter()
        self._report({"ledger": self.ledger.take(), "done": done})

    def _measure(self, begins_s: float) -> None:
        gevent.sleep(max(0.0, begins_s - time.monotonic()))
        if self._busy:
            self._meter = Meter()

    def _end(self, step: Step) -> None:
        self.tell(step.number)


def _takes_part(step: Step, kind: str, number: int) -> bool:
    if kind == "node":
        return step.first <= number < step.end
    return step.lasts_s > 0 and (kind != "pusher" or step.has_pushes)
