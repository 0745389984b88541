"""What is remembered of objects, for how long, and how often the store is asked."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gevent
import pytest
from gevent.event import Event

from fastreg.storage import memory
from fastreg.storage.base import Driver
from fastreg.storage.errors import NotFound, StorageError
from fastreg.storage.generations import Generations
from fastreg.storage.local import LocalDriver
from fastreg.storage.memory import Memory
from tests.registry.faults import HookedDriver

REVALIDATE_S = 1.0
RENEWED_S = REVALIDATE_S / 2
"""When what is asked for again is asked of the store again."""

Ask = Callable[[Memory, str], Any]


class Clock:
    now_s = 100.0

    def monotonic(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(memory, "time", clock)
    return clock


@pytest.fixture
def driver(tmp_path: Path) -> HookedDriver:
    driver = HookedDriver(LocalDriver(tmp_path))
    driver.put("a", b"first")
    return driver


@pytest.fixture
def calls(driver: HookedDriver) -> list[str]:
    calls: list[str] = []
    driver.before = lambda call, key: calls.append(f"{call} {key}")
    return calls


@pytest.fixture
def generations() -> Generations:
    return Generations()


MakeMemory = Callable[..., Memory]


@pytest.fixture
def make(driver: HookedDriver, generations: Generations, clock: Clock) -> MakeMemory:
    def make(revalidate_s: float = REVALIDATE_S, **more: Any) -> Memory:
        return Memory(driver, generations, revalidate_s, gevent.sleep, **more)

    return make


@pytest.fixture
def remembering(make: MakeMemory) -> Memory:
    return make()


def stat(driver: Memory | Driver, key: str) -> Any:
    return driver.stat(key)


def get(driver: Memory | Driver, key: str) -> Any:
    return driver.get(key, 100)


ASKS = pytest.mark.parametrize("ask", [stat, get])


# --- for how long


@ASKS
def test_the_store_is_asked_again_after_half_of_the_time(
    remembering: Memory, driver: HookedDriver, calls: list[str], clock: Clock, ask: Ask
) -> None:
    expected = ask(driver.inner, "a")  # type: ignore[arg-type]
    assert ask(remembering, "a") == expected
    clock.now_s += RENEWED_S - 0.001
    assert ask(remembering, "a") == expected
    assert len(calls) == 1
    clock.now_s += 0.001
    assert ask(remembering, "a") == expected
    assert len(calls) == 2


@ASKS
def test_a_change_on_this_machine_is_seen_at_once(
    remembering: Memory, driver: HookedDriver, generations: Generations, ask: Ask
) -> None:
    before = ask(remembering, "a")
    driver.inner.put("a", b"other")
    assert ask(remembering, "a") == before
    generations.advance("a")
    assert ask(remembering, "a") == ask(driver, "a") != before  # type: ignore[arg-type]


@ASKS
def test_a_change_elsewhere_is_seen_in_time(
    remembering: Memory, driver: HookedDriver, clock: Clock, ask: Ask
) -> None:
    before = ask(remembering, "a")
    driver.inner.put("a", b"other")
    clock.now_s += REVALIDATE_S
    assert ask(remembering, "a") == ask(driver, "a") != before  # type: ignore[arg-type]


@ASKS
def test_absence_is_never_remembered(
    remembering: Memory, driver: HookedDriver, calls: list[str], clock: Clock, ask: Ask
) -> None:
    for _ in range(2):
        with pytest.raises(NotFound):
            ask(remembering, "b")
    assert len(calls) == 2
    driver.inner.put("b", b"pushed elsewhere")
    assert ask(remembering, "b") == ask(driver, "b")  # type: ignore[arg-type]


@ASKS
def test_a_deletion_elsewhere_is_seen_in_time(
    remembering: Memory, driver: HookedDriver, clock: Clock, ask: Ask
) -> None:
    ask(remembering, "a")
    driver.inner.delete("a")
    clock.now_s += REVALIDATE_S
    for _ in range(2):
        with pytest.raises(NotFound):
            ask(remembering, "a")


@ASKS
def test_a_time_of_none_asks_always(
    make: MakeMemory, driver: HookedDriver, calls: list[str], ask: Ask
) -> None:
    always = make(0)
    assert [ask(always, "a") for _ in range(3)] == [ask(driver.inner, "a")] * 3  # type: ignore[arg-type]
    assert len(calls) == 3
    assert always.witness("a") is None


def test_bytes_whose_version_is_the_same_are_not_fetched_again(
    remembering: Memory, driver: HookedDriver, calls: list[str], clock: Clock
) -> None:
    for _ in range(3):
        stat(remembering, "a")
        assert get(remembering, "a") == b"first"
        clock.now_s += REVALIDATE_S
    assert calls == ["stat a", "get a", "stat a", "stat a"]
    driver.inner.put("a", b"other")
    assert get(remembering, "a") == b"other"
    assert calls[4:] == ["stat a", "get a"]


def test_bytes_are_not_taken_for_those_of_a_version_that_came_later(
    remembering: Memory, driver: HookedDriver, clock: Clock
) -> None:
    assert get(remembering, "a") == b"first"
    driver.inner.put("a", b"other")
    stat(remembering, "a")
    assert get(remembering, "a") == b"other"
    driver.before = lambda call, key: driver.inner.put("a", b"third") if call == "get" else None
    clock.now_s += REVALIDATE_S
    driver.inner.put("a", b"fourth")
    for _ in range(2):  # the first is read as it changes
        assert get(remembering, "a") == b"third"
        clock.now_s += REVALIDATE_S
    driver.before = lambda call, key: None
    driver.inner.put("a", b"fifth")
    assert get(remembering, "a") == b"fifth"


def test_more_than_wanted_is_refused_though_it_is_remembered(remembering: Memory) -> None:
    assert get(remembering, "a") == b"first"
    with pytest.raises(StorageError, match="larger than 4 bytes"):
        remembering.get("a", 4)


def test_what_was_not_asked_for_the_longest_makes_room(
    make: MakeMemory, driver: HookedDriver, calls: list[str]
) -> None:
    for key in "bcd":
        driver.inner.put(key, bytes(50_000))
    small = make(max_bytes=120_000)
    for key in "bcbd":
        small.get(key, 100_000)
    calls.clear()
    for key in "bdc":
        small.get(key, 100_000)
    assert calls == ["get c"]
    assert small._bytes <= 120_000


@pytest.fixture
def elsewhere(make: MakeMemory) -> Memory:
    """Another worker's of this machine."""
    return make()


