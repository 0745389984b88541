"""How an image gets to all nodes: by a service of a Docker swarm, or by asking every daemon."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, TypeVar

from loadtests.docker_swarm.engine import EngineError
from loadtests.docker_swarm.nodes import Node

SERVICE = "herd"
LOOK_INTERVAL_S = 0.2
TIMEOUT_S = 900
REMOVAL_TIMEOUT_S = 60
PULLED, RUNNING = "pull", "start"
"""The daemon's events at the end of a pull, and when a container runs."""
T = TypeVar("T")


class RolloutError(Exception):
    """Not every node has the image."""


class Way(Protocol):
    """How nodes are told to have an image."""

    description: str

    def begin(self, image: str) -> None:
        """Have every node pull and run the image."""

    def failure(self) -> str | None:
        """Return why a node does not run it, if one said so."""

    def end(self) -> None:
        """Have every container gone."""


class Swarm:
    """The nodes as one Docker swarm; the first manages it."""

    description = "a global service of a Docker swarm"

    def __init__(self, nodes: Sequence[Node]) -> None:
        """Join the nodes. Raises EngineError."""
        self._nodes = nodes
        self._manager = nodes[0].engine
        self._service = ""
        self._manager.post("/swarm/init", membership(nodes[0]))
        token = self._manager.get("/swarm")["JoinTokens"]["Worker"]
        for node in nodes[1:]:
            address = f"{nodes[0].address}:2377"
            joined = {"JoinToken": token, "RemoteAddrs": [address]}
            node.engine.post("/swarm/join", membership(node) | joined)

    def begin(self, image: str) -> None:
        """Create the service, of the digest that the tag has, as the command line does."""
        digest = self._manager.get(f"/distribution/{image}/json")["Descriptor"]["digest"]
        self._service = self._manager.post("/services/create", service(f"{image}@{digest}"))["ID"]

    def failure(self) -> str | None:
        tasks = self._manager.get("/tasks", filters=json.dumps({"service": [self._service]}))
        return next((error for task in tasks if (error := task["Status"].get("Err"))), None)

    def end(self) -> None:
        """The agents take 6 s to see that a service is gone, and are not waited for."""
        self._manager.delete(f"/services/{self._service}")
        on_each(self._nodes, remove_containers)


class Daemons:
    """The daemons, each told by itself, all at once."""

    description = "telling every daemon by itself, all at once"

    def __init__(self, nodes: Sequence[Node], is_running: bool) -> None:
        self._nodes = nodes
        self._is_running = is_running

    def begin(self, image: str) -> None:
        """Returns when all are done."""

        def pull_and_run(node: Node) -> None:
            node.engine.pull(image)
            if self._is_running:
                node.engine.run(image)

        on_each(self._nodes, pull_and_run)

    def failure(self) -> str | None:
        return None  # raised by begin()

    def end(self) -> None:
        on_each(self._nodes, remove_containers)


def membership(node: Node) -> dict[str, Any]:
    return {"ListenAddr": "0.0.0.0:2377", "AdvertiseAddr": node.address}


def service(image: str) -> dict[str, Any]:
    """Return a service with one task a node, which is not started again when it fails."""
    task = {
        "ContainerSpec": {"Image": image, "StopSignal": "SIGKILL"},
        "Networks": [{"Target": "host"}],
        "RestartPolicy": {"Condition": "none"},
    }
    return {"Name": SERVICE, "Mode": {"Global": {}}, "TaskTemplate": task}


def on_each(nodes: Iterable[Node], work: Callable[[Node], T]) -> list[T]:
    """Do the same on all nodes at once. When interrupted it waits for none: they are killed."""
    todo = list(nodes)
    pool = ThreadPoolExecutor(len(todo))
    try:
        return list(pool.map(work, todo))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def remove_containers(node: Node) -> None:
    deadline = time.monotonic() + REMOVAL_TIMEOUT_S
    while containers := node.engine.get("/containers/json", all=1):
        if time.monotonic() > deadline:
            raise RolloutError(f"{node.name} keeps containers: {containers}")
        for container in containers:
            with contextlib.suppress(EngineError):  # the swarm's agent was first
                node.engine.delete(f"/containers/{container['Id']}", force=1)


def remove_images(node: Node) -> None:
    """Leave nothing of any image, so that the next pull is a real one."""
    deadline = time.monotonic() + REMOVAL_TIMEOUT_S
    while images := node.engine.get("/images/json", all=1):
        if time.monotonic() > deadline:
            raise RolloutError(f"{node.name} keeps images: {images}")
        node.engine.post("/images/prune", filters=json.dumps({"dangling": ["false"]}))


def times(
    way: Way, nodes: Sequence[Node], image: str, milestones: Sequence[str]
) -> dict[str, dict[str, float]]:
    """Roll out an image; return when each node reached the milestones, in seconds from the
    command, by the daemons' own account. Raises RolloutError and EngineError."""
    begun_ns = time.time_ns()
    way.begin(image)
    deadline = time.monotonic() + TIMEOUT_S
    while True:
        failure = way.failure() if RUNNING in milestones else None
        reached = {node.name: reached_by(node, begun_ns, milestones) for node in nodes}
        if all(len(found) == len(milestones) for found in reached.values()):
            return reached
        if failure or time.monotonic() > deadline:
            raise RolloutError(failure or f"not on every node after {TIMEOUT_S} s: {reached}")
        time.sleep(LOOK_INTERVAL_S)


def reached_by(node: Node, begun_ns: int, milestones: Sequence[str]) -> dict[str, float]:
    events = node.engine.events(begun_ns, time.time_ns(), *milestones)
    return {event["Action"]: (event["timeNano"] - begun_ns) / 1e9 for event in events}
