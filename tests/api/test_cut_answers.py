"""Answers whose content fails them half way: why is logged, and they never end as if whole."""

from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs

from fastreg.api.app import tell_of_cut
from fastreg.api.http import Body, Readable, Request, Segment
from fastreg.storage.errors import StorageError

REQUEST = Request({"REQUEST_METHOD": "GET", "PATH_INFO": "/v2/app/blobs/sha256:ab"})


class Failing:
    """Ten bytes, of which five can be read."""

    offset, length = 0, 10

    def __init__(self, error: Exception) -> None:
        self._error = error
        self._left = 5

    def read(self, max_bytes: int) -> bytes:
        if not self._left:
            raise self._error
        self._left = 0
        return b"12345"

    def fileno(self) -> None:
        return None

    def segments(self) -> Iterator[Segment]:
        yield b"12345"
        raise self._error

    def close(self) -> None:
        pass


def body_of(piece: Readable) -> Body:
    body = Body([piece])
    body.tell = lambda error: tell_of_cut(REQUEST, error)
    return body


def test_what_the_store_says_is_logged_in_one_line() -> None:
    for read in (Body.segments, Body.__iter__):
        items = read(body_of(Failing(StorageError("key", "gone"))))
        assert next(items) == b"12345"
        with capture_logs() as lines, pytest.raises(ConnectionAbortedError):
            next(items)
        assert [(line["event"], line["reason"]) for line in lines] == [
            ("answer cut short", "key: gone")
        ]
        assert "exc_info" not in lines[0]


def test_what_nobody_expected_is_left_to_who_sends() -> None:
    items = body_of(Failing(ZeroDivisionError())).segments()
    assert next(items) == b"12345"
    with capture_logs() as lines, pytest.raises(ZeroDivisionError):
        next(items)
    assert lines == []
