"""What the transfers of a driver may have on their way."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future

import pytest

from fastreg.storage.azure_blocks import FIRST_BLOCK_BYTES as BLOCK
from fastreg.storage.azure_transfers import Transfers

PATIENCE_S = 30


@pytest.fixture
def transfers() -> Iterator[Transfers]:
    transfers = Transfers()
    yield transfers
    transfers.threads.shutdown()


@pytest.fixture
def arrive() -> Iterator[threading.Event]:
    """Blocks are on their way until this is set."""
    arrive = threading.Event()
    yield arrive
    arrive.set()


def send(transfers: Transfers, arrive: threading.Event, size: int = BLOCK) -> Future[None]:
    return transfers.send(size, lambda: arrive.wait(PATIENCE_S) and None)


def test_who_begins_to_send_waits_until_one_who_was_alone_has_less_on_its_way(
    transfers: Transfers, arrive: threading.Event
) -> None:
    transfers.count_sender(1)
    first = [send(transfers, arrive) for _ in range(5)]
    transfers.count_sender(1)
    second = transfers.threads.submit(send, transfers, arrive)
    with pytest.raises(TimeoutError):
        second.result(0.1)
    assert not any(sent.done() for sent in first)
    arrive.set()
    assert second.result(PATIENCE_S).result(PATIENCE_S) is None


def test_larger_blocks_do_not_keep_a_smaller_one_out(
    transfers: Transfers, arrive: threading.Event
) -> None:
    first = threading.Event()
    transfers.count_sender(2)
    send(transfers, first, 16 * BLOCK)
    smaller = transfers.threads.submit(send, transfers, arrive)
    with pytest.raises(TimeoutError):
        smaller.result(0.1)
    larger = transfers.threads.submit(send, transfers, arrive, 16 * BLOCK)
    with pytest.raises(TimeoutError):
        larger.result(0.1)
    first.set()
    assert not smaller.result(PATIENCE_S).done()
    assert not larger.result(PATIENCE_S).done()


def test_each_of_many_writers_has_a_block_on_its_way(
    transfers: Transfers, arrive: threading.Event
) -> None:
    transfers.count_sender(12)
    sent = [send(transfers, arrive) for _ in range(12)]
    assert not any(one.done() for one in sent)


def test_a_block_that_cannot_be_sent_gives_its_room_back(transfers: Transfers) -> None:
    def fail() -> None:
        raise OSError("the line is down")

    transfers.count_sender(1)
    failures = [transfers.send(BLOCK, fail).exception(PATIENCE_S) for _ in range(20)]
    assert all(isinstance(failure, OSError) for failure in failures)
