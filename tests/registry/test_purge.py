"""Abandoned uploads go by age; a live one never, and an odd one stops nothing."""

import os
import time
from pathlib import Path

import pytest

from fastreg.registry import paths
from fastreg.registry.purge import purge_uploads
from fastreg.registry.registry import Registry
from fastreg.registry.repository import Repository
from fastreg.storage.azure import AzureDriver
from fastreg.storage.errors import StorageError
from tests.azurite import Azurite
from tests.registry.faults import HookedDriver, ignore
from tests.registry.images import Body, push_blob, read_blob

NAME = "library/app"
HOUR = 3600.0
LATER = 100 * HOUR


def start(repository: Repository, content: bytes = b"some bytes") -> str:
    upload_id = repository.uploads.start()
    repository.uploads.append(upload_id, Body(content), start=0)
    return upload_id


def purge(registry: Registry, *, after: float = LATER, dry_run: bool = False) -> int:
    """Purge what nothing moved on for an hour, as seen `after` seconds from now."""
    return purge_uploads(registry.store, HOUR, now=time.time() + after, dry_run=dry_run)


def age(root: Path, upload_id: str, key: str, seconds: float) -> None:
    moment = time.time() - seconds
    os.utime(root / paths.upload(NAME, upload_id) / key, (moment, moment))


def sessions(driver: HookedDriver, name: str = NAME) -> list[str]:
    return list(driver.inner.list(paths.uploads(name)))


def test_a_session_is_purged_once_it_is_old_and_not_before(
    registry: Registry, repository: Repository, driver: HookedDriver
) -> None:
    upload_id = start(repository)
    assert purge(registry, after=HOUR - 60) == 0
    assert sessions(driver) == [upload_id]
    assert purge(registry, after=HOUR + 60) == 1
    assert list(driver.inner.list("")) == []
    assert purge(registry) == 0


def test_a_session_whose_bytes_are_fresh_is_kept_however_long_ago_it_began(
    registry: Registry, repository: Repository, driver: HookedDriver, root: Path
) -> None:
    upload_id = start(repository)
    driver.put(paths.upload_started_at(NAME, upload_id), b"2001-01-01T00:00:00Z")
    age(root, upload_id, "startedat", LATER)
    assert purge(registry, after=0) == 0
    age(root, upload_id, "data", LATER)
    assert purge(registry, after=0) == 1


def test_a_dry_run_counts_and_deletes_nothing(
    registry: Registry, repository: Repository, driver: HookedDriver
) -> None:
    ids = sorted(start(repository) for _ in range(3))
    assert purge(registry, dry_run=True) == 3
    assert sessions(driver) == ids
    assert [repository.uploads.size(upload_id) for upload_id in ids] == [10, 10, 10]


def test_sessions_of_nested_repositories_are_purged_and_their_blobs_stay(
    registry: Registry, driver: HookedDriver
) -> None:
    names = ["a", "a/b", "a/b/c", "a-b", "a/b-c"]
    for name in names:
        start(registry.repository(name))
    digest = push_blob(registry.repository("a/b"), b"finished")
    assert purge(registry) == len(names)
    assert all(sessions(driver, name) == [] for name in names)
    assert read_blob(registry.repository("a/b"), digest) == b"finished"


def test_a_session_that_is_being_written_to_is_never_purged(
    registry: Registry, repository: Repository
) -> None:
    upload_id = start(repository)
    purged = []

    class Slow(Body):
        def read(self, max_bytes: int) -> bytes:
            purged.append(purge(Registry(registry.store.driver)))
            return super().read(max_bytes)

    assert repository.uploads.append(upload_id, Slow(b" and more"), start=10) == 19
    assert set(purged) == {0}
    assert repository.uploads.size(upload_id) == 19


def test_a_session_that_moves_just_before_its_deletion_is_kept(
    registry: Registry, repository: Repository, driver: HookedDriver, root: Path
) -> None:
    upload_id = start(repository)
    for key in ("startedat", "data"):
        age(root, upload_id, key, LATER)
    driver.put(paths.upload_started_at(NAME, upload_id), b"2001-01-01T00:00:00Z")
    age(root, upload_id, "startedat", LATER)

    def move(call: str, key: str) -> None:
        if call == "open writer":
            driver.before = ignore
            repository.uploads.append(upload_id, Body(b"!"), start=10)

    driver.before = move
    assert purge(registry, after=0) == 0
    assert repository.uploads.size(upload_id) == 11


