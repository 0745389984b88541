"""A push whose machine is cut off from the container at any of its requests: what is there
is right, and another machine brings the push to its end."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import pytest

from fastreg.errors import BlobUploadUnknown, RegistryError
from fastreg.oci.digest import Digest
from fastreg.registry import paths
from fastreg.registry.registry import Registry
from fastreg.registry.uploads import Uploads
from fastreg.storage.azure import AzureDriver
from fastreg.storage.errors import StorageError
from tests.azurite import Azurite
from tests.faulty import faults
from tests.faulty.cloud import Cloud, cloud_over
from tests.faulty.faults import Fault
from tests.faulty.seen import Seen
from tests.registry.images import Body

NAME = "library/app"
CONTENT = b"some content"
DIGEST = Digest.of(CONTENT)
MOST_REQUESTS = 40


def cut_off_after(number: int) -> Callable[[Seen], Fault | None]:
    """Lose the answer of the request with that number, and all requests after it."""
    lock, counted = threading.Lock(), [0]

    def choose(seen: Seen) -> Fault | None:
        with lock:
            counted[0] += 1
            if counted[0] < number:
                return None
            return faults.lose(None) if counted[0] == number else faults.reset

    return choose


def go_on(uploads: Uploads, upload_id: str) -> None:
    """End the upload as a client does that heard no answer."""
    try:
        at = uploads.size(upload_id)
    except BlobUploadUnknown:
        at = len(CONTENT)
    uploads.finish(upload_id, Body(CONTENT[at:]), DIGEST, start=None)


def push_cut_off(cloud: Cloud, sent_before: int, number: int) -> bool:
    """Push, cut off at the request `number`, and go on elsewhere; return whether the push had
    that many requests."""
    machine = Registry(AzureDriver(replace(cloud.settings, max_retries=0))).repository(NAME)
    elsewhere = Registry(AzureDriver(cloud.settings)).repository(NAME)
    upload_id = machine.uploads.start()
    machine.uploads.append(upload_id, Body(CONTENT[:sent_before]), start=0)
    before = len(cloud.proxy.seen)
    cloud.proxy.choose(cut_off_after(number))
    with suppress(StorageError, RegistryError):
        machine.uploads.finish(upload_id, Body(CONTENT[sent_before:]), DIGEST, start=sent_before)
    had = len(cloud.proxy.seen) - before
    cloud.proxy.heal()
    if cloud.has(paths.blob_data(DIGEST)):
        assert cloud.read(paths.blob_data(DIGEST)) == CONTENT
    if not elsewhere.blobs.has(DIGEST):
        go_on(elsewhere.uploads, upload_id)
    assert elsewhere.blobs.has(DIGEST)
    assert cloud.read(paths.blob_data(DIGEST)) == CONTENT
    return had >= number


@pytest.mark.parametrize("sent_before", [0, 1, len(CONTENT)])
def test_a_push_that_is_cut_off_anywhere_ends_elsewhere(azurite: Azurite, sent_before: int) -> None:
    for number in range(1, MOST_REQUESTS):
        with cloud_over(azurite) as cloud:
            if not push_cut_off(cloud, sent_before, number):
                break
    assert 8 < number < MOST_REQUESTS - 1
