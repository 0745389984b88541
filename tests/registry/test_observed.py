"""An observation vouches for what was read, and for nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fastreg.registry.observed import MAX_WITNESSES, ObservedDriver
from fastreg.storage.base import Driver, Generation
from fastreg.storage.errors import NotFound
from fastreg.storage.local import LocalDriver
from tests.registry.faults import HookedDriver
from tests.storage.witnesses import Clock


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture
def calls(driver: HookedDriver) -> list[str]:
    for key in ("a", "b", "c", "d"):
        driver.put(key, key.encode())
    calls: list[str] = []
    driver.before = lambda call, key: calls.append(f"{call} {key}")
    return calls


@pytest.fixture
def observed(driver: HookedDriver, calls: list[str]) -> ObservedDriver:
    return ObservedDriver(driver)


def test_nothing_asked_needs_no_witness(observed: ObservedDriver) -> None:
    assert observed.witnesses() == ()


def test_each_object_is_witnessed_once_before_it_is_first_asked_for(
    observed: ObservedDriver, driver: HookedDriver, calls: list[str]
) -> None:
    assert observed.get("b", 9) == b"b"
    assert observed.stat("a").size == 1
    assert observed.get("a", 9) == b"a"
    with observed.open("c", 0, 1) as readable:
        assert readable.read(9) == b"c"
    assert calls == ["witness b", "get b", "witness a", "stat a", "get a", "witness c", "open c"]
    assert observed.witnesses() == tuple(driver.witness(key) for key in "bac")


def test_more_objects_than_a_server_asks_for_are_not_vouched_for(observed: ObservedDriver) -> None:
    for key in "abcd"[: MAX_WITNESSES + 1]:
        observed.stat(key)
    assert observed.witnesses() is None


class Remembering(LocalDriver):
    """Has counters for witnesses, of absent objects too."""

    until = dict.fromkeys("abcdx", 7.0)

    def witness(self, key: str) -> Generation:  # type: ignore[override]
        return Generation(ord(key), 1, self.until[key])


@pytest.fixture
def remembering(driver: HookedDriver, calls: list[str], root: Path) -> ObservedDriver:
    driver.inner = Remembering(root)
    return ObservedDriver(driver)


def test_counters_are_witnesses_that_end_with_the_first_of_them(
    remembering: ObservedDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Remembering, "until", {"a": 9.0, "b": 5.0, "c": 6.0})
    assert remembering.until() is None
    for key, until in (("a", 9.0), ("b", 5.0), ("c", 5.0)):
        remembering.get(key, 9)
        assert remembering.until() == until
    assert remembering.witnesses() == ((97, 1, 9.0), (98, 1, 5.0), (99, 1, 6.0))


def test_files_tell_of_every_change_for_ever(observed: ObservedDriver) -> None:
    observed.stat("a")
    assert (len(observed.witnesses() or ()), observed.until()) == (1, None)


@pytest.mark.parametrize("ask", ["stat", "get", "open"])
def test_of_an_absent_object_a_counter_tells_nothing(remembering: ObservedDriver, ask: str) -> None:
    with pytest.raises(NotFound):
        remembering.get("x", 9) if ask == "get" else getattr(remembering, ask)("x")
    assert remembering.witnesses() is None
    assert remembering.get("a", 9) == b"a"
    assert remembering.witnesses() is None


USES: dict[str, Callable[[Driver], object]] = {
    "list": lambda driver: driver.list(""),
    "put": lambda driver: driver.put("x", b""),
    "delete": lambda driver: driver.delete("a"),
    "sync": lambda driver: driver.sync("a"),
    "writer": lambda driver: driver.writer("x", append=False).close(),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_whatever_else_is_done_ends_the_observation(
    observed: ObservedDriver,
    driver: HookedDriver,
    use: Callable[[Driver], object],
    calls: list[str],
) -> None:
    use(observed)
    calls.clear()
    assert observed.get("b", 9) == b"b"
    assert calls == ["get b"]
    assert observed.witnesses() is None


@pytest.mark.parametrize("ask", ["stat", "get", "open"])
def test_an_absent_object_ends_the_observation(observed: ObservedDriver, ask: str) -> None:
    with pytest.raises(NotFound):
        observed.get("x", 9) if ask == "get" else getattr(observed, ask)("x")
    assert observed.witnesses() is None


def test_an_object_that_is_too_young_ends_the_observation(
    observed: ObservedDriver, clock: Clock
) -> None:
    clock.now_ns = 0
    assert observed.get("a", 9) == b"a"
    assert observed.witnesses() is None
