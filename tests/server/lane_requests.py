"""Requests that the lane answers, and such as it must leave alone."""

from __future__ import annotations

from tests.api.client import digest_of, encode, index
from tests.server.lanes import (
    BIG,
    BIG_DIGEST,
    CONFIG,
    DIGEST,
    LARGE_MANIFEST,
    MANIFEST,
    SMALL,
    SMALL_DIGEST,
    request,
)

TAG = "/v2/app/manifests/v1"
SMALL_BLOB, BIG_BLOB = f"/v2/app/blobs/{SMALL_DIGEST}", f"/v2/app/blobs/{BIG_DIGEST}"
EMPTY_BLOB = f"/v2/app/blobs/{digest_of(b'')}"
SENTINEL = request("/v2/app/manifests/multi", "Connection: close")
"""Sent behind a request, it shows where the server saw the end of that."""

# --- what the lane answers

TARGETS = [
    *("/v2/", "/v2/?ns=docker.io", TAG, f"/v2/app/manifests/{DIGEST}", f"{TAG}?ns=docker.io"),
    *("/v2/app/manifests/multi", f"/v2/app/manifests/{digest_of(encode(index(MANIFEST)))}"),
    *("/v2/app/manifests/large", f"/v2/app/manifests/{digest_of(encode(LARGE_MANIFEST))}"),
    *("/v2/library/a/b/manifests/v1", f"/v2/library/a/b/blobs/{BIG_DIGEST}"),
    *(SMALL_BLOB, BIG_BLOB, EMPTY_BLOB, f"{BIG_BLOB}?ns=ghcr.io:443", f"{SMALL_BLOB}?ns=v2"),
    *(f"/v2/app/blobs/{digest_of(SMALL, each)}" for each in ("sha512", "blake3")),
    f"/v2/app/blobs/{digest_of(CONFIG)}",
]
HARMLESS = [
    "User-Agent: docker/24.0 go/go1.20 (linux; amd64)",
    "User-Agent:containerd/1.7",
    "Referer: https://reg/a?b=c",
    "Authorization: Bearer abc.def-ghi~",
    "authorization:   Basic dXNlcjpwYXNz  ",
    "Accept: application/vnd.oci.image.index.v1+json, */*\r\nAccept: text/html;q=0.1",
    "Accept-Encoding: gzip",
    "Connection: close",
    "CONNECTION:Close ",
    "User-Agent: a\\b",
    "connection: Keep-Alive\r\nKeep-Alive: timeout=5",
    "X-Forwarded-Host: other\r\nX-Forwarded-Proto: https",
    "Cookie: a=b\r\nCookie: c=d",
    "Cache-Control: no-cache\r\nPragma: no-cache",
    "X-Empty:\r\nX-Blank:   ",
    "X-Long: " + "y" * 5000,
    "\r\n".join(f"X-{n}: {n}" for n in range(60)),
    f'If-None-Match: "{digest_of(b"other")}"',
]
UNCHANGED = [(TAG, DIGEST), (f"/v2/app/manifests/{DIGEST}", DIGEST), (BIG_BLOB, BIG_DIGEST)]
RANGES = [
    *("0-", "0-0", "5-10", "100-", "00000-000005", "7-1399", "7-1400", "1399-", "1399-1399"),
    *("0-99999999", "0-999999999999999999", "1-18446744073709551", "1398-99999"),
]
BIG_RANGES = [*RANGES, f"{len(BIG) - 1}-", "65536-", "1-1048575", "524288-1048576"]
OF_THE_LANE = [
    *(request(target, method=method) for target in TARGETS for method in ("GET", "HEAD")),
    *(request(target, line) for target in (TAG, SMALL_BLOB) for line in HARMLESS),
    *(
        request(target, f'If-None-Match: "{digest}"', method=method)
        for target, digest in UNCHANGED
        for method in ("GET", "HEAD")
    ),
    *(request(SMALL_BLOB, f"Range: bytes={each}") for each in RANGES),
    *(request(BIG_BLOB, f"Range: bytes={each}") for each in BIG_RANGES),
    request(f"{BIG_BLOB}?ns=docker.io", "Range: bytes=9-", "Authorization: a"),
    request(BIG_BLOB, "Range: bytes=9-", 'If-None-Match: "sha256:00"', "Connection: close"),
]

# --- what it leaves alone

