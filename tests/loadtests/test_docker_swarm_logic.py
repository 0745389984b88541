"""What the Docker swarm's measurement decides, without daemons."""

from __future__ import annotations

import json
import os
import platform
import signal
import subprocess
from pathlib import Path
from typing import Any, NoReturn, cast

import pytest
from click.testing import CliRunner

from loadtests.bench.servers import FASTREG, REFERENCE
from loadtests.docker_swarm import __main__ as command_line
from loadtests.docker_swarm import rollouts, stand
from loadtests.docker_swarm.application import application, program_that_sleeps
from loadtests.docker_swarm.engine import EngineError, message, seconds
from loadtests.docker_swarm.figures import Rollout, compared, figures, rows
from loadtests.docker_swarm.nodes import daemon_config
from loadtests.docker_swarm.report import Report, Settings
from loadtests.docker_swarm.rollouts import PULLED, RUNNING, Daemons, RolloutError, times
from loadtests.docker_swarm.stand import Stand

BOTH = (PULLED, RUNNING)


def rollout(registry: str, turn: int, last_s: float, cpu_s: float) -> Rollout:
    reached = {
        "node1": {PULLED: last_s / 2, RUNNING: last_s / 2 + 0.1},
        "node2": {PULLED: last_s - 0.1, RUNNING: last_s},
    }
    return Rollout(registry, turn, reached, cpu_s, 9 * cpu_s, 240_000_000, 64 << 20)


ROLLOUTS = (
    rollout(FASTREG, 0, 2.0, 0.1),
    rollout(REFERENCE, 0, 4.0, 1.0),
    rollout(REFERENCE, 1, 3.0, 1.0),
    rollout(FASTREG, 1, 3.0, 0.2),
)


def report(**differently: Any) -> Report:
    settings = Settings(nodes=2, rounds=2, image="herd", scale=1.0, one_by_one=False)
    values: dict[str, Any] = {
        "machine": {"cores": "2"},
        "settings": settings,
        "image_bytes": 120_000_000,
        "rolled_out_by": "hand",
        "milestones": BOTH,
        "why_not_running": None,
        "rollouts": ROLLOUTS,
    }
    return Report(**values | differently)


def test_a_figure_is_compared_round_by_round_whoever_began() -> None:
    last = figures(BOTH)["running, last node, s"]
    assert compared(ROLLOUTS, last) == ([2.0, 3.0], [4.0, 3.0])


def test_the_table_has_both_registries_and_their_ratio_with_its_spread() -> None:
    cells = {row[0]: row[1:] for row in rows(ROLLOUTS, BOTH)}
    assert cells["running, last node, s"] == ("2.50 (2–3)", "3.50 (3–4)", "0.75 (0.50–1)")
    assert cells["registry CPU, s"][2] == "0.15 (0.10–0.20)"


def test_the_registrys_share_is_of_its_own_time_and_the_daemons() -> None:
    assert ROLLOUTS[0].share == pytest.approx(10)


def test_the_text_says_what_was_measured() -> None:
    text = report().text()
    assert "120 MB to 2 Docker daemons" in text
    assert "had pulled the image, and that it ran there" in text
    assert "| running, last node, s" in text


def test_the_text_says_when_nothing_could_run() -> None:
    text = report(milestones=(PULLED,), why_not_running="no cgroups").text()
    assert "not that it ran, as no container starts here: no cgroups" in text
    assert "running" not in text


def test_the_json_keeps_every_round() -> None:
    saved = json.loads(json.dumps(report().as_json()))
    assert len(saved["rollouts"]) == 4
    assert saved["figures"]["registry CPU, s"]["ratios"] == pytest.approx([0.1, 0.2])


def test_who_begins_changes_from_round_to_round(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Stand, "roll_out", lambda self, name, turn: rollout(name, turn, 1, 1))
    servers: Any = {FASTREG: None, REFERENCE: None}
    turns = Stand([], servers, cast(Any, None), BOTH, cast(Any, None))
    names = [done.registry for done in turns.rounds(2)]
    assert names == [FASTREG, REFERENCE, REFERENCE, FASTREG]


