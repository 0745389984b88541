"""The parser of heads, on anything."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastreg.server.head import BadHead, Head, check_growing, parse_head

_PIECES = st.sampled_from(
    [
        *(b"GET", b"PUT", b" ", b"/", b"/v2/%2F", b"*", b"http://h", b"HTTP/1.1", b"HTTP/1.0"),
        *(b"\r\n", b"Host: a", b"Content-Length: 5", b"Transfer-Encoding: chunked", b"X_A: b"),
        *(
            b"Expect: 100-continue",
            b"Connection: close",
            b":",
            b"\t",
            b"\n",
            b"\r",
            b"\x00",
            b"\xff",
        ),
    ]
)


@given(st.one_of(st.binary(max_size=200), st.lists(_PIECES, max_size=25).map(b"".join)))
def test_anything_is_a_head_or_is_refused(raw: bytes) -> None:
    outcome = _parse(raw)
    if isinstance(outcome, BadHead):
        assert outcome.status[:3] in {"400", "417", "431", "501", "505"}
        assert outcome.message
    else:
        _check_unambiguous(outcome)


def _parse(raw: bytes) -> Head | BadHead:
    try:
        return parse_head(raw)
    except BadHead as bad:
        return bad


def _check_unambiguous(head: Head) -> None:
    assert head.target.startswith("/") or (head.method, head.target) == ("OPTIONS", "*")
    assert not (head.is_chunked and head.content_length is not None)
    assert head.version == "HTTP/1.0" or "host" in head.headers
    for name, value in head.headers.items():
        assert "_" not in name
        assert not {"\r", "\n", "\0"} & set(value)
    environ = head.environ()
    assert environ["REQUEST_METHOD"] == head.method
    assert all(isinstance(value, str) for value in environ.values())


@given(st.binary(max_size=300))
def test_growing_bytes_are_never_refused_before_a_good_head_ends(tail: bytes) -> None:
    raw = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    for end in range(1, len(raw)):
        check_growing(raw[:end], -1)
    check_growing(raw + tail, len(raw) - 4)
    assert parse_head(raw[:-4]).target == "/"


@pytest.mark.parametrize(
    ("version", "connection", "keeps_alive"),
    [
        ("1.1", None, True),
        ("1.1", "close", False),
        ("1.1", "keep-alive, CLOSE", False),
        ("1.1", "upgrade", True),
        ("1.0", None, False),
        ("1.0", "Keep-Alive", True),
        ("1.0", "keep-alive, close", False),
    ],
)
def test_the_connection_header_is_a_list(
    version: str, connection: str | None, keeps_alive: bool
) -> None:
    lines = [f"GET / HTTP/{version}", "Host: a"]
    if connection is not None:
        lines.append(f"Connection: {connection}")
    assert parse_head("\r\n".join(lines).encode()).keeps_alive is keeps_alive
