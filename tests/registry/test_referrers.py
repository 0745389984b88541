"""Referrers: kept by push and delete, and found in what other programs wrote."""

import threading
from typing import Any

import pytest

from fastreg.oci import mediatypes as mt
from fastreg.oci.digest import Digest
from fastreg.oci.manifest import Manifest
from fastreg.registry import paths
from fastreg.registry.registry import Registry
from fastreg.registry.repository import Repository
from fastreg.storage.errors import NoSpace, StorageError
from tests.registry.disk import write_as_reference_registry
from tests.registry.faults import MUTATING, HookedDriver, ignore
from tests.registry.images import (
    CONFIG_TYPE,
    descriptor,
    digest_of,
    image_of,
    index_of,
    push,
    push_blob,
    push_image,
)

NAME = "library/app"
SUBJECT = Digest.of(b"the subject")
EMPTY = Digest.of(b"{}")


def referrer(label: str, artifact_type: str | None = None, **fields: Any) -> Manifest:
    fields.setdefault("subject", descriptor(SUBJECT, mt.OCI_MANIFEST))
    return image_of(
        EMPTY,
        artifactType=artifact_type,
        annotations={"label": label},
        config_type=mt.OCI_EMPTY if artifact_type else CONFIG_TYPE,
        **fields,
    )


def labels(repository: Repository, subject: Digest = SUBJECT, **options: str) -> set[str]:
    return {d["annotations"]["label"] for d in repository.referrers.list(subject, **options)}


@pytest.fixture
def repository(registry: Registry) -> Repository:
    repository = registry.repository(NAME)
    push_blob(repository, b"{}")
    return repository


def in_another_process(driver: HookedDriver) -> Repository:
    return Registry(driver.inner).repository(NAME)


def test_a_subject_that_nothing_refers_to_has_no_referrers(repository: Repository) -> None:
    assert list(repository.referrers.list(SUBJECT)) == []


def test_a_pushed_referrer_is_listed_though_its_subject_is_not_there_yet(
    repository: Repository,
) -> None:
    manifest = referrer("sbom", "application/x.sbom")
    digest = push(repository, manifest)
    assert list(repository.referrers.list(SUBJECT)) == [
        {
            "mediaType": mt.OCI_MANIFEST,
            "digest": str(digest),
            "size": len(manifest.content),
            "artifactType": "application/x.sbom",
            "annotations": {"label": "sbom"},
        }
    ]


def test_a_subject_that_comes_later_has_its_referrers(repository: Repository) -> None:
    subject = image_of(EMPTY)
    push(repository, referrer("early", subject=descriptor(digest_of(subject))))
    push(repository, subject, "v1")
    assert labels(repository, digest_of(subject)) == {"early"}
    repository.manifests.delete(digest_of(subject))
    assert labels(repository, digest_of(subject)) == {"early"}


def test_a_deleted_referrer_is_no_longer_listed(
    repository: Repository, driver: HookedDriver
) -> None:
    push(repository, referrer("stays"))
    digest = push(repository, referrer("goes"))
    repository.manifests.delete(digest)
    assert labels(repository) == {"stays"}
    assert labels(in_another_process(driver)) == {"stays"}


def test_a_referrer_pushed_again_after_its_deletion_is_listed(repository: Repository) -> None:
    digest = push(repository, referrer("back"))
    repository.manifests.delete(digest)
    push(repository, referrer("back"))
    assert labels(repository) == {"back"}


def test_referrers_of_one_repository_are_not_those_of_another(registry: Registry) -> None:
    for name in ("one", "one/two"):
        repository = registry.repository(name)
        push_blob(repository, b"{}")
        push(repository, referrer(name))
    assert labels(registry.repository("one")) == {"one"}
    assert labels(registry.repository("one/two")) == {"one/two"}


def test_only_those_of_an_artifact_type_are_listed_when_it_is_asked_for(
    repository: Repository,
) -> None:
    push(repository, referrer("sbom", "application/x.sbom"))
    push(repository, referrer("signature", "application/x.signature"))
    push(repository, referrer("image"))
    assert labels(repository, artifact_type="application/x.sbom") == {"sbom"}
    assert labels(repository, artifact_type=CONFIG_TYPE) == {"image"}
    assert labels(repository, artifact_type="application/x") == set()
    assert labels(repository) == {"sbom", "signature", "image"}


