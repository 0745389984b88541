"""The Azure driver on bad days: what a call said happened, happened once, or is told."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from azure.storage.blob import ContainerClient

from fastreg.storage.azure import AzureDriver
from fastreg.storage.base import ABSENT, Driver
from fastreg.storage.errors import Conflict, NotFound, StorageError
from tests.faulty import faults
from tests.faulty.cloud import Cloud
from tests.faulty.exchange import Exchange
from tests.faulty.faults import Fault
from tests.faulty.proxy import FaultProxy
from tests.live.processes import wait_until

MIB = 1 << 20
KEY = "docker/registry/v2/repositories/app/_manifests/tags/latest/current/link"
BLOB = "docker/registry/v2/blobs/sha256/ab/abcd/data"
RETRIES = 4
"""What `cloud` is set to."""

SURMOUNTABLE: dict[str, Fault] = {
    "throttled": faults.refuse(503),
    "throttled, told when to come back": faults.refuse(503, Retry_After="0"),
    "throttled as 429": faults.refuse(429, "TooManyRequests"),
    "failed": faults.refuse(500, "InternalError"),
    "timed out there": faults.refuse(500, "OperationTimedOut"),
    "gateway": faults.gateway,
    "reset": faults.reset,
    "applied, then failed": faults.lose(500),
    "applied, then throttled": faults.lose(503),
    "applied, then reset": faults.lose(None),
    "delivered twice": faults.twice,
}


@pytest.fixture(params=SURMOUNTABLE)
def fault(request: pytest.FixtureRequest) -> Fault:
    return SURMOUNTABLE[request.param]


def there(container: ContainerClient, key: str) -> bytes:
    """What the account has under the key, asked past the proxy."""
    return bytes(container.download_blob(key).readall())


def somebody_else(change: Callable[[], object], status: int = 500) -> Fault:
    """Have the request carried out, then another's, and lose the answer."""

    def fault(exchange: Exchange) -> None:
        exchange.deliver()
        change()
        exchange.answer(status, "InternalError")

    return fault


# --- put


@pytest.mark.parametrize("condition", ["none", "absent", "version"])
def test_a_put_is_done_once(
    azure: Driver, proxy: FaultProxy, container: ContainerClient, fault: Fault, condition: str
) -> None:
    if condition == "version":
        azure.put(KEY, b"old")
    version = {"none": None, "absent": ABSENT}.get(condition) or (
        azure.stat(KEY).version if condition == "version" else None
    )
    rule = proxy.inject("put", fault, key=KEY)
    azure.put(KEY, b"new", if_version=version)
    assert rule.is_done
    assert there(container, KEY) == azure.get(KEY, 100) == b"new"


@pytest.mark.parametrize("refusal", [faults.refuse(500), faults.reset])
def test_a_put_that_comes_too_late_after_a_failure_is_a_conflict(
    azure: Driver, proxy: FaultProxy, container: ContainerClient, refusal: Fault
) -> None:
    def fault(exchange: Exchange) -> None:
        container.upload_blob(KEY, b"theirs")
        refusal(exchange)

    proxy.inject("put", fault)
    with pytest.raises(Conflict):
        azure.put(KEY, b"ours", if_version=ABSENT)
    assert there(container, KEY) == b"theirs"


def test_the_same_bytes_put_by_another_are_a_conflict_all_the_same(
    azure: Driver, proxy: FaultProxy, container: ContainerClient
) -> None:
    def fault(exchange: Exchange) -> None:
        container.upload_blob(KEY, b"same")
        exchange.answer(500, "InternalError")

    proxy.inject("put", fault)
    with pytest.raises(Conflict):
        azure.put(KEY, b"same", if_version=ABSENT)
    assert there(container, KEY) == b"same"


def test_a_conditional_put_whose_answer_was_lost_does_not_undo_what_followed(
    azure: Driver, proxy: FaultProxy, container: ContainerClient
) -> None:
    azure.put(KEY, b"old")
    version = azure.stat(KEY).version
    next_one = somebody_else(lambda: container.upload_blob(KEY, b"newest", overwrite=True))
    proxy.inject("put", next_one)
    # Nobody can tell any more whether it happened; what matters is what is there.
    with pytest.raises(StorageError):
        azure.put(KEY, b"new", if_version=version)
    assert there(container, KEY) == b"newest"


def test_a_conditional_put_that_arrives_late_changes_nothing(
    azure: Driver, proxy: FaultProxy, container: ContainerClient
) -> None:
    azure.put(KEY, b"old")
    gate = threading.Event()
    proxy.inject("put", faults.late(gate))
    azure.put(KEY, b"new", if_version=azure.stat(KEY).version)
    container.upload_blob(KEY, b"newest", overwrite=True)
    gate.set()
    first = next(seen for seen in proxy.requests("put", KEY) if "if-match" in seen.headers)
    wait_until(lambda: first.is_over, "it has arrived")
    assert first.status == 500
    assert there(container, KEY) == b"newest"


# --- delete


