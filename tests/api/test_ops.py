"""What every endpoint has in common: methods, HEAD, headers, prefix, read-only mode."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fastreg.api.app import App
from fastreg.api.urls import UrlBuilder
from fastreg.registry.registry import Registry
from tests.api.client import OCI_MANIFEST, Client, descriptor, digest_of, image, make_environ
from tests.api.conftest import MakeClient

BLOB = b"{}"
DIGEST = digest_of(BLOB)
UPLOAD = "/v2/app/blobs/uploads/00000000-0000-4000-8000-000000000000"
ENDPOINTS = {
    "/": "GET, HEAD, OPTIONS",
    "/v2/": "GET, HEAD, OPTIONS",
    "/v2": "GET, HEAD, OPTIONS",
    "/v2/_catalog": "GET, HEAD, OPTIONS",
    "/v2/app/tags/list": "GET, HEAD, OPTIONS",
    "/v2/app/manifests/v1": "DELETE, GET, HEAD, OPTIONS, PUT",
    f"/v2/app/blobs/{DIGEST}": "DELETE, GET, HEAD, OPTIONS",
    "/v2/app/blobs/uploads/": "OPTIONS, POST",
    UPLOAD: "DELETE, GET, HEAD, OPTIONS, PATCH, PUT",
    f"/v2/app/referrers/{DIGEST}": "GET, HEAD, OPTIONS",
}
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


@pytest.fixture
def stocked(client: Client) -> Client:
    client.push_blob(BLOB)
    client.push_manifest(image(BLOB, subject=descriptor(BLOB, OCI_MANIFEST)), "v1")
    return client


def test_the_base_says_that_this_is_a_registry(client: Client) -> None:
    for path in ("/v2/", "/v2"):
        answer = client.get(path)
        assert (answer.status, answer.body) == (200, b"{}")
        assert answer["Docker-Distribution-Api-Version"] == "registry/2.0"


def test_the_root_says_that_the_server_lives(client: Client) -> None:
    answer = client.get("/")
    assert (answer.status, answer["Cache-Control"]) == (200, "no-cache")


@pytest.mark.parametrize("path", ENDPOINTS)
def test_options_tells_the_methods(client: Client, path: str) -> None:
    answer = client.request("OPTIONS", path)
    assert (answer.status, answer.body, answer["Allow"]) == (200, b"", ENDPOINTS[path])


@pytest.mark.parametrize("path", ENDPOINTS)
def test_a_method_that_is_not_there_is_405_with_allow(app: App, path: str) -> None:
    allowed = ENDPOINTS[path].split(", ")
    for method in {*METHODS, "TRACE", "CONNECT", "get", "\x7f", "X" * 3000} - {*allowed}:
        answer = Client(app, strict=False).request(method, path)
        assert answer.status == 405
        assert answer["Allow"] == ENDPOINTS[path]
        assert method == "HEAD" or answer.code == "UNSUPPORTED"


@pytest.mark.parametrize(
    "path",
    ["/v1/", "/v2/x", "/v2//manifests/x", "/v3/app/tags/list", "/v2/app/tags", "/favicon.ico",
     "/v2/app/manifests/", "/v2/app/manifests/a/b", "/v2/app/blobs/", "/v2/app/referrers/", "//",
     "/v2/%0a/tags/list", "", "*", "/V2/", f"{UPLOAD}/"],
)  # fmt: skip
@pytest.mark.parametrize("method", METHODS)
def test_what_is_no_endpoint_is_404(app: App, path: str, method: str) -> None:
    answer = Client(app, strict=False).request(method, path)
    assert answer.status == 404
    assert method == "HEAD" or answer.code == "UNSUPPORTED"


BAD_NAMES = ["A", "a//b", "a/", "-a", "a-", "a..b", "a___b", "_a", "a%20b", "..", "../..",
             "%2e%2e", "a/%2e%2e/b", "a%00b", "caf%C3%A9", "a" * 256, "a:b", "a\\b"]  # fmt: skip


@pytest.mark.parametrize("name", BAD_NAMES)
@pytest.mark.parametrize("path", [p for p in ENDPOINTS if "/app/" in p])
def test_an_invalid_name_is_400_everywhere(
    client: Client, root: Path, path: str, name: str
) -> None:
    for method in ENDPOINTS[path].split(", "):
        if method != "OPTIONS":
            url = path.replace("/app/", f"/{name}/") + f"?digest={DIGEST}"
            answer = client.request(method, url, BLOB)
            assert answer.status == 400
            assert method == "HEAD" or answer.code == "NAME_INVALID"
    assert not root.exists()


@pytest.mark.parametrize(
    "path",
    [
        *ENDPOINTS,
        "/v2/app/manifests/none",
        "/v2/app/blobs/bad",
        "/v2/app/tags/list?n=1",
        "/v2/app/tags/list?n=x",
        "/v2/none/tags/list",
        "/nothing",
        f"/v2/app/referrers/{DIGEST}?n=1&artifactType=x",
    ],
)
def test_head_has_the_headers_of_get_and_no_body(stocked: Client, path: str) -> None:
    got, headed = stocked.get(path), stocked.head(path)
    assert (headed.status, headed.body) == (got.status, b"")
    assert headed.headers == got.headers
    assert got["Content-Length"] == str(len(got.body))


def test_head_of_an_upload_has_the_headers_of_get(client: Client) -> None:
    location = client.start()
    assert client.head(location).headers == client.get(location).headers


def test_configured_headers_stand_on_every_answer(client_with: MakeClient) -> None:
    headers = (("X-Content-Type-Options", "nosniff"), ("X-Twice", "a"), ("X-Twice", "b"))
    client = client_with(headers=headers)
    for path in [*ENDPOINTS, "/nothing", "/v2/UPPER/tags/list"]:
        for method in METHODS:
            answer = client.request(method, path)
            assert answer["X-Content-Type-Options"] == "nosniff"
            assert answer.all("X-Twice") == ["a", "b"]
            assert answer["Docker-Distribution-Api-Version"] == "registry/2.0"


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("ns=docker.io", "docker.io"),
        ("ns=registry.example:5000", "registry.example:5000"),
        ("ns=a&ns=b", "a"),
        ("ns=", ""),
        ("n=1", ""),
        ("ns=a%0d%0aX-Evil:1", ""),
        ("ns=a%20b", ""),
        ("ns=%C3%A9", ""),
        ("ns=" + "a" * 256, ""),
        ("&" * 300 + "ns=a", ""),
    ],
)
def test_the_namespace_of_a_mirror_is_told_back(stocked: Client, query: str, expected: str) -> None:
    for path in ("/v2/", "/v2/app/manifests/v1", f"/v2/app/blobs/{DIGEST}", "/v2/app/blobs/x"):
        assert stocked.get(f"{path}?{query}")["OCI-Namespace"] == expected


READ_ONLY_REFUSED = [
    ("PUT", "/v2/app/manifests/v2"),
    ("DELETE", "/v2/app/manifests/v1"),
    ("DELETE", f"/v2/app/blobs/{DIGEST}"),
    ("POST", "/v2/app/blobs/uploads/"),
    ("POST", f"/v2/other/blobs/uploads/?mount={DIGEST}&from=app"),
    ("PATCH", UPLOAD),
    ("PUT", f"{UPLOAD}?digest={DIGEST}"),
    ("DELETE", UPLOAD),
]


@pytest.mark.parametrize(("method", "url"), READ_ONLY_REFUSED)
def test_a_read_only_registry_refuses_every_change(
    stocked: Client, client_with: MakeClient, root: Path, method: str, url: str
) -> None:
    client = client_with(readonly=True, delete_enabled=True)
    before = sorted(root.rglob("*"))
    answer = client.request(method, url, BLOB)
    assert answer.outcome == (405, "UNSUPPORTED")
    assert method not in answer["Allow"].split(", ")
    assert "readonly" in answer.json["errors"][0]["detail"]
    assert sorted(root.rglob("*")) == before


def test_a_read_only_registry_still_serves(stocked: Client, client_with: MakeClient) -> None:
    client = client_with(readonly=True)
    for path in ("/v2/", "/v2/_catalog", "/v2/app/tags/list", "/v2/app/manifests/v1",
                 f"/v2/app/blobs/{DIGEST}", f"/v2/app/referrers/{DIGEST}"):  # fmt: skip
        assert client.get(path).status == 200
    assert client.request("OPTIONS", "/v2/app/manifests/v1")["Allow"] == "GET, HEAD, OPTIONS"


def test_a_prefix_stands_before_everything(client_with: MakeClient) -> None:
    client = client_with(urls=UrlBuilder(prefix="/reg/"), delete_enabled=True)
    assert client.get("/reg/v2/").status == 200
    assert client.get("/").status == 200
    for path in ("/v2/", "/reg", "/regx/v2/", "/re/v2/", "/reg//v2/"):
        assert client.get(path).outcome == (404, "UNSUPPORTED")
    answer = client.post(f"/reg/v2/app/blobs/uploads/?digest={DIGEST}", BLOB)
    assert answer["Location"] == f"http://registry.test:5000/reg/v2/app/blobs/{DIGEST}"
    assert client.get(answer["Location"]).body == BLOB


@pytest.mark.usefixtures("root")
@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    "headers",
    [{}, {"Range": "bytes=0-0"}, {"Range": "bytes=0-0,1-1"}, {"If-None-Match": "*"},
     {"Range": "bytes=9-"}],
)  # fmt: skip
def test_no_file_stays_open(
    registry: Registry, app: App, method: str, headers: dict[str, str]
) -> None:
    client = Client(app)
    client.push_blob(BLOB)
    before = os.listdir("/proc/self/fd")
    for _ in range(3):
        client.request(method, f"/v2/app/blobs/{DIGEST}", headers=headers)
    assert os.listdir("/proc/self/fd") == before


@pytest.mark.usefixtures("root")
def test_no_file_stays_open_after_uploads_however_they_end(client: Client) -> None:
    before = os.listdir("/proc/self/fd")
    url = client.start()
    client.patch(url, b"x")
    client.patch(url, b"x", Content_Range="9-9")
    client.put(f"{url}&digest={DIGEST}", b"wrong")
    client.push_blob(BLOB)
    client.delete(client.start())
    client.push_manifest(image(BLOB), "v1")
    for path in ENDPOINTS:
        client.get(path)
    assert os.listdir("/proc/self/fd") == before


@pytest.mark.usefixtures("root")
def test_closing_an_answer_that_was_not_read_closes_its_files(app: App) -> None:
    Client(app).push_blob(BLOB)
    before = os.listdir("/proc/self/fd")
    environ = make_environ("GET", f"/v2/app/blobs/{DIGEST}", headers={"Range": "bytes=0-0,1-1"})
    result = app(environ, lambda *said: None)
    assert len(os.listdir("/proc/self/fd")) > len(before)
    result.close()
    assert os.listdir("/proc/self/fd") == before
