"""One who fills and many who read, in several processes: death, takeover, and no byte twice."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.storage.caches import Caching
from tests.storage.stores import SOURCES, hear

MIB = 1 << 20
PROGRAM = """
import hashlib, sys
from pathlib import Path
import gevent
from tests.storage.caches import Caching, bytes_of

caching = Caching(Path(sys.argv[1]))
key, readers, delay_s = sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
caching.far.faults.delay_s = delay_s

def read():
    digest = hashlib.sha256()
    with caching.driver.open(key) as readable:
        for segment in readable.segments():
            digest.update(bytes_of(segment))
    return digest.hexdigest()

print("ready", flush=True)
input()
greenlets = [gevent.spawn(read) for _ in range(readers)]
gevent.joinall(greenlets)
caching.settle()
print(*[g.value for g in greenlets], flush=True)
"""


class Readers:
    """A process with greenlets that read a blob."""

    def __init__(self, root: Path, key: str, count: int, delay_s: float) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(root), key, str(count), str(delay_s)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": SOURCES},
        )
        assert hear(self.process) == "ready"

    def start(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def digests(self) -> list[str]:
        """What each of them read, once all are through."""
        lines = iter(lambda: hear(self.process), "")
        return next(line for line in lines if "[" not in line).split()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def caching(tmp_path: Path) -> Caching:
    return Caching(tmp_path)


Start = Callable[..., Readers]


@pytest.fixture
def start(caching: Caching) -> Iterator[Start]:
    started: list[Readers] = []

    def start(key: str, count: int, delay_s: float = 0.0) -> Readers:
        started.append(Readers(caching.root, key, count, delay_s))
        return started[-1]

    yield start
    for readers in started:
        with readers.process:
            readers.process.kill()


def wait_for(condition: Callable[[], bool]) -> None:
    for _ in range(20_000):
        if condition():
            return
        time.sleep(0.001)
    raise AssertionError("it does not come to that")


def size_of(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def test_two_processes_fetch_a_blob_once(caching: Caching, start: Start) -> None:
    key, data = caching.put(16 * MIB)
    both = [start(key, 20, 0.002) for _ in range(2)]
    for readers in both:
        readers.start()
    expected = hashlib.sha256(data).hexdigest()
    assert [digest for readers in both for digest in readers.digests()] == [expected] * 40
    assert caching.far.opened == [0]
    assert caching.far.sent == len(data)


def test_a_killed_filler_is_followed_where_it_stopped(caching: Caching, start: Start) -> None:
    key, data = caching.put(24 * MIB)
    filling, waiting = start(key, 1, 0.02), start(key, 40)
    filling.start()
    wait_for(lambda: size_of(caching.partial(key)) >= 4 * MIB)
    waiting.start()
    wait_for(lambda: size_of(caching.partial(key)) >= 8 * MIB)
    filling.kill()
    there = size_of(caching.partial(key))
    assert there < len(data)
    assert waiting.digests() == [hashlib.sha256(data).hexdigest()] * 40
    assert caching.far.opened == [0, there]
    assert caching.file(key).read_bytes() == data


def test_a_filler_killed_again_and_again_never_leaves_wrong_bytes(
    caching: Caching, start: Start
) -> None:
    key, data = caching.put(24 * MIB)
    waiting = start(key, 10, 0.005)
    for reached in range(1, 5):
        filling = start(key, 1, 0.005)
        filling.start()
        wait_for(lambda reached=reached: size_of(caching.partial(key)) >= 4 * reached * MIB)
        filling.kill()
    waiting.start()
    assert waiting.digests() == [hashlib.sha256(data).hexdigest()] * 10
    # What a killed filler had read and not yet written is all that is read twice.
    assert len(data) <= caching.far.sent <= len(data) + 4 * MIB
    assert caching.far.opened == sorted(caching.far.opened)


def test_of_many_that_want_to_take_over_one_does(caching: Caching, start: Start) -> None:
    key, data = caching.put(16 * MIB)
    filling = start(key, 1, 0.02)
    others = [start(key, 5, 0.002) for _ in range(3)]
    filling.start()
    wait_for(lambda: size_of(caching.partial(key)) >= 4 * MIB)
    for readers in others:
        readers.start()
    filling.kill()
    expected = [hashlib.sha256(data).hexdigest()] * 5
    assert [readers.digests() for readers in others] == [expected] * 3
    assert len(caching.far.opened) == 2


def test_what_was_cached_is_there_after_a_restart(caching: Caching, start: Start) -> None:
    key, data = caching.put(4 * MIB)
    before, after = start(key, 1), start(key, 1)
    before.start()
    assert before.digests() == [hashlib.sha256(data).hexdigest()]
    wait_for(caching.file(key).exists)
    before.kill()
    after.start()
    assert after.digests() == [hashlib.sha256(data).hexdigest()]
    assert caching.far.opened == [0]
