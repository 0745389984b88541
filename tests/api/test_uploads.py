"""Pushing blobs that go well: distribution-spec, "Pushing blobs", "Cancel a Blob Upload"."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest

from tests.api.client import Client, Pieces, digest_of, finish_url
from tests.api.conftest import MakeClient
from tests.api.samples import DATA, HALF, assert_is_stored

UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
ALGORITHMS = ("sha256", "sha512", "blake3")


def test_post_starts_a_session_of_its_own(client: Client) -> None:
    answers = [client.post("/v2/app/blobs/uploads/") for _ in range(2)]
    for answer in answers:
        assert (answer.status, answer.body) == (202, b"")
        assert answer["Range"] == "0-0"
        assert re.search(rf"/v2/app/blobs/uploads/{UUID}\b", answer["Location"])
        assert answer["Docker-Upload-UUID"] in answer["Location"]
        assert answer["OCI-Chunk-Min-Length"] == ""
    assert answers[0]["Location"] != answers[1]["Location"]


def test_post_needs_no_slash_at_its_end(client: Client) -> None:
    assert client.post("/v2/app/blobs/uploads").status == 202


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_post_then_put_stores_the_blob(client: Client, algorithm: str) -> None:
    digest = digest_of(DATA, algorithm)
    answer = client.put(finish_url(client.start(), digest), DATA)
    assert (answer.status, answer.body) == (201, b"")
    assert answer["Docker-Content-Digest"] == digest
    assert answer["Location"].endswith(f"/v2/app/blobs/{digest}")
    assert_is_stored(client, answer["Location"])


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_one_post_with_a_digest_stores_the_blob(client: Client, algorithm: str) -> None:
    digest = digest_of(DATA, algorithm)
    answer = client.post(f"/v2/app/blobs/uploads/?digest={digest}", DATA)
    assert answer.status == 201
    assert answer["Docker-Content-Digest"] == digest
    assert_is_stored(client, answer["Location"])


def test_one_post_can_be_chunked(client: Client) -> None:
    url = f"/v2/app/blobs/uploads/?digest={digest_of(DATA)}"
    answer = client.request("POST", url, Pieces([DATA[:5], DATA[5:]]), chunked=True)
    assert answer.status == 201
    assert_is_stored(client, answer["Location"])


def test_post_with_a_digest_and_no_body_begins_a_session(client: Client) -> None:
    answer = client.post(f"/v2/app/blobs/uploads/?digest={digest_of(DATA)}")
    assert answer.status == 202
    assert client.put(finish_url(answer["Location"], digest_of(DATA)), DATA).status == 201


@pytest.mark.parametrize("started", ["", *ALGORITHMS])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_any_announced_algorithm_can_end_in_any_other(
    client: Client, started: str, algorithm: str
) -> None:
    location = client.start(query=f"?digest-algorithm={started}" if started else "")
    location = client.patch(location, DATA[:HALF])["Location"]
    answer = client.put(finish_url(location, digest_of(DATA, algorithm)), DATA[HALF:])
    assert answer.status == 201
    assert_is_stored(client, answer["Location"])


def test_patch_in_chunks_then_put(client: Client) -> None:
    location, end = client.start(), 0
    for start in range(0, len(DATA), 500):
        chunk = DATA[start : start + 500]
        end = start + len(chunk) - 1
        answer = client.patch(location, chunk, Content_Range=f"{start}-{end}")
        assert (answer.status, answer.body) == (202, b"")
        assert answer["Range"] == f"0-{end}"
        location = answer["Location"]
    answer = client.put(finish_url(location, digest_of(DATA)))
    assert answer.status == 201
    assert_is_stored(client, answer["Location"])


def test_the_final_chunk_may_come_in_the_put(client: Client) -> None:
    location = client.patch(client.start(), DATA[:HALF], Content_Range=f"0-{HALF - 1}")["Location"]
    answer = client.put(
        finish_url(location, digest_of(DATA)),
        DATA[HALF:],
        Content_Range=f"{HALF}-{len(DATA) - 1}",
    )
    assert answer.status == 201
    assert_is_stored(client, answer["Location"])


def test_a_stream_without_length_is_taken(client: Client) -> None:
    pieces = Pieces([DATA[:7], DATA[7:8], DATA[8:]])
    answer = client.request("PATCH", client.start(), pieces, chunked=True)
    assert (answer.status, answer["Range"]) == (202, f"0-{len(DATA) - 1}")
    answer = client.put(finish_url(answer["Location"], digest_of(DATA)))
    assert answer.status == 201
    assert_is_stored(client, answer["Location"])


def test_several_streams_follow_each_other(client: Client) -> None:
    location = client.start()
    for piece in (DATA[:HALF], DATA[HALF:]):
        location = client.request("PATCH", location, Pieces([piece]), chunked=True)["Location"]
    assert client.put(finish_url(location, digest_of(DATA))).status == 201


def test_a_stream_may_end_in_the_put(client: Client) -> None:
    url = finish_url(client.start(), digest_of(DATA))
    assert client.request("PUT", url, Pieces([DATA]), chunked=True).status == 201


@pytest.mark.parametrize(
    "form",
    [
        "{0}-{1}",
        "bytes {0}-{1}/{2}",
        "bytes {0}-{1}/*",
        "bytes={0}-{1}",
        "{0}-{1}/{2}",
        " {0}-{1} ",
    ],
)
@pytest.mark.parametrize("chunked", [False, True])
def test_every_form_of_content_range_is_understood(
    client: Client, form: str, chunked: bool
) -> None:
    location = client.start()
    for start in (0, HALF):
        chunk = DATA[start : start + HALF]
        header = {"Content-Range": form.format(start, start + len(chunk) - 1, len(DATA))}
        answer = client.request(
            "PATCH", location, Pieces([chunk]) if chunked else chunk, header, chunked=chunked
        )
        assert answer.status == 202, answer
        location = answer["Location"]
    assert client.put(finish_url(location, digest_of(DATA))).status == 201


def test_an_empty_patch_changes_nothing(client: Client) -> None:
    answer = client.patch(client.start(), b"")
    assert (answer.status, answer["Range"]) == (202, "0-0")


def test_get_tells_what_the_session_holds(client: Client) -> None:
    location = client.start()
    assert client.get(location)["Range"] == "0-0"
    client.patch(location, DATA)
    answer = client.get(location)
    assert (answer.status, answer.body) == (204, b"")
    assert answer["Range"] == f"0-{len(DATA) - 1}"
    assert client.put(finish_url(answer["Location"], digest_of(DATA))).status == 201


def test_location_survives_a_rewritten_query(client: Client) -> None:
    location = client.patch(client.start(), DATA[:HALF])["Location"]
    parts = urlsplit(location)
    fields = [("digest", digest_of(DATA)), *reversed(parse_qsl(parts.query))]
    assert "%3A" in urlencode(fields)
    answer = client.put(parts._replace(query=urlencode(fields)).geturl(), DATA[HALF:])
    assert answer.status == 201
    assert_is_stored(client, answer["Location"])


def test_location_survives_the_loss_of_its_query(client: Client) -> None:
    location = client.patch(client.start(), DATA[:HALF])["Location"].partition("?")[0]
    assert client.put(finish_url(location, digest_of(DATA)), DATA[HALF:]).status == 201


def test_a_finished_session_is_gone(client: Client, root: Path) -> None:
    location = client.start()
    client.put(finish_url(location, digest_of(DATA)), DATA)
    assert client.get(location).outcome == (404, "BLOB_UPLOAD_UNKNOWN")
    assert client.patch(location, b"x").outcome == (404, "BLOB_UPLOAD_UNKNOWN")
    assert list(root.rglob("_uploads/*/*")) == []


def test_a_put_is_answered_again_when_its_answer_was_lost(client: Client) -> None:
    url = finish_url(client.start(), digest_of(DATA))
    assert [client.put(url, DATA).status for _ in range(2)] == [201, 201]


def test_delete_cancels_the_session(client: Client, root: Path) -> None:
    location = client.patch(client.start(), DATA)["Location"]
    answer = client.delete(location)
    assert (answer.status, answer.body) == (204, b"")
    assert client.get(location).outcome == (404, "BLOB_UPLOAD_UNKNOWN")
    assert client.delete(location).outcome == (404, "BLOB_UPLOAD_UNKNOWN")
    assert list(root.rglob("_uploads/*/*")) == []


def test_cancelling_needs_no_permission_to_delete(client_with: MakeClient) -> None:
    client = client_with(delete_enabled=False)
    assert client.delete(client.start()).status == 204


def test_pushing_a_blob_twice_succeeds_twice(client: Client) -> None:
    first, second = client.start(), client.start()
    for location in (first, second):
        client.patch(location, DATA)
    digest = digest_of(DATA)
    assert [client.put(finish_url(u, digest)).status for u in (first, second)] == [201, 201]


def test_a_push_mends_a_stored_blob_of_the_wrong_size(client: Client, root: Path) -> None:
    digest = client.push_blob(DATA)
    (stored,) = root.glob("docker/registry/v2/blobs/sha256/*/*/data")
    stored.write_bytes(DATA[:-1])
    client.push_blob(DATA)
    assert_is_stored(client, f"/v2/app/blobs/{digest}")