# The second of two deletions is told that there is nothing to delete, and that is true.
@pytest.mark.parametrize("fault", sorted(set(SURMOUNTABLE) - {"delivered twice"}), indirect=True)
@pytest.mark.parametrize("conditional", [False, True])
def test_a_deletion_is_done_once(
    azure: Driver, proxy: FaultProxy, container: ContainerClient, fault: Fault, conditional: bool
) -> None:
    azure.put(KEY, b"old")
    version = azure.stat(KEY).version if conditional else None
    rule = proxy.inject("delete", fault)
    azure.delete(KEY, if_version=version)
    assert rule.is_done
    assert not container.get_blob_client(KEY).exists()


def test_a_conditional_deletion_whose_answer_was_lost_spares_what_followed(
    azure: Driver, proxy: FaultProxy, container: ContainerClient
) -> None:
    azure.put(KEY, b"old")
    version = azure.stat(KEY).version
    proxy.inject("delete", somebody_else(lambda: container.upload_blob(KEY, b"new")))
    with pytest.raises(StorageError):
        azure.delete(KEY, if_version=version)
    assert there(container, KEY) == b"new"


# --- questions


@pytest.mark.parametrize("ask", ["stat", "get", "open"])
def test_what_a_copy_has_yet_to_bring_is_not_there(
    azure: Driver, proxy: FaultProxy, container: ContainerClient, ask: str
) -> None:
    container.upload_blob(BLOB, b"half of it")
    pending = faults.with_headers(x_ms_copy_status="pending")
    for kind in ("head", "get"):
        proxy.inject(kind, pending)
    with pytest.raises(NotFound):
        {"stat": azure.stat, "get": lambda key: azure.get(key, 100), "open": azure.open}[ask](BLOB)
    proxy.heal()
    assert azure.get(BLOB, 100) == b"half of it"


@pytest.mark.parametrize("kind", ["head", "get", "list"])
def test_a_question_is_answered_all_the_same(
    azure: Driver, proxy: FaultProxy, fault: Fault, kind: str
) -> None:
    azure.put(KEY, b"value")
    size = azure.stat(KEY).size
    proxy.heal()
    rule = proxy.inject(kind, fault)
    assert azure.stat(KEY).size == size == 5
    assert azure.get(KEY, 100) == b"value"
    assert list(azure.list("docker/registry")) == ["v2"]
    assert rule.is_done


@pytest.mark.parametrize("sent", [0, 1, 3])
def test_a_small_object_cut_short_is_read_again(
    azure: Driver, proxy: FaultProxy, sent: int
) -> None:
    azure.put(KEY, b"value")
    rule = proxy.inject("get", faults.cut_at(sent))
    assert azure.get(KEY, 100) == b"value"
    assert rule.is_done


def test_a_list_cut_short_is_not_taken_for_whole(
    azure: Driver, proxy: FaultProxy, container: ContainerClient
) -> None:
    names = [f"name-{i:03}" for i in range(30)]
    for name in names:
        container.upload_blob(f"top/{name}", b"")
    for sent in (0, 100, 2000):
        proxy.heal()
        rule = proxy.inject("list", faults.cut_at(sent))
        assert list(azure.list("top")) == names
        assert rule.is_done


# --- no storm


ASKS: dict[str, Callable[[Driver], object]] = {
    "head": lambda driver: driver.stat(KEY),
    "get": lambda driver: driver.get(KEY, 100),
    "list": lambda driver: list(driver.list("docker")),
    "put": lambda driver: driver.put(KEY, b"new"),
    "delete": lambda driver: driver.delete(KEY),
}


@pytest.mark.parametrize("kind", ASKS)
@pytest.mark.parametrize("refusal", [faults.refuse(503), faults.reset])
def test_an_account_that_stays_down_is_asked_a_bounded_number_of_times(
    azure: Driver, proxy: FaultProxy, kind: str, refusal: Fault
) -> None:
    azure.put(KEY, b"value")
    proxy.heal()
    proxy.choose(lambda seen: refusal)
    with pytest.raises(StorageError) as caught:
        ASKS[kind](azure)
    assert not isinstance(caught.value, NotFound | Conflict)
    assert 2 <= len(proxy.seen) <= RETRIES + 1


@pytest.mark.parametrize("status", [400, 403, 409])
def test_a_refusal_for_good_is_not_asked_again(
    azure: Driver, proxy: FaultProxy, status: int
) -> None:
    proxy.inject("head", faults.refuse(status, "Odd"), times=9)
    with pytest.raises(StorageError):
        azure.stat(KEY)
    assert proxy.count("head") == 1


def test_nobody_waits_for_an_answer_that_another_does_not_get(
    cloud: Cloud, container: ContainerClient
) -> None:
    """The very first question, which tells how names begin, is no exception."""
    container.upload_blob(KEY, b"value")
    azure = AzureDriver(cloud.settings)
    rule = cloud.proxy.inject("list", faults.silence)
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(azure.get, KEY, 100)
        wait_until(lambda: rule.is_done, "one waits")
        assert azure.get(KEY, 100) == b"value"
        assert not waiting.done()
        cloud.proxy.cut()
        cloud.proxy.restore()
        assert waiting.result() == b"value"
