"""What a handler is called with, and the gates that its plain values pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from fastreg.api.http import Request
from fastreg.api.urls import UrlBuilder
from fastreg.errors import DigestInvalid, NameInvalid, TooManyRequests
from fastreg.oci.digest import Digest, InvalidDigest
from fastreg.oci.names import InvalidName, check_name
from fastreg.registry.registry import Registry
from fastreg.registry.repository import Repository


@dataclass(frozen=True, slots=True)
class Settings:
    """What of the configuration decides answers."""

    urls: UrlBuilder = field(default_factory=UrlBuilder)
    headers: tuple[tuple[str, str], ...] = ()
    """Added to every answer."""
    secret: str = ""
    """Shared with reference registries on the same directory; see `api/state.py`."""
    delete_enabled: bool = False
    readonly: bool = False
    redirect: bool = False
    """Send who asks for a blob to the store, where it gives URLs."""
    prefetch: bool = False
    """Begin to fetch an image's blobs when its manifest is asked for."""
    max_catalog_entries: int = 1000
    max_tags: int = 1000


Spend = Callable[[int], None]


class Budget:
    """Bytes that all requests of a process may hold in memory at once."""

    def __init__(self, max_bytes: int) -> None:
        self._left = max_bytes

    @contextmanager
    def spending(self) -> Iterator[Spend]:
        """Give a function that takes bytes, until the `with` block ends; it raises
        TooManyRequests where there are not as many left."""
        spent = 0

        def spend(count: int) -> None:
            nonlocal spent
            if count > self._left:
                raise TooManyRequests("many large manifests arrive at this moment; try again")
            self._left -= count
            spent += count

        try:
            yield spend
        finally:
            self._left += spent


@dataclass(frozen=True, slots=True)
class Call:
    request: Request
    registry: Registry
    settings: Settings
    manifest_budget: Budget
    arguments: dict[str, str] = field(default_factory=dict)
    """The named parts of the path."""

    @property
    def repository(self) -> Repository:
        """The repository that the path names. Raises NameInvalid."""
        try:
            return self.registry.repository(check_name(self.arguments["name"]))
        except InvalidName as e:
            raise NameInvalid(str(e)) from None

    @property
    def digest(self) -> Digest:
        """The digest that the path names. Raises DigestInvalid."""
        return parse_digest(self.arguments["digest"])

    def url(self, path: str, **query: str | int) -> str:
        return self.settings.urls.url(self.request, path, **query)

    def path(self, path: str, **query: str | int) -> str:
        return self.settings.urls.path(self.request, path, **query)


def parse_digest(text: str) -> Digest:
    """Return the digest. Raises DigestInvalid."""
    try:
        return Digest.parse(text)
    except InvalidDigest as e:
        raise DigestInvalid(str(e)) from None
