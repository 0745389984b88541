"""`Range` of blobs: RFC 9110, section 14, as distribution-spec asks for it."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from fastreg.api.app import App
from fastreg.api.call import Settings
from fastreg.api.ranges import MAX_RANGES
from fastreg.registry.registry import Registry
from tests.api.client import Answer, Client, make_environ
from tests.storage.fileless import FilelessDriver

DATA = os.urandom(2048)
SIZE = len(DATA)


@pytest.fixture
def url(client: Client) -> str:
    return f"/v2/app/blobs/{client.push_blob(DATA)}"


def parts_of(answer: Answer) -> list[tuple[str, bytes]]:
    """Return (Content-Range, bytes) of each part, the framing checked byte for byte."""
    match = re.fullmatch(r"multipart/byteranges; boundary=(\w+)", answer["Content-Type"])
    assert match
    first, *parts, last = answer.body.split(b"\r\n--" + match[1].encode())
    assert (first, last) == (b"", b"--\r\n")
    found = []
    for part in parts:
        head, content = part.split(b"\r\n\r\n", 1)
        fields = dict(line.split(": ") for line in head.decode().strip().split("\r\n"))
        assert fields.pop("Content-Type") == "application/octet-stream"
        found.append((fields.pop("Content-Range"), content))
        assert not fields
    return found


@pytest.mark.parametrize(
    ("header", "first", "last"),
    [
        ("bytes=500-1499", 500, 1499),
        ("bytes=0-0", 0, 0),
        ("bytes=500-", 500, SIZE - 1),
        ("bytes=-500", SIZE - 500, SIZE - 1),
        ("bytes=-99999", 0, SIZE - 1),
        ("bytes=2000-5000", 2000, SIZE - 1),
        ("bytes=0-", 0, SIZE - 1),
        ("Bytes = 7-9", 7, 9),
        ("bytes=,7-9,", 7, 9),
        ("bytes=7-9, 9999-", 7, 9),
        ("bytes=9-7, 7-9", 7, 9),
    ],
)
def test_one_range_is_206_with_its_bytes(
    client: Client, url: str, header: str, first: int, last: int
) -> None:
    answer = client.get(url, Range=header)
    assert (answer.status, answer.body) == (206, DATA[first : last + 1])
    assert answer["Content-Range"] == f"bytes {first}-{last}/{SIZE}"
    assert answer["Content-Length"] == str(last + 1 - first)
    assert answer["Content-Type"] == "application/octet-stream"


@pytest.mark.parametrize(
    "header",
    ["bytes=2048-", "bytes=5000-10000", "bytes=500-0", "bytes=-0", "bytes=9999-,8888-8889"],
)
def test_no_satisfiable_range_is_416_with_the_size(client: Client, url: str, header: str) -> None:
    answer = client.get(url, Range=header)
    assert answer.outcome == (416, "RANGE_INVALID")
    assert answer["Content-Range"] == f"bytes */{SIZE}"


@pytest.mark.parametrize("header", ["bytes=0-", "bytes=-1"])
def test_an_empty_blob_has_no_range(client: Client, header: str) -> None:
    url = f"/v2/app/blobs/{client.push_blob(b'')}"
    assert client.get(url, Range=header)["Content-Range"] == "bytes */0"


@pytest.mark.parametrize(
    "header",
    [
        "bytes",
        "bytes=",
        "bytes=-",
        "bytes=a-b",
        "bytes=1-2-3",
        "bytes=1",
        "bytes=0x1-2",
        "bytes=1-2;3-4",
        "items=0-1",
        "=0-1",
        "bytes=+1-2",
        "bytes=1-" + "9" * 101,
        "bytes=0-1,x",
    ],
)
def test_a_malformed_range_is_ignored(client: Client, url: str, header: str) -> None:
    answer = client.get(url, Range=header)
    assert (answer.status, answer.body) == (200, DATA)
    assert answer["Content-Range"] == ""


@pytest.mark.parametrize(
    "wanted",
    [
        [(0, 9), (20, 29)],
        [(2000, 2047), (0, 0), (1000, 1009)],
        [(5, 14), (10, 19)],
        [(i * 10, i * 10 + 3) for i in range(MAX_RANGES)],
    ],
    ids=["two", "out of order", "overlapping", "as many as allowed"],
)
def test_several_ranges_come_as_parts_in_their_order(
    client: Client, url: str, wanted: list[tuple[int, int]]
) -> None:
    header = "bytes=" + ",".join(f"{first}-{last}" for first, last in wanted)
    answer = client.get(url, Range=header)
    assert answer.status == 206
    assert answer["Content-Range"] == ""
    assert answer["Content-Length"] == str(len(answer.body))
    assert parts_of(answer) == [
        (f"bytes {first}-{last}/{SIZE}", DATA[first : last + 1]) for first, last in wanted
    ]


def test_open_and_suffix_ranges_mix(client: Client, url: str) -> None:
    answer = client.get(url, Range="bytes=0-3, 2040-, -4, 9000-9001")
    assert [content for _, content in parts_of(answer)] == [DATA[:4], DATA[2040:], DATA[-4:]]


@pytest.mark.parametrize(
    "header",
    ["bytes=" + ",".join(["0-0"] * (MAX_RANGES + 1)), "bytes=0-,0-", "bytes=0-2000,0-2000"],
    ids=["too many", "twice the blob", "more than the blob"],
)
def test_ranges_that_cost_more_than_the_blob_are_ignored(
    client: Client, url: str, header: str
) -> None:
    answer = client.get(url, Range=header)
    assert (answer.status, answer.body) == (200, DATA)


def test_if_range_of_the_etag_gives_the_range(client: Client, url: str) -> None:
    etag = client.head(url)["ETag"]
    assert client.get(url, Range="bytes=0-3", If_Range=etag).body == DATA[:4]


@pytest.mark.parametrize("condition", ['"other"', "W/{}", "Sat, 29 Oct 1994 19:43:31 GMT"])
def test_if_range_of_anything_else_gives_the_whole(
    client: Client, url: str, condition: str
) -> None:
    condition = condition.format(client.head(url)["ETag"])
    answer = client.get(url, Range="bytes=0-3", If_Range=condition)
    assert (answer.status, answer.body) == (200, DATA)


def test_if_none_match_comes_before_the_range(client: Client, url: str) -> None:
    etag = client.head(url)["ETag"]
    assert client.get(url, Range="bytes=0-3", If_None_Match=etag).status == 304


def test_head_ignores_a_range(client: Client, url: str) -> None:
    answer = client.head(url, Range="bytes=0-3")
    assert (answer.status, answer["Content-Length"]) == (200, str(SIZE))


def test_blobs_say_that_they_have_ranges(client: Client, url: str) -> None:
    assert client.head(url)["Accept-Ranges"] == "bytes"


@pytest.mark.usefixtures("root")
def test_segments_of_several_ranges_are_what_iterating_gives(app: App, url: str) -> None:
    environ = make_environ("GET", url, headers={"Range": "bytes=0-3,100-199"})
    result = app(environ, lambda *said: None)
    sent = b"".join(
        s if isinstance(s, bytes) else os.pread(s[0], s[2], s[1]) for s in result.segments()
    )
    assert sent == b"".join(result)
    result.close()


def test_several_ranges_of_what_has_no_file_are_the_same(root: Path, url: str) -> None:
    said: list[list[tuple[str, str]]] = []
    environ = make_environ("GET", url, headers={"Range": "bytes=0-3,100-199,2000-"})
    app = App(Registry(FilelessDriver(root)), Settings())
    result = app(environ, lambda status, headers: said.append(headers))
    before = len(os.listdir("/proc/self/fd"))
    assert result.files is None
    sent = b"".join(s for s in result.segments() if isinstance(s, bytes))
    assert [content for _, content in parts_of(Answer(206, said[0], sent))] == [
        DATA[:4],
        DATA[100:200],
        DATA[2000:],
    ]
    assert len(os.listdir("/proc/self/fd")) == before
    result.close()
    assert len(os.listdir("/proc/self/fd")) == before - 1


@pytest.mark.usefixtures("root")
def test_many_ranges_cost_one_file_however_they_are_sent(app: App, url: str) -> None:
    before = len(os.listdir("/proc/self/fd"))
    header = "bytes=" + ",".join(f"{i * 10}-{i * 10 + 3}" for i in range(MAX_RANGES))
    result = app(make_environ("GET", url, headers={"Range": header}), lambda *said: None)
    assert len(os.listdir("/proc/self/fd")) == before + 1
    open_files = {len(os.listdir("/proc/self/fd")) for _ in result}
    assert max(open_files) <= before + 2
    result.close()
    assert len(os.listdir("/proc/self/fd")) == before
