"""Pulling and deleting blobs: distribution-spec, "Pulling blobs", "Deleting Blobs"."""

from __future__ import annotations

from pathlib import Path

import pytest

from fastreg.api.app import App
from fastreg.api.call import Settings
from fastreg.registry.registry import Registry
from tests.api.client import Client, digest_of, make_environ
from tests.api.conftest import MakeClient
from tests.storage.fileless import FilelessDriver

DATA = bytes(range(256)) * 10
ALGORITHMS = ("sha256", "sha512", "blake3")


def url_of(digest: str, name: str = "app") -> str:
    return f"/v2/{name}/blobs/{digest}"


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_get_returns_the_blob_and_its_digest(client: Client, algorithm: str) -> None:
    digest = client.push_blob(DATA, algorithm=algorithm)
    answer = client.get(url_of(digest))
    assert (answer.status, answer.body) == (200, DATA)
    assert answer["Docker-Content-Digest"] == digest
    assert answer["Content-Length"] == str(len(DATA))
    assert answer["Content-Type"] == "application/octet-stream"
    assert answer["ETag"] == f'"{digest}"'


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_head_tells_size_and_digest_without_a_body(client: Client, algorithm: str) -> None:
    digest = client.push_blob(DATA, algorithm=algorithm)
    answer = client.head(url_of(digest))
    assert (answer.status, answer.body) == (200, b"")
    assert answer["Content-Length"] == str(len(DATA))
    assert answer["Docker-Content-Digest"] == digest


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_empty_blob_is_a_blob(client: Client, algorithm: str) -> None:
    digest = client.push_blob(b"", algorithm=algorithm)
    answer = client.get(url_of(digest))
    assert (answer.status, answer.body, answer["Content-Length"]) == (200, b"", "0")


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
def test_an_unknown_blob_is_404(client: Client, method: str) -> None:
    answer = client.request(method, url_of(digest_of(b"nobody pushed this")))
    assert answer.status == 404
    assert method == "HEAD" or answer.code == "BLOB_UNKNOWN"


def test_a_blob_of_another_repository_is_404(client: Client) -> None:
    digest = client.push_blob(DATA, "secret")
    assert client.get(url_of(digest, "app")).outcome == (404, "BLOB_UNKNOWN")
    assert client.get(url_of(digest, "secret/deeper")).outcome == (404, "BLOB_UNKNOWN")


def test_a_blob_of_a_nested_repository_is_found(client: Client) -> None:
    digest = client.push_blob(DATA, "a/b-c/d_e/f.g")
    assert client.get(url_of(digest, "a/b-c/d_e/f.g")).body == DATA


@pytest.mark.parametrize(
    "condition",
    ['"{}"', 'W/"{}"', '"other", "{}"', "*", "{}"],
    ids=["strong", "weak", "list", "any", "unquoted"],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_if_none_match_of_the_digest_is_304(client: Client, method: str, condition: str) -> None:
    digest = client.push_blob(DATA)
    headers = {"If-None-Match": condition.format(digest)}
    answer = client.request(method, url_of(digest), headers=headers)
    assert (answer.status, answer.body) == (304, b"")
    assert answer["ETag"] == f'"{digest}"'
    assert answer["Docker-Content-Digest"] == digest
    assert answer["Content-Type"] == ""


def test_if_none_match_of_something_else_sends_the_blob(client: Client) -> None:
    digest = client.push_blob(DATA)
    other = client.push_blob(b"other")
    assert client.get(url_of(digest), If_None_Match=f'"{other}"').body == DATA


def test_if_none_match_does_not_make_up_a_blob(client: Client) -> None:
    assert client.get(url_of(digest_of(b"?")), If_None_Match="*").status == 404


def test_delete_takes_the_blob_from_this_repository_alone(client: Client) -> None:
    digest = client.push_blob(DATA)
    client.push_blob(DATA, "other")
    assert client.delete(url_of(digest)).status == 202
    assert client.get(url_of(digest)).outcome == (404, "BLOB_UNKNOWN")
    assert client.delete(url_of(digest)).outcome == (404, "BLOB_UNKNOWN")
    assert client.get(url_of(digest, "other")).body == DATA


def test_a_deleted_blob_can_be_pushed_again(client: Client) -> None:
    digest = client.push_blob(DATA)
    client.delete(url_of(digest))
    client.push_blob(DATA)
    assert client.get(url_of(digest)).body == DATA


def test_delete_is_405_where_deletion_is_off(client_with: MakeClient) -> None:
    client = client_with(delete_enabled=False)
    digest = client.push_blob(DATA)
    answer = client.delete(url_of(digest))
    assert answer.outcome == (405, "UNSUPPORTED")
    assert "DELETE" not in answer["Allow"].split(", ")
    assert "GET" in answer["Allow"].split(", ")
    assert "storage.delete.enabled" in answer.json["errors"][0]["detail"]
    assert client.get(url_of(digest)).status == 200


@pytest.mark.parametrize(
    "text",
    [
        "sha256",
        "sha256:",
        "sha256:abc",
        "sha256:" + "A" * 64,
        "sha256:" + "a" * 65,
        "sha256:" + "g" * 64,
        "md5:d41d8cd98f00b204e9800998ecf8427e",
        "sha512:" + "a" * 64,
        "sha256:" + "a" * 64 + "%0a",
        "..",
        "%00",
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
def test_an_invalid_digest_is_400(client: Client, method: str, text: str) -> None:
    answer = client.request(method, url_of(text))
    assert answer.status == 400
    assert method == "HEAD" or answer.code == "DIGEST_INVALID"


def test_a_blob_emptied_by_a_crash_is_404_and_heals_by_a_push(client: Client, root: Path) -> None:
    digest = client.push_blob(DATA)
    (stored,) = root.glob("docker/registry/v2/blobs/sha256/*/*/data")
    stored.write_bytes(b"")
    assert client.get(url_of(digest)).outcome == (404, "BLOB_UNKNOWN")
    client.push_blob(DATA)
    assert client.get(url_of(digest)).body == DATA


def test_an_empty_link_reads_as_absent(client: Client, root: Path) -> None:
    digest = client.push_blob(DATA)
    (link,) = root.glob("docker/registry/v2/repositories/app/_layers/sha256/*/link")
    link.write_bytes(b"")
    assert client.get(url_of(digest)).outcome == (404, "BLOB_UNKNOWN")


@pytest.mark.usefixtures("root")
def test_a_whole_blob_is_one_segment_of_a_file(app: App) -> None:
    digest = Client(app).push_blob(DATA)
    result = app(make_environ("GET", url_of(digest)), lambda *said: None)
    ((fd, offset, length),) = result.files
    assert (offset, length) == (0, len(DATA))
    assert fd > 2
    result.close()
    result.close()


@pytest.mark.parametrize("headers", [{}, {"Range": "bytes=5-"}], ids=["whole", "range"])
def test_what_has_no_file_is_sent_as_it_is_read(
    app: App, root: Path, headers: dict[str, str]
) -> None:
    data = DATA * 300  # more than one read
    url = url_of(Client(app).push_blob(data))
    fileless = App(Registry(FilelessDriver(root)), Settings())
    result = fileless(make_environ("GET", url, headers=headers), lambda *said: None)
    assert result.files is None
    segments = list(result.segments())
    assert len(segments) > 1
    assert b"".join(segments) == data[5 if headers else 0 :]
    assert len(result) == len(b"".join(segments))
    result.close()


def test_iterating_gives_the_bytes_of_the_segments(app: App) -> None:
    data = DATA * 300  # more than one read
    digest = Client(app).push_blob(data)
    assert Client(app).get(url_of(digest)).body == data
