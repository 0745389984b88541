"""Uploads that do not go well: out of order, cut short, of a wrong digest, unknown."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from fastreg.api.app import App
from fastreg.registry.registry import Registry
from fastreg.storage.base import Driver
from fastreg.storage.local import LocalDriver
from tests.api.client import Client, Pieces, digest_of, finish_url
from tests.api.samples import DATA, HALF, assert_is_stored

NOBODY = "00000000-0000-4000-8000-000000000000"
OTHER = b"not what was announced"


@pytest.fixture
def location(client: Client) -> str:
    """A session that holds the first half."""
    return client.patch(client.start(), DATA[:HALF])["Location"]


@pytest.fixture
def started(client: Client) -> str:
    return client.start()


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
@pytest.mark.parametrize("start", [0, HALF - 1, HALF + 1, 10**15])
def test_a_chunk_out_of_order_is_416_and_tells_where_to_go_on(
    client: Client, location: str, method: str, start: int
) -> None:
    url = finish_url(location, digest_of(DATA)) if method == "PUT" else location
    answer = client.request(method, url, OTHER, {"Content-Range": f"{start}-{start + 21}"})
    assert answer.outcome == (416, "BLOB_UPLOAD_INVALID")
    assert answer["Range"] == f"0-{HALF - 1}"
    status = client.get(url)
    assert (status.status, status["Range"]) == (204, f"0-{HALF - 1}")
    for recovered in (answer["Location"], status["Location"]):
        assert "/v2/app/blobs/uploads/" in recovered
    done = client.put(finish_url(answer["Location"], digest_of(DATA)), DATA[HALF:])
    assert done.status == 201
    assert_is_stored(client, done["Location"])


def test_the_first_chunk_must_begin_at_zero(client: Client, started: str) -> None:
    answer = client.patch(started, OTHER, Content_Range=f"5-{4 + len(OTHER)}")
    assert answer.outcome == (416, "BLOB_UPLOAD_INVALID")
    assert answer["Range"] == "0-0"


@pytest.mark.parametrize("has_range", [True, False], ids=["content-range", "location alone"])
def test_a_chunk_repeated_after_a_lost_answer_is_not_stored_twice(
    client: Client, started: str, has_range: bool
) -> None:
    headers = {"Content_Range": f"0-{HALF - 1}"} if has_range else {}
    assert client.patch(started, DATA[:HALF], **headers).status == 202
    again = client.patch(started, DATA[:HALF], **headers)
    assert (again.status, again["Range"]) == (416, f"0-{HALF - 1}")
    url = finish_url(again["Location"], digest_of(DATA))
    assert client.put(url, DATA[HALF:]).status == 201


@pytest.mark.usefixtures("root")
def test_a_second_writer_is_told_so_and_nothing_is_torn(
    client: Client, started: str, registry: Registry
) -> None:
    client.patch(started, DATA[:HALF])
    upload_id = started.partition("?")[0].rpartition("/")[2]
    key = f"docker/registry/v2/repositories/app/_uploads/{upload_id}/data"
    with registry.store.driver.writer(key, append=True):
        for method in ("PATCH", "PUT", "DELETE"):
            answer = client.request(method, finish_url(started, digest_of(DATA)), OTHER)
            assert (answer.status, answer["Range"]) == (416, f"0-{HALF - 1}")
    assert client.patch(client.get(started)["Location"], DATA[HALF:]).status == 202
    assert client.put(finish_url(started, digest_of(DATA))).status == 201


@pytest.mark.parametrize(
    "header",
    [
        "a-b",
        "5",
        "9-5",
        "-5",
        "5-",
        "bytes 0-1/2/3",
        "0-1,3-4",
        "items 0-5",
        "0-" + "9" * 40,
        "\u0660-\u0665",
    ],
)
@pytest.mark.parametrize("method", ["PATCH", "PUT"])
def test_a_malformed_content_range_is_400(
    client: Client, location: str, method: str, header: str
) -> None:
    url = finish_url(location, digest_of(DATA))
    header = header.encode().decode("latin-1")
    answer = client.request(method, url, OTHER, {"Content-Range": header})
    assert answer.outcome == (400, "BLOB_UPLOAD_INVALID")
    assert client.get(location)["Range"] == f"0-{HALF - 1}"


@pytest.mark.parametrize("length", [1, len(OTHER) - 1, len(OTHER) + 1, 10**9])
def test_content_range_and_content_length_must_agree(
    client: Client, location: str, length: int
) -> None:
    answer = client.patch(location, OTHER, Content_Range=f"{HALF}-{HALF + length - 1}")
    assert answer.outcome == (400, "SIZE_INVALID")
    assert client.get(location)["Range"] == f"0-{HALF - 1}"


@pytest.mark.parametrize("length", [len(OTHER) - 1, len(OTHER) + 1])
def test_a_stream_of_another_length_than_its_content_range_is_400(
    client: Client, started: str, length: int
) -> None:
    headers = {"Content-Range": f"0-{length - 1}"}
    answer = client.request("PATCH", started, Pieces([OTHER]), headers, chunked=True)
    assert answer.outcome == (400, "SIZE_INVALID")
    assert client.get(started)["Range"] == f"0-{min(length, len(OTHER)) - 1}"


@pytest.mark.parametrize("offset", ["x", "-1", "1.0", "9" * 30, "%D9%A1"])
def test_a_location_with_a_broken_offset_is_400(client: Client, started: str, offset: str) -> None:
    url = f"{started.partition('?')[0]}?offset={offset}"
    assert client.patch(url, DATA).outcome == (400, "BLOB_UPLOAD_INVALID")


def test_a_wrong_digest_is_400_and_ends_the_session(
    client: Client, location: str, root: Path
) -> None:
    digest = digest_of(DATA)
    answer = client.put(finish_url(location, digest), OTHER)
    assert answer.outcome == (400, "DIGEST_INVALID")
    detail = answer.json["errors"][0]["detail"]
    assert detail["provided"] == digest
    assert detail["actual"] == digest_of(DATA[:HALF] + OTHER)
    assert client.get(location).outcome == (404, "BLOB_UPLOAD_UNKNOWN")
    assert client.get(f"/v2/app/blobs/{digest}").status == 404
    assert [p for p in root.rglob("*") if p.is_file()] == []


def test_a_wrong_digest_in_one_post_leaves_nothing(client: Client, root: Path) -> None:
    answer = client.post(f"/v2/app/blobs/uploads/?digest={digest_of(DATA)}", OTHER)
    assert answer.outcome == (400, "DIGEST_INVALID")
    assert [p for p in root.rglob("*") if p.is_file()] == []


BAD_DIGESTS = ("", "sha256", "sha256:xyz", "md5:d41d8cd98f00b204e9800998ecf8427e", "../../etc")


@pytest.mark.parametrize("digest", BAD_DIGESTS)
def test_an_invalid_digest_is_refused_before_the_body_is_read(
    client: Client, location: str, digest: str
) -> None:
    body = Pieces([DATA[HALF:]])
    answer = client.request("PUT", finish_url(location, digest), body, chunked=True)
    assert answer.outcome == (400, "DIGEST_INVALID")
    assert body.taken == 0
    assert client.put(finish_url(location, digest_of(DATA)), DATA[HALF:]).status == 201


@pytest.mark.parametrize("digest", BAD_DIGESTS[1:])
@pytest.mark.parametrize("data", [b"", DATA])
def test_one_post_with_an_invalid_digest_is_400(client: Client, digest: str, data: bytes) -> None:
    answer = client.post(f"/v2/app/blobs/uploads/?digest={digest}", data)
    assert answer.outcome == (400, "DIGEST_INVALID")


def test_put_without_a_digest_is_400_and_keeps_the_session(client: Client, location: str) -> None:
    assert client.put(location, DATA[HALF:]).outcome == (400, "DIGEST_INVALID")
    assert client.put(finish_url(location, digest_of(DATA)), DATA[HALF:]).status == 201


@pytest.mark.parametrize("algorithm", ["md5", "SHA256", "sha256:", "../x"])
def test_an_unsupported_digest_algorithm_is_400(client: Client, algorithm: str) -> None:
    answer = client.post(f"/v2/app/blobs/uploads/?digest-algorithm={algorithm}")
    assert answer.outcome == (400, "DIGEST_INVALID")


@pytest.mark.parametrize(
    "upload_id",
    [NOBODY, "x", "..", "%2e%2e", NOBODY.upper(), NOBODY + "0", "a" * 300, "%00", NOBODY + "%0a"],
)
@pytest.mark.parametrize("method", ["GET", "PATCH", "PUT", "DELETE"])
def test_an_unknown_or_ill_formed_upload_is_404(
    client: Client, method: str, upload_id: str
) -> None:
    url = f"/v2/app/blobs/uploads/{upload_id}?digest={digest_of(DATA)}"
    assert client.request(method, url, DATA).outcome == (404, "BLOB_UPLOAD_UNKNOWN")


@pytest.mark.parametrize("method", ["GET", "PATCH", "PUT", "DELETE"])
def test_a_session_of_another_repository_is_unknown_here(
    client: Client, location: str, method: str
) -> None:
    foreign = finish_url(location.replace("/app/", "/other/"), digest_of(DATA))
    assert client.request(method, foreign, OTHER).outcome == (404, "BLOB_UPLOAD_UNKNOWN")
    assert client.get(location)["Range"] == f"0-{HALF - 1}"


FAILURES = [
    (TimeoutError("timed out"), 408, "BLOB_UPLOAD_INVALID"),
    (ConnectionResetError(errno.ECONNRESET, "reset"), 400, "SIZE_INVALID"),
    (OSError(errno.EBADMSG, "bad chunk"), 400, "SIZE_INVALID"),
]


def kept(driver: Driver, method: str) -> int:
    """The bytes of a session after half of DATA came: a container keeps none of a PUT that
    was to be the whole blob, since they went where only all of them are seen."""
    return HALF if method == "PATCH" or isinstance(driver, LocalDriver) else 0


@pytest.mark.parametrize(("failure", "status", "code"), FAILURES)
@pytest.mark.parametrize("method", ["PATCH", "PUT"])
def test_bytes_that_came_before_the_body_failed_are_kept(
    client: Client,
    driver: Driver,
    started: str,
    method: str,
    failure: OSError,
    status: int,
    code: str,
) -> None:
    url = finish_url(started, digest_of(DATA)) if method == "PUT" else started
    body = Pieces([DATA[:100], DATA[100:HALF]], failure)
    assert client.request(method, url, body, chunked=True).outcome == (status, code)
    answer = client.get(url)
    have = kept(driver, method)
    assert answer["Range"] == f"0-{max(0, have - 1)}"
    done = client.put(finish_url(answer["Location"], digest_of(DATA)), DATA[have:])
    assert done.status == 201
    assert_is_stored(client, done["Location"])


@pytest.mark.parametrize(("failure", "status", "code"), FAILURES)
def test_one_post_whose_body_fails_leaves_nothing(
    client: Client, root: Path, failure: OSError, status: int, code: str
) -> None:
    url = f"/v2/app/blobs/uploads/?digest={digest_of(DATA)}"
    answer = client.request("POST", url, Pieces([DATA[:9]], failure), chunked=True)
    assert answer.outcome == (status, code)
    assert [p for p in root.rglob("*") if p.is_file()] == []


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
def test_a_body_shorter_than_announced_is_400_and_kept(
    client: Client, driver: Driver, started: str, method: str
) -> None:
    url = finish_url(started, digest_of(DATA)) if method == "PUT" else started
    headers = {"Content-Length": str(len(DATA))}
    answer = client.request(method, url, Pieces([DATA[:HALF]]), headers)
    assert answer.outcome == (400, "SIZE_INVALID")
    assert client.get(started)["Range"] == f"0-{max(0, kept(driver, method) - 1)}"


def test_nothing_is_read_past_the_announced_length(client: Client, started: str) -> None:
    body = Pieces([DATA, OTHER])
    answer = client.request("PATCH", started, body, {"Content-Length": str(HALF)})
    assert (answer.status, answer["Range"]) == (202, f"0-{HALF - 1}")
    assert body.taken == HALF


@pytest.mark.parametrize("length", ["-1", "x", "+5", "1_0", "5.0", "9" * 400, " 5"])
def test_a_content_length_that_is_no_number_is_400(app: App, length: str) -> None:
    client = Client(app, strict=False)
    answer = client.request("PATCH", client.start(), Pieces([OTHER]), {"Content-Length": length})
    assert answer.status == 400