ODD_TARGETS = [
    *(
        "/",
        "/v2",
        "//v2/",
        "/v2//",
        "/v2/./",
        "/v2/../v2/",
        "/V2/",
        "/v2/?",
        "/v2/?ns=",
        "/v2/?n=1",
    ),
    *(f"{TAG}?", f"{TAG}?ns=", f"{TAG}?ns=a&ns=b", f"{TAG}?ns=a&x=1", f"{TAG}?NS=a", f"{TAG}?x"),
    *(
        f"{TAG}?ns=a%2fb",
        f"{TAG}?ns={'a' * 256}",
        f"{TAG}?ns=a/b",
        f"{TAG}/",
        f"{TAG}//",
        f"/{TAG}",
    ),
    *("/v2/app/manifests/%76%31", "/v2/%61pp/manifests/v1", "/v2/app%2fmanifests/v1"),
    *("/v2/app/manifests/v1%00", "/v2/app/manifests/v1%0d%0aX:%20y", "/v2/app/manifests/v1%2f"),
    *("/v2/app/manifests/v1%", "/v2/app/manifests/v%zz", "/v2/app/x/../manifests/v1"),
    *("/v2/APP/manifests/v1", "/v2/app/Manifests/v1", "/v2/manifests/v1", "/v2/app/manifests/"),
    *("/v2/app/manifests/absent", f"/v2/app/manifests/{digest_of(b'absent')}"),
    *("/v2/app/manifests/sha256:short", f"/v2/app/manifests/{DIGEST.upper()}"),
    *("/v2/app/manifests/.v1", f"/v2/app/manifests/{'a' * 129}", f"/v2/{'a' * 300}/manifests/v1"),
    *(f"/v2/app/blobs/{DIGEST}x", f"/v2/app/blobs/{digest_of(b'absent')}", "/v2/app/blobs/v1"),
    *(
        f"/v2/other/blobs/{SMALL_DIGEST}",
        f"/v2/app/blobs/{SMALL_DIGEST}/",
        "/v2/app/blobs/uploads/",
    ),
    *("/v2/app/tags/list", "/v2/_catalog", f"/v2/app/referrers/{DIGEST}", "/elsewhere", "/v2/app"),
    *(
        f"http://reg{TAG}",
        f"HTTP://other:1{SMALL_BLOB}",
        "http://reg",
        "*",
        "v2/",
        f"ftp://reg{TAG}",
    ),
    *(f"{TAG}#part", f"{TAG}\\", f'{TAG}"', f"{TAG};a=b", f"{TAG}?ns=a#b", f"/registry{TAG}"),
]
ODD_RANGES = [
    *("-5", "-0", "-99999999", "5-2", "1400-", "1400-1500", "99999999-", "0-1,3-4", "3-4,0-1"),
    *(
        "0-1,",
        ",0-1",
        "0-1,9999-",
        "0-1399,0-1399",
        "-",
        "",
        "a-b",
        "0-1;",
        "0--1",
        "+0-1",
        "0x0-1",
    ),
    *("0 - 1", " 0-1", "0-9999999999999999999", "0-18446744073709551616", "9999999999999999999-"),
    ",".join(f"{2 * n}-{2 * n}" for n in range(128)),
    ",".join(f"{2 * n}-{2 * n}" for n in range(129)),
]
ODD_CONDITIONS = [
    *(f'W/"{SMALL_DIGEST}"', "*", f'"{SMALL_DIGEST}", "a"', f'"a","{SMALL_DIGEST}"', '"a:b"x'),
    *(SMALL_DIGEST, f'"{SMALL_DIGEST.upper()}"', '""', "", f'"{SMALL_DIGEST}', f"'{SMALL_DIGEST}'"),
]
ODD_LINES = [
    *(
        "Connection: close, close",
        "Connection: keep-alive, close",
        "Connection: upgrade\r\nUpgrade: h2c",
    ),
    *("Connection: x", "Connection: Range, keep-alive", "Connection:", "Trailer: X"),
    *("Expect: 100-continue", "Expect: 200", "TE: trailers", "Content-Type: text/plain"),
    *("Proxy-Connection: keep-alive", "Proxy: http://evil", "If-Match: *", "User-Agent:"),
    *('User-Agent: a"b\\c', "User-Agent: \xe4\xf6", f"User-Agent: {'a' * 600}", "Referer: \x80"),
    *("X: \xff", "X_Y: z", "Authorization: a  b", "Authorization:", f"Authorization: {'a' * 5000}"),
    *("If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT", "If-Unmodified-Since: x"),
    "\r\n".join(f"X-{n}: {n}" for n in range(70)),
    "X-Long: " + "y" * 9000,
    *(f"If-Range: {each}\r\nRange: bytes=0-1" for each in ('"a"', f'"{SMALL_DIGEST}"', "Sun")),
]
NOT_OF_THE_LANE = [
    *(request(target) for target in ODD_TARGETS),
    *(request(SMALL_BLOB, f"Range: bytes={each}") for each in ODD_RANGES),
    *(request(SMALL_BLOB, f"Range: {each}=0-1") for each in ("Bytes", "lines", "bytes ", "")),
    *(request(SMALL_BLOB, f"If-None-Match: {each}") for each in ODD_CONDITIONS),
    *(request(SMALL_BLOB, line) for line in ODD_LINES),
    *(request(target, "Range: bytes=0-1", method="HEAD") for target in (TAG, SMALL_BLOB)),
    *(request(target, "Range: bytes=0-1") for target in (TAG, "/v2/", EMPTY_BLOB)),
    request(SMALL_BLOB, "Range: bytes=0-1", f'If-None-Match: "{SMALL_DIGEST}"'),
    *(request(TAG, method=each) for each in ("get", "Get", "HEADX", "OPTIONS", "TRACE", "POST")),
    *(request(TAG, version=each) for each in ("HTTP/1.0", "HTTP/1.2", "HTTP/2.0", "http/1.1", "")),
    request(TAG, "Connection: keep-alive", version="HTTP/1.0"),
    *(empty + request(TAG) for empty in (b"\r\n", b"\r\n\r\n", b"\n", b" ", b"\r\n" * 9)),
    *(request(TAG)[:-cut] for cut in (1, 2, 4, 10)),
    request(TAG, "Connection: close") + request(TAG),
    b"GET /v2/\r\n\r\n",
    b"GET  /v2/ HTTP/1.1\r\nHost: reg\r\n\r\n",
    b"GET /v2/ HTTP/1.1\r\n\r\n",
    b"GET /v2/ HTTP/1.1\r\nHost:\r\n\r\n",
    b"GET /v2/ HTTP/1.1\r\nHost: a b\r\n\r\n",
    b"\x16\x03\x01\x00\xa5\x01\x00\x00",
]

