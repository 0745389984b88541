"""Clients that push until the registry dies, and remember what they were told."""

import http.client
import itertools
import random
import threading
from dataclasses import dataclass, field

from tests.live.client import (
    Client,
    Upload,
    digest_of,
    manifest_of,
    noise,
    pieces,
)

CONFIG = b'{"architecture": "amd64", "os": "linux"}'
DIED = (OSError, http.client.HTTPException)
_SHARED_CONTENTS = 30
"""Few enough that several clients push the same blob at the same moment."""


@dataclass
class Unfinished:
    """A session whose client never saw its end."""

    upload: Upload
    content: bytes
    acknowledged: int = 0
    """What the last 202 said the session holds."""
    is_ending: bool = False
    """The request that ends it was sent: it may have been carried out."""


@dataclass
class Pusher:
    """One client, with a tag of its own that it moves."""

    client: Client
    name: str
    tag: str
    seed: int
    blobs: list[str] = field(default_factory=list)
    """Digests of blobs that were acknowledged."""
    manifests: list[str] = field(default_factory=list)
    """Digests of manifests that were acknowledged."""
    moves: list[str] = field(default_factory=list)
    """Where the tag was sent, in order."""
    last_move: int = -1
    """Which of the moves was the last one acknowledged."""
    unfinished: list[Unfinished] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._numbers = itertools.count()

    def push_until_it_dies(self, stop: threading.Event, *, goes_on: bool = False) -> None:
        """Push until a request fails, or with `goes_on` until `stop` alone."""
        while not stop.is_set():
            try:
                self._push_something()
            except DIED:
                if not goes_on:
                    return

    def _push_something(self) -> None:
        way = self._random.choice(
            [self._push_whole, self._push_chunked, self._push_in_parts, self._push_image]
        )
        way()

    def _content(self) -> bytes:
        seed = self._random.randrange(_SHARED_CONTENTS)
        return noise(seed, 1 + seed * 9_000)

    def _push_whole(self) -> None:
        self.blobs.append(self.client.push_whole(self.name, self._content()))

    def _push_chunked(self) -> None:
        self.blobs.append(self.client.push_chunked(self.name, self._content()))

    def _push_in_parts(self) -> None:
        content = noise(self._random.random(), 200_000)
        session = Unfinished(Upload(self.client, self.name), content)
        self.unfinished.append(session)
        for part in pieces(content, 70_000):
            session.upload.patch_at(session.acknowledged, part).expect(202)
            session.acknowledged = session.upload.size
        if self._random.random() < 0.2:
            return  # a client that never comes back
        session.is_ending = True
        session.upload.finish(digest_of(content)).expect(201)
        self.unfinished.remove(session)
        self.blobs.append(digest_of(content))

    def _push_image(self) -> None:
        layer = self._content()
        for content in (CONFIG, layer):
            self.blobs.append(self.client.push_whole(self.name, content))
        number = f"{self.tag}-{next(self._numbers)}"
        manifest = manifest_of(CONFIG, layer, number=number)
        self.moves.append(digest_of(manifest))
        self.client.put_manifest(self.name, self.tag, manifest).expect(201)
        self.last_move = len(self.moves) - 1
        self.manifests.append(digest_of(manifest))

    # --- afterwards

    def check(self) -> None:
        """Assert that everything acknowledged is there and whole, and finish what is not.

        Forgets what was checked.
        """
        for digest in set(self.blobs):
            assert digest_of(self.client.blob(self.name, digest).expect(200).body) == digest
        for digest in self.manifests:
            content = self.client.manifest(self.name, digest).expect(200).body
            assert digest_of(content) == digest
        if self.last_move >= 0:
            answer = self.client.manifest(self.name, self.tag).expect(200)
            assert digest_of(answer.body) in self.moves[self.last_move :]
        for session in self.unfinished:
            self._finish(session)
        self.blobs, self.manifests, self.unfinished = [], [], []

    def _finish(self, session: Unfinished) -> None:
        digest = digest_of(session.content)
        answer = session.upload.ask()
        if answer.status == 404:
            assert session.is_ending, f"session {session.upload.id} was lost"
            return
        size = session.upload.size
        assert session.acknowledged <= size <= len(session.content)
        rest = session.content[size:]
        session.upload.finish(digest, rest).expect(201)
        assert self.client.blob(self.name, digest).expect(200).body == session.content
