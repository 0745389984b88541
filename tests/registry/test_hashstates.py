"""Hash states: they save reading bytes again, and can never make a digest wrong."""

import pytest

from fastreg.fastlane import Sha256
from fastreg.oci.digest import Digest
from fastreg.registry import paths, session
from fastreg.registry.repository import Repository
from fastreg.storage.errors import NoSpace
from tests.registry.faults import HookedDriver, ignore
from tests.registry.images import Body, read_blob

NAME = "library/app"
CONTENT = bytes(range(256)) * 40
DIGEST = Digest.of(CONTENT)


def states_of(driver: HookedDriver, upload_id: str, algorithm: str = "sha256") -> list[str]:
    return list(driver.inner.list(f"{paths.hash_states(NAME, upload_id)}/{algorithm}"))


def test_a_running_digest_goes_on_without_reading_the_bytes_again(
    repository: Repository, driver: HookedDriver
) -> None:
    upload_id = repository.uploads.start()
    repository.uploads.append(upload_id, Body(CONTENT[:100]), start=0)
    assert states_of(driver, upload_id) == ["0", "100"]

    def refuse_reading(call: str, key: str) -> None:
        assert (call, key) != ("open", paths.upload_data(NAME, upload_id))

    driver.before = refuse_reading
    repository.uploads.append(upload_id, Body(CONTENT[100:300]), start=100)
    assert states_of(driver, upload_id) == ["100", "300"]
    repository.uploads.finish(upload_id, Body(CONTENT[300:]), DIGEST, start=300)
    assert repository.blobs.find(DIGEST).size == len(CONTENT)


def test_the_state_is_saved_on_the_way_so_that_a_kill_leaves_little_to_hash(
    repository: Repository, driver: HookedDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "CHECKPOINT_BYTES", 1000)
    upload_id = repository.uploads.start()
    saved = []

    def watch(call: str, key: str) -> None:
        if call == "put" and "/hashstates/" in key:
            saved.append(int(key.rpartition("/")[2]))

    driver.after = watch
    pieces = [CONTENT[at : at + 600] for at in range(0, 4200, 600)]
    repository.uploads.append(upload_id, Body(*pieces), start=0)
    assert saved == [1200, 2400, 3600, 4200]
    assert states_of(driver, upload_id) == ["3600", "4200"]
    repository.uploads.finish(upload_id, Body(CONTENT[4200:]), DIGEST, start=4200)
    assert read_blob(repository, DIGEST) == CONTENT


def state_of(content: bytes) -> bytes:
    hasher = Sha256()
    hasher.update(content)
    return hasher.export_state()


@pytest.mark.parametrize(
    ("offset", "state"),
    [
        ("100", b""),
        ("100", b"\0" * 108),
        ("100", state_of(CONTENT[:100])[:-1]),
        ("100", state_of(CONTENT[:100]) + b"\0"),
        ("100", state_of(CONTENT[:99])),
        ("100", state_of(b"y" * 100)),
        ("100", state_of(b"")),
        ("100", b"x" * 5000),
        ("0", state_of(CONTENT[:100])),
        ("7", b"sha\x03"),
        ("0100", b""),
        ("999999", state_of(CONTENT)),
        ("9" * 200, b""),
        ("later", b"not a number"),
    ],
)
@pytest.mark.parametrize("final", ["sha256", "blake3"])
def test_a_state_that_is_not_of_the_bytes_never_makes_a_wrong_digest(
    repository: Repository, driver: HookedDriver, offset: str, state: bytes, final: str
) -> None:
    upload_id = repository.uploads.start()
    repository.uploads.append(upload_id, Body(CONTENT[:100]), start=0)
    driver.put(f"{paths.hash_states(NAME, upload_id)}/sha256/{offset}", state)
    driver.put(f"{paths.hash_states(NAME, upload_id)}/blake3/100", state)
    repository.uploads.append(upload_id, Body(CONTENT[100:200]), start=100)
    digest = Digest.of(CONTENT, final)
    repository.uploads.finish(upload_id, Body(CONTENT[200:]), digest, start=200)
    assert read_blob(repository, digest) == CONTENT
    assert list(driver.inner.list(paths.uploads(NAME))) == []


def test_missing_states_only_cost_reading_the_bytes_again(
    repository: Repository, driver: HookedDriver
) -> None:
    upload_id = repository.uploads.start()
    repository.uploads.append(upload_id, Body(CONTENT[:100]), start=0)
    driver.delete(f"{paths.hash_states(NAME, upload_id)}/sha256/100")
    repository.uploads.finish(upload_id, Body(CONTENT[100:]), DIGEST, start=100)
    assert read_blob(repository, DIGEST) == CONTENT


@pytest.mark.parametrize("final", ["sha256", "sha512"])
def test_a_state_of_bytes_that_were_lost_is_not_believed_once_others_took_their_place(
    repository: Repository, driver: HookedDriver, final: str
) -> None:
    upload_id = repository.uploads.start(final)
    repository.uploads.append(upload_id, Body(b"lost" * 100), start=0)
    driver.put(paths.upload_data(NAME, upload_id), b"")  # a power cut, or a failed fsync

    def never_saved(call: str, key: str) -> None:
        if call == "put" and "/hashstates/" in key:
            raise NoSpace(key)

    driver.before = never_saved
    repository.uploads.append(upload_id, Body(CONTENT[:600]), start=0)
    driver.before = ignore
    digest = Digest.of(CONTENT, final)
    repository.uploads.finish(upload_id, Body(CONTENT[600:]), digest, start=600)
    assert read_blob(repository, digest) == CONTENT


def test_a_session_without_room_for_states_still_ends_well(
    repository: Repository, driver: HookedDriver
) -> None:
    def no_states(call: str, key: str) -> None:
        if call in ("put", "delete") and "/hashstates/" in key:
            raise NoSpace(key)

    driver.before = no_states
    upload_id = repository.uploads.start()
    repository.uploads.append(upload_id, Body(CONTENT[:100]), start=0)
    repository.uploads.finish(upload_id, Body(CONTENT[100:]), DIGEST, start=100)
    assert read_blob(repository, DIGEST) == CONTENT


def test_a_full_disk_leaves_the_state_that_was_stored_before(
    repository: Repository, driver: HookedDriver
) -> None:
    upload_id = repository.uploads.start()
    repository.uploads.append(upload_id, Body(CONTENT[:100]), start=0)

    def full(call: str, key: str) -> None:
        if call == "put" and "/hashstates/" in key:
            raise NoSpace(key)

    driver.before = full
    repository.uploads.append(upload_id, Body(CONTENT[100:200]), start=100)
    assert states_of(driver, upload_id) == ["100"]
    driver.before = ignore
    repository.uploads.append(upload_id, Body(CONTENT[200:300]), start=200)
    assert states_of(driver, upload_id) == ["100", "300"]
    repository.uploads.finish(upload_id, Body(CONTENT[300:]), DIGEST, start=300)
    assert read_blob(repository, DIGEST) == CONTENT
