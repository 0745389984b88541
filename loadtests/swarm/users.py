"""Those who load the registry, as Locust's users."""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, suppress
from itertools import cycle
from typing import ClassVar

import gevent
from gevent.event import Event
from gevent.queue import Queue
from locust import User, task
from locust.env import Environment

from loadtests.client.failures import DigestMismatch, Failure
from loadtests.client.pulls import of_platform, parts, pull_image
from loadtests.client.pushes import Breaks
from loadtests.client.registry import Registry
from loadtests.swarm.connect import TAG, connect
from loadtests.swarm.crew import Crew, Part
from loadtests.swarm.options import Settings
from loadtests.swarm.pushed import MANIFEST_TYPE, Images, NewBlob, NewImage
from loadtests.swarm.results import Pull, Push

CHUNK_BYTES = 4 << 20
ENDING_S = 5
PAGE_SIZE = 5
"""So that the catalog of one set of images has several pages."""


class Member(User):
    """A user that waits for its part in a step, and tells what it did.

    Locust kills the greenlet of a user that it stops, which a lock that is held does not survive.
    So its part is played in another one, in which the next request fails.
    """

    abstract = True
    kind: ClassVar[str]

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self.parts: Queue[Part] = Queue()
        self._crew: Crew = environment.crew
        self._settings: Settings = environment.crew.settings
        self._ledger = self._crew.ledger
        self._playing: gevent.Greenlet | None = None
        self._registry: Registry | None = None
        self._stopped = Event()
        self._crew.enlist(self)

    @task
    def take_part(self) -> None:
        self._playing = gevent.spawn(self._play, self.parts.get())
        self._playing.get()

    def on_stop(self) -> None:
        self._stopped.set()
        self._crew.dismiss(self)
        if self._registry is not None:
            self._registry.close()
        if self._playing is not None:
            self._playing.join(ENDING_S)

    def _play(self, part: Part) -> None:
        try:
            part.wait()
            self.play(part)
        finally:
            self._crew.leave(part.step)

    def play(self, part: Part) -> None:
        raise NotImplementedError

    def registry(self) -> Registry:
        """Return a client that knows no connection and no token yet."""
        self._registry = connect(self.environment.host, self._settings, self._observe)
        return self._registry

    def again_and_again(self, part: Part) -> Iterator[None]:
        """Yield until the step's time is over, thinking before each."""
        while True:
            think_s = random.uniform(*self._settings.think_s)
            is_last = time.monotonic() + think_s >= part.ends_s
            pause_s = max(0.0, part.ends_s - time.monotonic()) if is_last else think_s
            if self._stopped.wait(pause_s) or is_last:
                return
            yield

    def tell(
        self, kind: str, name: str, seconds: float, size: int, error: Exception | None
    ) -> None:
        """Put it into Locust's own statistics, which count errors of one text together."""
        if isinstance(error, Failure) and error.kind:
            error = Failure(error.kind)
        self.environment.events.request.fire(
            request_type=kind,
            name=name,
            response_time=seconds * 1e3,
            response_length=size,
            exception=error,
            context={},
        )

    def _observe(self, name: str, seconds: float, size: int, error: Exception | None) -> None:
        if self._stopped.is_set():
            raise Failure("stopped")
        method, _, what = name.partition(" ")
        self.tell(method, what, seconds, size, error)
        self._ledger.count_request(name, seconds, size, error is not None)


class SwarmNode(Member):
    """Pulls as a Docker host does."""

    kind = "node"

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self._layers: set[str] = set()
        self._images: dict[str, str] = {}

    def play(self, part: Part) -> None:
        if part.step.is_cold:
            self._layers.clear()
            self._images.clear()
        if not part.step.lasts_s:
            self._pull(part, part.step.images[0], part.begins_s)
            return
        for _ in self.again_and_again(part):
            self._pull(part, random.choice(part.step.images), time.monotonic())

    def _pull(self, part: Part, image: str, begun_s: float) -> None:
        size, failure = 0, None
        try:
            with closing(self.registry()) as registry:
                size = self._take(registry, image)
        except Failure as error:
            failure = error
        if self._stopped.is_set():
            return
        seconds = time.monotonic() - begun_s
        self.tell("IMAGE", image, seconds, size, failure)
        self._ledger.pulls.append(
            Pull(
                part.number,
                image,
                part.step.round,
                part.step.phase,
                part.since(begun_s),
                seconds,
                size,
                None if failure is None else str(failure),
                isinstance(failure, DigestMismatch),
            )
        )

    def _take(self, registry: Registry, image: str) -> int:
        cache, platform = self._settings.node_cache, self._settings.platform
        if cache == "image" and image in self._images:
            registry.ping()
            index = registry.manifest(image, TAG)
            if (of_platform(index, platform) or index.digest) == self._images[image]:
                return len(index.content)
        held = set() if cache == "none" else self._layers
        pulled = pull_image(registry, image, TAG, platform, held)
        self._images[image] = pulled.digest
        return pulled.size


