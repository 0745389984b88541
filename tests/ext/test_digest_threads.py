"""Digests in several threads: serialised, never torn, the GIL free while they hash."""

import hashlib
import sys
import threading
from collections.abc import Callable, Iterator

import pytest

from fastreg.fastlane import Sha256, Sha512

Digest = Sha256 | Sha512
THREADS = 4
TIMEOUT_S = 60


def run_together(*work: Callable[[], None]) -> None:
    start = threading.Barrier(len(work))
    failures: list[BaseException] = []

    def run(task: Callable[[], None]) -> None:
        try:
            start.wait(TIMEOUT_S)
            task()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(task,), daemon=True) for task in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT_S)
    assert not failures
    assert not any(thread.is_alive() for thread in threads)


@pytest.mark.parametrize("size", [63, 2047, 2048, 65_537])
@pytest.mark.parametrize("algorithm", [Sha256, Sha512])
def test_updates_from_several_threads_are_all_counted_and_none_is_torn(
    algorithm: type[Digest], size: int
) -> None:
    digest, piece, times = algorithm(), b"\x42" * size, 200

    def update() -> None:
        for _ in range(times):
            digest.update(piece)

    run_together(*[update] * THREADS)
    expected = hashlib.new(algorithm.name, piece * times * THREADS)
    assert digest.length == size * times * THREADS
    assert digest.hexdigest() == expected.hexdigest()


@pytest.mark.parametrize("algorithm", [Sha256, Sha512])
def test_what_is_read_while_another_thread_updates_is_a_whole_state(
    algorithm: type[Digest],
) -> None:
    digest, piece, times = algorithm(), b"\x17" * 8191, 200
    stop = threading.Event()

    def update() -> None:
        for _ in range(times):
            digest.update(piece)
        stop.set()

    def read() -> None:
        while not stop.is_set():
            seen = algorithm.restore(digest.export_state())
            assert seen.length % len(piece) == 0
            assert len(digest.digest()) == len(seen.digest())

    run_together(update, read, read)
    assert digest.hexdigest() == hashlib.new(algorithm.name, piece * times).hexdigest()


def test_digests_of_their_own_in_several_threads_do_not_disturb_each_other() -> None:
    data = bytes(range(256)) * 4096
    results: list[str] = []

    def hash_all() -> None:
        digest = Sha256()
        for at in range(0, len(data), 100_003):
            digest.update(memoryview(data)[at : at + 100_003])
        results.append(digest.hexdigest())

    run_together(*[hash_all] * THREADS)
    assert results == [hashlib.sha256(data).hexdigest()] * THREADS


@pytest.fixture
def gil_only_given_away() -> Iterator[None]:
    """Nobody is asked for the GIL: a thread runs Python until it lets go by itself."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1000)
    yield
    sys.setswitchinterval(before)


def who_runs_first_after_updates_begin(size: int, times: int) -> str:
    begun, order, data = threading.Event(), list[str](), bytes(size)

    def update() -> None:
        digest = Sha256()
        begun.set()
        for _ in range(times):
            digest.update(data)
        order.append("the one that hashes")

    thread = threading.Thread(target=update, daemon=True)
    thread.start()
    assert begun.wait(TIMEOUT_S)
    order.append("another thread")
    thread.join(TIMEOUT_S)
    return order[0]


@pytest.mark.usefixtures("gil_only_given_away")
def test_other_threads_run_while_a_large_update_hashes() -> None:
    # The other thread may wake up too late once, on a busy machine; not every time.
    attempts = (who_runs_first_after_updates_begin(64 << 20, 1) for _ in range(20))
    assert "another thread" in attempts


@pytest.mark.usefixtures("gil_only_given_away")
def test_small_updates_keep_the_gil() -> None:
    assert who_runs_first_after_updates_begin(2047, 20_000) == "the one that hashes"
