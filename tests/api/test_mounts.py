"""Mounting blobs: distribution-spec, "Mounting a blob from another repository"."""

from __future__ import annotations

import pytest

from tests.api.client import Client, digest_of, finish_url
from tests.api.samples import assert_is_stored

DATA = b"a blob that many share"
MOUNT = "/v2/app/blobs/uploads/?mount={}"


@pytest.mark.parametrize("algorithm", ["sha256", "sha512", "blake3"])
@pytest.mark.parametrize("source", ["&from=team/base", ""], ids=["from", "anywhere"])
def test_a_mount_is_201_and_pullable(client: Client, algorithm: str, source: str) -> None:
    digest = client.push_blob(DATA, "team/base", algorithm)
    answer = client.post(MOUNT.format(digest) + source)
    assert (answer.status, answer.body) == (201, b"")
    assert answer["Docker-Content-Digest"] == digest
    assert answer["Location"].endswith(f"/v2/app/blobs/{digest}")
    assert_is_stored(client, answer["Location"], DATA)


def test_a_mounted_blob_stays_when_its_source_goes(client: Client) -> None:
    digest = client.push_blob(DATA, "base")
    client.post(MOUNT.format(digest) + "&from=base")
    client.delete(f"/v2/base/blobs/{digest}")
    assert_is_stored(client, f"/v2/app/blobs/{digest}", DATA)


@pytest.mark.parametrize(
    "query",
    [
        "{0}&from=nowhere",
        "{0}&from=UPPER",
        "{0}&from=../base",
        "{0}&from=" + "a" * 300,
        "{1}",
        "{1}&from=base",
        "sha256:nonsense&from=base",
        "md5:abc",
        "",
    ],
)
def test_what_cannot_be_mounted_begins_a_session(client: Client, query: str) -> None:
    digest = client.push_blob(DATA, "base")
    answer = client.post(MOUNT.format(query.format(digest, digest_of(b"unknown"))))
    assert (answer.status, answer["Range"]) == (202, "0-0")
    done = client.put(finish_url(answer["Location"], digest_of(b"new")), b"new")
    assert done.status == 201


def test_a_mount_of_a_deleted_blob_begins_a_session(client: Client) -> None:
    digest = client.push_blob(DATA, "base")
    client.delete(f"/v2/base/blobs/{digest}")
    assert client.post(MOUNT.format(digest) + "&from=base").status == 202
    assert client.post(MOUNT.format(digest)).status == 202


def test_a_mount_into_an_invalid_name_is_400(client: Client) -> None:
    digest = client.push_blob(DATA, "base")
    answer = client.post(f"/v2/Upper/blobs/uploads/?mount={digest}&from=base")
    assert answer.outcome == (400, "NAME_INVALID")
