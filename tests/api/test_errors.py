"""Errors: distribution-spec, "Error Codes"; and what a failing store is told as."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from fastreg.api.app import App
from fastreg.api.call import Settings
from fastreg.registry.registry import Registry
from fastreg.storage.base import Driver, Readable, Stat, Writer
from fastreg.storage.errors import Busy, Conflict, InvalidKey, NoSpace, NotFound, StorageError
from tests.api.client import OCI_MANIFEST, Client, Pieces, digest_of, encode, image
from tests.api.conftest import MakeClient

DIGEST = digest_of(b"nobody pushed this")
UPLOAD = "/v2/app/blobs/uploads/00000000-0000-4000-8000-000000000000"
BIG = b" " * ((4 << 20) + 1)

BAD = [
    ("GET", "/nothing", b"", {}, 404, "UNSUPPORTED"),
    ("POST", "/v2/", b"", {}, 405, "UNSUPPORTED"),
    ("GET", "/v2/" + "&" * 10, b"", {}, 404, "UNSUPPORTED"),
    ("GET", "/v2/UPPER/tags/list", b"", {}, 400, "NAME_INVALID"),
    ("GET", "/v2/none/tags/list", b"", {}, 404, "NAME_UNKNOWN"),
    ("GET", "/v2/none/tags/list?n=-1", b"", {}, 400, "PAGINATION_NUMBER_INVALID"),
    ("GET", "/v2/_catalog?n=x", b"", {}, 400, "PAGINATION_NUMBER_INVALID"),
    ("GET", "/v2/_catalog?" + "a=1&" * 300, b"", {}, 400, "UNSUPPORTED"),
    ("GET", f"/v2/app/blobs/{DIGEST}", b"", {}, 404, "BLOB_UNKNOWN"),
    ("GET", "/v2/app/blobs/bad", b"", {}, 400, "DIGEST_INVALID"),
    ("DELETE", f"/v2/app/blobs/{DIGEST}", b"", {}, 404, "BLOB_UNKNOWN"),
    ("GET", "/v2/app/manifests/none", b"", {}, 404, "MANIFEST_UNKNOWN"),
    ("GET", f"/v2/app/manifests/{DIGEST}", b"", {}, 404, "MANIFEST_UNKNOWN"),
    ("GET", "/v2/app/manifests/x:y", b"", {}, 400, "DIGEST_INVALID"),
    ("PUT", "/v2/app/manifests/-x", b"{}", {}, 400, "TAG_INVALID"),
    ("PUT", "/v2/app/manifests/x", b"{}", {}, 400, "MANIFEST_INVALID"),
    ("PUT", "/v2/app/manifests/x", BIG, {}, 413, "MANIFEST_INVALID"),
    ("PUT", "/v2/app/manifests/x", encode(image(b"")), {}, 400, "MANIFEST_BLOB_UNKNOWN"),
    ("PUT", "/v2/app/manifests/x", encode(image(b"")), {"If-Match": "*"}, 412, "MANIFEST_INVALID"),
    ("PUT", f"/v2/app/manifests/{DIGEST}", b"{}", {}, 400, "DIGEST_INVALID"),
    ("DELETE", "/v2/app/manifests/none", b"", {}, 404, "MANIFEST_UNKNOWN"),
    ("GET", "/v2/app/referrers/bad", b"", {}, 400, "DIGEST_INVALID"),
    ("POST", "/v2/app/blobs/uploads/?digest=bad", b"x", {}, 400, "DIGEST_INVALID"),
    ("POST", f"/v2/app/blobs/uploads/?digest={DIGEST}", b"x", {}, 400, "DIGEST_INVALID"),
    ("POST", "/v2/app/blobs/uploads/?digest-algorithm=md5", b"", {}, 400, "DIGEST_INVALID"),
    ("GET", UPLOAD, b"", {}, 404, "BLOB_UPLOAD_UNKNOWN"),
    ("PATCH", UPLOAD, b"x", {}, 404, "BLOB_UPLOAD_UNKNOWN"),
    ("PATCH", UPLOAD, b"x", {"Content-Range": "?"}, 400, "BLOB_UPLOAD_INVALID"),
    ("PATCH", UPLOAD, b"x", {"Content-Range": "0-9"}, 400, "SIZE_INVALID"),
    ("PUT", UPLOAD, b"x", {}, 400, "DIGEST_INVALID"),
    ("PUT", f"{UPLOAD}?digest={DIGEST}", b"x", {}, 404, "BLOB_UPLOAD_UNKNOWN"),
    ("DELETE", UPLOAD, b"", {}, 404, "BLOB_UPLOAD_UNKNOWN"),
]  # fmt: skip


def assert_is_an_error(answer: Any, status: int, code: str) -> None:
    assert answer.status == status
    assert answer["Content-Type"].startswith("application/json")
    assert answer["Content-Length"] == str(len(answer.body))
    assert set(answer.json) == {"errors"}
    for error in answer.json["errors"]:
        assert set(error) == {"code", "message", "detail"}
        assert error["code"] == code
        assert re.fullmatch("[A-Z_]+", code)
        assert isinstance(error["message"], str)
        assert error["message"]
        assert error["detail"]
    assert answer.json["errors"]


@pytest.mark.parametrize(
    ("method", "url", "body", "headers", "status", "code"),
    BAD,
    ids=[f"{method} {url[:40]} {status} {n}" for n, (method, url, *_, status, _) in enumerate(BAD)],
)
def test_every_error_has_a_code_a_message_and_a_detail(
    client: Client,
    method: str,
    url: str,
    body: bytes,
    headers: dict[str, str],
    status: int,
    code: str,
) -> None:
    assert_is_an_error(client.request(method, url, body, headers), status, code)


def test_an_unsatisfiable_range_and_a_refused_delete_are_errors_too(
    client_with: MakeClient,
) -> None:
    client = client_with(delete_enabled=False)
    url = f"/v2/app/blobs/{client.push_blob(b'x')}"
    assert_is_an_error(client.get(url, Range="bytes=9-"), 416, "RANGE_INVALID")
    assert_is_an_error(client.delete(url), 405, "UNSUPPORTED")


def test_what_a_client_sent_is_told_back_cut_short(client: Client) -> None:
    long = "x" * 5000
    for method, url in [
        ("GET", f"/{long}"),
        ("GET", f"/v2/{long}/tags/list"),
        ("PUT", f"/v2/app/manifests/{long}"),
        ("GET", f"/v2/app/manifests/{long}"),
        ("GET", f"/v2/app/blobs/{long}"),
        ("GET", f"/v2/app/blobs/sha256:{long}"),
        ("GET", f"/v2/app/blobs/{long}:a"),
        ("GET", f"/v2/app/tags/list?n={long}"),
        ("GET", f"/v2/app/blobs/uploads/{long}"),
        ("POST", f"/v2/app/blobs/uploads/?digest-algorithm={long}"),
    ]:
        answer = client.request(method, url, b"{}")
        assert 400 <= answer.status < 500
        assert len(answer.body) < 1000


class Failing(Driver):
    """Passes everything on until it is told to fail."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self.failure: Exception | None = None

    def _now(self) -> Driver:
        if self.failure:
            raise self.failure
        return self._driver

    def stat(self, key: str) -> Stat:
        return self._now().stat(key)

    def get(self, key: str, max_bytes: int) -> bytes:
        return self._now().get(key, max_bytes)

    def put(
        self, key: str, data: bytes, *, if_version: str | None = None, durable: bool = True
    ) -> None:
        self._now().put(key, data, if_version=if_version, durable=durable)

    def delete(self, key: str, *, if_version: str | None = None, durable: bool = True) -> None:
        self._now().delete(key, if_version=if_version, durable=durable)

    def sync(self, key: str) -> None:
        self._now().sync(key)

    def list(self, prefix: str, after: str = "") -> Iterator[str]:
        return self._now().list(prefix, after)

    def open(self, key: str, offset: int = 0, length: int | None = None) -> Readable:
        return self._now().open(key, offset, length)

    def writer(self, key: str, *, append: bool, destination: str | None = None) -> Writer:
        return self._now().writer(key, append=append)


