"""Takes all processes through the steps of a run together, and gathers what they report."""

from __future__ import annotations

import logging
import subprocess
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import gevent
from gevent.event import Event

from loadtests.client.failures import Failure, Unauthorized
from loadtests.swarm.connect import TAG, connect
from loadtests.swarm.crew import Order
from loadtests.swarm.load import Meter
from loadtests.swarm.options import Settings
from loadtests.swarm.plan import Step, steps
from loadtests.swarm.results import Ledger, figures

logger = logging.getLogger("swarm")

LEAD_S = 0.25
"""From a step's order to its start: by then all processes have it."""
SPAWN_WAIT_S = 60
DROP_WAIT_S = 600


class Impossible(Exception):
    """A run that cannot be, or cannot go on, in one line that says what to do."""


class Crews(Protocol):
    """The processes that load the registry."""

    def user_count(self) -> int: ...

    def nodes(self) -> Mapping[str, int]:
        """Return the processes that live, and how many nodes each has."""

    def send(self, process: str, order: dict[str, Any]) -> None: ...


class Run:
    """One run: what is wanted, what has been reported, how it ends."""

    def __init__(self, host: str, wanted: Settings, crews: Crews, user_count: int) -> None:
        self.host = host
        self.wanted = wanted
        self.is_complete = False
        self._crews = crews
        self._user_count = user_count
        self._ledger = Ledger()
        self._started = self._ended = datetime.now(UTC)
        self._start_s: float | None = None
        self._seconds = 0.0
        self._awaited: set[str] = set()
        self._end: str | None = None
        self._step = -1
        self._reported = Event()

    def conduct(self) -> None:
        """Take one step after another; raise Impossible."""
        self._wait_for_users()
        for step in steps(self.wanted):
            if step.is_cold:
                self._drop()
            logger.info("round %d, %s: %s", step.round + 1, step.phase, ", ".join(step.images))
            self._take(step)
        self.is_complete = True

    def hear(self, process: str, report: Mapping[str, Any]) -> None:
        """Take what a process reports, and whether it has ended its part of a step."""
        self._ledger.merge(Ledger.of(report["ledger"]))
        if report["done"] == self._step:
            self._awaited.discard(process)
            self._reported.set()

    def abandon(self, why: str) -> None:
        """End it soon: `conduct` then raises Impossible."""
        self._end = why
        self._reported.set()

    def results(self) -> dict[str, Any]:
        wanted = self.wanted
        return {
            "shape": wanted.shape,
            "nodes": wanted.nodes,
            "images": list(wanted.images),
            "rounds": wanted.rounds,
            "node_cache": wanted.node_cache,
            "verify": wanted.verify,
            "host": self.host,
            "started": self._started.isoformat(timespec="milliseconds"),
            "ended": self._ended.isoformat(timespec="milliseconds"),
            "complete": self.is_complete,
            **figures(self._ledger, self._seconds),
        }

    def _wait_for_users(self) -> None:
        ends_s = time.monotonic() + SPAWN_WAIT_S
        while self._crews.user_count() < self._user_count:
            if time.monotonic() > ends_s:
                raise Impossible(f"not all users were there after {SPAWN_WAIT_S} s")
            gevent.sleep(0.01)

    def _drop(self) -> None:
        command = self.wanted.drop_command
        try:
            done = subprocess.run(command, shell=True, timeout=DROP_WAIT_S, check=False)
        except subprocess.TimeoutExpired:
            raise Impossible(f"--drop-command took more than {DROP_WAIT_S} s") from None
        if done.returncode:
            raise Impossible(f"--drop-command ended with {done.returncode}: {command}")

    def _take(self, step: Step) -> None:
        nodes = self._crews.nodes()
        self._awaited, self._step = set(nodes), step.number
        begins_s = time.time() + LEAD_S
        if self._start_s is None:
            self._start_s, self._started = begins_s, datetime.fromtimestamp(begins_s, UTC)
        first_node = 0
        for process, count in nodes.items():
            order = Order(step, first_node, begins_s, begins_s - self._start_s)
            self._crews.send(process, asdict(order))
            first_node += count
        gevent.sleep(max(0.0, begins_s - time.time()))
        meter = Meter()
        try:
            self._wait_for_all()
        finally:
            spent = meter.spent()
            self._seconds += spent.seconds
            self._ended = datetime.now(UTC)
            if len(nodes) > 1:
                self._ledger.merge(Ledger(loads={"conductor": spent}))

    def _wait_for_all(self) -> None:
        while self._awaited:
            self._reported.wait(1)
            if self._end is not None:
                raise Impossible(f"ended by {self._end}")
            self._reported.clear()
            if lost := self._awaited - self._crews.nodes().keys():
                raise Impossible(f"lost a process that loads the registry: {', '.join(lost)}")


def check(host: str | None, wanted: Settings) -> None:
    """Raise Impossible unless there is a registry that has the images, and room for results."""
    if wanted.results and not Path(wanted.results).parent.is_dir():
        raise Impossible(f"--results: there is no directory {Path(wanted.results).parent}")
    if wanted.results and Path(wanted.results).is_dir():
        raise Impossible(f"--results: {wanted.results} is a directory, where a file is to be")
    if not host:
        raise Impossible("which registry? Say --host, as --host http://127.0.0.1:5000")
    try:
        with closing(connect(host, wanted)) as registry:
            registry.ping()
            missing = [name for name in wanted.images if not registry.head_manifest(name, TAG)]
    except Unauthorized as failure:
        raise Impossible(f"{failure}: see --registry-user and --registry-password") from None
    except Failure as failure:
        raise Impossible(f"no registry answers at {host}: {failure}") from None
    if missing:
        raise Impossible(f"{', '.join(missing)} is not there: {_seeding(host, wanted, missing)}")


def _seeding(host: str, wanted: Settings, missing: list[str]) -> str:
    names = ",".join(name.removeprefix(f"{wanted.prefix}/") for name in missing)
    prefix = f" --prefix {wanted.prefix}" if wanted.prefix != "swarm" else ""
    return f"python -m loadtests.seed --host {host} --images {names}{prefix}"
