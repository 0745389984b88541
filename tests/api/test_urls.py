"""`Location` and `Link` lead back to the registry, through whatever proxy."""

from __future__ import annotations

import re

import pytest

from fastreg.api.urls import UrlBuilder
from tests.api.client import Client, digest_of, index
from tests.api.conftest import MakeClient

DIGEST = digest_of(b"x")
PATH = f"/v2/app/blobs/{DIGEST}"
POST = f"/v2/app/blobs/uploads/?digest={DIGEST}"


def location(client: Client, **headers: str) -> str:
    named = {n.replace("_", "-"): v for n, v in headers.items()}
    answer = client.request("POST", POST, b"x", named)
    assert answer.status == 201
    return answer["Location"]


@pytest.mark.parametrize(
    ("headers", "base"),
    [
        ({}, "http://registry.test:5000"),
        ({"Host": "other.test"}, "http://other.test"),
        ({"Host": "[::1]:5000"}, "http://[::1]:5000"),
        ({"X_Forwarded_Proto": "https"}, "https://registry.test:5000"),
        ({"X_Forwarded_Proto": "HTTPS"}, "https://registry.test:5000"),
        ({"X_Forwarded_Proto": "https, http"}, "https://registry.test:5000"),
        ({"X_Forwarded_Host": "pub.test"}, "http://pub.test"),
        ({"X_Forwarded_Host": "pub.test, inner"}, "http://pub.test"),
        ({"X_Forwarded_Host": "pub.test", "X_Forwarded_Port": "8443"}, "http://pub.test:8443"),
        ({"X_Forwarded_Host": "pub.test:1", "X_Forwarded_Port": "8443"}, "http://pub.test:1"),
        ({"X_Forwarded_Host": "pub.test", "X_Forwarded_Prefix": "/reg/"}, "http://pub.test/reg"),
        ({"X_Forwarded_Prefix": "/a/b"}, "http://registry.test:5000/a/b"),
        ({"Forwarded": "host=pub.test;proto=https"}, "https://pub.test"),
        ({"Forwarded": 'for=1.2.3.4; Host="pub.test:44"; Proto=https'}, "https://pub.test:44"),
        ({"Forwarded": "proto=https;host=pub.test, host=inner;proto=http"}, "https://pub.test"),
        ({"Forwarded": 'for="[2001:db8::1]:4711"'}, "http://registry.test:5000"),
        ({"Forwarded": "host=a.test", "X_Forwarded_Host": "b.test"}, "http://a.test"),
    ],
)
def test_location_is_what_the_outermost_proxy_was_asked(
    client: Client, headers: dict[str, str], base: str
) -> None:
    assert location(client, **headers) == base + PATH


HOSTILE = ["evil\r\nX-Evil: 1", "evil test", "evil/path", "evil?x", "user@evil", "evil:port",
           "evil:99999", "evil:123456", "evil#", "<evil>", 'evil"', "evil\\", "evil\x00", "\xe9vil",
           "evil%0d%0a", "[::1", "evil:"]  # fmt: skip


@pytest.mark.parametrize("value", HOSTILE)
@pytest.mark.parametrize("header", ["X_Forwarded_Host", "Forwarded", "Host"])
def test_a_hostile_host_never_reaches_location(client: Client, header: str, value: str) -> None:
    sent = f'host="{value}"' if header == "Forwarded" else value
    found = location(client, **{header: sent})
    base = r"(http://([a-z.]+|registry\.test:5000))?"
    assert re.fullmatch(base + re.escape(PATH), found)


@pytest.mark.parametrize("value", ["ftp", "javascript", "http\r\nX: 1", "https://evil/", "", ";"])
@pytest.mark.parametrize("header", ["X_Forwarded_Proto", "Forwarded"])
def test_a_hostile_scheme_never_reaches_location(client: Client, header: str, value: str) -> None:
    sent = f"proto={value};host=registry.test:5000" if header == "Forwarded" else value
    assert re.fullmatch(
        r"https?://registry\.test:5000" + re.escape(PATH), location(client, **{header: sent})
    )


@pytest.mark.parametrize("value", ["-1", "99999", "x", "80\r\nX: 1", "1 2", "\xb2", "8" * 500])
def test_a_bad_port_never_reaches_location(client: Client, value: str) -> None:
    found = location(client, X_Forwarded_Host="pub.test", X_Forwarded_Port=value)
    assert found in (f"http://pub.test{PATH}", f"http://registry.test:5000{PATH}")


@pytest.mark.parametrize(
    "value", ["reg", "//evil.test", "/a\r\nX: 1", "/a b", "/a?b", "/a#b", "/a//b", "/%0a", "/é"]
)
def test_a_bad_prefix_never_reaches_location(client: Client, value: str) -> None:
    found = location(client, X_Forwarded_Prefix=value)
    assert found == f"http://registry.test:5000{PATH}"


PROXIED = {
    "Forwarded": "host=a.test;proto=https",
    "X_Forwarded_Host": "b.test",
    "X_Forwarded_Prefix": "/c",
}


@pytest.mark.parametrize(
    ("urls", "base"),
    [
        (UrlBuilder(host="https://reg.test"), "https://reg.test"),
        (UrlBuilder(host="https://reg.test/"), "https://reg.test"),
        (UrlBuilder(host="https://reg.test:444/sub/"), "https://reg.test:444/sub"),
        (UrlBuilder(host="https://reg.test", prefix="/p/"), "https://reg.test/p"),
        (UrlBuilder(host="https://reg.test/p/", prefix="/p/"), "https://reg.test/p"),
        (UrlBuilder(relative=True), "/c"),
        (UrlBuilder(relative=True, prefix="/p/"), "/c/p"),
        (UrlBuilder(relative=True, host="https://reg.test/sub"), "/sub"),
    ],
)
def test_what_is_configured_wins(client_with: MakeClient, urls: UrlBuilder, base: str) -> None:
    answer = client_with(urls=urls).request(
        "POST",
        urls.prefix.rstrip("/") + POST,
        b"x",
        {n.replace("_", "-"): v for n, v in PROXIED.items()},
    )
    assert answer["Location"] == base + PATH


def test_relative_locations_lead_through_a_whole_push(client_with: MakeClient) -> None:
    client = client_with(urls=UrlBuilder(relative=True))
    begun = client.start()
    assert begun.startswith("/v2/app/blobs/uploads/")
    answer = client.put(f"{client.patch(begun, b'x')['Location']}&digest={DIGEST}")
    assert answer["Location"] == PATH
    assert client.get(answer["Location"]).body == b"x"
    pushed = client.put("/v2/app/manifests/v1", b'{"schemaVersion": 2, "manifests": []}')
    assert pushed["Location"].startswith("/v2/app/manifests/sha256:")


@pytest.mark.parametrize(
    ("urls", "headers", "base"),
    [
        (UrlBuilder(), {}, ""),
        (UrlBuilder(prefix="/p/"), {}, "/p"),
        (UrlBuilder(), {"X_Forwarded_Prefix": "/c"}, "/c"),
        (UrlBuilder(host="https://reg.test/sub/"), {}, "/sub"),
    ],
)
def test_links_to_the_next_page_are_paths_that_a_client_can_resolve(
    client_with: MakeClient, urls: UrlBuilder, headers: dict[str, str], base: str
) -> None:
    client_with().push_manifest(index(), "a")
    client_with().push_manifest(index(), "b")
    url = urls.prefix.rstrip("/") + "/v2/app/tags/list?n=1"
    answer = client_with(urls=urls).get(url, **headers)
    assert answer["Link"] == f'<{base}/v2/app/tags/list?n=1&last=a>; rel="next"'
