"""One forked worker, seen from the supervisor; and what the worker sees of it.

Two pipes connect them. `pulse`: the worker writes a byte once it serves, and one every
second after. `lifeline`: the supervisor holds its other end for as long as it lives,
whatever kills it.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from fastreg.server.shares import Share

BEAT_S: Final = 1.0
CRASHED: Final = 70
"""Exit code of a worker that raised (EX_SOFTWARE)."""


@dataclass(frozen=True, slots=True)
class Station:
    """A worker's place: which one it is, and its lines to the supervisor."""

    index: int
    lifeline_fd: int
    """Readable (end of file) when the supervisor is gone."""
    pulse_fd: int
    share: Share

    def beat(self) -> None:
        """Tell the supervisor that this worker serves. To be called every `BEAT_S`."""
        try:
            os.write(self.pulse_fd, b".")
        except OSError:
            pass  # full: the supervisor stands still; broken: the lifeline says so too


RunWorker = Callable[[Sequence[socket.socket], int, Station], int]
"""Runs in the child: serves until told to stop, and returns the exit code."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What the workers of one configuration run, and how."""

    run_worker: RunWorker
    drain_timeout_s: float
    adopt: Callable[[], None]
    """Called in the supervisor once the workers of this plan are the ones that serve."""


@dataclass(slots=True)
class WorkerProcess:
    pid: int
    pulse_fd: int
    drain_timeout_s: float
    share: Share
    is_ready: bool = False
    silent_s: float = 0.0
    """For how long it has sent no beat."""
    started: float = field(default_factory=time.monotonic)
    deadline: float = 0.0
    """When a worker that was told to stop is killed."""

    def listen(self, elapsed_s: float = 0.0) -> None:
        """Take the beats that came in the last `elapsed_s`."""
        try:
            has_beaten = bool(os.read(self.pulse_fd, 4096))
        except BlockingIOError:
            has_beaten = False
        self.is_ready |= has_beaten
        self.silent_s = 0.0 if has_beaten else self.silent_s + elapsed_s

    def send(self, number: signal.Signals) -> None:
        """Signal the worker, which is our child and not buried yet."""
        os.kill(self.pid, number)

    def close(self) -> None:
        self.share.free()
        os.close(self.pulse_fd)


def fork_worker(
    sockets: Sequence[socket.socket],
    plan: Plan,
    index: int,
    lifeline: tuple[int, int],
    others: Iterable[WorkerProcess],
    share: Share,
) -> WorkerProcess:
    """Start a worker. To be called with the signals blocked that the supervisor waits for.

    Raises OSError, with nothing left open, when the system has no room for one.
    """
    pulse_read, pulse_write = os.pipe()
    os.set_blocking(pulse_read, False)
    os.set_blocking(pulse_write, False)
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        pid = os.fork()
    except OSError:
        os.close(pulse_read)
        os.close(pulse_write)
        share.free()
        raise
    if pid == 0:
        for fd in (pulse_read, lifeline[1], *(each.pulse_fd for each in others)):
            os.close(fd)
        _be_worker(sockets, plan.run_worker, Station(index, lifeline[0], pulse_write, share))
    os.close(pulse_write)
    return WorkerProcess(pid, pulse_read, plan.drain_timeout_s, share)


def _be_worker(sockets: Sequence[socket.socket], run_worker: RunWorker, station: Station) -> None:
    code = CRASHED
    try:
        # Ctrl-C and a closed terminal reach the whole group; only the supervisor acts on them.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        code = run_worker(sockets, station.index, station)
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code)  # what the supervisor meant to do at its exit is not ours to do
