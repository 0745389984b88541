"""The same registry served twice: through the lane, and around it."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import gevent
from gevent import socket as gsocket

from fastreg.api.app import App
from fastreg.api.call import Settings
from fastreg.api.urls import UrlBuilder
from fastreg.logs import access_line
from fastreg.registry.content import identify
from fastreg.registry.registry import Registry
from fastreg.server.offloop import run_in_thread
from fastreg.storage.base import Driver
from fastreg.storage.cache import Cache
from fastreg.storage.cached import CachedDriver
from fastreg.storage.generations import Generations
from fastreg.storage.local import LocalDriver
from fastreg.storage.memory import Memory
from tests.api.client import Client, digest_of, encode, image, index
from tests.server.wire import Running, StartServer, servers, wait_until
from tests.storage.fileless import FilelessDriver

CONFIG, SMALL = b'{"os": "linux"}', b"a small layer " * 100
BIG = random.Random(1).randbytes(1 << 20)
MANIFEST = image(CONFIG, SMALL, BIG)
LARGE_MANIFEST = image(CONFIG, SMALL, annotations={str(n): "x" * 1000 for n in range(300)})
DIGEST, SMALL_DIGEST, BIG_DIGEST = (digest_of(data) for data in (encode(MANIFEST), SMALL, BIG))
HEADERS: Final = (("X-Content-Type-Options", "nosniff"), ("X-Any", "one, two"))
_LONG: Final = 20_000
_DATE: Final = re.compile(rb"\r\nDate: [^\r\n]{29}\r\n")
_TIME: Final = re.compile(rb" - - \[[^]]{26}\] ")


def push_everything(root: Path) -> Path:
    client = Client(app_over(root))
    for name in ("app", "library/a/b"):
        for blob in (CONFIG, SMALL, BIG, b""):
            client.push_blob(blob, name)
        client.push_manifest(MANIFEST, "v1", name)
    client.push_blob(SMALL, algorithm="sha512")
    client.push_blob(SMALL, algorithm="blake3")
    client.push_manifest(index(MANIFEST), "multi")
    client.push_manifest(LARGE_MANIFEST, "large")
    settle()
    return root


def settle() -> None:
    """Wait until what was written may be published."""
    time.sleep(0.15)


@dataclass(frozen=True)
class Outcome:
    """What came of one connection; times are left out."""

    received: bytes
    """A long one as its beginning and its digest."""
    was_reset: bool
    lines: list[bytes]
    """Of the access log, sorted."""
    by_lane: int = field(compare=False)
    """How many of its requests the lane answered."""


@dataclass
class TwoWays:
    """The lane answers what it can of what `through` is asked, and nothing `around` it."""

    through: Running
    around: Running

    def outcomes(self, *pieces: bytes) -> tuple[list[Outcome], Outcome]:
        """Send on connections of their own; return what came through the lane, the third
        time with all published that can be, and what came around it."""
        return [exchange(self.through, *pieces) for _ in range(3)], exchange(self.around, *pieces)


def exchange(running: Running, *pieces: bytes, reads: Callable[[], None] = lambda: None) -> Outcome:
    """Send the pieces, each taken before the next, and nothing more; read until the server
    closes, after each call of `reads` what is there."""
    answered, open_before = running.server.lane.answered, running.server.connections
    received: list[bytes] = []
    was_reset = False
    with gsocket.create_connection(("127.0.0.1", running.port), timeout=10) as sock:
        try:
            for piece in pieces:
                sock.sendall(piece)
                gevent.sleep(0)
                gevent.sleep(0)
            sock.shutdown(gsocket.SHUT_WR)
            reads()
            while data := sock.recv(1 << 18):
                received.append(data)
                reads()
        except ConnectionError:
            was_reset = True
    wait_until(lambda: running.server.connections <= open_before)
    whole = _DATE.sub(b"\r\nDate: .\r\n", b"".join(received))
    by_lane = running.server.lane.answered - answered
    if len(whole) > _LONG:
        whole = whole[:1000] + sha256(whole).hexdigest().encode()
    return Outcome(whole, was_reset, take_lines(running), by_lane)


def publish(running: Running, *requests: bytes) -> Running:
    """Let the lane answer these requests from now on."""
    for raw in requests:
        exchange(running, raw)
        assert exchange(running, raw).by_lane == 1
    return running


def take_lines(running: Running) -> list[bytes]:
    """Take the access log, sorted and without its times."""
    records, lines = running.records[:], running.records.lines + running.server.lane.take_lines()
    running.records.clear()
    running.records.lines = b""
    lines += b"".join(b"%b\n" % access_line(record, 0).encode() for record in records)
    return sorted(_TIME.sub(b" ", lines).splitlines())


@contextmanager
def serving_two_ways(
    root: Path, prefix: str = "", driver: Driver | None = None, **settings: Any
) -> Iterator[TwoWays]:
    with servers() as start:
        ways = [start_app(start, root, prefix, driver, **settings) for _ in range(2)]
        yield TwoWays(ways[0], _around(ways[1]))


def start_app(
    start: StartServer,
    root: Path,
    prefix: str = "",
    driver: Driver | None = None,
    **settings: Any,
) -> Running:
    app = app_over(root, prefix, driver)
    return start(app, headers=app.headers, **settings)


def app_over(root: Path, prefix: str = "", driver: Driver | None = None) -> App:
    registry = Registry(driver or LocalDriver(root, run_in_thread), run_in_thread)
    urls = UrlBuilder(prefix=prefix)
    return App(registry, Settings(urls=urls, headers=HEADERS, delete_enabled=True))


def cached(far: Driver, cache: Path, generations: Generations, revalidate_s: float) -> Driver:
    """Return the driver of a server whose store is far away, with a cache before it."""
    files = Cache(
        str(cache),
        max_size=0.8,
        sampling=0.0,
        off_loop=run_in_thread,
        spawn=gevent.spawn,
        sleep=gevent.sleep,
    )
    memory = Memory(far, generations, revalidate_s, gevent.sleep)
    return CachedDriver(far, files, memory, generations, identify)


def cached_root(root: Path, cache: Path, generations: Generations) -> Driver:
    return cached(FilelessDriver(root, run_in_thread), cache, generations, 3600)


def _around(running: Running) -> Running:
    running.server.lane.drain()
    return running


def request(target: str, *lines: str, method: str = "GET", version: str = "HTTP/1.1") -> bytes:
    head = [f"{method} {target} {version}", "Host: reg", *lines, "", ""]
    return "\r\n".join(head).encode("latin-1")
