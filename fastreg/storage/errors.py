"""What a storage driver can say; each error carries the key it is about."""


class StorageError(Exception):
    """The store failed in a way that retrying the same call may cure."""

    def __init__(self, key: str, reason: str = "") -> None:
        super().__init__(f"{key}: {reason}" if reason else key)
        self.key = key
        self.reason = reason


class NotFound(StorageError):
    """Nothing is stored under the key."""


class Conflict(StorageError):
    """The object under the key is not the version that the caller expected."""


class Busy(StorageError):
    """Another writer, in this process or another, holds the key."""


class NoSpace(StorageError):
    """The store is full, or over its quota; what was written before is kept."""


class InvalidKey(StorageError):
    """The key is not of the form that keys have; see `base.check_key`."""
