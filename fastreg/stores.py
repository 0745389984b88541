"""The configured store: looked at before the workers start, opened in each of them.

The libraries of Azure are imported by who needs them: a directory must not pay for them.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fastreg import logs
from fastreg.config import Config
from fastreg.config.azure import Azure
from fastreg.config.model import Cache as CacheSettings
from fastreg.registry.content import identify
from fastreg.storage.base import Driver, OffLoop
from fastreg.storage.errors import StorageError
from fastreg.storage.generations import Generations
from fastreg.storage.local import LocalDriver

if TYPE_CHECKING:
    from fastreg.storage.azure_client import AzureSettings

log = logs.get_logger()

_PRIVATE: Final = 0o700
"""What one may pull, not everyone on the machine may read."""


def prepare(config: Config) -> None:
    """Make what is not there yet: the root directory, or the container and the cache's
    directory. Raises OSError, one line, where one cannot be used."""
    storage = config.storage
    if storage.azure is None:
        is_written = not storage.maintenance.readonly.enabled
        _make(storage.filesystem.rootdirectory, "storage.filesystem.rootdirectory", is_written)
        return
    _prepare_container(storage.azure)
    if storage.cache.path is not None:
        _make(storage.cache.path, "storage.cache.path", is_written=True, mode=_PRIVATE)


def described(config: Config) -> dict[str, str]:
    """Return what a line of the log says of where everything is kept."""
    storage = config.storage
    if storage.azure is None:
        return {"rootdirectory": str(storage.filesystem.rootdirectory.absolute())}
    cache = storage.cache.path
    return {
        "account": storage.azure.account,
        "container": storage.azure.container,
        "cache": "none" if cache is None else str(cache.absolute()),
    }


def open_driver(config: Config, generations: Generations) -> tuple[Driver, OffLoop]:
    """Return the store's driver, and where work that waits for the store is done: for this
    process alone, on its event loop."""
    from fastreg.server.offloop import run_in_thread, wait_in_thread

    storage = config.storage
    if storage.azure is None:
        return LocalDriver(storage.filesystem.rootdirectory, run_in_thread), run_in_thread
    from fastreg.storage.azure import AzureDriver

    _hush()
    driver: Driver = AzureDriver(_settings(storage.azure), wait_in_thread)
    if storage.cache.path is not None:
        driver = _cached(driver, storage.cache.path, storage.cache, generations)
    return driver, wait_in_thread


def _cached(
    driver: Driver, path: Path, settings: CacheSettings, generations: Generations
) -> Driver:
    import gevent

    from fastreg.server.offloop import run_in_thread
    from fastreg.storage.cache import Cache
    from fastreg.storage.cached import CachedDriver
    from fastreg.storage.memory import Memory

    cache = Cache(
        str(path),
        max_size=settings.maxsize,
        sampling=settings.sampling,
        off_loop=run_in_thread,
        spawn=gevent.spawn,
        sleep=gevent.sleep,
    )
    memory = Memory(driver, generations, settings.revalidate.total_seconds(), gevent.sleep)
    return CachedDriver(driver, cache, memory, generations, identify)


def _settings(azure: Azure) -> AzureSettings:
    from fastreg.storage.azure_client import AzureSettings

    return AzureSettings(
        account_name=azure.accountname,
        container=azure.container,
        account_key=azure.accountkey.get_secret_value(),
        connection_string=azure.connectionstring.get_secret_value(),
        credentials=azure.credentials.type,
        client_id=azure.credentials.clientid,
        tenant_id=azure.credentials.tenantid,
        secret=azure.credentials.secret.get_secret_value(),
        root_directory=azure.rootdirectory.strip("/"),
        realm=azure.realm,
        service_url=azure.serviceurl,
        max_retries=max(0, azure.max_retries),
        retry_delay_s=azure.retry_delay.total_seconds(),
        verify_tls=not azure.skipverify,
    )


def _prepare_container(azure: Azure) -> None:
    from fastreg.storage.azure_client import prepare as prepare_container

    _hush()
    if azure.skipverify:
        log.warning("the certificate of Azure is not verified", key="storage.azure.skipverify")
    try:
        is_new = prepare_container(_settings(azure))
    except (StorageError, ValueError) as e:  # ValueError: what Azure's libraries check at once
        why = e.reason if isinstance(e, StorageError) else str(e)
        raise OSError(
            f"storage.azure: container {azure.container} at {azure.address}: {why}"
        ) from e
    if is_new:
        log.info("container made", account=azure.account, container=azure.container)


def _hush() -> None:
    """What these libraries log is raised as well, and told by who catches it."""
    import urllib3

    urllib3.disable_warnings()
    for name in ("azure", "urllib3", "msal"):
        logging.getLogger(name).addHandler(logging.NullHandler())


def _make(directory: Path, key: str, is_written: bool, mode: int = 0o777) -> None:
    """Make the directory, and raise OSError where it cannot be used."""
    try:
        is_new = not directory.exists()
        directory.mkdir(mode, parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise OSError(f"{key} {directory}: it, or what is above it, is not a directory") from None
    except OSError as e:
        raise OSError(f"{key} {directory}: {(e.strerror or str(e)).lower()}") from None
    if is_new:
        log.info("directory made", key=key, path=str(directory.absolute()))
    if is_written and os.statvfs(directory).f_flag & os.ST_RDONLY:
        raise OSError(f"{key} {directory}: the file system is read-only")
    if not os.access(directory, os.R_OK | os.X_OK | (os.W_OK if is_written else 0)):
        raise OSError(f"{key} {directory}: not permitted to this user")
