"""What was told of small objects, for as long as nobody can have changed them unnoticed.

A change made on this machine moves the object's counter on and is seen at once; one made
elsewhere within `revalidate_s`: who sees it first moves the counter, so that nobody on this
machine is told the old again. That an object is absent is never remembered: a push on another
machine is seen at once, too. To be used from one thread.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, Generic, TypeVar

from fastreg.storage.base import Driver, Generation, Stat
from fastreg.storage.errors import NotFound, StorageError
from fastreg.storage.generations import Generations

T = TypeVar("T")

MAX_BYTES: Final = 32 << 20
_ENTRY_BYTES: Final = 600
"""What an entry takes without its key and data."""
_PAUSE_S: Final = 0.002
_PAUSE_A_WAITER_S: Final = 0.00003
"""So that a thousand who wait do not keep the processor busy with it."""


@dataclass(frozen=True, slots=True)
class _Told:
    """An object as it was at some moment after `asked`."""

    asked: float
    value: int
    """Of the object's counter at `asked`."""
    stat: Stat | None = None
    data: bytes | None = None
    """Read after `stat` was told: while that is the version, these are the bytes."""


@dataclass(slots=True)
class _Question(Generic[T]):
    """One that is being asked. Those who want to know the same wait for what comes of it."""

    since: _Told
    answer: T | None = None
    error: Exception | None = None
    is_over: bool = False
    waiting: int = 0
    following: _Question[T] | None = None
    """Asked by one of those who waited, for all of them."""


class Memory:
    """Asks `inner` about each object once for all who want to know at the same time."""

    def __init__(
        self,
        inner: Driver,
        generations: Generations,
        revalidate_s: float,
        sleep: Callable[[float], None],
        max_bytes: int = MAX_BYTES,
    ) -> None:
        """With a `revalidate_s` of 0 everything is asked every time."""
        self._inner = inner
        self._generations = generations
        self._revalidate_s = revalidate_s
        self._sleep = sleep
        self._max_bytes = max_bytes
        self._bytes = 0
        self._told: OrderedDict[str, _Told] = OrderedDict()
        self._stats: dict[str, _Question[Stat]] = {}
        self._gets: dict[str, _Question[bytes]] = {}

    def stat(self, key: str) -> Stat:
        """As the driver's."""
        if not self._revalidate_s:
            return self._inner.stat(key)
        return self._tell(key, self._stats, lambda told: told.stat, self._ask_stat)

    def get(self, key: str, max_bytes: int) -> bytes:
        """As the driver's."""
        if not self._revalidate_s:
            return self._inner.get(key, max_bytes)
        ask = partial(self._ask_data, max_bytes)
        data = self._tell(key, self._gets, lambda told: told.data, ask)
        if len(data) > max_bytes:
            raise StorageError(key, f"larger than {max_bytes} bytes")
        return data

    def witness(self, key: str) -> Generation | None:
        """Return until when, and beside which counter, what is told next of the object holds."""
        if not self._revalidate_s:
            return None
        counter, value = self._generations.of(key)
        now = _Told(time.monotonic(), value)
        others = [q.since for q in (self._stats.get(key), self._gets.get(key)) if q is not None]
        usable = [told.asked for told in others if told.value == value]
        known = self._told.get(key)
        if known is not None and self._counts(known, now, is_renewed=bool(others)):
            usable.append(known.asked)
        since = min(usable, default=now.asked)
        return Generation(counter, value, since + self._revalidate_s)

    def _now(self, key: str) -> _Told:
        return _Told(time.monotonic(), self._generations.of(key)[1])

    def _counts(self, told: _Told, now: _Told, is_renewed: bool = False) -> bool:
        """Whether what was told still holds. It is asked anew after half of its time, so that
        all that an answer is made of is renewed together, and told on meanwhile."""
        lifetime_s = self._revalidate_s if is_renewed else self._revalidate_s / 2
        return told.value == now.value and now.asked < told.asked + lifetime_s

    def _tell(
        self,
        key: str,
        questions: dict[str, _Question[T]],
        part: Callable[[_Told], T | None],
        ask: Callable[[str, _Told], T],
    ) -> T:
        arrived = time.monotonic()
        before: _Question[T] | None = None
        question = questions.get(key)
        while True:
            found = self._recall(key, part, is_renewed=bool(question or before))
            if found is not None:
                return found
            if question is None:
                question = questions[key] = _Question(self._now(key))
                if before is not None:
                    before.following = question
                return self._ask(key, question, questions, ask)
            self._await(question)
            # What was asked before we came tells only what may be remembered: no absence.
            if question.since.asked >= arrived:
                if question.error is not None:
                    raise question.error
                if question.answer is not None:
                    return question.answer
            before, question = question, question.following or questions.get(key)

    def _recall(self, key: str, part: Callable[[_Told], T | None], is_renewed: bool) -> T | None:
        told = self._told.get(key)
        if told is None or not self._counts(told, self._now(key), is_renewed):
            return None
        self._told.move_to_end(key)
        return part(told)

    def _await(self, question: _Question[T]) -> None:
        question.waiting += 1
        while not question.is_over:
            self._sleep(_PAUSE_S + question.waiting * _PAUSE_A_WAITER_S)

    def _ask(
        self,
        key: str,
        question: _Question[T],
        questions: dict[str, _Question[T]],
        ask: Callable[[str, _Told], T],
    ) -> T:
        try:
            question.answer = ask(key, question.since)
            return question.answer
        except Exception as error:
            if isinstance(error, NotFound):
                self._tell_of_change(key, question.since)
                self._forget(key)
            question.error = error
            raise
        finally:  # also of a greenlet that is killed: others ask again
            question.is_over = True
            del questions[key]

    def _ask_stat(self, key: str, now: _Told) -> Stat:
        stat = self._inner.stat(key)
        known = self._told.get(key)
        if known is not None and known.stat is not None:
            if known.stat.version == stat.version:
                now = replace(now, data=known.data)
            else:
                self._tell_of_change(key, now)
        self._remember(key, replace(now, stat=stat))
        return stat

    def _ask_data(self, max_bytes: int, key: str, now: _Told) -> bytes:
        known = self._told.get(key)
        if known is not None and known.stat is not None and known.data is not None:
            self._ask_stat(key, now)
            known = self._told.get(key)
            if known is not None and known.data is not None:
                return known.data  # the version is still the same
        if known is None or known.stat is None or not self._counts(known, self._now(key)):
            known = now
        data = self._inner.get(key, max_bytes)
        before = self._told.get(key)
        if before is not None and before.data not in (None, data):
            self._tell_of_change(key, now)
        self._remember(key, replace(known, data=data))
        return data

    def _tell_of_change(self, key: str, now: _Told) -> None:
        """Let everyone on this machine know of a change that nobody here has told of."""
        known = self._told.get(key)
        if known is not None and known.value == now.value:
            self._generations.advance(key)

    def _remember(self, key: str, told: _Told) -> None:
        self._forget(key)
        self._told[key] = told
        self._bytes += _weight(key, told)
        while self._bytes > self._max_bytes:
            self._forget(next(iter(self._told)))

    def _forget(self, key: str) -> None:
        told = self._told.pop(key, None)
        if told is not None:
            self._bytes -= _weight(key, told)


def _weight(key: str, told: _Told) -> int:
    return _ENTRY_BYTES + len(key) + len(told.data or b"")
