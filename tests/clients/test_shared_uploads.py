"""An upload begun on one registry ends on another one over the same data directory.

The reference registry carries an upload's state in the `_state` of its Location, signed with
`http.secret`; whoever takes an upload there signs one (distribution, handlers/hmac.go).
"""

import base64
import hashlib
import hmac
import json
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest

from tests.clients.images import digest_of, noise
from tests.clients.processes import need
from tests.clients.registries import (
    REFERENCE,
    SECRET,
    UNDER_TEST,
    Answer,
    Registry,
    StartRegistry,
    upload_target,
    with_digest,
)

pytestmark = pytest.mark.clients

NAME = "half/done"
# Odd sizes, so that a hash state holds a part of a block.
CONTENT = noise("an upload in parts", 3_000_017)
FIRST, SECOND = 1_000_003, 2_100_001

either_way = pytest.mark.parametrize(
    ("begins", "ends"), [(REFERENCE, UNDER_TEST), (UNDER_TEST, REFERENCE)], ids=["from", "to"]
)


@pytest.fixture(autouse=True)
def _reference() -> None:
    need("docker-registry", "docker-registry")


def begin(registry: Registry, *ends: int) -> Answer:
    """Start an upload of CONTENT and send it up to each of `ends`, a PATCH each."""
    answer = registry.request("POST", f"/v2/{NAME}/blobs/uploads/").expect(202)
    start = 0
    for end in ends:
        answer = send_part(registry, upload_target(answer), start, end)
        start = end
    return answer


def send_part(registry: Registry, target: str, start: int, end: int) -> Answer:
    answer = registry.request(
        "PATCH",
        target,
        CONTENT[start:end],
        Content_Type="application/octet-stream",
        Content_Range=f"{start}-{end - 1}",
    ).expect(202)
    assert answer.headers["range"] == f"0-{end - 1}"
    return answer


def session_id(answer: Answer) -> str:
    return urlsplit(upload_target(answer)).path.rpartition("/")[2]


def upload_directory(registry: Registry, upload: str) -> Path:
    return registry.root / "docker/registry/v2/repositories" / NAME / "_uploads" / upload


def target_on(registry: Registry, upload: str, offset: int) -> str:
    """Where the upload goes on, for a client that comes to this registry with it."""
    target = f"/v2/{NAME}/blobs/uploads/{upload}"
    if registry.kind != REFERENCE:
        return target
    started_at = (upload_directory(registry, upload) / "startedat").read_text()
    fields = {"Name": NAME, "UUID": upload, "Offset": offset, "StartedAt": started_at}
    state = json.dumps(fields).encode()
    signature = hmac.digest(SECRET.encode(), state, "sha256")
    return f"{target}?_state={quote(base64.urlsafe_b64encode(signature + state).decode())}"


def assert_stored(registry: Registry) -> None:
    digest = digest_of(CONTENT)
    assert registry.blob(NAME, digest).expect(200).body == CONTENT


def finish(registry: Registry, target: str, start: int) -> None:
    digest = digest_of(CONTENT)
    answer = registry.request("PUT", with_digest(target, digest), CONTENT[start:]).expect(201)
    assert answer.headers["docker-content-digest"] == digest


@either_way
def test_a_client_that_follows_its_location_goes_on_in_the_other_registry(
    start: StartRegistry, begins: str, ends: str
) -> None:
    first = start(begins)
    answer = send_part(first, upload_target(begin(first, FIRST)), FIRST, SECOND)
    first.stop()
    second = start(ends)
    finish(second, upload_target(answer), SECOND)
    assert_stored(second)


@either_way
def test_an_upload_goes_on_after_the_registry_is_replaced(
    start: StartRegistry, begins: str, ends: str
) -> None:
    first = start(begins)
    upload = session_id(begin(first, FIRST))
    first.stop()
    second = start(ends)
    answer = send_part(second, target_on(second, upload, FIRST), FIRST, SECOND)
    finish(second, upload_target(answer), SECOND)
    assert_stored(second)
    assert not upload_directory(second, upload).exists()


@either_way
def test_an_upload_is_finished_by_a_put_with_the_rest(
    start: StartRegistry, begins: str, ends: str
) -> None:
    first, second = start(begins), start(ends)
    upload = session_id(begin(first, FIRST, SECOND))
    finish(second, target_on(second, upload, SECOND), SECOND)
    assert_stored(first)


@either_way
def test_an_upload_is_finished_by_a_put_with_nothing(
    start: StartRegistry, begins: str, ends: str
) -> None:
    first, second = start(begins), start(ends)
    upload = session_id(begin(first, FIRST, len(CONTENT)))
    finish(second, target_on(second, upload, len(CONTENT)), len(CONTENT))
    assert_stored(first)


@either_way
def test_an_upload_without_a_byte_is_taken_over(
    start: StartRegistry, begins: str, ends: str
) -> None:
    first, second = start(begins), start(ends)
    upload = session_id(begin(first))
    finish(second, target_on(second, upload, 0), 0)
    assert_stored(first)


def test_an_upload_changes_registries_twice(start: StartRegistry) -> None:
    ours, reference = start(UNDER_TEST), start(REFERENCE)
    upload = session_id(begin(ours, FIRST))
    send_part(reference, target_on(reference, upload, FIRST), FIRST, SECOND)
    finish(ours, target_on(ours, upload, SECOND), SECOND)
    assert_stored(reference)


def test_the_status_of_an_upload_begun_on_the_reference_registry(start: StartRegistry) -> None:
    reference, ours = start(REFERENCE), start(UNDER_TEST)
    upload = session_id(begin(reference, FIRST))
    answer = ours.request("GET", target_on(ours, upload, FIRST)).expect(204)
    assert answer.headers["range"] == f"0-{FIRST - 1}"


def test_the_location_of_the_reference_registry_works_as_it_is(start: StartRegistry) -> None:
    reference, ours = start(REFERENCE), start(UNDER_TEST)
    answer = begin(reference, FIRST)
    finish(ours, upload_target(answer), FIRST)
    assert_stored(reference)


def test_a_wrong_digest_is_refused_for_an_upload_begun_elsewhere(start: StartRegistry) -> None:
    reference, ours = start(REFERENCE), start(UNDER_TEST)
    upload = session_id(begin(reference, FIRST))
    wrong = digest_of(b"something else")
    target = with_digest(target_on(ours, upload, FIRST), wrong)
    refused = ours.request("PUT", target, CONTENT[FIRST:]).expect(400)
    assert refused.json()["errors"][0]["code"] == "DIGEST_INVALID"
    ours.blob(NAME, wrong).expect(404)


def test_hash_states_are_the_same_bytes_as_the_reference_registry_writes(
    start: StartRegistry,
) -> None:
    states = []
    for registry in (start(REFERENCE), start(UNDER_TEST)):
        directory = upload_directory(registry, session_id(begin(registry, FIRST)))
        states.append((directory / f"hashstates/sha256/{FIRST}").read_bytes())
    theirs, ours = states
    assert ours == theirs
    assert len(ours) == len(hashlib.sha256().digest()) + 4 + 64 + 8
