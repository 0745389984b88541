"""The supervisor: a process without an event loop that keeps workers running.

It owns the listening sockets and nothing that a request touches. gevent must not be
imported here: an event loop does not survive a fork.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Protocol

from fastreg.server.process import Plan, WorkerProcess, fork_worker
from fastreg.server.shares import Shares

STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
_WATCHED: Final = {*STOP_SIGNALS, signal.SIGHUP, signal.SIGCHLD}
_STARTING_POLL_S: Final = 0.05
_IDLE_POLL_S: Final = 1.0
_KILL_GRACE_S: Final = 2.0
_START_TIMEOUT_S: Final = 60.0
"""After which a reload whose workers hang is given up."""
_SHARES_A_WORKER: Final = 4
"""One that serves, one that comes, and others that still drain."""
_QUICK_DEATH_S: Final = 10.0
SILENCE_LIMIT_S: Final = 30.0
"""After which a worker whose event loop stands still is killed."""
_MAX_BACKOFF_S: Final = 10.0


class Log(Protocol):
    """Receives an event's name and its fields."""

    def __call__(self, event: str, /, **fields: object) -> None: ...


class Supervisor:
    """Runs `workers` workers on shared sockets until told to stop.

    SIGTERM and SIGINT close the sockets, drain and stop; a second one stops at once. SIGHUP
    calls `reload` and replaces the workers by those of the plan it returns, without refusing
    a connection; where it raises or one of them does not come up, all stays as it was. A
    worker that dies is replaced, with a growing pause when it dies young; one that sends no
    beat for `silence_limit_s` is killed first.

    Worker 0 is the one for periodic jobs. During a reload there are two of them for as
    long as the old one drains.
    """

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        plan: Plan,
        workers: int,
        log: Log,
        reload: Callable[[], Plan],
        heartbeat: Callable[[], None] | None = None,
        silence_limit_s: float = SILENCE_LIMIT_S,
    ) -> None:
        """`heartbeat` is called every second or more often while at least one worker serves."""
        self._sockets = sockets
        self._plan = plan
        self._next_plan = plan
        self._count = workers
        self._log = log
        self._reload = reload
        self._heartbeat = heartbeat
        self._silence_limit_s = silence_limit_s
        self._listened = time.monotonic()
        self._lifeline = os.pipe()
        self._shares = Shares(_SHARES_A_WORKER * workers)
        self._running: dict[int, WorkerProcess] = {}
        """The worker of each index."""
        self._incoming: dict[int, WorkerProcess] = {}
        """After SIGHUP, until all of them are ready."""
        self._is_reload_wanted = False
        """A SIGHUP came, perhaps during a reload that may have read what was there before."""
        self._leaving: list[WorkerProcess] = []
        self._due: dict[int, float] = {}
        """When to start the worker of an index again."""
        self._failures: dict[int, int] = {}
        """How often in a row the worker of an index died young or could not be started."""
        self._has_been_ready = False
        self._exit_code: int | None = None

    def run(self) -> int:
        """Run until stopped; return the exit code. Only in the main thread."""
        previous = signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)
        try:
            self._start_first()
            while self._exit_code is None:
                self._step()
            self._stop_all()
            return self._exit_code
        finally:
            for fd in self._lifeline:
                os.close(fd)
            signal.pthread_sigmask(signal.SIG_SETMASK, previous)

    def _step(self) -> None:
        received = self._wait_for_signal(min(_IDLE_POLL_S, self._next_wake_s()))
        if received in STOP_SIGNALS:
            self._log("stopping", signal=signal.Signals(received).name)
            self._exit_code = 0
            return
        self._bury_the_dead()
        self._is_reload_wanted |= received == signal.SIGHUP
        if self._is_reload_wanted and not self._incoming:
            self._begin_reload()
        self._listen()
        self._note_ready()
        self._start_due()
        self._kill_overdue()

    def _wait_for_signal(self, timeout_s: float) -> int:
        info = signal.sigtimedwait(_WATCHED, timeout_s)
        return 0 if info is None else info.si_signo

    def _next_wake_s(self) -> float:
        if self._incoming or _waiting(self._running):
            return _STARTING_POLL_S
        if self._leaving:
            return 10 * _STARTING_POLL_S
        if self._due:
            return max(0.0, min(self._due.values()) - time.monotonic())
        return _IDLE_POLL_S

    # --- starting and replacing

    def _start(self, index: int, plan: Plan) -> WorkerProcess:
        others = [*self._running.values(), *self._incoming.values(), *self._leaving]
        share = self._shares.claim()
        return fork_worker(self._sockets, plan, index, self._lifeline, others, share)

    def _start_first(self) -> None:
        for index in range(self._count):
            try:
                self._running[index] = self._start(index, self._plan)
            except OSError as error:
                self._log("start failed", worker=index, error=str(error))
                self._exit_code = 1
                return

    def _start_due(self) -> None:
        now = time.monotonic()
        for index in [index for index, due in self._due.items() if due <= now]:
            del self._due[index]
            try:
                self._running[index] = self._start(index, self._plan)
            except OSError as error:
                pause_s = self._postpone(index)
                self._log("fork failed", worker=index, error=str(error), restart_in_s=pause_s)

    def _listen(self) -> None:
        now = time.monotonic()
        # At most what a step takes: were we stopped together, the workers were not silent.
        elapsed_s = min(now - self._listened, 2 * _IDLE_POLL_S)
        self._listened = now
        for each in [*self._running.values(), *self._incoming.values()]:
            each.listen(elapsed_s)
            limit_s = self._silence_limit_s if each.is_ready else _START_TIMEOUT_S
            if each.silent_s > limit_s:
                why = "its event loop stands still" if each.is_ready else "it does not start"
                self._log("worker killed", pid=each.pid, reason=why)
                each.send(signal.SIGKILL)
                each.is_ready, each.silent_s = False, 0.0
        if self._heartbeat is not None and any(each.is_ready for each in self._running.values()):
            self._heartbeat()

    def _note_ready(self) -> None:
        running = len(self._running) == self._count
        if not self._has_been_ready and running and not _waiting(self._running):
            self._has_been_ready = True
            self._log("ready", workers=self._count)
        if len(self._incoming) == self._count and not _waiting(self._incoming):
            self._finish_reload()
        elif any(
            time.monotonic() - each.started > _START_TIMEOUT_S for each in _waiting(self._incoming)
        ):
            self._abandon_reload("the new workers did not come up in time")

    # --- deaths

    def _bury_the_dead(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self._bury(pid, os.waitstatus_to_exitcode(status))

    def _bury(self, pid: int, code: int) -> None:
        for each in self._leaving:
            if each.pid == pid:
                self._leaving.remove(each)
                each.close()
                return
        for index, each in self._incoming.items():
            if each.pid == pid:
                del self._incoming[index]
                each.close()
                self._abandon_reload(f"worker {index} ended with exit code {code}")
                return
        for index, each in self._running.items():
            if each.pid == pid:
                each.listen()  # it may have come up and died between two looks
                del self._running[index]
                each.close()
                self._replace(index, each, code)
                return

    def _replace(self, index: int, dead: WorkerProcess, code: int) -> None:
        if not self._has_been_ready and not dead.is_ready:
            self._log("start failed", worker=index, exit_code=code)
            self._exit_code = code if code > 0 else 1
            return
        if time.monotonic() - dead.started < _QUICK_DEATH_S:
            pause_s = self._postpone(index)
        else:
            pause_s = self._failures[index] = 0
            self._due[index] = time.monotonic()
        self._log("worker died", worker=index, pid=dead.pid, exit_code=code, restart_in_s=pause_s)

    def _postpone(self, index: int) -> float:
        """Have the worker started after a pause that grows from failure to failure."""
        failures = self._failures[index] = self._failures.get(index, 0) + 1
        pause_s = min(_MAX_BACKOFF_S, 2.0 ** (failures - 1))
        self._due[index] = time.monotonic() + pause_s
        return pause_s

    # --- SIGHUP

    def _begin_reload(self) -> None:
        self._is_reload_wanted = False
        try:
            self._next_plan = self._reload()
        except Exception as error:  # whatever is wrong with the new, the old keeps serving
            self._log("reload failed", error=str(error))
            return
        self._log("reloading")
        try:
            for index in range(self._count):
                self._incoming[index] = self._start(index, self._next_plan)
        except OSError as error:
            self._abandon_reload(f"a worker cannot be started: {error}")

    def _finish_reload(self) -> None:
        self._retire(self._running.values())
        self._running, self._incoming = self._incoming, {}
        self._due.clear()
        self._plan = self._next_plan
        self._plan.adopt()
        self._log("reloaded", workers=self._count)

    def _abandon_reload(self, reason: str) -> None:
        self._log("reload failed", error=reason)
        self._retire(self._incoming.values())
        self._incoming = {}

    # --- stopping

    def _retire(self, workers: Iterable[WorkerProcess]) -> None:
        """Tell workers to drain. They are killed when they take too long."""
        now = time.monotonic()
        for each in list(workers):
            each.deadline = now + each.drain_timeout_s + _KILL_GRACE_S
            each.send(signal.SIGTERM)
            self._leaving.append(each)

    def _kill_overdue(self) -> None:
        now = time.monotonic()
        for each in self._leaving:
            if each.deadline <= now:
                self._log("worker killed", pid=each.pid, reason="still busy after the drain")
                each.send(signal.SIGKILL)
                each.deadline = float("inf")

    def _stop_all(self) -> None:
        self._retire([*self._running.values(), *self._incoming.values()])
        self._running, self._incoming = {}, {}
        for sock in self._sockets:
            sock.close()  # a copy that nobody accepts on would let clients wait for nothing
        while self._leaving:
            if self._wait_for_signal(_STARTING_POLL_S) in STOP_SIGNALS:
                for each in self._leaving:
                    each.deadline = 0.0
            self._kill_overdue()
            self._bury_the_dead()
        self._log("stopped")


def _waiting(workers: dict[int, WorkerProcess]) -> list[WorkerProcess]:
    return [each for each in workers.values() if not each.is_ready]
