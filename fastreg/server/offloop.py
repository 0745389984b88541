"""Work that may block, in threads beside the event loop.

Downloads have threads of their own: a disk that is slow to read does not keep a push from
its fsync, nor the other way round. So have bodies that are being received: many of them do
not keep a small change waiting. So has waiting for another machine, which keeps no core and
no disk. A thread that hangs does not keep the process.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final, TypeVar

import gevent
from gevent.hub import Hub
from gevent.threadpool import ThreadPool

T = TypeVar("T")

MAX_THREADS: Final = 32
"""Enough for as many slow fsyncs at once; threads are made as they are needed."""
MAX_READ_THREADS: Final = 8
"""Reads of a megabyte: more at once make a disk seek, not read."""
MAX_RECEIVE_THREADS: Final = 8
"""Each keeps a core busy, or waits for the disk; the others' bytes wait in their sockets."""

MAX_WAIT_THREADS: Final = 64
"""Of those that do nothing but wait for the network."""


_here = threading.local()


def run_in_thread(fn: Callable[..., T], /, *args: Any) -> T:
    """Call `fn(*args)` in a thread while other greenlets run; return or raise as it does.

    In such a thread it is called right there.
    """
    if _is_in_thread():
        return fn(*args)
    pool = gevent.get_hub().threadpool
    if pool.maxsize < MAX_THREADS:
        pool.maxsize = MAX_THREADS
    return _apply(pool, fn, args)


def read_in_thread(fn: Callable[..., T], /, *args: Any) -> T:
    """As `run_in_thread`, in the threads of the downloads."""
    if _is_in_thread():
        return fn(*args)
    return _apply(_pool("read", MAX_READ_THREADS, gevent.get_hub()), fn, args)


def receive_in_thread(fn: Callable[..., T], /, *args: Any) -> T:
    """As `run_in_thread`, in the threads of the bodies that are being received."""
    if _is_in_thread():
        return fn(*args)
    return _apply(_pool("receive", MAX_RECEIVE_THREADS, gevent.get_hub()), fn, args)


def wait_in_thread(fn: Callable[..., T], /, *args: Any) -> T:
    """As `run_in_thread`, in the threads of those that wait for another machine."""
    if _is_in_thread():
        return fn(*args)
    return _apply(_pool("wait", MAX_WAIT_THREADS, gevent.get_hub()), fn, args)


@lru_cache(maxsize=3)
def _pool(work: str, max_threads: int, hub: Hub) -> ThreadPool:
    return ThreadPool(max_threads, hub)


def _apply(pool: ThreadPool, fn: Callable[..., T], args: tuple[Any, ...]) -> T:
    result, error = pool.apply(_call, (fn, args))
    if error is not None:
        raise error
    return result  # type: ignore[no-any-return]


def _is_in_thread() -> bool:
    return getattr(_here, "is_thread", False)


def _call(fn: Callable[..., Any], args: tuple[Any, ...]) -> tuple[Any, BaseException | None]:
    """The outcome as a value: an exception that left the thread would be printed."""
    _here.is_thread = True
    try:
        return fn(*args), None
    except BaseException as error:
        return None, error
