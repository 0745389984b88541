"""Blobs that clients are sent to the store for, where it gives URLs."""

from __future__ import annotations

import time
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from fastreg.api.app import App
from fastreg.api.call import Settings
from fastreg.oci.digest import Digest
from fastreg.registry import paths
from fastreg.registry.registry import Registry
from fastreg.storage.local import LocalDriver
from tests.api.client import Client, digest_of, make_environ
from tests.api.samples import CONFIG, CONTENT, LAYER, MANIFEST, url_of

DATA = b"a layer that is somewhere else"
DIGEST = digest_of(DATA)
URL = f"/v2/app/blobs/{DIGEST}"


class SigningDriver(LocalDriver):
    """Gives URLs as a store does that can be asked without the registry."""

    def signed_url(self, key: str, lifetime_s: int) -> str | None:
        return f"https://store.example/{key}?lifetime={lifetime_s}&sig=a%2Bb"


def client_over(driver: LocalDriver, redirect: bool = True) -> Client:
    client = Client(App(Registry(driver), Settings(redirect=redirect)))
    client.push_blob(DATA)
    return client


@pytest.fixture
def client(root: Path) -> Client:
    return client_over(SigningDriver(root))


def test_a_blob_is_at_the_store_for_twenty_minutes(client: Client) -> None:
    answer = client.get(URL)
    assert (answer.status, answer.body) == (307, b"")
    target = urlsplit(answer["Location"])
    assert target.netloc == "store.example"
    assert parse_qs(target.query) == {"lifetime": ["1200"], "sig": ["a+b"]}
    assert answer["Docker-Content-Digest"] == DIGEST
    assert answer["Cache-Control"] == "", "a URL that ends in twenty minutes is not kept"


def test_the_url_is_that_of_the_content_and_not_of_the_name(client: Client, root: Path) -> None:
    alias = Digest.of(DATA, "sha512")
    link = root / paths.layer_link("app", alias)
    link.parent.mkdir(parents=True)
    link.write_text(DIGEST)
    answer = client.get(f"/v2/app/blobs/{alias}")
    assert paths.blob_data(Digest.parse(DIGEST)) in answer["Location"]


def test_head_is_answered_here(client: Client) -> None:
    answer = client.head(URL)
    assert (answer.status, answer["Content-Length"]) == (200, str(len(DATA)))
    assert answer["Location"] == ""


def test_one_range_is_asked_of_the_store_and_several_are_answered_here(client: Client) -> None:
    assert client.get(URL, Range="bytes=0-3").status == 307
    assert client.get(URL, Range="bytes=0-3,5-6").status == 206


def test_who_has_the_blob_is_not_sent_for_it(client: Client) -> None:
    assert client.get(URL, If_None_Match=f'"{DIGEST}"').status == 304


def test_a_blob_that_is_not_there_is_nowhere_else(client: Client) -> None:
    assert client.get(f"/v2/other/blobs/{DIGEST}").outcome == (404, "BLOB_UNKNOWN")


def test_manifests_are_answered_here(client: Client) -> None:
    for blob in (CONFIG, LAYER):
        client.push_blob(blob)
    client.push_manifest(MANIFEST, "latest")
    assert client.get(url_of("latest")).body == CONTENT


def test_nothing_is_redirected_where_the_store_gives_no_url(root: Path) -> None:
    assert client_over(LocalDriver(root)).get(URL).body == DATA


def test_nothing_is_redirected_where_nobody_wants_it(root: Path) -> None:
    assert client_over(SigningDriver(root), redirect=False).get(URL).body == DATA


def test_a_redirect_is_never_published(root: Path) -> None:
    app = App(Registry(SigningDriver(root)), Settings(redirect=True))
    Client(app).push_blob(DATA)
    time.sleep(0.02)  # a file as young as a tick of the clock has no witness
    said: list[str] = []
    body = app(make_environ("GET", URL), lambda status, headers: said.append(status))
    assert said == ["307 Temporary Redirect"]
    assert body.witnesses is None  # type: ignore[attr-defined]
