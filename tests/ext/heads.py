"""Heads, plain ones and what a few wrong bytes make of them."""

from __future__ import annotations

from hypothesis import strategies as st

HEX = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"

_segments = st.one_of(
    st.sampled_from(["v2", "a", "manifests", "blobs", f"sha256:{HEX}", "1.0", "..", "", "v2"]),
    st.sampled_from(["tags", "list", "_catalog", "uploads", "referrers"]),
    st.text("aZ0.:_-", max_size=4),
)
_paths = st.one_of(
    st.lists(_segments, max_size=6).map("/".join),
    st.builds(
        "{}v2/{}/{}/{}".format,
        st.sampled_from(["", "", "prefix/", "v2/"]),
        st.sampled_from(["a", "library/alpine", "v2", "blobs/uploads", "a/manifests", "a/v2/b"]),
        st.sampled_from(["manifests", "blobs", "tags"]),
        _segments,
    ),
)
targets = st.builds(
    "/{}{}".format,
    _paths,
    st.sampled_from(["", "", "", "?ns=docker.io", "?ns=a&ns=b", "?n=1", "?ns="]),
)

_KNOWN_LINES = st.one_of(
    st.builds("Range: bytes={}-{}".format, st.integers(0, 99), st.integers(0, 10**19)),
    st.sampled_from(
        [
            *("host:reg:5000  ", "Connection: keep-alive", "CONNECTION: Keep-Alive"),
            *("Authorization: Basic dXNlcjpwYXNz", "authorization:Bearer a.b-c~", "Accept: */*"),
            *(f'If-None-Match: "sha256:{HEX}"', 'if-none-match:"a1:0f" ', "X-Any:  a, b  "),
            *("Range: bytes=0-", "range:bytes=1-2 ", "Range: bytes=0-0", "Accept-Encoding: gzip"),
            *("User-Agent: docker/24 (x; y)", "user-agent: a b ", "Referer: http://a/b?c", "E:"),
        ]
    ),
)
_ODD_LINES = st.sampled_from(
    [
        *("Content-Length: 0", "Transfer-Encoding: chunked", "Expect: 100-continue", "TE: a"),
        *("Connection: close", "Connection: keep-alive, close", "If-Range: a", "Proxy: a"),
        *("Content_Length: 5", 'If-None-Match: W/"a:b"', "If-None-Match: *", "Upgrade: h2c"),
        *("Range: bytes=2-1", "Range: bytes=-1", "Range: bytes=0-1,3-4", "Host: a, b", "Host:"),
        *('User-Agent: a"b', "User-Agent: a\\b", "Referer: \xe9", "X: a\tb", "X:\ta", " X: a"),
    ]
)

_plain = st.builds(
    lambda method, target, known, odd: "\r\n".join(
        [f"{method} {target} HTTP/1.1", "Host: reg", *known, *odd, "", ""]
    ),
    st.sampled_from(["GET", "GET", "HEAD"]),
    targets,
    st.lists(_KNOWN_LINES, max_size=4, unique_by=lambda line: line[:5].lower()),
    st.one_of(st.just([]), st.just([]), st.lists(_ODD_LINES, max_size=1)),
)

_SPLICES = [
    *("\r", "\n", "\r\n", " ", "\t", "\0", "\x7f", "\x80", ":", ",", ";", "_", "%", '"', "/", "?"),
    *("%2f", "\r\n ", " :", "0", "a", "\r\nContent-Length: 5\r\n", "\r\nHost: b\r\n", "\r\n\r\n"),
]


def _splice(text: str, at: float, cut: int, put: str) -> str:
    where = int(at * len(text))
    return text[:where] + put + text[where + cut :]


_spliced = st.builds(
    _splice, _plain, st.floats(0, 1), st.integers(0, 2), st.sampled_from(["", *_SPLICES])
)

heads = st.one_of(_plain, _spliced).map(lambda text: text.encode("latin-1"))
"""Most of them end; whatever follows the end is another request's."""
