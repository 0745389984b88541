"""Upload sessions of one repository: bytes that arrive in pieces and become a blob.

A session exists while its `startedat` and its data do. The data is all that is needed to go
on; a hash state only saves reading it again. So the order is: bytes, then their state.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

from fastreg.errors import BlobUploadUnknown, DigestInvalid, UploadOutOfOrder
from fastreg.oci.digest import Digest
from fastreg.registry import paths
from fastreg.registry.blobs import Blobs
from fastreg.registry.content import stored_size
from fastreg.registry.hashing import Source, digest_now, hash_rest, new_hasher
from fastreg.registry.hashstates import HashStates
from fastreg.registry.session import Session
from fastreg.registry.store import Store, log
from fastreg.storage.base import Writer
from fastreg.storage.errors import Busy, NotFound, StorageError


class Uploads:
    def __init__(self, store: Store, name: str, blobs: Blobs) -> None:
        self._store = store
        self._name = name
        self._blobs = blobs

    def start(self, algorithm: str = "sha256") -> str:
        """Begin a session and return its id. `algorithm` is what is hashed while receiving;
        a digest of another one is computed at the end.

        A session survives a power cut from its first bytes on: an empty one has nothing to
        lose. What is made for it on the way is durable for what follows.
        """
        upload_id = str(uuid.uuid4())
        self._store.off_loop(self._start, upload_id, algorithm)
        return upload_id

    def _start(self, upload_id: str, algorithm: str) -> None:
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        driver = self._store.driver
        data = paths.upload_data(self._name, upload_id)
        driver.at_once(
            partial(driver.put, paths.upload_started_at(self._name, upload_id), now.encode()),
            partial(HashStates(self._store, self._name, upload_id).start, algorithm),
            lambda: driver.writer(data, append=False).close(),
        )

    def size(self, upload_id: str) -> int:
        """Return the bytes that the session holds. Raises BlobUploadUnknown."""
        driver = self._store.driver
        data = paths.upload_data(self._name, upload_id)
        try:
            _, there = driver.at_once(
                partial(self._check_exists, upload_id), partial(driver.stat, data)
            )
        except NotFound:
            raise self._unknown(upload_id) from None
        return int(there.size)

    def append(
        self, upload_id: str, body: Source, *, start: int | None, length: int | None = None
    ) -> int:
        """Append `body` and return the session's new size, durable.

        `start` is where the body must belong, None for wherever the session ends; `length`
        is what it must bring, None for whatever comes. Whatever the failure, bytes that
        arrived in order are kept. Raises UploadOutOfOrder, also while another writer is at
        it, BlobUploadUnknown and SizeInvalid.
        """
        with self._one_at_a_time(upload_id):
            session, _ = self._store.off_loop(self._open, upload_id, start, None)
            with session:
                session.receive(body, length)
                session.save()
                return session.writer.size

    def _open(
        self, upload_id: str, start: int | None, digest: Digest | None
    ) -> tuple[Session, HashStates]:
        """Open the session where `start` is its end; without the digest that it is to have,
        hashing with what it was begun with."""
        writer, states = self._reopen(upload_id, digest)
        try:
            states.drop_beyond(writer.size)
            _check_start(writer, start)
            if digest is None:
                hasher = states.resume_running(writer.size)
            else:
                hasher = states.resume(digest.algorithm, writer.size)
            return Session(self._store, writer, hasher, states), states
        except BaseException:
            writer.close()
            raise

    def finish(
        self,
        upload_id: str,
        body: Source,
        digest: Digest,
        *,
        start: int | None,
        length: int | None = None,
    ) -> None:
        """Append `body` as `append` does, verify `digest`, and make the bytes a blob of the
        repository: durable, blob before link. A failure keeps the bytes that the session had,
        and those that came where the driver's writer `keeps_bytes`.

        Content of another digest ends the session with DigestInvalid. For a session that is
        over, all that counts is whether the repository has the blob: the answer may have
        been lost.
        """
        off_loop = self._store.off_loop
        with self._one_at_a_time(upload_id):
            try:
                session, states = off_loop(self._open, upload_id, start, digest)
            except BlobUploadUnknown:
                off_loop(self._settle, upload_id, digest)
                return
            with session:
                resumed = session.writer.size > 0
                session.receive(body, length)
                off_loop(self._commit, upload_id, session, states, digest, resumed)

    def _commit(
        self, upload_id: str, session: Session, states: HashStates, digest: Digest, resumed: bool
    ) -> None:
        actual = session.digest(digest.algorithm)
        if actual != digest and resumed:
            # A stored state may be wrong; the bytes decide before they are deleted.
            session.writer.sync()
            actual = self._hash_all(upload_id, digest.algorithm)
        if actual != digest:
            size = session.writer.size
            self._discard(upload_id, session.writer, states)
            raise _mismatch(actual, digest, size)
        verified = paths.upload_verified(self._name, upload_id)
        self._store.write_link(verified, digest, durable=False)
        session.writer.commit(paths.blob_data(digest))
        self._blobs.link(digest)
        self._forget(upload_id, states)

    def _settle(self, upload_id: str, digest: Digest) -> None:
        """End a session that is over already, or was cut short in `_commit`."""
        if self._blobs.has(digest):
            self._blobs.settle(digest)
            return
        if not self._has_committed(upload_id, digest):
            raise self._unknown(upload_id)
        self._store.driver.sync(paths.blob_data(digest))
        self._blobs.link(digest)
        self._forget(upload_id, HashStates(self._store, self._name, upload_id))

    def push(self, body: Source, digest: Digest) -> None:
        """Take a whole blob in one go; a failure leaves nothing. Raises as `finish`.

        It needs no session: nobody can go on with what nobody was told of.
        """
        off_loop, driver = self._store.off_loop, self._store.driver
        key = paths.upload_data(self._name, str(uuid.uuid4()))
        writer = driver.writer(key, append=False, destination=paths.blob_data(digest))
        with Session(self._store, writer, new_hasher(digest.algorithm), None) as session:
            try:
                session.receive(body, None)
                off_loop(self._commit_whole, session, digest)
            except BaseException:
                self._abort_quietly(writer)
                raise
        self._blobs.link(digest)

    def _commit_whole(self, session: Session, digest: Digest) -> None:
        actual = session.digest(digest.algorithm)
        if actual != digest:
            raise _mismatch(actual, digest, session.writer.size)
        session.writer.commit(paths.blob_data(digest))

    def _abort_quietly(self, writer: Writer) -> None:
        try:
            writer.abort()
        except StorageError as e:
            log.warning("upload not tidied", reason=str(e))

    def _has_committed(self, upload_id: str, digest: Digest) -> bool:
        """Whether an earlier `finish` of the session was cut short between blob and link."""
        verified = self._store.read_link(paths.upload_verified(self._name, upload_id))
        return verified == digest and stored_size(self._store, digest) is not None

    def cancel(self, upload_id: str) -> None:
        """End the session and delete its bytes. Raises BlobUploadUnknown, and
        UploadOutOfOrder while a writer is at it."""
        with self._one_at_a_time(upload_id):
            self._store.off_loop(self._cancel, upload_id)

    def _cancel(self, upload_id: str) -> None:
        writer, states = self._reopen(upload_id)
        with writer:
            self._discard(upload_id, writer, states)

    def _hash_all(self, upload_id: str, algorithm: str) -> Digest:
        hasher = new_hasher(algorithm)
        with self._store.driver.open(paths.upload_data(self._name, upload_id)) as data:
            hash_rest(self._store, hasher, data)
        return digest_now(algorithm, hasher)

    def _check_exists(self, upload_id: str) -> None:
        if not self._store.exists(paths.upload_started_at(self._name, upload_id)):
            raise self._unknown(upload_id)

    def _unknown(self, upload_id: str) -> BlobUploadUnknown:
        return BlobUploadUnknown({"upload": upload_id, "repository": self._name})

    @contextmanager
    def _one_at_a_time(self, upload_id: str) -> Iterator[None]:
        """Tell who comes second where the session is now, or that it is over."""
        try:
            yield
        except NotFound as error:
            if error.key != paths.upload_data(self._name, upload_id):
                raise
            raise self._unknown(upload_id) from None
        except Busy:
            raise UploadOutOfOrder(
                self.size(upload_id), "another request is writing to this session"
            ) from None

    def _reopen(self, upload_id: str, digest: Digest | None = None) -> tuple[Writer, HashStates]:
        """Open the session's only writer, and look what else is stored; `startedat` under the
        writer's lock, so that a session that just ended is not begun again."""
        driver = self._store.driver
        data = paths.upload_data(self._name, upload_id)
        destination = paths.blob_data(digest) if digest else None
        states = HashStates(self._store, self._name, upload_id)
        with ExitStack() as opened:
            try:
                writer, _, _ = driver.at_once(
                    lambda: opened.enter_context(
                        driver.writer(data, append=True, destination=destination)
                    ),
                    partial(self._check_exists, upload_id),
                    states.look,
                )
            except NotFound:
                raise self._unknown(upload_id) from None
            opened.pop_all()
        return writer, states

    def _discard(self, upload_id: str, writer: Writer, states: HashStates) -> None:
        self._forget(upload_id, states)
        writer.abort()

    def _forget(self, upload_id: str, states: HashStates) -> None:
        """Delete what belongs to the session beside its data. What stays, or comes back after
        a power cut, is no session and left to the purge."""
        keys = (
            paths.upload_started_at(self._name, upload_id),
            paths.upload_verified(self._name, upload_id),
        )
        self._store.driver.at_once(
            *(partial(self._forget_key, upload_id, key) for key in keys), *states.deletions()
        )

    def _forget_key(self, upload_id: str, key: str) -> None:
        try:
            self._store.delete_if_there(key, durable=False)
        except StorageError as e:
            log.warning("upload not tidied", upload=upload_id, reason=str(e))


def _mismatch(actual: Digest, expected: Digest, size: int) -> DigestInvalid:
    return DigestInvalid(
        {
            "provided": str(expected),
            "actual": str(actual),
            "size": size,
            "reason": "the content received has another digest; upload it again",
        }
    )


def _check_start(writer: Writer, start: int | None) -> None:
    if start is not None and start != writer.size:
        raise UploadOutOfOrder(
            writer.size, f"the body starts at {start}, the session holds {writer.size} bytes"
        )
