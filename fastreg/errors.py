"""The registry's errors: code, status, message. Raised anywhere, rendered once, by the app.

Codes are those of the OCI distribution-spec, section "Error Codes", and the few that the
reference registry adds (PAGINATION_NUMBER_INVALID, RANGE_INVALID).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar


class RegistryError(Exception):
    """An answer that is not the one that was hoped for."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "UNKNOWN"
    message: ClassVar[str] = "unknown error"

    def __init__(self, detail: Any = None, *, headers: Iterable[tuple[str, str]] = ()) -> None:
        super().__init__(f"{self.message}: {detail}" if detail is not None else self.message)
        self.detail = detail
        self.headers = tuple(headers)

    def entries(self) -> list[dict[str, Any]]:
        """Return the elements of the error body's `errors` list."""
        entry: dict[str, Any] = {"code": self.code, "message": self.message}
        if self.detail is not None:
            entry["detail"] = self.detail
        return [entry]


class InternalError(RegistryError):
    message = "the registry failed; its log says why"


class TooManyRequests(RegistryError):
    status = 429
    code = "TOOMANYREQUESTS"
    message = "too many requests"


class StorageFailed(RegistryError):
    status = 503
    code = "UNAVAILABLE"
    message = "the registry's storage failed; try again"


class InsufficientStorage(RegistryError):
    status = 507
    code = "INSUFFICIENT_STORAGE"
    message = "the registry's storage is full"


class Unsupported(RegistryError):
    status = 405
    code = "UNSUPPORTED"
    message = "the operation is unsupported"


class ReadOnly(Unsupported):
    message = "the registry is read-only (storage.maintenance.readonly)"


class DeletionDisabled(Unsupported):
    message = "deletion is off (storage.delete.enabled)"


class PathUnknown(RegistryError):
    status = 404
    code = "UNSUPPORTED"
    message = "no such endpoint"


class RequestInvalid(RegistryError):
    status = 400
    code = "UNSUPPORTED"
    message = "the request is invalid"


class LengthRequired(RegistryError):
    status = 411
    code = "SIZE_INVALID"
    message = "the request needs a Content-Length"


class BodyIncomplete(RegistryError):
    status = 400
    code = "SIZE_INVALID"
    message = "the request's body did not arrive whole"


class BodyTimeout(RegistryError):
    status = 408
    code = "BLOB_UPLOAD_INVALID"
    message = "the request's body stopped moving"


class SizeInvalid(RegistryError):
    status = 400
    code = "SIZE_INVALID"
    message = "provided length did not match content length"


class NameInvalid(RegistryError):
    status = 400
    code = "NAME_INVALID"
    message = "invalid repository name"


class NameUnknown(RegistryError):
    status = 404
    code = "NAME_UNKNOWN"
    message = "repository name not known to registry"


class TagInvalid(RegistryError):
    status = 400
    code = "TAG_INVALID"
    message = "manifest tag is not valid"


class DigestInvalid(RegistryError):
    status = 400
    code = "DIGEST_INVALID"
    message = "provided digest is not valid or does not match uploaded content"


class BlobUnknown(RegistryError):
    status = 404
    code = "BLOB_UNKNOWN"
    message = "blob unknown to registry"


class BlobUploadUnknown(RegistryError):
    status = 404
    code = "BLOB_UPLOAD_UNKNOWN"
    message = "blob upload unknown to registry"


class BlobUploadInvalid(RegistryError):
    status = 400
    code = "BLOB_UPLOAD_INVALID"
    message = "blob upload invalid"


class RangeInvalid(RegistryError):
    status = 416
    code = "RANGE_INVALID"
    message = "the blob has no such range"


class UploadOutOfOrder(RegistryError):
    """`size` is what the session holds, which is where the next chunk must start."""

    status = 416
    code = "BLOB_UPLOAD_INVALID"
    message = "the upload does not go on there"

    def __init__(self, size: int, detail: str) -> None:
        super().__init__(detail)
        self.size = size


class ManifestUnknown(RegistryError):
    status = 404
    code = "MANIFEST_UNKNOWN"
    message = "manifest unknown to registry"


class ManifestInvalid(RegistryError):
    status = 400
    code = "MANIFEST_INVALID"
    message = "manifest invalid"


class ManifestTooLarge(RegistryError):
    status = 413
    code = "MANIFEST_INVALID"
    message = "manifest too large"


class ManifestBlobUnknown(RegistryError):
    """`missing` lists every descriptor that the repository does not hold."""

    status = 400
    code = "MANIFEST_BLOB_UNKNOWN"
    message = "manifest references a manifest or blob unknown to registry"

    def __init__(self, missing: Iterable[dict[str, Any]]) -> None:
        self.missing = list(missing)
        super().__init__(", ".join(str(m.get("digest")) for m in self.missing))

    def entries(self) -> list[dict[str, Any]]:
        return [
            {"code": self.code, "message": self.message, "detail": detail}
            for detail in self.missing
        ]


class PreconditionFailed(RegistryError):
    status = 412
    code = "MANIFEST_INVALID"
    message = "the tag is not what the request's condition says"


class PaginationNumberInvalid(RegistryError):
    status = 400
    code = "PAGINATION_NUMBER_INVALID"
    message = "invalid number of results requested"