@pytest.mark.parametrize(
    "text", [b"", b"yesterday", b"\xff\xfe", b"2024-13-45T00:00:00Z", b"x" * 5000, b"\0" * 20]
)
def test_a_session_whose_start_is_no_time_goes_by_the_age_of_its_files(
    registry: Registry, repository: Repository, driver: HookedDriver, text: bytes
) -> None:
    upload_id = start(repository)
    driver.put(paths.upload_started_at(NAME, upload_id), text)
    assert purge(registry, after=HOUR - 60) == 0
    assert purge(registry, after=HOUR + 60) == 1
    assert sessions(driver) == []


@pytest.mark.parametrize("missing", ["startedat", "data"])
def test_what_is_left_of_a_session_is_purged_by_its_age(
    registry: Registry, repository: Repository, driver: HookedDriver, missing: str
) -> None:
    upload_id = start(repository)
    driver.delete(f"{paths.upload(NAME, upload_id)}/{missing}")
    assert purge(registry, after=HOUR - 60) == 0
    assert purge(registry, after=HOUR + 60) == 1
    assert sessions(driver) == []


def test_a_session_with_files_of_another_program_is_purged_whole(
    registry: Registry, repository: Repository, driver: HookedDriver
) -> None:
    upload_id = start(repository)
    for odd in ("odd", "hashstates/sha1/7", "hashstates/sha256/odd", "deep/er/file"):
        driver.put(f"{paths.upload(NAME, upload_id)}/{odd}", b"x")
    assert purge(registry) == 1
    assert sessions(driver) == []


def test_a_directory_that_is_no_session_is_left_alone_and_stops_nothing(
    registry: Registry, repository: Repository, driver: HookedDriver
) -> None:
    for odd in ("0-not-a-uuid/data", "zzz/startedat", "file"):
        driver.put(f"{paths.uploads(NAME)}/{odd}", b"x")
    start(repository)
    assert purge(registry) == 1
    assert sessions(driver) == ["0-not-a-uuid", "file", "zzz"]


@pytest.mark.parametrize("failing", ["list", "stat", "open writer", "delete", "abort"])
def test_a_session_that_cannot_be_purged_does_not_stop_the_others(
    registry: Registry, driver: HookedDriver, failing: str
) -> None:
    names = ["a", "b", "c"]
    for name in names:
        start(registry.repository(name))

    def fail(call: str, key: str) -> None:
        if call == failing and key.startswith(paths.uploads("b")):
            raise StorageError(key, "the disk says no")

    driver.before = fail
    assert purge(registry) == 2
    driver.before = ignore
    assert [bool(sessions(driver, name)) for name in names] == [False, True, False]
    purge(registry)
    assert list(driver.inner.list("")) == []


def test_what_was_never_written_to_is_purged_by_its_age_and_not_while_it_comes_or_goes(
    registry: Registry, repository: Repository, driver: HookedDriver, root: Path
) -> None:
    upload_id = start(repository)
    listed = []

    def finish(call: str, key: str) -> None:
        # The client ends the session between its listing and the look at its files.
        if call == "stat" and key == paths.upload_started_at(NAME, upload_id) and not listed:
            listed.append(key)
            repository.uploads.cancel(upload_id)

    driver.before = finish
    assert purge(registry, after=10 * HOUR) == 0
    assert listed


def test_a_session_in_a_container_is_purged_once_it_is_old(azurite: Azurite) -> None:
    registry = Registry(AzureDriver(azurite.new_container()))
    repository = registry.repository(NAME)
    blob = push_blob(repository, b"content")
    start(repository)
    assert purge(registry, after=HOUR - 60) == 0
    assert purge(registry, after=HOUR + 60) == 1
    assert list(registry.store.driver.list(paths.uploads(NAME))) == []
    assert read_blob(repository, blob) == b"content"
