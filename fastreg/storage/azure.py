"""The driver for a container of Azure Blob Storage: a key is the name of a blob below the
root directory, as the reference registry names it.

A change is one request that Azure makes whole or not at all; versions are its ETags.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from concurrent.futures import wait
from functools import partial
from typing import Any, Final, TypeVar

from fastreg.storage.azure_client import AzureSettings, Connection, condition
from fastreg.storage.azure_errors import code_of
from fastreg.storage.azure_listing import Page, in_order, names_of
from fastreg.storage.azure_reader import AzureReadable, check_there, first_range
from fastreg.storage.azure_transfers import Transfers, is_transfer
from fastreg.storage.azure_writer import AzureWriter
from fastreg.storage.base import ABSENT, Driver, OffLoop, Stat, check_key, run_inline
from fastreg.storage.errors import Conflict, NotFound, StorageError

T = TypeVar("T")

_MARK: Final = "put"
"""The metadata entry by which a put whose answer was lost is known again."""


class AzureDriver(Driver):
    """Objects as blobs of a container that exists (see `azure_client.prepare`).

    Every request waits through `off_loop`; the ranges of a reading, and the blocks of a
    writer, in threads of the driver. To be made in the process that uses it. Any number
    of machines can share a container.
    """

    def __init__(self, settings: AzureSettings, off_loop: OffLoop = run_inline) -> None:
        self._connection = Connection(settings)
        self._transfers = Transfers()
        self._elsewhere = off_loop

    def _off_loop(self, fn: Callable[..., T], /, *args: Any) -> T:
        return fn(*args) if is_transfer() else self._elsewhere(fn, *args)

    def at_once(self, *calls: Callable[[], Any]) -> list[Any]:
        if is_transfer():  # it could wait for threads that wait for it
            return super().at_once(*calls)
        return self._off_loop(self._at_once, calls)

    def _at_once(self, calls: tuple[Callable[[], Any], ...]) -> list[Any]:
        running = [self._transfers.threads.submit(call) for call in calls]
        wait(running)
        return [call.result() for call in running]

    def stat(self, key: str) -> Stat:
        return self._off_loop(self._stat, check_key(key))

    def _stat(self, key: str) -> Stat:
        blob = self._connection.blob(key)
        properties = self._connection.retries.call(key, blob.get_blob_properties)
        check_there(key, properties)
        modified = properties.last_modified.timestamp()
        return Stat(size=properties.size, modified=modified, version=str(properties.etag))

    def get(self, key: str, max_bytes: int) -> bytes:
        # One more: a range of nothing cannot be asked for, and only this tells an object
        # that is larger.
        ask = (first_range, self._connection, check_key(key), 0, max_bytes + 1)
        data, size, _ = self._off_loop(*ask)
        if size > max_bytes:
            raise StorageError(key, f"{size} bytes where {max_bytes} are allowed")
        return data

    def put(
        self, key: str, data: bytes, *, if_version: str | None = None, durable: bool = True
    ) -> None:
        self._off_loop(self._put, check_key(key), data, if_version)

    def _put(self, key: str, data: bytes, if_version: str | None) -> None:
        try:
            self._upload(key, data, if_version)
        except StorageError as error:
            if code_of(error.__cause__) != "InvalidBlobType":
                raise
            # An append blob, of the reference registry: Azure lets no other type replace it.
            if if_version == ABSENT:
                raise Conflict(key, "is there") from error
            self._delete(key, if_version)
            self._upload(key, data, ABSENT if if_version else None)

    def _upload(self, key: str, data: bytes, if_version: str | None) -> None:
        blob = self._connection.blob(key)
        if if_version is None:
            self._connection.retries.call(key, blob.upload_blob, data, overwrite=True)
            return
        mark = secrets.token_hex(8)
        put = partial(blob.upload_blob, data, overwrite=True, metadata={_MARK: mark})
        try:
            self._connection.retries.call(key, put, **condition(if_version))
        except Conflict:
            # Also the first attempt can have been made twice, by the network.
            if self._mark_of(key) != mark:
                raise

    def _mark_of(self, key: str) -> str | None:
        """Return the mark of the put that made the object, "" for one without; None where
        there is no object."""
        blob = self._connection.blob(key)
        try:
            properties = self._connection.retries.call(key, blob.get_blob_properties)
        except NotFound:
            return None
        return str((properties.metadata or {}).get(_MARK, ""))

    def delete(self, key: str, *, if_version: str | None = None, durable: bool = True) -> None:
        self._off_loop(self._delete, check_key(key), if_version)

    def _delete(self, key: str, if_version: str | None) -> None:
        blob = self._connection.blob(key)
        delete = partial(blob.delete_blob, "include", **condition(if_version))

        def is_gone(refusal: StorageError) -> bool:
            return isinstance(refusal, NotFound) or self._mark_of(key) is None

        try:
            self._connection.retries.change(key, delete, is_gone)
        except Conflict:
            self._stat(key)  # the version of nothing is not found
            raise

    def sync(self, key: str) -> None:
        self.stat(key)  # what Azure has taken is durable

    def _pages(self, prefix: str) -> Iterator[Page]:
        connection = self._connection
        above, pages = self._off_loop(connection.pages, prefix)

        def ask() -> Page | None:
            page = next(pages, None)
            is_last = not pages.continuation_token
            return None if page is None else Page(names_of(page, above), is_last)

        while (page := self._off_loop(connection.retries.call, prefix, ask)) is not None:
            yield page

    def open(self, key: str, offset: int = 0, length: int | None = None) -> AzureReadable:
        return AzureReadable(
            self._connection, self._transfers, check_key(key), offset, length, self._off_loop
        )

    def signed_url(self, key: str, lifetime_s: int) -> str | None:
        return self._off_loop(self._connection.signed_url, check_key(key), lifetime_s)

    def writer(self, key: str, *, append: bool, destination: str | None = None) -> AzureWriter:
        if destination is not None:
            check_key(destination)
        return AzureWriter(
            self._connection,
            self._transfers,
            check_key(key),
            self._off_loop,
            append=append,
            destination=destination,
        )

    def list(self, prefix: str, after: str = "") -> Iterator[str]:
        above = f"{check_key(prefix)}/" if prefix else ""

        def is_prefix(name: str) -> bool:
            return self._off_loop(self._connection.holds, f"{above}{name}/")

        return in_order(self._pages(above), after, is_prefix)