@ASKS
def test_a_change_elsewhere_that_one_worker_sees_all_see(
    remembering: Memory, elsewhere: Memory, driver: HookedDriver, clock: Clock, ask: Ask
) -> None:
    before = ask(remembering, "a")
    clock.now_s += REVALIDATE_S - 0.1
    assert ask(elsewhere, "a") == before
    witness = elsewhere.witness("a")
    driver.inner.put("a", b"other")
    clock.now_s += 0.1
    after = ask(remembering, "a")
    assert after == ask(elsewhere, "a") == ask(remembering, "a") != before
    assert elsewhere.witness("a") not in (None, witness)


@ASKS
def test_a_deletion_elsewhere_that_one_worker_sees_all_see(
    remembering: Memory, elsewhere: Memory, driver: HookedDriver, clock: Clock, ask: Ask
) -> None:
    ask(remembering, "a")
    clock.now_s += REVALIDATE_S - 0.1
    ask(elsewhere, "a")
    driver.inner.delete("a")
    clock.now_s += 0.1
    for each in (remembering, elsewhere, remembering):
        with pytest.raises(NotFound):
            ask(each, "a")


@ASKS
def test_what_is_the_same_moves_no_counter(
    remembering: Memory, generations: Generations, clock: Clock, ask: Ask
) -> None:
    before = generations.of("a")
    for _ in range(3):
        ask(remembering, "a")
        with pytest.raises(NotFound):
            ask(remembering, "b")
        clock.now_s += REVALIDATE_S
    assert (generations.of("a"), generations.of("b")[1]) == (before, 0)


