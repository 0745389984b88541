"""What Azure says, in the words of the storage driver; and asking once more.

Retries are here and nowhere else: the SDK's are off, so that they do not multiply.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

from azure.core.exceptions import AzureError, HttpResponseError

from fastreg.storage.azure_transport import Unreachable
from fastreg.storage.errors import Busy, Conflict, NotFound, StorageError

T = TypeVar("T")

MAX_WAIT_S: Final = 5.0
"""Between two attempts, whatever Azure asks for: somebody's request is waiting."""
_TRANSIENT: Final = frozenset((408, 429, 500, 502, 503, 504))
_HELD: Final = frozenset(("LeaseIdMissing", "LeaseAlreadyPresent", "PendingCopyOperation"))
_CHANGED: Final = frozenset(("BlobAlreadyExists", "ContainerAlreadyExists", "InvalidBlockList"))
"""Blocks are lost to whoever makes an object of his own first."""
_REASONS: Final = {
    "AccountIsDisabled": "the storage account is disabled",
    "AuthenticationFailed": "Azure does not accept the credentials",
    "AuthorizationFailure": "Azure does not accept the credentials, or not from this address",
    "AuthorizationPermissionMismatch": "the credentials lack the role"
    " Storage Blob Data Contributor",
    "BlobImmutableDueToPolicy": "a policy of the container forbids the change",
    "ContainerNotFound": "the container is gone",
    "ContainerBeingDeleted": "the container is being deleted",
}


def code_of(error: BaseException | None) -> str:
    """Return Azure's name for the error; empty where none was told."""
    code = getattr(error, "error_code", None) or _header_of(error, "x-ms-error-code")
    return str(getattr(code, "value", code))


def is_transient(error: AzureError) -> bool:
    """Whether the same call may well succeed a moment later."""
    if isinstance(error, HttpResponseError):
        return error.status_code in _TRANSIENT
    return isinstance(error, Unreachable) and not error.is_for_good


def meaning_of(key: str, error: AzureError) -> StorageError:
    """Return the StorageError that `error` means for the object under `key`."""
    status = getattr(error, "status_code", None)
    code = code_of(error)
    if code in _HELD:
        return Busy(key, f"another holds it ({code})")
    if code in _REASONS:
        return StorageError(key, f"{_REASONS[code]} ({code})")
    if status == 404:
        return NotFound(key)
    if status in (304, 412) or code in _CHANGED:
        return Conflict(key, "changed since it was read")
    first_line = str(error).partition("\n")[0]
    return StorageError(key, f"{code or status}: {first_line}" if status else first_line)


class Retries:
    """Asks again what failed in passing: a bounded number of times, after waiting for a
    random part of a growing time, so that those who failed together do not return together.
    Nothing is tried again once `patience_s` have passed."""

    def __init__(
        self,
        max_retries: int,
        delay_s: float,
        patience_s: float,
        sleep: Callable[[float], None] = time.sleep,
        draw: Callable[[], float] = random.random,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._max_retries = max(0, max_retries)
        self._delay_s = delay_s
        self._patience_s = patience_s
        self._sleep = sleep
        self._draw = draw
        self._clock = clock

    def call(self, key: str, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> T:
        """Return what `fn` does, which may be called several times. Raises StorageError."""
        retries, deadline = 0, self._clock() + self._patience_s
        while True:
            try:
                return fn(*args, **kwargs)
            except AzureError as error:
                wait_s = self._wait_s(retries, error)
                is_late = self._clock() + wait_s > deadline
                if retries == self._max_retries or is_late or not is_transient(error):
                    raise meaning_of(key, error) from error
            self._sleep(wait_s)
            retries += 1

    def change(
        self, key: str, fn: Callable[[], object], took_effect: Callable[[StorageError], bool]
    ) -> None:
        """As `call`, for a change that is refused when it was made before: where an answer
        was lost and the next attempt is refused, `took_effect` looks which of both it is."""
        attempts = 0

        def attempt() -> None:
            nonlocal attempts
            attempts += 1
            fn()

        try:
            self.call(key, attempt)
        except (NotFound, Conflict) as refusal:
            if attempts == 1 or not took_effect(refusal):
                raise

    def _wait_s(self, retries: int, error: AzureError) -> float:
        wait_s = self._draw() * min(MAX_WAIT_S, self._delay_s * 2.0**retries)
        return max(wait_s, min(MAX_WAIT_S, _asked_wait_s(error)))


def _asked_wait_s(error: AzureError) -> float:
    """Return for how long Azure asks to be left alone (RFC 9110, 10.2.3: seconds)."""
    asked = _header_of(error, "Retry-After")
    return float(asked) if asked.isdecimal() else 0.0


def _header_of(error: BaseException | None, name: str) -> str:
    response = getattr(error, "response", None)
    return str(response.headers.get(name, "")) if response is not None else ""
