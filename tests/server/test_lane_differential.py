"""Every kind of request through the lane and around it: the same bytes come back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fastreg.api import blobs
from fastreg.storage.generations import Generations
from tests.server.lane_requests import (
    HOSTILE,
    MIXED,
    NOT_OF_THE_LANE,
    ODD_TARGETS,
    OF_THE_LANE,
    SENTINEL,
    SMALL_BLOB,
    TAG,
    TARGETS,
)
from tests.server.lanes import (
    BIG_DIGEST,
    DIGEST,
    SMALL_DIGEST,
    TwoWays,
    cached_root,
    request,
    serving_two_ways,
)
from tests.server.samples import load_sample, sample_names


@pytest.fixture(scope="module", params=["near", "far"])
def ways(
    lane_root: Path, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[TwoWays]:
    settings: dict[str, Any] = {}
    if request.param == "far":
        generations = Generations()
        driver = cached_root(lane_root, tmp_path_factory.mktemp("cache"), generations)
        settings = {"driver": driver, "generations": generations.memory}
    with serving_two_ways(lane_root, **settings) as ways, pytest.MonkeyPatch.context() as patch:
        patch.setattr(blobs.secrets, "token_hex", lambda size: "b" * size)
        yield ways


@pytest.mark.parametrize("raw", OF_THE_LANE, ids=lambda raw: raw[:120].split(b" HTTP")[0].decode())
def test_the_lane_answers_as_the_application_does(ways: TwoWays, raw: bytes) -> None:
    through, around = ways.outcomes(raw)
    assert through == [around] * 3
    assert through[2].by_lane == 1


def _shown(raw: bytes) -> str:
    return repr(raw.replace(b"\r\nHost: reg", b""))[2:90]


@pytest.mark.parametrize("raw", NOT_OF_THE_LANE, ids=_shown)
def test_the_lane_leaves_what_it_does_not_know(ways: TwoWays, raw: bytes) -> None:
    through, around = ways.outcomes(raw)
    assert through == [around] * 3
    assert through[2].by_lane == 0


@pytest.mark.parametrize("line", HOSTILE, ids=repr)
@pytest.mark.parametrize("target", [TAG, SMALL_BLOB], ids=["manifest", "blob"])
def test_no_smuggled_request_is_answered_otherwise_by_the_lane(
    ways: TwoWays, target: str, line: str
) -> None:
    plain = request(target) + request(SMALL_BLOB, method="HEAD")
    for body in (b"", b"hello", b"5\r\nhello\r\n0\r\n\r\n", b"0\r\n\r\n"):
        through, around = ways.outcomes(plain + request(target, line) + body + SENTINEL)
        assert through == [around] * 3
        assert through[2].by_lane >= 2  # the plain ones before it


@pytest.mark.parametrize("kind", ["valid", "invalid"])
def test_every_sample_of_the_corpus_is_answered_alike(ways: TwoWays, kind: str) -> None:
    names = sample_names(kind)
    for name in names:
        raw, _ = load_sample(kind, name)
        for pieces in ([raw], [raw, SENTINEL], [request(TAG), raw, SENTINEL]):
            through, around = ways.outcomes(*pieces)
            assert through == [around] * 3, name
    assert len(names) > 30


@pytest.mark.parametrize("name", MIXED)
def test_pipelined_requests_are_answered_in_their_order(ways: TwoWays, name: str) -> None:
    through, around = ways.outcomes(b"".join(MIXED[name]))
    assert through == [around] * 3
    assert through[2].by_lane >= len(MIXED[name]) // 3


@pytest.mark.parametrize("prefix", ["/registry", "/v2/a"])
def test_below_a_prefix_the_lane_answers_alike(lane_root: Path, prefix: str) -> None:
    with serving_two_ways(lane_root, prefix) as ways:
        for target in (*TARGETS, f"{TAG}/", "/", "/v2/manifests/v1"):
            below, above = ways.outcomes(request(prefix + target)), ways.outcomes(request(target))
            for through, around, by_lane in ((*below, target in TARGETS), (*above, False)):
                assert through == [around] * 3
                assert through[2].by_lane == by_lane


_names = st.sampled_from(
    ["Host: reg:5000", "host:reg", "HOST:   a.b-c ", "Host: [::1]:5000", "Host: reg"]
)
_known = st.sampled_from(
    [
        *("Connection: keep-alive", "Range: bytes=3-9", "Range: bytes=0-", "Accept: */*"),
        *(f'If-None-Match: "{each}"' for each in (DIGEST, SMALL_DIGEST, BIG_DIGEST, "a:0")),
        *("User-Agent: a b", "Referer: here", "Authorization: Bearer x", "X-Any: ,;=()"),
        *("Connection: close", "Content-Length: 0", "If-Range: a", "X: \t", "Accept:\ta"),
    ]
)


def _cased(line: str, upper: int, gap: str, end: str) -> str:
    name, _, value = line.partition(":")
    name = name.upper() if upper == 1 else name.lower() if upper == 2 else name
    return f"{name}:{gap}{value.strip()}{end}"


_lines = st.builds(
    _cased,
    _known,
    st.integers(0, 2),
    st.sampled_from(["", " ", "   "]),
    st.sampled_from(["", "  "]),
)


@settings(deadline=None, max_examples=150, suppress_health_check=list(HealthCheck))
@given(
    st.sampled_from(["GET", "HEAD"]),
    st.sampled_from([*TARGETS, *ODD_TARGETS[:20]]),
    _names,
    st.lists(_lines, max_size=5),
    st.integers(0, 5),
)
def test_headers_of_any_order_and_spelling_are_answered_alike(
    ways: TwoWays, method: str, target: str, host: str, lines: list[str], at: int
) -> None:
    lines.insert(at, host)
    raw = "\r\n".join([f"{method} {target} HTTP/1.1", *lines, "", ""]).encode("latin-1")
    through, around = ways.outcomes(raw + SENTINEL)
    assert through == [around] * 3
