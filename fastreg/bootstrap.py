"""Config → object graph.

The supervisor's half runs before any fork and must not import gevent: what needs an event
loop is imported by the worker.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from functools import partial
from typing import Final

from fastreg import logs, stores
from fastreg.api.app import App
from fastreg.api.call import Settings
from fastreg.api.urls import UrlBuilder
from fastreg.config import Config
from fastreg.registry.purge import purge_uploads
from fastreg.registry.registry import Registry
from fastreg.registry.store import Store
from fastreg.server.listener import ListenError, bind
from fastreg.server.process import Plan, Station
from fastreg.server.settings import Settings as ServerSettings
from fastreg.server.systemd import Notifier, listen_sockets
from fastreg.server.workers import Supervisor
from fastreg.storage.base import Driver, OffLoop
from fastreg.storage.generations import Generations

__all__ = ["ListenError", "build_app", "serve"]

log = logs.get_logger()

_BEAT_S: Final = 1.0


def serve(config: Config, reload: Callable[[], Config]) -> int:
    """Serve until told to stop; return the exit code.

    `reload` gives the configuration of the workers that a SIGHUP starts; the addresses and
    the number of workers stay. Raises ListenError, and OSError for a store that cannot
    be used.
    """
    generations = Generations()
    plan = _plan(config, generations)
    _configure_logs(config)
    stores.prepare(config)
    sockets = listen_sockets(os.environ) or bind(config.http.addr)
    addresses = " ".join("{}:{}".format(*s.getsockname()[:2]) for s in sockets)
    log.info("serving", address=addresses, **stores.described(config))
    notifier = Notifier(os.environ)
    return Supervisor(
        sockets,
        plan,
        config.http.workers,
        partial(_tell, notifier),
        partial(_reload, reload, config, generations, notifier.alive),
        notifier.alive,
    ).run()


def build_app(
    config: Config, driver: Driver, off_loop: OffLoop, sleep: Callable[[float], None] = time.sleep
) -> App:
    """Return the WSGI application of the configuration over a driver."""
    settings = Settings(
        urls=UrlBuilder(config.http.host, config.http.relativeurls, config.http.prefix),
        headers=tuple((n, v) for n, values in config.http.headers.items() for v in values),
        secret=config.http.secret.get_secret_value(),
        delete_enabled=config.storage.delete.enabled,
        readonly=config.storage.maintenance.readonly.enabled,
        redirect=config.storage.redirects,
        prefetch=config.storage.cache.prefetch,
        max_catalog_entries=config.catalog.maxentries,
        max_tags=config.tags.maxtags,
    )
    registry = Registry(driver, off_loop, sleep=sleep, readonly=settings.readonly)
    return App(registry, settings)


def _plan(config: Config, generations: Generations) -> Plan:
    return Plan(
        partial(_run_worker, config, generations),
        config.http.draintimeout.total_seconds(),
        partial(_adopt, config),
    )


def _reload(
    load: Callable[[], Config],
    started: Config,
    generations: Generations,
    alive: Callable[[], None],
) -> Plan:
    """Return the plan of a configuration that passes what a start checks. Calls `alive` every
    second, as a store may be waited for."""
    config = load()
    with ThreadPoolExecutor(1) as thread:  # at its end before a worker is forked
        prepared = thread.submit(stores.prepare, config)
        while not wait([prepared], _BEAT_S).done:
            alive()
    prepared.result()
    for key in ("addr", "workers"):
        if getattr(config.http, key) != getattr(started.http, key):
            log.warning("a changed key needs a restart", key=f"http.{key}")
    return _plan(config, generations)


def _adopt(config: Config) -> None:
    """Go on in this process as the configuration says."""
    _configure_logs(config)
    log.info("configuration adopted", **stores.described(config))


def _configure_logs(config: Config) -> None:
    logs.configure(config.log.level, config.log.formatter, config.log.fields)
    for key in config.ignored:
        log.warning("configuration key has no effect", key=key)
    for older, today in config.renamed.items():
        log.warning("an older name is understood", variable=older, today=today)


def _run_worker(
    config: Config,
    generations: Generations,
    sockets: Sequence[socket.socket],
    index: int,
    station: Station,
) -> int:
    """Serve in this forked process."""
    import gevent

    from fastreg.server import worker

    logs.configure(config.log.level, config.log.formatter, config.log.fields)
    driver, off_loop = stores.open_driver(config, generations)
    if index == 0 and _purges(config):
        gevent.spawn(_purge_forever, config, Store(driver, off_loop), gevent.sleep)
    app = build_app(config, driver, off_loop, gevent.sleep)
    return worker.serve(
        sockets,
        app,
        station,
        settings=ServerSettings(headers=app.headers),
        drain_timeout_s=config.http.draintimeout.total_seconds(),
        access_log=None if config.log.accesslog.disabled else logs.AccessLog(),
        error_log=_report,
        generations=generations.memory,
    )


def _purges(config: Config) -> bool:
    maintenance = config.storage.maintenance
    return maintenance.uploadpurging.enabled and not maintenance.readonly.enabled


def _purge_forever(config: Config, store: Store, sleep: Callable[[float], None]) -> None:
    """Purge at the start, then every interval: the background job of worker 0."""
    purging = config.storage.maintenance.uploadpurging
    age_s = purging.age.total_seconds()
    while True:
        try:
            purged = purge_uploads(store, age_s, now=time.time(), dry_run=purging.dryrun)
            log.info("abandoned uploads purged", uploads=purged, dry_run=purging.dryrun)
        except Exception as e:  # whatever is wrong today, the next round tries again
            log.error("purge of uploads failed", reason=repr(e), exc_info=e)
        sleep(purging.interval.total_seconds())


def _tell(notifier: Notifier, event: str, /, **fields: object) -> None:
    """Pass on what the supervisor tells: to the log, and to systemd."""
    level = "error" if event.endswith(("died", "failed", "killed")) else "info"
    getattr(log, level)(event, **fields)
    if event in ("ready", "reloaded", "reload failed"):
        notifier.ready()
    elif event == "reloading":
        notifier.reloading()
    elif event == "stopping":
        notifier.stopping()


def _report(event: str, fields: dict[str, object], /) -> None:
    log.error(event, **fields)
