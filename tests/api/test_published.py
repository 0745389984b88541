"""Answers of files that may be given again: which, and what must still hold for it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fastreg.api.app import App
from fastreg.api.call import Settings
from fastreg.oci.digest import Digest
from fastreg.registry import paths
from fastreg.registry.registry import Registry
from fastreg.storage.local import LocalDriver
from tests.api.client import Client, digest_of, encode, image, make_environ
from tests.api.samples import CONFIG, CONTENT, DIGEST, LAYER, MANIFEST, url_of
from tests.registry.faults import HookedDriver
from tests.storage.witnesses import Clock, holds, let_the_clock_tick

pytestmark = pytest.mark.usefixtures("root")

BLOB = digest_of(LAYER)
BLOB_URL = f"/v2/app/blobs/{BLOB}"
OTHER = encode(image(LAYER, CONFIG))

TAG_LINK = paths.tag_current("app", "v1")
REVISION_LINK = paths.revision_link("app", Digest.parse(DIGEST))
MANIFEST_DATA = paths.blob_data(Digest.parse(DIGEST))
LAYER_LINK = paths.layer_link("app", Digest.parse(BLOB))
LAYER_DATA = paths.blob_data(Digest.parse(BLOB))

BY_TAG = [TAG_LINK, REVISION_LINK, MANIFEST_DATA]
BY_DIGEST = [REVISION_LINK, MANIFEST_DATA]
OF_BLOB = [LAYER_LINK, LAYER_DATA]

Witnesses = tuple[tuple[bytes, int, int, int, int, int], ...]


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture
def pushed(stocked: Client) -> Client:
    """MANIFEST is there, as `v1`."""
    stocked.push_manifest(MANIFEST, "v1")
    return stocked


def ask(
    app: App, method: str, url: str, headers: dict[str, str] | None = None
) -> tuple[str, list[bytes | tuple[int, int, int]], Witnesses | None]:
    """Return status, segments' bytes and witnesses of the answer, as a server sees them."""
    said: list[str] = []
    environ = make_environ(method, url, headers=headers or {})
    result: Any = app(environ, lambda status, headers: said.append(status))
    segments = [s if isinstance(s, bytes) else os.pread(s[0], s[2], s[1]) for s in result.files]
    result.close()
    return said[0][:3], segments, result.witnesses


def witnesses(app: App, url: str) -> Witnesses:
    _, _, taken = ask(app, "GET", url)
    assert taken is not None
    assert all(holds(witness) for witness in taken)
    return taken


PUBLISHED = [
    ("GET", "/v2/", {}, "200", b"{}", []),
    ("HEAD", "/v2/", {}, "200", b"", []),
    ("GET", url_of("v1"), {}, "200", CONTENT, BY_TAG),
    ("HEAD", url_of("v1"), {}, "200", b"", BY_TAG),
    ("GET", url_of("v1"), {"If-None-Match": f'"{DIGEST}"'}, "304", b"", BY_TAG),
    ("GET", url_of("v1"), {"If-None-Match": '"sha256:other"'}, "200", CONTENT, BY_TAG),
    ("GET", url_of(DIGEST), {}, "200", CONTENT, BY_DIGEST),
    ("HEAD", url_of(DIGEST), {}, "200", b"", BY_DIGEST),
    ("HEAD", url_of(DIGEST), {"If-None-Match": f'"{DIGEST}"'}, "304", b"", BY_DIGEST),
    ("GET", BLOB_URL, {}, "200", LAYER, OF_BLOB),
    ("GET", f"{BLOB_URL}?ns=docker.io", {}, "200", LAYER, OF_BLOB),
    ("HEAD", BLOB_URL, {}, "200", b"", OF_BLOB),
    ("GET", BLOB_URL, {"Range": "bytes=2-4"}, "206", LAYER[2:5], OF_BLOB),
    ("HEAD", BLOB_URL, {"Range": "bytes=2-4"}, "200", b"", OF_BLOB),
    ("GET", BLOB_URL, {"Range": "lines=2-4"}, "200", LAYER, OF_BLOB),
    ("GET", BLOB_URL, {"If-None-Match": f'"{BLOB}"'}, "304", b"", OF_BLOB),
]


