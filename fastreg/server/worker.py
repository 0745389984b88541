"""A worker's life: serve until SIGTERM, or until the supervisor is gone; then drain."""

from __future__ import annotations

import signal
import socket
from collections.abc import Sequence
from dataclasses import replace

import gevent
from gevent.event import Event

from fastreg.server.process import BEAT_S, Station
from fastreg.server.server import Server, WsgiApp, raise_fd_limit
from fastreg.server.settings import AccessLog, ErrorLog, Settings, no_error_log


def serve(
    sockets: Sequence[socket.socket],
    app: WsgiApp,
    station: Station,
    *,
    drain_timeout_s: float,
    settings: Settings | None = None,
    access_log: AccessLog | None = None,
    error_log: ErrorLog = no_error_log,
    generations: memoryview | None = None,
) -> int:
    """Serve `app` in this process until told to stop; return its exit code.

    Running requests get `drain_timeout_s` to finish. Only in the main thread.
    """
    settings = settings or Settings()
    # Few connections are served at once, each with a file or two open; most wait.
    most = min(settings.max_connections, max(1, raise_fd_limit() * 3 // 4))
    settings = replace(settings, max_connections=most)
    stop = Event()
    on_signal = gevent.signal_handler(signal.SIGTERM, stop.set)
    orphaned = gevent.get_hub().loop.io(station.lifeline_fd, 1)
    orphaned.start(stop.set)
    server = Server(
        sockets,
        app,
        settings=settings,
        access_log=access_log,
        error_log=error_log,
        share=station.share,
        generations=generations,
    )
    server.start()
    station.beat()
    pulse = gevent.get_hub().loop.timer(BEAT_S, BEAT_S)
    pulse.start(station.beat)  # by the loop that serves: it tells that this goes round
    stop.wait()
    orphaned.stop()
    for sock in sockets:
        sock.close()  # the last copy of this process: queued clients are the others'
    server.drain(drain_timeout_s)
    pulse.stop()
    on_signal.cancel()
    return 0
