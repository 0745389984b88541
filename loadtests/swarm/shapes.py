"""The shape that Locust follows: all users at once, who then do what the conductor orders."""

from __future__ import annotations

import json
import logging
import os
import signal
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from locust import LoadTestShape
from locust.env import Environment
from locust.rpc import Message
from locust.runners import STATE_MISSING, MasterRunner, Runner

from loadtests.swarm.conductor import Impossible, Run, check
from loadtests.swarm.options import Misused, settings
from loadtests.swarm.plan import head_counts
from loadtests.swarm.summary import summary

logger = logging.getLogger("swarm")

SPAWN_RATE = 100_000
"""All at once: who has been spawned is connected to nothing, and waits."""


class RunnersCrews:
    """The processes that a runner knows: its workers, or the one that it is."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def user_count(self) -> int:
        return int(self._runner.user_count)

    def nodes(self) -> Mapping[str, int]:
        if not isinstance(self._runner, MasterRunner):
            return {"local": self._runner.user_classes_count["SwarmNode"]}
        return {
            worker.id: worker.user_classes_count.get("SwarmNode", 0)
            for worker in self._runner.clients.all
            if worker.state != STATE_MISSING
        }

    def send(self, process: str, order: dict[str, Any]) -> None:
        self._runner.send_message("swarm_step", order, process)


class Swarm(LoadTestShape):
    """What it does is the option `--shape`."""

    def __init__(self) -> None:
        super().__init__()
        self._run: Run | None = None
        self.obstacle: str | None = None
        self.said_at_start: dict[str, str] = {}
        """Options that whoever opens Locust's page cannot change."""
        self._results: dict[str, Any] | None = None

    def tick(self) -> tuple[int, float] | None:
        """Called twice in a run: for the number of users, and then, when they are being
        spawned, for all the rest."""
        try:
            if self.runner.shape_last_tick is None:
                return self._prepare(self.runner.environment), SPAWN_RATE
            self._run.conduct()
        except (Misused, Impossible) as obstacle:
            self.obstacle = str(obstacle)
            if not self.runner.environment.parsed_options.headless:
                logger.error("%s", obstacle)
        return None

    def hear(self, environment: Environment, msg: Message) -> None:
        if self._run is not None:
            self._run.hear(msg.node_id, msg.data)

    def interrupt(self, number: int) -> None:
        """End the run, whose results are kept. A second signal ends the process."""
        signal.signal(number, signal.SIG_DFL)
        if self._run is None:
            os.kill(os.getpid(), number)
        else:
            self._run.abandon(signal.Signals(number).name)

    def finish(self) -> None:
        """Write the results of a run that began, whether it came to its end or not."""
        if self._run is None:
            return
        raised = [each["msg"] for each in self.runner.exceptions.values()]  # of users
        self.obstacle = self.obstacle or next(iter(raised), None)
        self._results = self._run.results() | {"error": self.obstacle}
        if path := self._run.wanted.results:
            Path(path).write_text(json.dumps(self._results, indent=1) + "\n")

    def outcome(self) -> list[str]:
        return summary(self._results) if self._results else []

    @property
    def has_begun(self) -> bool:
        return self._run is not None

    def exit_code(self) -> int:
        """Return 2 for a run that could not be, 1 for one in which something failed."""
        if self._results is None:
            return 2 if self.obstacle else 0
        has_failed = self._results["failures"] or self._results["errors"]
        return int(bool(has_failed or self.obstacle or not self._run.is_complete))

    def _prepare(self, environment: Environment) -> int:
        self._run = self.obstacle = self._results = None
        wanted = settings(Namespace(**vars(environment.parsed_options) | self.said_at_start))
        check(environment.host, wanted)
        counts = head_counts(wanted)
        for user_class in environment.user_classes:
            user_class.fixed_count = counts[user_class.__name__]
        total = sum(user_class.fixed_count for user_class in environment.user_classes)
        self._run = Run(environment.host, wanted, RunnersCrews(self.runner), total)
        return total
