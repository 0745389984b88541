"""One download at a time, as slowly as a test wants it."""

import http.client
from collections.abc import Iterator

from tests.live.client import Client, digest_of

CUT = (OSError, http.client.HTTPException)


class Download:
    """A GET of a blob on a connection, its own or a client's, its body unread."""

    def __init__(
        self,
        client: Client,
        name: str,
        digest: str,
        *,
        span: str = "",
        connection: http.client.HTTPConnection | None = None,
    ) -> None:
        self.digest = digest
        self.received = bytearray()
        self._connection = connection or http.client.HTTPConnection(client.host, timeout=30)
        headers = {"Range": span} if span else {}
        self._connection.request("GET", f"/v2/{name}/blobs/{digest}", headers=headers)
        self._response: http.client.HTTPResponse | None = None

    @property
    def response(self) -> http.client.HTTPResponse:
        """Waits for the head of the answer."""
        if self._response is None:
            self._response = self._connection.getresponse()
            assert self._response.status in (200, 206), self._response.read()
        return self._response

    def read(self, count: int) -> bytes:
        data = self.response.read(count)
        self.received += data
        return data

    def pieces(self) -> Iterator[bytes]:
        while data := self.response.read1(256 << 10):
            self.received += data
            yield data

    def rest(self) -> bytes:
        """Return all of it; raises one of CUT where it was cut."""
        for _ in self.pieces():
            pass
        if self.response.length:
            raise http.client.IncompleteRead(b"", self.response.length)
        self.leave()
        return bytes(self.received)

    def ends_whole(self) -> bool:
        try:
            self.rest()
        except CUT:
            return False
        finally:
            self.leave()
        return True

    def is_right(self) -> bool:
        return self.ends_whole() and digest_of(bytes(self.received)) == self.digest

    def leave(self) -> None:
        self._connection.close()
