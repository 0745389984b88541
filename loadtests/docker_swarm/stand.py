"""The nodes and the registries, and the rollouts to one from the other in turns."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from loadtests.bench.machine import describe, last_word
from loadtests.bench.programs import program
from loadtests.bench.servers import REFERENCE, Server
from loadtests.compare.watch import Watch
from loadtests.docker_swarm.application import application
from loadtests.docker_swarm.engine import EngineError
from loadtests.docker_swarm.figures import Rollout
from loadtests.docker_swarm.network import sent_bytes
from loadtests.docker_swarm.nodes import Node, start_node
from loadtests.docker_swarm.registries import both_serving
from loadtests.docker_swarm.report import Report, Settings
from loadtests.docker_swarm.rollouts import (
    PULLED,
    RUNNING,
    Daemons,
    Swarm,
    Way,
    on_each,
    remove_containers,
    remove_images,
    times,
)
from loadtests.images.image import Image


def measure(directory: Path, settings: Settings) -> Report:
    """Raises RolloutError, EngineError, Failure and RuntimeError."""
    machine = describe(directory, "a bridge of its own")
    nodes = start_nodes(directory, settings.nodes)
    image = application(settings.image, settings.scale)
    with both_serving(directory, image) as servers:
        reason = why_nothing_runs(nodes[0], servers, image)
        milestones = (PULLED,) if reason else (PULLED, RUNNING)
        way, rolled_out_by = join(nodes, not reason, settings.one_by_one)
        rollouts = Stand(nodes, servers, way, milestones, image).rounds(settings.rounds)
    machine |= describe_programs(nodes[0])
    size = image.size_bytes
    return Report(machine, settings, size, rolled_out_by, milestones, reason, rollouts)


def describe_programs(node: Node) -> dict[str, str]:
    info = node.engine.get("/info")
    return {
        "Docker": info["ServerVersion"],
        "storage driver": info["Driver"],
        "docker-registry": last_word(program(REFERENCE), "--version"),
    }


def start_nodes(directory: Path, count: int) -> list[Node]:
    """Start daemons, all at once; return when they serve. Raises RuntimeError."""
    nodes = [start_node(directory, number, directory.name) for number in range(1, count + 1)]
    for node in nodes:
        node.wait_until_ready()
    return nodes


@dataclass(frozen=True)
class Stand:
    nodes: Sequence[Node]
    servers: Mapping[str, Server]
    way: Way
    milestones: Sequence[str]
    image: Image

    def roll_out(self, name: str, turn: int) -> Rollout:
        """Have every node pull and run the image from a registry, and then lose it."""
        server = self.servers[name]
        nodes_cpu_s, sent = self._nodes_cpu_s(), sent_bytes()
        with Watch(server.pid) as watch:
            seconds = times(self.way, self.nodes, reference(server, self.image), self.milestones)
        rollout = Rollout(
            name,
            turn,
            seconds,
            watch.samples[-1].cpu_s,
            self._nodes_cpu_s() - nodes_cpu_s,
            sent_bytes() - sent,
            max(sample.rss_bytes for sample in watch.samples),
        )
        self.way.end()
        on_each(self.nodes, remove_images)
        return rollout

    def rounds(self, count: int) -> list[Rollout]:
        """Return the rollouts of all rounds; who begins changes from one to the next.

        Before them comes one that does not count: the first has a swarm to get going.
        """
        names = list(self.servers)
        self.roll_out(names[-1], 0)
        rollouts = []
        for turn in range(count):
            for name in names if turn % 2 == 0 else reversed(names):
                rollouts.append(self.roll_out(name, turn))
                last_s = max(rollouts[-1].reached(self.milestones[-1]))
                print(f"round {turn + 1}, {name}: {last_s:.1f} s", file=sys.stderr)
        return rollouts

    def _nodes_cpu_s(self) -> float:
        return sum(node.cpu_s() for node in self.nodes)


def reference(server: Server, image: Image) -> str:
    return f"{server.host}/{image.name}:{image.tag}"


def why_nothing_runs(node: Node, servers: Mapping[str, Server], image: Image) -> str | None:
    """Pull the image from every registry and run it once; return what the daemon says where no
    container starts."""
    for server in servers.values():
        node.engine.pull(reference(server, image))
    reason = None
    try:
        node.engine.run(reference(server, image))
    except EngineError as error:
        reason = str(error)
    remove_containers(node)
    remove_images(node)
    return reason


def join(nodes: Sequence[Node], is_running: bool, is_alone: bool) -> tuple[Way, str]:
    """Return how to roll out, and what is to be said of it."""
    if is_alone:
        return Daemons(nodes, is_running), Daemons.description
    try:
        return Swarm(nodes), Swarm.description
    except EngineError as error:
        reason = f"{Daemons.description}, as no Docker swarm works here: {error}"
        return Daemons(nodes, is_running), reason