# --- one question for all


class Gate:
    """Holds the store's answers back until it is opened."""

    def __init__(self, driver: HookedDriver) -> None:
        self.opened = Event()
        driver.after = lambda call, key: self.opened.wait(10) and None


def asked_by_many(ask: Ask, remembering: Memory, key: str, count: int = 20) -> list[Any]:
    greenlets = [gevent.spawn(ask, remembering, key) for _ in range(count)]
    gevent.sleep(0.01)
    return greenlets


@ASKS
def test_many_who_ask_at_once_ask_the_store_once(
    remembering: Memory, driver: HookedDriver, calls: list[str], ask: Ask
) -> None:
    gate = Gate(driver)
    greenlets = asked_by_many(ask, remembering, "a")
    gate.opened.set()
    gevent.joinall(greenlets, raise_error=True)
    assert [g.value for g in greenlets] == [ask(driver.inner, "a")] * 20  # type: ignore[arg-type]
    assert len(calls) == 1


@ASKS
def test_while_one_asks_anew_the_others_are_told_what_still_holds(
    remembering: Memory, driver: HookedDriver, calls: list[str], clock: Clock, ask: Ask
) -> None:
    before = ask(remembering, "a")
    gate = Gate(driver)
    clock.now_s += RENEWED_S
    renewing = gevent.spawn(ask, remembering, "a")
    gevent.sleep(0)
    clock.now_s += RENEWED_S - 0.001
    assert ask(remembering, "a") == before
    assert not renewing.ready()
    clock.now_s += 0.001
    late = gevent.spawn(ask, remembering, "a")
    gevent.sleep(0.01)
    assert not late.ready()
    gate.opened.set()
    gevent.joinall([renewing, late], raise_error=True)
    assert renewing.value == late.value == before
    assert len(calls) == 2


@ASKS
def test_many_who_ask_for_what_is_absent_are_told_so_by_two_questions(
    remembering: Memory, driver: HookedDriver, calls: list[str], clock: Clock, ask: Ask
) -> None:
    gate = Gate(driver)
    first = gevent.spawn(_outcome, ask, remembering)
    gevent.sleep(0)
    clock.now_s += 0.1
    others = [gevent.spawn(_outcome, ask, remembering) for _ in range(20)]
    gevent.sleep(0.01)
    clock.now_s += 0.1
    gate.opened.set()
    gevent.joinall([first, *others], raise_error=True)
    assert {g.value for g in (first, *others)} == {"NotFound"}
    assert len(calls) == 2


@ASKS
def test_what_was_absent_before_one_asked_is_not_told_him(
    remembering: Memory, driver: HookedDriver, clock: Clock, ask: Ask
) -> None:
    gate = Gate(driver)
    first = gevent.spawn(_outcome, ask, remembering)
    gevent.sleep(0)
    driver.inner.put("b", b"pushed elsewhere, and acknowledged")
    clock.now_s += 0.1
    second = gevent.spawn(_outcome, ask, remembering)
    gevent.sleep(0.01)
    clock.now_s += 0.1
    gate.opened.set()
    gevent.joinall([first, second], raise_error=True)
    assert (first.value, second.value) == ("NotFound", ask(driver.inner, "b"))  # type: ignore[arg-type]


def _outcome(ask: Ask, remembering: Memory) -> Any:
    try:
        return ask(remembering, "b")
    except NotFound:
        return "NotFound"


def test_an_answer_slower_than_the_time_is_told_to_all_who_came_before(
    remembering: Memory, driver: HookedDriver, calls: list[str], clock: Clock
) -> None:
    gate = Gate(driver)
    greenlets = asked_by_many(get, remembering, "a")
    clock.now_s += 3 * REVALIDATE_S
    gate.opened.set()
    gevent.joinall(greenlets, raise_error=True)
    assert [g.value for g in greenlets] == [b"first"] * 20
    assert len(calls) == 1
    assert get(remembering, "a") == b"first"
    assert len(calls) == 2