@pytest.fixture
def failing(registry: Registry) -> Failing:
    return Failing(registry.store.driver)


@pytest.fixture
def unlucky(failing: Failing) -> Client:
    return Client(App(Registry(failing), Settings(delete_enabled=True)))


REQUESTS = [
    ("GET", "/v2/_catalog", b""),
    ("GET", "/v2/app/tags/list", b""),
    ("GET", "/v2/app/manifests/v1", b""),
    ("HEAD", "/v2/app/manifests/v1", b""),
    ("PUT", "/v2/app/manifests/v1", encode(image(b"x"))),
    ("DELETE", "/v2/app/manifests/v1", b""),
    ("GET", f"/v2/app/blobs/{DIGEST}", b""),
    ("HEAD", f"/v2/app/blobs/{DIGEST}", b""),
    ("DELETE", f"/v2/app/blobs/{DIGEST}", b""),
    ("GET", f"/v2/app/referrers/{DIGEST}", b""),
    ("POST", "/v2/app/blobs/uploads/", b""),
    ("POST", f"/v2/app/blobs/uploads/?mount={DIGEST}", b""),
    ("POST", f"/v2/app/blobs/uploads/?digest={DIGEST}", b"x"),
    ("GET", UPLOAD, b""),
    ("PATCH", UPLOAD, b"x"),
    ("PUT", f"{UPLOAD}?digest={DIGEST}", b"x"),
]
SECRET = "docker/registry/v2/secret/key"


