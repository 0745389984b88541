"""Work that leaves the event loop: where it runs, and what comes back."""

import threading

import gevent
import pytest

from fastreg.server.offloop import (
    read_in_thread,
    receive_in_thread,
    run_in_thread,
    wait_in_thread,
)

PLACES = [run_in_thread, read_in_thread, receive_in_thread, wait_in_thread]


@pytest.mark.parametrize("off_loop", PLACES)
def test_others_run_while_a_thread_works(off_loop: type) -> None:
    done = threading.Event()
    gevent.spawn(done.set)
    assert off_loop(done.wait, 10)


@pytest.mark.parametrize("outer", PLACES)
@pytest.mark.parametrize("inner", PLACES)
def test_what_a_thread_hands_over_runs_there(outer: type, inner: type) -> None:
    def nested() -> list[int]:
        return [threading.get_ident(), inner(threading.get_ident)]

    first, second = outer(nested)
    assert first == second != threading.get_ident()


@pytest.mark.parametrize("off_loop", PLACES)
def test_a_failure_comes_back_also_from_within(off_loop: type) -> None:
    def fail() -> None:
        raise KeyError("the reason")

    with pytest.raises(KeyError, match="the reason"):
        off_loop(fail)
    with pytest.raises(KeyError, match="the reason"):
        off_loop(off_loop, fail)