def test_an_index_without_an_artifact_type_is_listed_but_by_no_type(
    repository: Repository,
) -> None:
    push(repository, index_of(subject=descriptor(SUBJECT)))
    entries = list(repository.referrers.list(SUBJECT))
    assert [e["mediaType"] for e in entries] == [mt.OCI_INDEX]
    assert "artifactType" not in entries[0]
    assert list(repository.referrers.list(SUBJECT, mt.OCI_INDEX)) == []


def test_referrers_are_listed_by_digest_and_go_on_after_any(repository: Repository) -> None:
    pushed = [
        push(repository, referrer(str(n)), algorithm=algorithm)
        for n in range(4)
        for algorithm in ("sha256", "blake3", "sha512")
    ]
    everything = sorted(str(d) for d in pushed)
    assert [e["digest"] for e in repository.referrers.list(SUBJECT)] == everything
    for position, last in enumerate(everything):
        rest = [e["digest"] for e in repository.referrers.list(SUBJECT, after=last)]
        assert rest == everything[position + 1 :]


def test_a_listing_reads_no_more_manifests_than_are_taken_from_it(
    repository: Repository, driver: HookedDriver
) -> None:
    for n in range(6):
        push(repository, referrer(str(n)))
    list(repository.referrers.list(SUBJECT))
    read = []
    driver.before = lambda call, key: read.append(key) if call == "get" else None
    found = repository.referrers.list(SUBJECT)
    next(found)
    assert len([key for key in read if key.startswith(paths.BLOBS)]) == 1


@pytest.mark.parametrize("algorithm", ["sha512", "blake3"])
def test_a_subject_of_another_algorithm_has_referrers(
    repository: Repository, algorithm: str
) -> None:
    subject = Digest.of(b"the subject", algorithm)
    push(repository, referrer("other", subject=descriptor(subject)))
    assert labels(repository, subject) == {"other"}
    assert labels(repository) == set()


def test_what_the_reference_registry_stored_is_found(
    repository: Repository, driver: HookedDriver
) -> None:
    write_as_reference_registry(driver, NAME, referrer("older"), "sbom")
    write_as_reference_registry(driver, NAME, image_of(EMPTY), "no-referrer")
    assert labels(repository) == {"older"}
    assert labels(in_another_process(driver)) == {"older"}


def test_a_directory_that_both_registries_use_in_turn_keeps_every_referrer(
    repository: Repository, driver: HookedDriver
) -> None:
    expected = set()
    for turn in range(3):
        write_as_reference_registry(driver, NAME, referrer(f"reference {turn}"))
        ours = in_another_process(driver)
        push(ours, referrer(f"ours {turn}"))
        expected |= {f"reference {turn}", f"ours {turn}"}
        assert labels(ours) == expected
        assert labels(in_another_process(driver)) == expected


def test_a_referrer_deleted_here_and_pushed_to_the_reference_registry_again_is_found(
    repository: Repository, driver: HookedDriver
) -> None:
    digest = push(repository, referrer("back"))
    assert labels(in_another_process(driver)) == {"back"}
    in_another_process(driver).manifests.delete(digest)
    assert labels(in_another_process(driver)) == set()
    write_as_reference_registry(driver, NAME, referrer("back"))
    assert labels(in_another_process(driver)) == {"back"}


def test_a_referrer_deleted_by_the_reference_registry_is_not_listed(
    repository: Repository, driver: HookedDriver
) -> None:
    digest = push(repository, referrer("gone"))
    assert labels(repository) == {"gone"}
    driver.delete(paths.revision_link(NAME, digest))
    assert labels(repository) == set()
    write_as_reference_registry(driver, NAME, referrer("gone"))
    assert labels(repository) == {"gone"}


def test_a_revision_that_was_damaged_when_it_was_looked_at_is_found_once_it_is_healed(
    repository: Repository, driver: HookedDriver
) -> None:
    digest = write_as_reference_registry(driver, NAME, referrer("healed"))
    driver.put(paths.blob_data(digest), b"")
    assert labels(in_another_process(driver)) == set()
    write_as_reference_registry(driver, NAME, referrer("healed"))
    assert labels(in_another_process(driver)) == {"healed"}


