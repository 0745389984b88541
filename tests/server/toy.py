"""A program under a real supervisor, for the live tests.

    python toy.py WORKERS DRAIN_TIMEOUT_S [FILE]

Events go to stdout as JSON lines. FILE, read at the start and on reload, says how
workers behave: `ok`, `exit N` (fail to start), `bad` (reload raises), `drain N` (seconds
instead of DRAIN_TIMEOUT_S), `slow N` (seconds that a start takes).

In the environment, TOY_FAILING_FORKS lists which forks fail, the first being 1, and
TOY_SILENCE_S says how long a worker may be silent.
"""

from __future__ import annotations

import errno
import itertools
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from socket import socket
from typing import Any

from fastreg.server.listener import bind
from fastreg.server.process import Plan, Station
from fastreg.server.workers import Supervisor

BEHAVIOUR = Path(sys.argv[3]) if len(sys.argv) > 3 else None


def log(event: str, /, **fields: object) -> None:
    sys.stdout.write(json.dumps({"event": event, **fields}) + "\n")
    sys.stdout.flush()


def run_worker(
    behaviour: str, drain_timeout_s: float, sockets: Sequence[socket], index: int, station: Station
) -> int:
    if behaviour.startswith("exit"):
        return int(behaviour.split()[1])
    if behaviour.startswith("slow"):
        time.sleep(float(behaviour.split()[1]))
    import gevent

    from fastreg.server.offloop import read_in_thread
    from fastreg.server.worker import serve

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        path = environ["PATH_INFO"]
        if path.startswith("/long/"):
            log("working")
            gevent.sleep(float(path[6:]))
        if path.startswith("/sleep/"):
            gevent.sleep(float(path[7:]))
        if path == "/disk":
            log("working")
            read_in_thread(time.sleep, 60)
        if path == "/hang":
            time.sleep(60)  # holds the loop
        body = json.dumps({"pid": os.getpid(), "index": index, "says": behaviour}).encode()
        start_response("200 OK", [("Content-Length", str(len(body)))])
        return [body]

    return serve(sockets, app, station, drain_timeout_s=drain_timeout_s)


def load() -> Plan:
    behaviour = BEHAVIOUR.read_text() if BEHAVIOUR else "ok"
    if behaviour == "bad":
        raise ValueError("the new configuration is wrong")
    drain_timeout_s = float(sys.argv[2])
    if behaviour.startswith("drain"):
        drain_timeout_s = float(behaviour.split()[1])
    adopt = partial(log, "adopted", behaviour=behaviour)
    return Plan(partial(run_worker, behaviour, drain_timeout_s), drain_timeout_s, adopt)


def let_forks_fail(numbers: set[int]) -> None:
    real_fork, forks = os.fork, itertools.count(1)

    def fork() -> int:
        if next(forks) in numbers:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        return real_fork()

    os.fork = fork


def main() -> int:
    let_forks_fail({int(number) for number in os.environ.get("TOY_FAILING_FORKS", "").split()})
    assert "gevent" not in sys.modules
    assert threading.active_count() == 1
    sockets = bind("127.0.0.1:0")
    log("bound", port=sockets[0].getsockname()[1])
    alive = partial(log, "alive")
    silence_s = float(os.environ.get("TOY_SILENCE_S", "30"))
    code = Supervisor(sockets, load(), int(sys.argv[1]), log, load, alive, silence_s).run()
    assert "gevent" not in sys.modules
    assert signal.SIGTERM not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
    return code


if __name__ == "__main__":
    sys.exit(main())
