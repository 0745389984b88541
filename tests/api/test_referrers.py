"""Referrers: distribution-spec, "Listing Referrers" and "Enabling the Referrers API"."""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from fastreg.api.app import App
from fastreg.api.call import Settings
from fastreg.oci.digest import Digest
from fastreg.oci.manifest import Manifest
from fastreg.registry.registry import Registry
from fastreg.storage.local import LocalDriver
from tests.api.client import (
    OCI_CONFIG,
    OCI_INDEX,
    OCI_MANIFEST,
    Client,
    descriptor,
    digest_of,
    encode,
    image,
    index,
)

SUBJECT = image(b"{}", annotations={"the": "subject"})
SUBJECT_DIGEST = digest_of(encode(SUBJECT))
URL = f"/v2/app/referrers/{SUBJECT_DIGEST}"
SBOM, SIGNATURE = "application/vnd.example.sbom", "application/vnd.example.signature"


def referring(n: int = 0, **more: Any) -> dict[str, Any]:
    subject = descriptor(encode(SUBJECT), OCI_MANIFEST)
    return image(b"{}", annotations={"n": str(n)}, subject=subject, **more)


@pytest.fixture
def stocked(client: Client) -> Client:
    client.push_blob(b"{}")
    return client


def listed(client: Client, query: str = "") -> list[str]:
    return [d["digest"] for d in client.get(URL + query).json["manifests"]]


@pytest.mark.parametrize("name", ["app", "nobody/here"])
@pytest.mark.parametrize("algorithm", ["sha256", "sha512", "blake3"])
def test_an_unknown_subject_has_an_empty_list(stocked: Client, name: str, algorithm: str) -> None:
    answer = stocked.get(f"/v2/{name}/referrers/{digest_of(b'?', algorithm)}")
    assert answer.status == 200
    assert answer["Content-Type"] == OCI_INDEX
    assert answer.json == {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}
    assert answer["Link"] == answer["OCI-Filters-Applied"] == ""


@pytest.mark.parametrize("text", ["x", "sha256:abc", "md5:abc", "latest", "sha256:" + "G" * 64])
def test_an_invalid_digest_is_400(client: Client, text: str) -> None:
    assert client.get(f"/v2/app/referrers/{text}").outcome == (400, "DIGEST_INVALID")


@pytest.mark.parametrize("subject_first", [True, False])
def test_a_referrer_is_listed_whenever_its_subject_comes(
    stocked: Client, subject_first: bool
) -> None:
    documents = [SUBJECT, referring()]
    for document in documents if subject_first else reversed(documents):
        stocked.push_manifest(document)
    assert listed(stocked) == [digest_of(encode(referring()))]


def test_a_descriptor_tells_type_size_artifact_type_and_annotations(stocked: Client) -> None:
    content = encode(referring(artifactType=SBOM))
    stocked.push_manifest(content)
    assert stocked.get(URL).json["manifests"] == [
        {
            "mediaType": OCI_MANIFEST,
            "digest": digest_of(content),
            "size": len(content),
            "artifactType": SBOM,
            "annotations": {"n": "0"},
        }
    ]


def test_an_image_without_artifact_type_has_that_of_its_config(stocked: Client) -> None:
    stocked.push_manifest(referring())
    (entry,) = stocked.get(URL).json["manifests"]
    assert entry["artifactType"] == OCI_CONFIG


@pytest.mark.parametrize("more", [{}, {"artifactType": SBOM}])
def test_an_index_tells_an_artifact_type_only_where_it_has_one(
    stocked: Client, more: dict[str, str]
) -> None:
    subject = descriptor(encode(SUBJECT), OCI_MANIFEST)
    stocked.push_manifest(index(subject=subject, **more))
    (entry,) = stocked.get(URL).json["manifests"]
    assert entry["mediaType"] == OCI_INDEX
    assert entry.get("artifactType") == more.get("artifactType")
    assert "annotations" not in entry


def test_the_filter_is_applied_and_said_to_be(stocked: Client) -> None:
    digests = {t: stocked.push_manifest(referring(artifactType=t)) for t in (SBOM, SIGNATURE)}
    for artifact_type in (SBOM, SIGNATURE):
        answer = stocked.get(f"{URL}?artifactType={artifact_type}")
        assert answer["OCI-Filters-Applied"] == "artifactType"
        assert [d["digest"] for d in answer.json["manifests"]] == [digests[artifact_type]]
    assert sorted(listed(stocked)) == sorted(digests.values())


def test_a_filter_that_nothing_matches_gives_an_empty_list(stocked: Client) -> None:
    stocked.push_manifest(referring())
    answer = stocked.get(f"{URL}?artifactType=application/none")
    assert (answer.status, answer.json["manifests"]) == (200, [])
    assert answer["OCI-Filters-Applied"] == "artifactType"


