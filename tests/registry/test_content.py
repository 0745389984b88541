"""Which keys hold content that never changes, and what tells that it is the right one."""

from __future__ import annotations

import pytest

from fastreg.oci.digest import HEX_LENGTHS, Digest
from fastreg.registry import paths
from fastreg.registry.content import identify

DATA = b"content"
DIGEST = Digest.of(DATA)


@pytest.mark.parametrize("algorithm", HEX_LENGTHS)
def test_content_is_known_by_its_digest(algorithm: str) -> None:
    digest = Digest.of(DATA, algorithm)
    identity = identify(paths.blob_data(digest))
    assert identity is not None
    assert identity.name == f"{algorithm}/{digest.hex[:2]}/{digest.hex}"


@pytest.mark.parametrize("algorithm", HEX_LENGTHS)
def test_content_is_right_or_it_is_not(algorithm: str) -> None:
    identity = identify(paths.blob_data(Digest.of(DATA, algorithm)))
    assert identity is not None
    right, wrong = identity.new_check(), identity.new_check()
    right.update(memoryview(DATA)[:3])
    right.update(memoryview(DATA)[3:])
    wrong.update(memoryview(DATA)[1:])
    assert (right.is_right(), wrong.is_right()) == (True, False)


@pytest.mark.parametrize(
    "key",
    [
        "",
        "data",
        paths.BLOBS,
        paths.layer_link("app", DIGEST),
        paths.revision_link("app", DIGEST),
        paths.upload_data("app", "an-upload"),
        paths.blob_data(DIGEST) + "/data",
        "x/" + paths.blob_data(DIGEST),
        paths.blob_data(DIGEST).replace("/data", "/link"),
        paths.blob_data(DIGEST).replace("sha256", "md5"),
        paths.blob_data(DIGEST).replace(DIGEST.hex, DIGEST.hex[:-1]),
        f"{paths.BLOBS}/sha256/00/{DIGEST.hex}/data",
    ],
)
def test_everything_else_can_change(key: str) -> None:
    assert identify(key) is None
