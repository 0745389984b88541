"""A request's body, as the domain receives it from whatever server there is."""

import errno
import io
from typing import Any

import pytest

from fastreg.api.http import Request
from fastreg.errors import BodyIncomplete, BodyTimeout
from fastreg.registry.hashing import pour_of


class Server(io.BytesIO):
    """An input that pours three bytes at a time, then fails if it must."""

    def __init__(self, failure: OSError | None = None) -> None:
        super().__init__(b"abcdef")
        self._failure = failure

    def pour(self, sink: bytearray, max_bytes: int) -> int:
        if self._failure:
            raise self._failure
        data = self.read(min(3, max_bytes))
        sink += data
        return len(data)


def body_of(source: object, length: str = "6") -> Any:
    return Request({"REQUEST_METHOD": "PUT", "CONTENT_LENGTH": length, "wsgi.input": source}).body


def test_only_a_server_that_pours_gives_a_body_that_does() -> None:
    assert pour_of(body_of(Server())) is not None
    assert pour_of(body_of(io.BytesIO(b"abcdef"))) is None


def test_pouring_and_reading_go_on_from_each_other() -> None:
    body = body_of(Server())
    sink = bytearray()
    assert body.pour(sink, 2) == 2
    assert body.read(1) == b"c"
    assert [body.pour(sink, 99), body.pour(sink, 99), body.read(9)] == [3, 0, b""]
    assert sink == b"abdef"


@pytest.mark.parametrize(
    ("failure", "error"),
    [
        (TimeoutError("slow"), BodyTimeout),
        (ConnectionResetError(errno.ECONNRESET, "left"), BodyIncomplete),
        (OSError(errno.EBADMSG, "no chunk"), BodyIncomplete),
    ],
)
def test_a_client_that_fails_is_told_by_pouring_as_by_reading(
    failure: OSError, error: type[Exception]
) -> None:
    body = body_of(Server(failure))
    with pytest.raises(error):
        body.pour(bytearray(), 9)


def test_a_server_that_lacks_descriptors_does_not_blame_the_client() -> None:
    body = body_of(Server(OSError(errno.EMFILE, "too many open files")))
    with pytest.raises(OSError, match="too many"):
        body.pour(bytearray(), 9)
