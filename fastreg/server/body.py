"""A request's body: `wsgi.input`.

`read(n)` fills n bytes unless the body ends, so that callers see large blocks; `pour` brings
what there is into a file without showing it to Python. A failure is raised once everything
that did arrive was handed out, and again on every later call: TimeoutError (stalled),
ConnectionResetError (client left), OSError(EBADMSG) (bad chunks).
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any, Final

import gevent

from fastreg.fastlane import Inflow, Sink
from fastreg.server.inbound import Inbound
from fastreg.server.offloop import receive_in_thread
from fastreg.server.patience import Patience

_YIELD_EVERY: Final = 1 << 20
_TRICKLE_BYTES: Final = 16 << 10
_TRICKLE_PAUSE_S: Final = 0.02
"""A visit to a thread costs as much as 100 KB of pouring: a client that is slow anyway waits."""


class Body(io.RawIOBase):
    """`length` is what was announced; None for a body in chunks."""

    failure: OSError | None = None
    """What the reader was told, or is about to be told."""

    def __init__(
        self,
        inbound: Inbound,
        patience: Patience,
        send_continue: Callable[[], None] | None,
        length: int | None,
    ) -> None:
        self._inbound = inbound
        self._patience = patience
        self._send_continue = send_continue
        self._inflow = Inflow(length)
        self._is_begun = False
        self._since_yield = 0

    @property
    def is_complete(self) -> bool:
        """Nothing of the body is left on the connection."""
        return self._inflow.is_over

    @property
    def awaits_continue(self) -> bool:
        """The client waits for `100 Continue`, which only a read sends."""
        return self._send_continue is not None

    def left(self) -> int | None:
        """Bytes not read yet; None when only the client knows."""
        return self._inflow.left

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]
        view = memoryview(buffer).cast("B")
        count = 0
        while count < len(view) and not self.is_complete:
            try:
                count += self._take(self._inflow.receive, self._inbound.fileno(), view[count:])
            except OSError:
                if not count:
                    raise
                break
        return count

    def pour(self, sink: Sink, max_bytes: int) -> int:
        """Append up to `max_bytes` of the body to the file of `sink`, off the event loop;
        return how many, 0 at the end of the body or where the file takes no more.

        A greenlet that is killed meanwhile leaves a thread behind that goes on for a moment.
        """
        if self.is_complete:
            return 0
        self._inflow.hold(self._inbound.fileno())
        try:
            return self._take(self._pour, sink, max_bytes)
        finally:
            self._inflow.release()

    def _pour(self, sink: Sink, max_bytes: int) -> int | None:
        inflow = self._inflow
        trickles = inflow.is_dry and 0 < inflow.received < _TRICKLE_BYTES
        if trickles and (inflow.left is None or inflow.left > _TRICKLE_BYTES):
            gevent.sleep(_TRICKLE_PAUSE_S)  # so that more comes together
        return receive_in_thread(inflow.pour, sink, max_bytes)

    def _take(self, step: Callable[..., int | None], *args: Any) -> int:
        """Repeat `step` until it brings something, or what it waits for will not come."""
        if self.failure is not None:
            raise self.failure
        try:
            self._begin()
            count = None
            while count is None:
                if self._inflow.is_dry:
                    self._inbound.wait(self._patience)
                count = self._step(step, *args)
        except OSError as error:
            self.failure = error
            raise
        if self.is_complete:
            self._inbound.put_back(self._inflow.take_rest())
        return count

    def _begin(self) -> None:
        if not self._is_begun:
            self._is_begun = True
            self._inflow.put_in_front(bytes(self._inbound.take(self._inbound.pending)))
        if send_continue := self._send_continue:
            self._send_continue = None
            send_continue()

    def _step(self, step: Callable[..., int | None], *args: Any) -> int | None:
        if self._since_yield >= _YIELD_EVERY:
            # A client that is always faster than we are would never let others run.
            self._since_yield = 0
            gevent.sleep(0)
        count = step(*args)
        self._patience.spent(self._inflow.waited_s, self._inflow.received)
        self._since_yield += self._inflow.received
        return count