HOSTILE = [
    *("Content-Length: 0", "Content-Length: 5", "Content-Length: +5", "Content-Length: 5, 5"),
    *("Content-Length: 5\r\nTransfer-Encoding: chunked", "Transfer-Encoding: chunked"),
    *("Transfer-Encoding: chunked\r\nContent-Length: 5", "Transfer-Encoding: xchunked"),
    *("Transfer-Encoding : chunked", "Transfer-Encoding:\tchunked", "Transfer_Encoding: chunked"),
    *(
        "Transfer-Encoding: identity, chunked",
        "Transfer-Encoding\x0b: chunked",
        "Content-Length : 5",
    ),
    *("Content-Length: 5\r\nContent-Length: 0", "X: y\r\n Content-Length: 5", "\tX: y", " X: y"),
    *("X: y\nContent-Length: 5", "X: y\n", "X: y\rContent-Length: 5", "X: y\r\r\nA: b", "X: \0"),
    *("Host: other", "host: reg", "Host : reg", "Authorization: a\r\nAuthorization: b"),
    *("Range: bytes=0-1\r\nRange: bytes=2-3", "range: bytes=0-1\r\nRANGE: bytes=0-1"),
    *('If-None-Match: "a:b"\r\nIf-None-Match: *', "User-Agent: a\r\nuser-agent: b"),
    *("Connection: keep-alive\r\nConnection: close", "X", ": y", "X y: z", 'X": z', "X\x80: z"),
    *("Content-Length:\r\n 5", "Foo: bar\r\n\r\nGET /v2/ HTTP/1.1\r\nHost: reg", "X: \x7f"),
]
"""Two parsers may see another end of the request, or another request, in each."""


# --- together

MIXED = {
    "all of the lane": OF_THE_LANE,
    "one of each in turn": [
        raw for pair in zip(OF_THE_LANE, NOT_OF_THE_LANE[10:40], strict=False) for raw in pair
    ],
    "big ones after each other": [request(BIG_BLOB)] * 8,
    "big ones after heads": [request(BIG_BLOB, method="HEAD"), request(BIG_BLOB)] * 5,
    "with bodies between": [
        request(TAG),
        request("/v2/app/manifests/x", "Content-Length: 2", method="PUT") + b"{}",
        request(BIG_BLOB),
        request("/v2/app/manifests/x", "Transfer-Encoding: chunked", method="PUT")
        + b"2\r\n{}\r\n0\r\n\r\n",
        request(SMALL_BLOB, method="HEAD"),
    ]
    * 3,
}
