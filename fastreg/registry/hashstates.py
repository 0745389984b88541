"""Stored hash states of one upload session: what saves reading its bytes again.

A state is never needed: a missing, damaged or too new one only means that more of the data
is hashed anew. Files: `hashstates/<alg>/<offset>`, Go's serialisation. States of algorithms
that the registry does not resume may be there, and are left alone.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from fastreg.oci.digest import Hasher
from fastreg.registry import paths
from fastreg.registry.hashing import RESUMABLE, hash_rest, new_hasher
from fastreg.registry.store import Store, log
from fastreg.storage.errors import StorageError

_MAX_STATE_BYTES: Final = 1024


class HashStates:
    """Lists what is stored once: to be made anew for each request, under the session's lock.

    Of an algorithm two states stay, so that the new one can be stored at the same time as
    older ones are deleted: were it lost, the one before would still save most.
    """

    def __init__(self, store: Store, name: str, upload_id: str) -> None:
        self._store = store
        self._name = name
        self._upload_id = upload_id
        self._listed: dict[str, list[str]] | None = None

    def start(self, algorithm: str) -> None:
        """Store the state of no bytes in a new session: it says what is hashed while
        receiving. Nothing for blake3, whose state cannot be stored."""
        self._listed = {}
        if algorithm in RESUMABLE:
            self._put(algorithm, 0, RESUMABLE[algorithm]().export_state())

    def resume_running(self, size: int) -> Hasher | None:
        """Return the hasher of the first `size` bytes of the algorithm that the session
        hashes while receiving, None where it hashes only at its end."""
        for algorithm in RESUMABLE:
            if self._offsets(algorithm):
                return self.resume(algorithm, size)
        return None

    def resume(self, algorithm: str, size: int) -> Hasher:
        """Return a hasher of the session's first `size` bytes: the furthest stored state,
        and what lies between read again."""
        if not size:
            return new_hasher(algorithm)
        hasher, offset = self._furthest(algorithm, size)
        if offset < size:
            key = paths.upload_data(self._name, self._upload_id)
            with self._store.driver.open(key, offset, size - offset) as rest:
                hash_rest(self._store, hasher, rest)
        return hasher

    def _furthest(self, algorithm: str, size: int) -> tuple[Hasher, int]:
        if algorithm not in RESUMABLE:
            return new_hasher(algorithm), 0
        usable = (int(o) for o in self._offsets(algorithm) if int(o) <= size)
        for offset in sorted(usable, reverse=True):
            try:
                hasher = RESUMABLE[algorithm].restore(self._get(algorithm, offset))
            except (ValueError, StorageError) as e:
                log.warning("hash state not usable", upload=self._upload_id, reason=str(e))
                continue
            if hasher.length == offset:
                return hasher, offset
        return new_hasher(algorithm), 0

    def drop_beyond(self, size: int) -> None:
        """Delete the states of more than `size` bytes: those bytes were lost, and a state
        must not be believed once others have taken their place."""
        for algorithm in RESUMABLE:
            for offset in self._offsets(algorithm):
                if int(offset) > size:
                    self._delete(algorithm, offset)

    def save(self, hasher: Hasher, size: int) -> None:
        """Store the state at `size`, and drop all earlier ones but the last; nothing for a
        hasher that was not given exactly the session's bytes."""
        for algorithm, kind in RESUMABLE.items():
            if not isinstance(hasher, kind) or hasher.length != size:
                continue
            earlier = (o for o in self._offsets(algorithm) if int(o) != size)
            self._store.driver.at_once(
                partial(self._put, algorithm, size, hasher.export_state()),
                *(
                    partial(self._delete_quietly, algorithm, offset)
                    for offset in sorted(earlier, key=int)[:-1]
                ),
            )

    def deletions(self) -> list[Callable[[], None]]:
        """Return what deletes every state; what it cannot delete is logged and left to the
        purge."""
        return [
            partial(self._delete_quietly, algorithm, name)
            for algorithm, names in self._stored.items()
            for name in names
        ]

    def look(self) -> None:
        """List what is stored."""
        self._listed = self._list()

    @property
    def _stored(self) -> dict[str, list[str]]:
        if self._listed is None:
            self._listed = self._list()
        return self._listed

    def _list(self) -> dict[str, list[str]]:
        root = paths.hash_states(self._name, self._upload_id)
        names = self._store.driver.list
        return {algorithm: list(names(f"{root}/{algorithm}")) for algorithm in names(root)}

    def _offsets(self, algorithm: str) -> list[str]:
        return [name for name in self._stored.get(algorithm, ()) if name.isdecimal()]

    def _get(self, algorithm: str, offset: int) -> bytes:
        key = self._key(algorithm, offset)
        return self._store.driver.get(key, _MAX_STATE_BYTES)

    def _put(self, algorithm: str, offset: int, state: bytes) -> None:
        key = self._key(algorithm, offset)
        try:
            self._store.driver.put(key, state, durable=False)
        except StorageError as e:
            log.warning("hash state not saved", upload=self._upload_id, reason=str(e))
            return
        names = self._stored.setdefault(algorithm, [])
        if str(offset) not in names:
            names.append(str(offset))

    def _delete(self, algorithm: str, name: str) -> None:
        self._store.delete_if_there(self._key(algorithm, name), durable=False)
        self._stored[algorithm].remove(name)

    def _delete_quietly(self, algorithm: str, name: str) -> None:
        try:
            self._delete(algorithm, name)
        except StorageError as e:
            log.warning("hash state not deleted", upload=self._upload_id, reason=str(e))

    def _key(self, algorithm: str, offset: str | int) -> str:
        return paths.hash_state(self._name, self._upload_id, algorithm, offset)
