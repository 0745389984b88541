"""Faults for the proxy: each is done with one request."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Sequence

from tests.faulty.exchange import TIMEOUT_S, Exchange
from tests.faulty.seen import Seen

Fault = Callable[[Exchange], None]


def refuse(status: int = 503, code: str = "ServerBusy", **headers: str) -> Fault:
    """Answer with an error; the account hears nothing."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda exchange: exchange.answer(status, code, named)


def gateway(exchange: Exchange) -> None:
    """Answer as a load balancer before the account does: 502, and nothing the SDK knows."""
    exchange.say(502, "<html><h1>Bad Gateway</h1></html>", {"Content-Type": "text/html"})


def lose(status: int | None = 500) -> Fault:
    """Have the request carried out and its answer lost: an error, or None for a reset."""

    def fault(exchange: Exchange) -> None:
        exchange.deliver()
        exchange.reset() if status is None else exchange.answer(status, "InternalError")

    return fault


def twice(exchange: Exchange) -> None:
    """Deliver the request two times; the client hears of the second."""
    exchange.deliver()
    exchange.pass_on()


def late(gate: threading.Event) -> Fault:
    """Answer 500 at once; the request itself arrives when the gate opens."""

    def fault(exchange: Exchange) -> None:
        # Nothing more may come on this connection, which waits for the gate now.
        exchange.answer(500, "OperationTimedOut", {"Connection": "close"})
        if gate.wait(TIMEOUT_S):
            exchange.deliver()

    return fault


def held(gate: threading.Event) -> Fault:
    """Pass the request on when the gate opens."""

    def fault(exchange: Exchange) -> None:
        if gate.wait(TIMEOUT_S):
            exchange.pass_on()

    return fault


def cut_at(sent_bytes: int) -> Fault:
    """Reset the connection when so much of the answer's body was sent, if it has so much."""
    return lambda exchange: exchange.send(exchange.forward(), until=sent_bytes)


def slow(pause_s: float) -> Fault:
    """Send the answer in pieces of 64 KiB, with pauses."""
    return lambda exchange: exchange.send(exchange.forward(), pause_s=pause_s)


def stalled(gate: threading.Event, sent_bytes: int) -> Fault:
    """Send so much of the answer's body, and the rest when the gate opens."""

    def fault(exchange: Exchange) -> None:
        answer = exchange.forward()
        read = answer.read

        def read_or_wait(max_bytes: int) -> bytes:
            if exchange.seen.sent_bytes >= sent_bytes:
                gate.wait(TIMEOUT_S)
            return read(max_bytes)

        answer.read = read_or_wait
        exchange.send(answer)

    return fault


def reset(exchange: Exchange) -> None:
    """End the connection; the account hears nothing."""
    exchange.reset()


def silence(exchange: Exchange) -> None:
    """Never answer."""
    exchange.way.wait_for_the_end()
    exchange.reset()


def with_headers(**headers: str) -> Fault:
    """Pass on, with other headers in the answer: `x_ms_copy_status="pending"`."""
    changed = {name.replace("_", "-"): value for name, value in headers.items()}

    def fault(exchange: Exchange) -> None:
        answer = exchange.forward()
        kept = [(n, v) for n, v in answer.headers if n.lower() not in changed]
        answer.headers = [*kept, *changed.items()]
        exchange.send(answer)

    return fault


def at_random(
    seed: object, faults: Sequence[Fault], share: float
) -> Callable[[Seen], Fault | None]:
    """Return what `FaultProxy.choose` asks: a fault for that share of all requests. Whether
    the nth request of a kind is hit, and by what, depends on the seed alone."""

    def choose(seen: Seen) -> Fault | None:
        dice = random.Random(f"{seed} {seen.kind} {seen.number}")
        return dice.choice(faults) if dice.random() < share else None

    return choose