@pytest.mark.parametrize("query", ["", f"&artifactType={SBOM}"])
@pytest.mark.parametrize("n", [1, 3, 7, 8])
def test_following_the_links_gives_the_whole_list(stocked: Client, n: int, query: str) -> None:
    digests = {stocked.push_manifest(referring(i, artifactType=SBOM)) for i in range(7)}
    stocked.push_manifest(referring(artifactType=SIGNATURE))
    pages = stocked.pages(f"{URL}?n={n}{query}", "manifests")
    found = [d["digest"] for d in chain(*pages) if d["artifactType"] == SBOM]
    assert found == sorted(digests)
    assert max(map(len, pages)) <= n
    assert len(list(chain(*pages))) == (7 if query else 8)


def test_a_page_stays_below_what_clients_take(stocked: Client) -> None:
    annotations = {"long": "a" * (1 << 20)}
    subject = descriptor(encode(SUBJECT), OCI_MANIFEST)
    for i in range(5):
        document = image(b"{}", subject=subject, annotations={**annotations, "n": str(i)})
        stocked.push_manifest(document)
    assert len(stocked.get(URL).body) < 4 << 20
    assert len(list(chain(*stocked.pages(URL, "manifests")))) == 5


def test_a_page_reads_no_more_referrers_than_it_holds(
    stocked: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject = descriptor(encode(SUBJECT), OCI_MANIFEST)
    for i in range(8):
        document = image(b"{}", subject=subject, annotations={"long": str(i) * (1 << 20)})
        stocked.push_manifest(document)
    stocked.get(URL)
    told = []
    tell = Manifest.referrer_descriptor

    def watch(manifest: Manifest, digest: Digest) -> dict[str, Any]:
        told.append(digest)
        return tell(manifest, digest)

    monkeypatch.setattr(Manifest, "referrer_descriptor", watch)
    assert len(stocked.get(URL).json["manifests"]) == 2
    assert len(told) == 3


def test_n_of_zero_is_an_empty_list(stocked: Client) -> None:
    stocked.push_manifest(referring())
    answer = stocked.get(f"{URL}?n=0")
    assert (answer.json["manifests"], answer["Link"]) == ([], "")


@pytest.mark.parametrize("n", ["-1", "x", ""])
def test_a_bad_n_is_400(client: Client, n: str) -> None:
    assert client.get(f"{URL}?n={n}").outcome == (400, "PAGINATION_NUMBER_INVALID")


@pytest.mark.parametrize("last", ["x", "sha256:", "~", "%00"])
def test_any_last_is_a_place_in_the_list(stocked: Client, last: str) -> None:
    digest = stocked.push_manifest(referring())
    assert listed(stocked, f"?last={last}") == [
        d for d in [digest] if d > last.replace("%00", "\0")
    ]


def test_a_deleted_referrer_is_listed_no_more(stocked: Client) -> None:
    gone, kept = (stocked.push_manifest(referring(n)) for n in range(2))
    stocked.delete(f"/v2/app/manifests/{gone}")
    assert listed(stocked) == [kept]


def test_referrers_outlive_their_subject(stocked: Client) -> None:
    stocked.push_manifest(SUBJECT)
    digest = stocked.push_manifest(referring())
    stocked.delete(f"/v2/app/manifests/{SUBJECT_DIGEST}")
    assert listed(stocked) == [digest]


def test_referrers_are_those_of_the_same_repository(stocked: Client) -> None:
    stocked.push_manifest(referring())
    assert stocked.get(URL.replace("/app/", "/other/")).json["manifests"] == []


def test_an_untagged_referrer_is_no_tag(stocked: Client) -> None:
    stocked.push_manifest(referring())
    assert stocked.get("/v2/app/tags/list").json["tags"] == []


def reopened(root: Path) -> Client:
    """Another process on the same data."""
    return Client(App(Registry(LocalDriver(root)), Settings()))


def test_what_an_older_registry_stored_is_listed(stocked: Client, root: Path) -> None:
    digest = stocked.push_manifest(referring())
    links = root.rglob("_manifests/referrers/**/link")
    for link in list(links):
        link.unlink()
    assert listed(reopened(root)) == [digest]


def fallback(*documents: dict[str, Any]) -> tuple[dict[str, Any], str]:
    return index(*documents), SUBJECT_DIGEST.replace(":", "-")


def test_what_the_fallback_tag_lists_is_listed_once(stocked: Client) -> None:
    digest = stocked.push_manifest(referring())
    stocked.push_manifest(*fallback(referring()))
    assert listed(stocked) == [digest]


def test_a_fallback_tag_that_is_no_index_lists_nothing(stocked: Client) -> None:
    stocked.push_manifest(image(b"{}"), SUBJECT_DIGEST.replace(":", "-"))
    assert listed(stocked) == []
