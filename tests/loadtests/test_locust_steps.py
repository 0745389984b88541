"""Conductor and crews without Locust: what all processes do together."""

from __future__ import annotations

import time
from argparse import ArgumentParser
from collections.abc import Mapping
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import gevent
import pytest
from gevent.queue import Queue

from loadtests.swarm.conductor import Impossible, Run, check
from loadtests.swarm.crew import Crew, Part
from loadtests.swarm.options import Settings, add_options, settings
from loadtests.swarm.results import Pull
from tests.clients.processes import free_port
from tests.loadtests.wrong_registries import Locked, serving


class Node:
    """A member that notes when it begins, and takes a while."""

    kind = "node"

    def __init__(self, crew: Crew, takes_s: float) -> None:
        self.parts: Queue[Part] = Queue()
        self.began: list[tuple[int, float]] = []
        self.moments: list[float] = []
        self.numbers: set[int] = set()
        self._crew, self._takes_s = crew, takes_s
        crew.enlist(self)

    def live(self) -> None:
        while True:
            part = self.parts.get()
            part.wait()
            assert time.monotonic() >= part.begins_s
            self.moments.append(part.begins_s)
            self.began.append((part.step.number, time.monotonic()))
            self.numbers.add(part.number)
            gevent.sleep(self._takes_s)
            self._crew.ledger.pulls.append(
                Pull(part.number, part.step.images[0], 0, "", part.since_start_s, 1.0, 1)
            )
            self._crew.leave(part.step)


class Processes:
    """Crews as a runner's processes: what one of them reports comes a little later."""

    def __init__(self, sizes: Mapping[str, int]) -> None:
        self.run: Run | None = None
        self.crews = {name: Crew(name, self._reporter(name)) for name in sizes}
        self.members = [
            Node(self.crews[name], 0.005 * number)
            for name, size in sizes.items()
            for number in range(size)
        ]
        self._sizes = dict(sizes)
        self._greenlets = [gevent.spawn(member.live) for member in self.members]

    def _reporter(self, name: str) -> Any:
        def report(values: Mapping[str, Any]) -> None:
            assert self.run is not None
            gevent.spawn_later(0.01, self.run.hear, name, values)

        return report

    def user_count(self) -> int:
        return len(self.members)

    def nodes(self) -> Mapping[str, int]:
        return self._sizes

    def send(self, process: str, order: dict[str, Any]) -> None:
        self.crews[process].begin(order)

    def lose(self, process: str) -> None:
        self._sizes.pop(process)

    def end(self) -> None:
        gevent.killall(self._greenlets)


def wanted(*options: str) -> Settings:
    parser = ArgumentParser()
    add_options(parser)
    return settings(parser.parse_args(options))


def conduct(processes: Processes, *options: str) -> Run:
    count = len(processes.members)
    run = Run("http://registry", wanted("--nodes", str(count), *options), processes, count)
    processes.run = run
    try:
        run.conduct()
    finally:
        processes.end()
    return run


def test_the_nodes_of_all_processes_begin_at_one_moment_and_have_numbers_of_their_own() -> None:
    processes = Processes({"a": 3, "b": 4})
    results = conduct(processes, "--rounds", "2").results()
    assert sorted(number for node in processes.members for number in node.numbers) == [*range(7)]
    for step in (0, 1):
        moments = [node.moments[step] for node in processes.members]
        assert max(moments) - min(moments) < 0.1
    assert results["complete"]
    assert sorted(one["node"] for one in results["pulls"]) == sorted([*range(7)] * 2)


def test_a_wave_begins_when_the_one_before_has_ended() -> None:
    processes = Processes({"a": 2, "b": 2})
    results = conduct(processes, "--shape", "rolling", "--waves", "4").results()
    began = sorted(began for node in processes.members for began in node.began)
    assert [step for step, _ in began] == [0, 1, 2, 3]
    assert [moment for _, moment in began] == sorted(moment for _, moment in began)
    assert all(len(node.began) == 1 for node in processes.members)
    started, ended = (datetime.fromisoformat(results[name]) for name in ("started", "ended"))
    last_s = max(one["begun_s"] for one in results["pulls"])
    assert (ended - started).total_seconds() >= last_s


def test_a_process_that_is_told_too_late_to_begin_is_told_of(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    processes = Processes({"a": 1, "b": 1})
    monkeypatch.setattr(
        processes.crews["b"], "begin", partial(gevent.spawn_later, 0.5, processes.crews["b"].begin)
    )
    client = conduct(processes).results()["client"]
    assert client["bound"]
    assert client["why"].startswith("a process began 0.")


def test_a_run_that_loses_a_process_ends_and_keeps_what_was_reported() -> None:
    processes = Processes({"a": 1, "b": 1})
    processes.members[1]._takes_s = 60
    gevent.spawn_later(0.5, processes.lose, "b")
    with pytest.raises(Impossible, match="lost a process that loads the registry: b"):
        conduct(processes)
    assert processes.run is not None
    results = processes.run.results()
    assert not results["complete"]
    assert [one["node"] for one in results["pulls"]] == [0]


def test_a_drop_command_that_fails_ends_the_run() -> None:
    with pytest.raises(Impossible, match="--drop-command ended with 3: exit 3"):
        conduct(Processes({"a": 1}), "--shape", "cold", "--drop-command", "exit 3")


@pytest.mark.parametrize(
    ("host", "said"),
    [
        (None, "which registry? Say --host, as --host http://127.0.0.1:5000"),
        ("http://127.0.0.1:{port}", "no registry answers at http://127.0.0.1:{port}: "),
        ("ftp://127.0.0.1", "no registry answers at ftp://127.0.0.1: not an address of a registry"),
    ],
)
def test_a_registry_that_is_none_is_told_in_a_line(host: str | None, said: str) -> None:
    port = free_port()
    with pytest.raises(Impossible) as raised:
        check(host and host.format(port=port), wanted())
    assert str(raised.value).startswith(said.format(port=port))
    assert "\n" not in str(raised.value)


def test_results_that_could_not_be_written_are_not_measured(tmp_path: Path) -> None:
    somewhere = wanted("--results", str(tmp_path / "none" / "results.json"))
    with pytest.raises(Impossible, match=f"--results: there is no directory {tmp_path}/none"):
        check("http://127.0.0.1", somewhere)


def test_a_registry_that_wants_a_password_is_said_to() -> None:
    with serving(Locked) as host, pytest.raises(Impossible, match="see --registry-user and"):
        check(host, wanted())