class Pusher(Member):
    """Pushes images of new content: each way of sending a blob in turn, the last as a stream
    that is cut twice and resumed."""

    kind = "pusher"

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self._made = Images(self._settings.push_bytes)
        self._ways = cycle(("streamed", "whole", "chunked", "resumed"))
        self._name = f"{self._settings.prefix}/pushed".lstrip("/")
        self._tag = uuid.uuid4().hex[:12]

    def play(self, part: Part) -> None:
        for _ in self.again_and_again(part):
            self._push(part, next(self._ways))

    def _push(self, part: Part, way: str) -> None:
        image, begun_s, failure = self._made.make(), time.monotonic(), None
        try:
            with closing(self.registry()) as registry:
                self._send(registry, image, way)
        except Failure as error:
            failure = error
        if self._stopped.is_set():
            return
        seconds = time.monotonic() - begun_s
        size = 0 if failure else image.size_bytes
        self.tell("PUSH", way, seconds, size, failure)
        self._ledger.pushes.append(
            Push(
                part.number,
                way,
                part.since(begun_s),
                seconds,
                size,
                None if failure is None else str(failure),
                isinstance(failure, DigestMismatch),
            )
        )

    def _send(self, registry: Registry, image: NewImage, way: str) -> None:
        registry.ping()
        for blob in image.blobs:
            if not registry.head_blob(self._name, blob.digest):
                self._send_blob(registry, blob, way)
        registry.push_manifest(self._name, self._tag, MANIFEST_TYPE, image.content)
        if registry.manifest(self._name, self._tag).content != image.content:
            raise DigestMismatch(f"{self._name}:{self._tag} is not what was pushed to it")

    def _send_blob(self, registry: Registry, blob: NewBlob, way: str) -> None:
        if way == "whole":
            registry.push_blob_whole(self._name, blob)
        elif way == "chunked":
            registry.push_blob_chunked(self._name, blob, CHUNK_BYTES)
        else:
            third = blob.size // 3
            breaks = Breaks((third, 2 * third)) if way == "resumed" else None
            registry.push_blob_streamed(self._name, blob, breaks)


class Lister(Member):
    """Looks at what there is, page by page."""

    kind = "lister"

    def play(self, part: Part) -> None:
        with closing(self.registry()) as registry:
            for _ in self.again_and_again(part):
                with suppress(Failure):  # which has been observed
                    registry.catalog(PAGE_SIZE)
                    registry.tags(random.choice(part.step.images), PAGE_SIZE)


class Prober(Member):
    """Asks for what is there and for what is not, as build tools look for their caches and for
    layers that they need not push."""

    kind = "prober"

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self._known: dict[str, list[str]] = {}

    def play(self, part: Part) -> None:
        with closing(self.registry()) as registry:
            for _ in self.again_and_again(part):
                with suppress(Failure):  # which has been observed
                    self._probe(registry, random.choice(part.step.images))

    def _probe(self, registry: Registry, image: str) -> None:
        unknown = uuid.uuid4().hex
        registry.head_manifest(image, f"buildcache-{unknown}")
        registry.head_blob(image, f"sha256:{unknown}{unknown}")
        if not registry.head_manifest(image, TAG):
            self._observe("HEAD manifest", 0.0, 0, Failure(f"{image}:{TAG} is not there"))
        for digest in self._blobs(registry, image):
            if not registry.head_blob(image, digest):
                self._observe("HEAD blob", 0.0, 0, Failure(f"{digest} is not in {image}"))

    def _blobs(self, registry: Registry, image: str) -> list[str]:
        if image not in self._known:
            manifest = registry.manifest(image, TAG)
            if chosen := of_platform(manifest, self._settings.platform):
                manifest = registry.manifest(image, chosen)
            config, layers = parts(manifest)
            self._known[image] = [config.digest, *(layer.digest for layer in layers)]
        return self._known[image]