@pytest.mark.parametrize(("method", "url", "headers", "status", "body", "keys"), PUBLISHED)
def test_an_answer_that_lasts_names_every_file_that_it_was_made_of(
    app: App,
    pushed: Client,
    root: Path,
    method: str,
    url: str,
    headers: dict[str, str],
    status: str,
    body: bytes,
    keys: list[str],
) -> None:
    found, segments, taken = ask(app, method, url, headers)
    assert (found, b"".join(segments)) == (status, body)  # type: ignore[arg-type]
    assert taken is not None
    assert [path for path, *_ in taken] == [os.fsencode(root.absolute() / key) for key in keys]
    assert all(holds(witness) for witness in taken)


UPLOAD = "/v2/app/blobs/uploads/"
NOT_PUBLISHED = [
    ("GET", "/", {}, "200"),
    ("OPTIONS", "/v2/", {}, "200"),
    ("GET", "/v2/_catalog", {}, "200"),
    ("GET", "/v2/app/tags/list", {}, "200"),
    ("GET", f"/v2/app/referrers/{DIGEST}", {}, "200"),
    ("GET", url_of("absent"), {}, "404"),
    ("HEAD", url_of("absent"), {}, "404"),
    ("GET", url_of(digest_of(b"absent")), {}, "404"),
    ("GET", url_of("-no-tag"), {}, "404"),
    ("GET", f"/v2/app/blobs/{DIGEST}", {}, "404"),
    ("GET", "/v2/app/blobs/sha256:short", {}, "400"),
    ("GET", "/v2/UPPER/manifests/v1", {}, "400"),
    ("GET", "/elsewhere", {}, "404"),
    ("POST", url_of("v1"), {}, "405"),
    ("GET", BLOB_URL, {"Range": "bytes=900-"}, "416"),
    ("GET", BLOB_URL, {"Range": "bytes=0-1,4-5"}, "206"),
    ("GET", BLOB_URL, {"Range": "bytes=0-1", "If-Range": f'"{BLOB}"'}, "206"),
    ("GET", BLOB_URL, {"Range": "bytes=0-1", "If-Range": '"other"'}, "200"),
    ("POST", UPLOAD, {}, "202"),
    ("POST", f"{UPLOAD}?mount={BLOB}&from=app", {}, "201"),
    ("DELETE", BLOB_URL, {}, "202"),
    ("DELETE", url_of("v1"), {}, "202"),
]


@pytest.mark.parametrize(("method", "url", "headers", "status"), NOT_PUBLISHED)
def test_no_other_answer_may_be_given_again(
    app: App, pushed: Client, method: str, url: str, headers: dict[str, str], status: str
) -> None:
    found, _, taken = ask(app, method, url, headers)
    assert found == status
    assert taken is None


def test_no_answer_of_an_upload_may_be_given_again(app: App, pushed: Client) -> None:
    location = pushed.start()
    assert ask(app, "GET", location)[::2] == ("204", None)
    assert ask(app, "PATCH", location)[::2] == ("202", None)
    assert ask(app, "DELETE", location)[::2] == ("204", None)


def test_a_blob_is_witnessed_where_its_link_says_that_it_is(
    app: App, registry: Registry, pushed: Client, root: Path
) -> None:
    digest = Digest.of(LAYER, "sha512")
    registry.store.write_link(paths.layer_link("app", digest), Digest.parse(BLOB))
    named = [path for path, *_ in witnesses(app, f"/v2/app/blobs/{digest}")]
    keys = [paths.layer_link("app", digest), LAYER_DATA]
    assert named == [os.fsencode(root / key) for key in keys]


def test_what_was_just_pushed_is_not_published_yet(app: App, pushed: Client, clock: Clock) -> None:
    clock.now_ns = 0
    assert ask(app, "GET", url_of("v1")) == ("200", [CONTENT], None)


Change = Callable[[Client, Path], object]


def _write_again(root: Path, key: str) -> None:
    content = (root / key).read_bytes()
    (root / key).unlink()
    (root / key).write_bytes(content)


def _damage(root: Path, key: str) -> None:
    with open(root / key, "r+b") as file:
        file.write(b"?")


