"""Abandoned upload sessions, deleted by age; never a live one."""

from __future__ import annotations

from collections.abc import Iterator
from math import inf

from fastreg.oci.names import is_name, is_upload_id
from fastreg.registry import paths
from fastreg.registry.store import Store, log
from fastreg.storage.errors import Busy, NotFound, StorageError


def purge_uploads(store: Store, older_than_s: float, *, now: float, dry_run: bool = False) -> int:
    """Delete every session on which nothing moved for `older_than_s`; return how many.

    A session that is being written to is skipped whatever its age. What cannot be listed
    or deleted is logged, and the others go on.
    """
    purged = 0
    for name in _repositories(store, ""):
        for upload_id in _listed(store, paths.uploads(name)):
            if not is_upload_id(upload_id):
                log.warning("not an upload session, left alone", path=f"{name}: {upload_id}")
                continue
            try:
                purged += _purge(store, name, upload_id, now - older_than_s, dry_run)
            except NotFound:
                continue  # ended by its client meanwhile
            except StorageError as e:
                log.warning("upload not purged", repository=name, upload=upload_id, reason=str(e))
    return purged


def _repositories(store: Store, parent: str) -> Iterator[str]:
    """Yield every path that could be a repository, whether or not it holds anything yet."""
    prefix = f"{paths.REPOSITORIES}/{parent}" if parent else paths.REPOSITORIES
    for component in _listed(store, prefix):
        name = f"{parent}/{component}" if parent else component
        if is_name(name):
            yield name
            yield from _repositories(store, name)


def _listed(store: Store, prefix: str) -> Iterator[str]:
    try:
        yield from store.driver.list(prefix)
    except StorageError as e:
        log.warning("not listed for the purge", path=prefix, reason=str(e))


def _purge(store: Store, name: str, upload_id: str, before: float, dry_run: bool) -> bool:
    if _last_activity(store, name, upload_id) > before:
        return False
    key = paths.upload_data(name, upload_id)
    try:
        writer = store.driver.writer(key, append=True)
    except NotFound:
        writer = None
    except Busy:
        return False
    try:
        # Looked at again under the lock: a request may have written in between.
        if _last_activity(store, name, upload_id) > before:
            return False
        log.info("upload abandoned", repository=name, upload=upload_id, dry_run=dry_run)
        if not dry_run:
            store.delete_if_there(paths.upload_started_at(name, upload_id))
            if writer:
                writer.abort()
            store.delete_below(paths.upload(name, upload_id))
        return True
    finally:
        if writer:
            writer.close()


def _last_activity(store: Store, name: str, upload_id: str) -> float:
    """Return when the session was begun or last written to, in Unix seconds.

    For one without start and data: when anything of it last changed, and infinity where
    there is nothing, because it is just coming or going.
    """
    keys = (paths.upload_started_at(name, upload_id), paths.upload_data(name, upload_id))
    there = [key for key in keys if store.exists(key)]
    there = there or list(_files(store, paths.upload(name, upload_id)))
    return max((store.driver.stat(key).modified for key in there), default=inf)


def _files(store: Store, prefix: str) -> Iterator[str]:
    for name in store.driver.list(prefix):
        key = f"{prefix}/{name}"
        if store.exists(key):
            yield key
        else:
            yield from _files(store, key)