def test_without_a_swarm_every_daemon_is_told_and_the_text_says_why(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(nodes: object) -> NoReturn:
        raise EngineError("no vxlan")

    monkeypatch.setattr(stand.Swarm, "__init__", lambda self, nodes: refuse(nodes))
    way, said = stand.join([], is_running=True, is_alone=False)
    assert isinstance(way, Daemons)
    assert said.endswith("as no Docker swarm works here: no vxlan")


class FakeNode:
    """A daemon that tells one more event each time it is asked."""

    def __init__(self, name: str, *actions: str) -> None:
        self.name = name
        self.engine = self
        self._left = list(actions)
        self._told: list[dict[str, object]] = []

    def events(self, since_ns: int, until_ns: int, *names: str) -> list[dict[str, object]]:
        if self._left:
            event = {"Action": self._left.pop(0), "timeNano": since_ns + 10**9}
            self._told.append(event)
        return [event for event in self._told if event["Action"] in names]


class FakeWay:
    description = "none"

    def __init__(self, failure: str | None = None) -> None:
        self._failure = failure

    def begin(self, image: str) -> None: ...

    def failure(self) -> str | None:
        return self._failure

    def end(self) -> None: ...


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollouts, "LOOK_INTERVAL_S", 0)


@pytest.mark.usefixtures("at_once")
def test_a_rollout_ends_when_every_node_has_reached_every_milestone() -> None:
    nodes = [FakeNode("node1", PULLED, RUNNING), FakeNode("node2", "tag", PULLED, RUNNING)]
    reached = times(FakeWay(), cast(Any, nodes), "image", BOTH)
    assert reached == {name: {PULLED: 1.0, RUNNING: 1.0} for name in ("node1", "node2")}


@pytest.mark.usefixtures("at_once")
def test_a_rollout_fails_with_what_a_node_says() -> None:
    with pytest.raises(RolloutError, match="no such image"):
        times(FakeWay("no such image"), cast(Any, [FakeNode("node1")]), "image", BOTH)


@pytest.mark.usefixtures("at_once")
def test_a_container_that_does_not_start_is_no_failure_where_none_does() -> None:
    nodes = [FakeNode("node1", "tag", PULLED)]
    reached = times(FakeWay("no cgroups"), cast(Any, nodes), "image", (PULLED,))
    assert reached == {"node1": {PULLED: 1.0}}


def test_the_engines_clock_is_told_in_seconds_and_nanoseconds() -> None:
    assert seconds(1_700_000_000_000_000_042) == "1700000000.000000042"


@pytest.mark.parametrize(
    ("answer", "said"),
    [(b'{"message": "no such image"}', "no such image"), (b"Bad\n", "Bad"), (b"[]", "[]")],
)
def test_a_refusal_is_told_in_the_daemons_words(answer: bytes, said: str) -> None:
    assert message(answer) == said


def test_a_daemon_trusts_the_bridge_and_keeps_to_the_runs_cgroup() -> None:
    config = json.loads(daemon_config("fastreg-docker-1"))
    assert config["insecure-registries"] == ["10.213.0.0/24"]
    assert config["cgroup-parent"] == "/fastreg-docker-1"


def test_the_application_has_the_catalogues_layers_and_a_program() -> None:
    [manifest] = application("herd", 0.001).platforms.values()
    config, *layers = manifest.blobs
    assert len(layers) == 7
    assert json.loads(b"".join(config.chunks()))["config"]["Cmd"] == ["/sleep-forever"]


@pytest.mark.skipif(platform.machine() not in ("x86_64", "aarch64"), reason="no code for it")
def test_the_program_runs_until_it_is_ended(tmp_path: Path) -> None:
    path = tmp_path / "program"
    path.write_bytes(program_that_sleeps(platform.machine()))
    path.chmod(0o755)
    process = subprocess.Popen([path])
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.1)
    process.terminate()
    assert process.wait() == -signal.SIGTERM


def test_without_root_one_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    done = CliRunner().invoke(command_line.main)
    assert done.exit_code == 2
    assert done.output.splitlines() == [command_line.why_not()]
    assert "need root" in done.output


def test_what_is_missing_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(command_line, "find", lambda name: None if name == "dockerd" else name)
    assert command_line.why_not() == "Something is missing: apt-get install docker.io"
