"""What Locust loads: `locust -f loadtests/locustfile.py --host http://127.0.0.1:5000`."""

from __future__ import annotations

import logging
import signal
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import gevent
from locust import events, runners
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment
from locust.rpc import Message
from locust.runners import LocalRunner, MasterRunner, WorkerRunner

from loadtests.swarm.crew import Crew
from loadtests.swarm.options import ON_THIS_MACHINE, add_options, settings
from loadtests.swarm.shapes import Swarm
from loadtests.swarm.users import Lister, Prober, Pusher, SwarmNode

__all__ = ["Lister", "Prober", "Pusher", "Swarm", "SwarmNode"]

LIVENESS_S = 20
"""A process that hashes all it can is late with its signs of life, and not dead."""


@events.init_command_line_parser.add_listener
def _add_options(parser: LocustArgumentParser, **_: Any) -> None:
    add_options(parser)


@events.init.add_listener
def _set_up(environment: Environment, runner: runners.Runner, **_: Any) -> None:
    runners.HEARTBEAT_LIVENESS = LIVENESS_S
    logging.getLogger("locust.runners").addFilter(_is_news)
    if isinstance(runner, WorkerRunner | LocalRunner):
        _set_up_crew(environment, runner)
    if isinstance(runner, MasterRunner | LocalRunner):
        _set_up_conductor(environment, runner)


def _is_news(record: logging.LogRecord) -> bool:
    """Locust warns of spawning fast; here whoever is spawned only waits."""
    return "spawn rate is very high" not in str(record.msg)


def _set_up_crew(environment: Environment, runner: runners.Runner) -> None:
    """Where users run."""
    crew = environment.crew = Crew(
        runner.client_id, lambda report: runner.send_message("swarm_report", report)
    )

    def begin(environment: Environment, msg: Message) -> None:
        crew.begin(msg.data)

    def assemble(environment: Environment, **_: Any) -> None:
        crew.assemble(settings(environment.parsed_options))

    def tell(**_: Any) -> None:
        crew.tell()

    if isinstance(runner, WorkerRunner):
        gevent.signal_handler(signal.SIGINT, runner.quit)
    runner.register_message("swarm_step", begin)
    environment.events.test_start.add_listener(assemble)
    environment.events.report_to_master.add_listener(tell)  # every 3 s
    environment.events.test_stopping.add_listener(tell)


def _set_up_conductor(environment: Environment, runner: runners.Runner) -> None:
    """Where it is decided what they do."""
    swarm: Swarm = environment.shape_class
    swarm.said_at_start = {n: getattr(environment.parsed_options, n) for n in ON_THIS_MACHINE}

    def finish_in_browser(**_: Any) -> None:
        if not environment.parsed_options.headless:
            swarm.finish()
            for line in swarm.outcome():
                logging.getLogger("swarm").info(line)  # which the page shows too

    def judge(**_: Any) -> None:
        swarm.finish()
        environment.process_exit_code = swarm.exit_code()
        if not swarm.has_begun:
            logging.getLogger("locust.stats_logger").disabled = True  # all would be empty

    def tell(**_: Any) -> None:
        if environment.parsed_options.headless:
            error = [f"error: {swarm.obstacle}"] if swarm.obstacle else []
            print(*swarm.outcome(), *error, sep="\n", file=sys.stderr, flush=True)

    if environment.parsed_options.headless:
        # Locust has no handler while such a run lasts: SIGTERM would leave its other processes
        # behind, and KeyboardInterrupt would end whichever greenlet it meets.
        for number in (signal.SIGINT, signal.SIGTERM):
            gevent.signal_handler(number, swarm.interrupt, number)
    runner.register_message("swarm_report", swarm.hear)
    environment.events.test_stop.add_listener(finish_in_browser)
    environment.events.quitting.add_listener(judge)
    environment.events.quit.add_listener(tell)