@pytest.mark.parametrize(("method", "url", "body"), REQUESTS)
@pytest.mark.parametrize(
    ("failure", "status", "code"),
    [
        (NoSpace(SECRET, "no room"), 507, "INSUFFICIENT_STORAGE"),
        (StorageError(SECRET, "the disk is broken"), 503, "UNAVAILABLE"),
        (Conflict(SECRET, "changed"), 503, "UNAVAILABLE"),
    ],
    ids=["full", "broken", "conflict"],
)
def test_a_failing_store_is_told_as_what_it_is(
    unlucky: Client,
    failing: Failing,
    method: str,
    url: str,
    body: bytes,
    failure: Exception,
    status: int,
    code: str,
) -> None:
    failing.failure = failure
    answer = unlucky.request(method, url, body, {"Content-Type": OCI_MANIFEST})
    if url == UPLOAD or method == "HEAD":
        assert answer.status == status
    else:
        assert_is_an_error(answer, status, code)
    assert SECRET.encode() not in answer.body


@pytest.mark.parametrize(
    "failure",
    [
        RuntimeError("secret"),
        KeyError("secret"),
        InvalidKey("secret", "secret"),
        OSError(5, "secret"),
    ],
)
@pytest.mark.parametrize(("method", "url", "body"), REQUESTS)
def test_what_nobody_expected_is_a_500_that_tells_nothing(
    unlucky: Client, failing: Failing, method: str, url: str, body: bytes, failure: Exception
) -> None:
    failing.failure = failure
    answer = unlucky.request(method, url, body, {"Content-Type": OCI_MANIFEST})
    assert answer.status == 500
    assert method == "HEAD" or answer.code == "UNKNOWN"
    for leak in (b"secret", b"Traceback", b'File "', b"Error("):
        assert leak not in answer.body


class FillingUp:
    """Wraps writers so that the disk is full after `room` more bytes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, room: int) -> None:
        from fastreg.storage.local_handles import LocalWriter

        write = LocalWriter.write

        def limited(writer: LocalWriter, data: bytes) -> None:
            write(writer, data[: self.room])
            self.room -= len(data)
            if self.room < 0:
                self.room = 0
                raise NoSpace("upload", "no space left on device")

        self.room = room
        monkeypatch.setattr(LocalWriter, "write", limited)


@pytest.mark.usefixtures("root")
@pytest.mark.parametrize("method", ["PATCH", "PUT"])
def test_an_upload_goes_on_once_there_is_room(
    client: Client, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    data = b"0123456789" * 10
    url = f"{client.start()}&digest={digest_of(data)}"
    with monkeypatch.context() as patch:
        FillingUp(patch, room=42)
        answer = client.request(method, url, Pieces([data[:30], data[30:]]), chunked=True)
    assert answer.outcome == (507, "INSUFFICIENT_STORAGE")
    status = client.get(url)
    assert status["Range"] == "0-41"
    done = client.put(f"{status['Location']}&digest={digest_of(data)}", data[42:])
    assert done.status == 201
    assert client.get(done["Location"]).body == data


def test_a_busy_key_outside_an_upload_is_503(unlucky: Client, failing: Failing) -> None:
    failing.failure = Busy("key", "another writer holds it")
    assert unlucky.get("/v2/app/tags/list").outcome == (503, "UNAVAILABLE")


def test_a_store_that_lost_everything_answers_404(unlucky: Client, failing: Failing) -> None:
    failing.failure = NotFound("key")
    for url in (f"/v2/app/blobs/{DIGEST}", "/v2/app/manifests/v1", UPLOAD):
        assert unlucky.get(url).status == 404