def test_one_who_is_killed_leaves_the_question_to_the_next(
    remembering: Memory, driver: HookedDriver, calls: list[str]
) -> None:
    gate = Gate(driver)
    first, *others = asked_by_many(get, remembering, "a")
    first.kill()
    gate.opened.set()
    gevent.joinall(others, raise_error=True)
    assert [g.value for g in others] == [b"first"] * 19
    assert len(calls) == 2


@ASKS
def test_a_change_in_between_is_seen_by_who_asks_after_it(
    remembering: Memory,
    driver: HookedDriver,
    generations: Generations,
    clock: Clock,
    ask: Ask,
) -> None:
    gate = Gate(driver)
    first = gevent.spawn(ask, remembering, "a")
    gevent.sleep(0)
    driver.inner.put("a", b"other")
    generations.advance("a")
    clock.now_s += 0.001
    second = gevent.spawn(ask, remembering, "a")
    gevent.sleep(0.01)
    clock.now_s += 0.001
    gate.opened.set()
    gevent.joinall([first, second], raise_error=True)
    assert second.value == ask(driver.inner, "a") != first.value  # type: ignore[arg-type]


# --- witnesses


def test_a_witness_ends_with_what_is_told_beside_it(
    remembering: Memory, clock: Clock, generations: Generations
) -> None:
    begin = clock.now_s
    counter, value = generations.of("a")
    assert remembering.witness("a") == (counter, value, begin + REVALIDATE_S)
    get(remembering, "a")
    clock.now_s += 0.2
    assert remembering.witness("a") == (counter, value, begin + REVALIDATE_S)
    clock.now_s += 0.4  # what is told now is asked now
    assert remembering.witness("a") == (counter, value, clock.now_s + REVALIDATE_S)


def test_a_witness_of_what_has_changed_is_that_of_what_will_be_asked(
    remembering: Memory, clock: Clock, generations: Generations
) -> None:
    get(remembering, "a")
    generations.advance("a")
    clock.now_s += 0.1
    assert remembering.witness("a") == (*generations.of("a"), clock.now_s + REVALIDATE_S)


def test_a_witness_beside_a_question_is_as_old_as_the_question(
    remembering: Memory, driver: HookedDriver, clock: Clock, generations: Generations
) -> None:
    begin = clock.now_s
    gate = Gate(driver)
    greenlets = asked_by_many(get, remembering, "a")
    clock.now_s += 0.3
    assert remembering.witness("a") == (*generations.of("a"), begin + REVALIDATE_S)
    gate.opened.set()
    gevent.joinall(greenlets, raise_error=True)


def test_nothing_told_outlives_its_witness(
    driver: HookedDriver, remembering: Memory, clock: Clock, generations: Generations
) -> None:
    """What is told beside a witness, checked against every state that the object had in the
    time in which it may be told on."""
    chance = random.Random(4)
    history = [(clock.now_s, b"first")]  # since when it is what
    told: list[tuple[float, bytes]] = []
    for number in range(2000):
        clock.now_s += chance.choice([0, 0.01, 0.3])
        if chance.random() < 0.3:
            data = b"state %d" % number
            driver.inner.put("a", data)
            history.append((clock.now_s, data))
            if chance.random() < 0.5:
                generations.advance("a")
        else:
            witness = remembering.witness("a")
            assert witness is not None
            if chance.random() < 0.5:
                stat(remembering, "a")
            told.append((witness.until, get(remembering, "a")))
            until, data = told[-1]
            ended = [since for since, _ in history[1 + history.index(_state(history, data)) :]]
            assert not ended or until <= ended[0] + REVALIDATE_S
    assert len(told) > 1000


def _state(history: list[tuple[float, bytes]], data: bytes) -> tuple[float, bytes]:
    return next(state for state in history if state[1] == data)
