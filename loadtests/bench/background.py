"""A load that runs in a process of its own, so that it slows nothing but the machine."""

from __future__ import annotations

import multiprocessing
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, Generic, TypeVar

T = TypeVar("T")
_FORK = multiprocessing.get_context("fork")


class Background(Generic[T]):
    """`job(*args)` in a child process from now on."""

    def __init__(self, job: Callable[..., T], *args: object) -> None:
        self._result, theirs = _FORK.Pipe(duplex=False)
        self._process = _FORK.Process(target=_run, args=(theirs, job, args), daemon=True)
        self._process.start()
        theirs.close()

    def result(self) -> T:
        """Wait for the job's end; raise RuntimeError with its traceback if it failed."""
        try:
            failure, value = self._result.recv()
        except EOFError:
            failure, value = "killed", None
        self._process.join()
        if failure:
            raise RuntimeError(f"a load failed:\n{failure}")
        result: T = value
        return result


def _run(pipe: Connection, job: Callable[..., Any], args: tuple[object, ...]) -> None:
    try:
        pipe.send((None, job(*args)))
    except Exception:
        pipe.send((traceback.format_exc(), None))