def test_revisions_are_read_once_and_not_by_every_process(
    repository: Repository, driver: HookedDriver
) -> None:
    for n in range(5):
        write_as_reference_registry(driver, NAME, image_of(EMPTY, annotations={"n": str(n)}))
    assert labels(repository) == set()
    read = []
    driver.before = lambda call, key: read.append(key) if call == "get" else None
    assert labels(Registry(driver).repository(NAME)) == set()
    assert [key for key in read if key.startswith(paths.BLOBS)] == []


@pytest.mark.parametrize("record", [b"", b"\xff\0 nonsense", b"sha256:" + b"a" * 64])
def test_a_damaged_record_of_the_scan_loses_no_referrer(
    repository: Repository, driver: HookedDriver, record: bytes
) -> None:
    write_as_reference_registry(driver, NAME, referrer("older"))
    driver.put(paths.referrers_scanned(NAME), record)
    assert labels(repository) == {"older"}


def test_asking_for_repositories_that_do_not_exist_leaves_no_trace(
    registry: Registry, driver: HookedDriver
) -> None:
    for n in range(3):
        assert list(registry.repository(f"guess/{n}").referrers.list(SUBJECT)) == []
    assert list(driver.inner.list("")) == []
    assert not registry._scans.done


def test_what_clients_listed_under_the_fallback_tag_is_merged(
    repository: Repository, driver: HookedDriver
) -> None:
    both = push(repository, referrer("both"))
    assert labels(repository) == {"both"}  # this process does not scan again
    tagged = write_as_reference_registry(driver, NAME, referrer("tag"))
    of_another = push(repository, referrer("of another", subject=descriptor(EMPTY)))
    index = index_of(tagged, both, of_another, Digest.of(b"never pushed"))
    write_as_reference_registry(driver, NAME, index, f"sha256-{SUBJECT.hex}")
    assert labels(repository) == {"both", "tag"}
    listed = [e["digest"] for e in repository.referrers.list(SUBJECT)]
    assert listed == sorted({str(tagged), str(both)})
    repository.manifests.delete(tagged)
    assert labels(repository) == {"both"}


def test_a_fallback_tag_that_is_no_index_adds_nothing(
    repository: Repository, driver: HookedDriver
) -> None:
    push(repository, referrer("real"))
    push_image(repository, "an image", f"sha256-{SUBJECT.hex}")
    assert labels(repository) == {"real"}


@pytest.mark.parametrize("unwritable", ["scanned", "link"])
def test_what_a_scan_found_is_listed_although_it_cannot_be_stored(
    repository: Repository, driver: HookedDriver, unwritable: str
) -> None:
    write_as_reference_registry(driver, NAME, referrer("older"))

    def full(call: str, key: str) -> None:
        if call == "put" and "/_manifests/referrers/" in key and key.endswith(unwritable):
            raise NoSpace(key)

    driver.before = full
    assert labels(repository) == labels(repository) == {"older"}
    driver.before = ignore
    assert labels(in_another_process(driver)) == {"older"}


def test_a_read_only_registry_lists_what_the_reference_registry_stored_and_writes_nothing(
    driver: HookedDriver,
) -> None:
    write_as_reference_registry(driver, NAME, referrer("older"))
    repository = Registry(driver, readonly=True).repository(NAME)
    changes = []
    driver.before = lambda call, key: changes.append(key) if call in MUTATING else None
    assert labels(repository) == {"older"}
    assert changes == []


def test_one_request_scans_and_the_others_wait_for_it(
    registry: Registry, driver: HookedDriver
) -> None:
    for n in range(20):
        write_as_reference_registry(driver, NAME, referrer(f"older {n}"))
    read = []
    driver.before = lambda call, key: read.append(key) if call == "get" else None
    counts = []
    threads = [
        threading.Thread(
            target=lambda: counts.append(len(labels(registry.repository(NAME), EMPTY)))
        )
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert counts == [0] * 8
    assert len([key for key in read if key.startswith(paths.BLOBS)]) == 20


def test_a_manifest_that_cannot_be_read_hides_no_other_referrer(
    repository: Repository, driver: HookedDriver
) -> None:
    write_as_reference_registry(driver, NAME, referrer("older"))
    broken = write_as_reference_registry(driver, NAME, referrer("broken"))

    def fail(call: str, key: str) -> None:
        if call == "get" and key == paths.blob_data(broken):
            raise StorageError(key, "Input/output error")

    driver.before = fail
    assert labels(repository) == {"older"}
    driver.before = ignore
    assert labels(in_another_process(driver)) == {"older", "broken"}
