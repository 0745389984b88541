"""The C recogniser against the careful parser: what it recognises, both understand alike."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from fastreg import logs
from fastreg.api import blobs, manifests, ops, routes
from fastreg.api.blobs import has_etag
from fastreg.api.ranges import parse_range
from fastreg.server import head as careful
from fastreg.server.settings import AccessRecord
from tests.ext.heads import HEX, heads, targets
from tests.ext.recogniser import Recognised, Recogniser, Result, Route
from tests.server.samples import load_sample, sample_names

HANDED_ON = ("authorization", "if-none-match", "user-agent", "referer")
RECOGNISED_SAMPLES = {
    *(
        "docker",
        "get",
        "conditional",
        "keep_alive",
        "long_range",
        "mirror_namespace",
        "names_in_any_case",
    ),
    *("range", "repeated_headers_are_joined", "values_close_to_the_colon"),
}
FUZZ = settings(
    deadline=None, max_examples=1500, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="module")
def c(tmp_path_factory: pytest.TempPathFactory, need: Callable[[str, str], str]) -> Recogniser:
    return Recogniser(need("cc", "gcc"), tmp_path_factory.mktemp("recogniser"))


def parse_carefully(data: bytes) -> careful.Head:
    """Return the first head of what a connection received, as `server/inbound.py` finds it."""
    end = data.index(b"\r\n\r\n")
    careful.check_growing(data, end)
    return careful.parse_head(data[:end])


def assert_understood_alike(found: Recognised, data: bytes) -> None:
    head = parse_carefully(data)
    assert found.used == data.index(b"\r\n\r\n") + 4
    assert (found.method, found.target) == (head.method, head.target)
    assert found.headers == {n: head.headers[n] for n in HANDED_ON if n in head.headers}
    assert head.keeps_alive is not found.closes
    assert (head.content_length, head.is_chunked, head.expects_continue) == (None, False, False)
    conditions = [name for name in head.headers if name.startswith(("content-", "if-", "proxy"))]
    assert conditions in ([], ["if-none-match"])
    assert_means_the_range(found, head.headers.get("range"))


def assert_means_the_range(found: Recognised, header: str | None) -> None:
    assert (found.range is not None) == (header is not None)
    if found.range is None or header is None:
        return
    first, last = found.range
    for size in (0, 1, first, first + 1, (last or first) + 1, (last or first) + 2):
        end = size if last is None else min(size, last + 1)
        assert parse_range(header, size) == ([(first, end - first)] if first < end else [])


@FUZZ
@given(heads)
def test_what_is_recognised_the_careful_parser_understands_alike(
    c: Recogniser, data: bytes
) -> None:
    found = c.parse(data)
    if isinstance(found, Recognised):
        assert_understood_alike(found, data)
    assert found is not Result.PARTIAL or b"\r\n\r\n" not in data


@settings(FUZZ, max_examples=100)
@given(heads)
def test_a_head_is_partial_until_it_is_decided(c: Recogniser, data: bytes) -> None:
    decisions = [c.parse(data[:cut]) for cut in range(len(data) + 1)]
    after = [each for each in decisions if each is not Result.PARTIAL]
    assert decisions == [Result.PARTIAL] * (len(decisions) - len(after)) + after[:1] * len(after)


@pytest.mark.parametrize("name", sample_names("valid"))
def test_a_valid_sample_is_understood_alike_or_left(c: Recogniser, name: str) -> None:
    data, expected = load_sample("valid", name)
    found = c.parse(data)
    assert isinstance(found, Recognised) == (name in RECOGNISED_SAMPLES)
    if isinstance(found, Recognised):
        assert_understood_alike(found, data)
        assert (found.method, found.target) == (expected[0]["method"], expected[0]["target"])


@pytest.mark.parametrize("name", sample_names("invalid"))
def test_an_invalid_sample_is_left_to_be_refused(c: Recogniser, name: str) -> None:
    data, _ = load_sample("invalid", name)
    after = b"GET /smuggled HTTP/1.1\r\nHost: reg\r\n\r\n"
    assert c.parse(data) in (Result.OTHER, Result.PARTIAL)
    assert c.parse(data + after) is Result.OTHER


@pytest.mark.parametrize("name", sorted(careful._SINGLE))
def test_what_may_come_once_is_not_recognised_twice(c: Recogniser, name: str) -> None:
    value = {"range": "bytes=0-1", "if-none-match": '"a:b"'}.get(name, "reg")
    line = f"{name}: {value}\r\n"
    host = "" if name == "host" else "Host: reg\r\n"
    data = f"GET / HTTP/1.1\r\n{host}{line}X: y\r\n{line.title()}\r\n".encode()
    with pytest.raises(careful.BadHead):
        parse_carefully(data)
    assert c.parse(data) is Result.OTHER


def recognised(c: Recogniser, *lines: str, target: str = "/") -> Recognised:
    found = c.parse("\r\n".join([f"GET {target} HTTP/1.1", "Host: r", *lines, "", ""]).encode())
    assert isinstance(found, Recognised)
    return found


printable = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1)


@FUZZ
@example("\\" * 495, "b" * 495, "c" * 899)
@given(printable, printable, st.just("a"))
def test_what_is_recognised_is_logged_with_backslashes_doubled(
    c: Recogniser, agent: str, referer: str, target: str
) -> None:
    lines = (f"User-Agent: {agent}", f"Referer: {referer}")
    found = c.parse("\r\n".join([f"GET /{target} HTTP/1.1", "Host: r", *lines, "", ""]).encode())
    if found is Result.OTHER:
        assert '"' in agent + referer or not (agent.strip() and referer.strip())
        return
    assert isinstance(found, Recognised)
    agent, referer = found.headers["user-agent"], found.headers["referer"]
    shown = [text.replace("\\", "\\\\") for text in (referer, agent)]
    record = AccessRecord("::1", "GET", found.target, "HTTP/1.1", 200, 5, agent, referer)
    line = logs.access_line(record, 0.0)
    assert line.endswith(f'] "GET {found.target} HTTP/1.1" 200 5 "{shown[0]}" "{shown[1]}"')


@pytest.mark.parametrize("tag", [f'"sha256:{HEX}"', '"a:b"'])
def test_a_recognised_tag_equals_the_etag_it_matches(c: Recogniser, tag: str) -> None:
    found = recognised(c, f"If-None-Match: {tag}")
    assert found.headers["if-none-match"] == tag
    assert has_etag(tag, tag.strip('"'))
    assert not has_etag(tag, tag.strip('"') + "0")


HANDLERS = {
    Route.VERSION: ops.check_version,
    Route.MANIFEST: manifests.get_manifest,
    Route.BLOB: blobs.get_blob,
}


@FUZZ
@example("/v2/a/manifests/b")
@example(f"/v2/a/b/blobs/sha256:{HEX}")
@example("/prefix/v2/")
@given(targets)
def test_a_route_is_the_one_that_the_application_takes(c: Recogniser, target: str) -> None:
    route = c.route(target)
    path = target.partition("?")[0]
    prefix_size = path.rfind("/v2/") if route is Route.VERSION else path.find("/v2/")
    found = routes.find(path[prefix_size:])
    operation = found[0].operations.get("GET") if found else None
    assert route is Route.NONE or (operation and operation.handler is HANDLERS[route])