OF_TAGS: dict[str, Change] = {
    "the tag moves": lambda client, root: client.push_manifest(OTHER, "v1"),
    "the tag is pushed again": lambda client, root: client.push_manifest(MANIFEST, "v1"),
    "the tag is deleted": lambda client, root: client.delete(url_of("v1")),
    "another program deletes the tag": lambda client, root: (root / TAG_LINK).unlink(),
    "another program recreates the tag": lambda client, root: _write_again(root, TAG_LINK),
    "the tag's link is emptied": lambda client, root: os.truncate(root / TAG_LINK, 0),
}
OF_MANIFESTS: dict[str, Change] = {
    "the manifest is deleted": lambda client, root: client.delete(url_of(DIGEST)),
    "the manifest is pushed again": lambda client, root: client.push_manifest(MANIFEST),
    "another program deletes the revision": lambda client, root: (root / REVISION_LINK).unlink(),
    "a collector deletes the content": lambda client, root: (root / MANIFEST_DATA).unlink(),
    "the content is damaged": lambda client, root: _damage(root, MANIFEST_DATA),
    "the content is recreated": lambda client, root: _write_again(root, MANIFEST_DATA),
}
OF_BLOBS: dict[str, Change] = {
    "the blob is deleted": lambda client, root: client.delete(BLOB_URL),
    "the blob is pushed again": lambda client, root: client.push_blob(LAYER),
    "another program deletes the link": lambda client, root: (root / LAYER_LINK).unlink(),
    "a collector deletes the data": lambda client, root: (root / LAYER_DATA).unlink(),
    "the data is damaged": lambda client, root: _damage(root, LAYER_DATA),
    "the data is cut short": lambda client, root: os.truncate(root / LAYER_DATA, 1),
    "the data is recreated": lambda client, root: _write_again(root, LAYER_DATA),
}
CASES = [
    pytest.param(url, change, id=f"{what}: {name}")
    for what, url, changes in (
        ("by tag", url_of("v1"), OF_TAGS | OF_MANIFESTS),
        ("by digest", url_of(DIGEST), OF_MANIFESTS),
        ("blob", BLOB_URL, OF_BLOBS),
    )
    for name, change in changes.items()
]


@pytest.mark.parametrize(("url", "change"), CASES)
def test_a_change_of_what_an_answer_was_made_of_is_seen(
    app: App, pushed: Client, root: Path, tmp_path: Path, url: str, change: Change
) -> None:
    taken = witnesses(app, url)
    let_the_clock_tick(tmp_path)
    change(pushed, root)
    assert not all(holds(witness) for witness in taken)


def test_damaged_content_that_a_push_replaces_is_published_again(
    app: App, pushed: Client, root: Path, tmp_path: Path
) -> None:
    _damage(root, MANIFEST_DATA)
    assert ask(app, "GET", url_of("v1"))[::2] == ("404", None)
    let_the_clock_tick(tmp_path)
    pushed.push_manifest(MANIFEST, "v1")
    assert len(witnesses(app, url_of("v1"))) == 3


@pytest.mark.parametrize(
    ("url", "keys"), [(url_of("v1"), BY_TAG), (url_of(DIGEST), BY_DIGEST), (BLOB_URL, OF_BLOB)]
)
@pytest.mark.parametrize("number", range(3))
def test_a_change_between_a_witness_and_the_reading_is_seen(
    pushed: Client, root: Path, tmp_path: Path, url: str, keys: list[str], number: int
) -> None:
    key = keys[number % len(keys)]
    driver = HookedDriver(LocalDriver(root))
    changed: list[str] = []

    def change_once_witnessed(call: str, asked: str) -> None:
        if asked == key and call != "witness" and not changed:
            changed.append(call)
            let_the_clock_tick(tmp_path)
            _write_again(root, key)

    driver.before = change_once_witnessed
    status, _, taken = ask(App(Registry(driver), Settings()), "GET", url)
    assert (status, len(changed)) == ("200", 1)
    assert taken is not None
    assert [holds(witness) for witness in taken] == [each != key for each in keys]


def test_a_tag_that_moves_between_its_witness_and_the_reading_is_not_taken_for_the_old_one(
    pushed: Client, root: Path, tmp_path: Path
) -> None:
    driver = HookedDriver(LocalDriver(root))

    def move(call: str, asked: str) -> None:
        if (call, asked) == ("get", TAG_LINK):
            driver.before = lambda call, key: None
            let_the_clock_tick(tmp_path)
            pushed.push_manifest(OTHER, "v1")

    driver.before = move
    app = App(Registry(driver), Settings())
    status, segments, taken = ask(app, "GET", url_of("v1"))
    assert (status, segments) == ("200", [OTHER])
    assert taken is not None
    assert not holds(taken[0])
    assert [len(witnesses(app, url)) for url in (url_of("v1"), url_of(digest_of(OTHER)))] == [3, 2]
