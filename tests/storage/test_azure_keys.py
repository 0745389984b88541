"""The names of blobs are those of the reference registry, of either version; so are the types
of blobs that it left."""

from dataclasses import replace

import pytest
from azure.storage.blob import BlobType, ContainerClient

from fastreg.storage.azure import AzureDriver
from fastreg.storage.base import ABSENT, Driver
from fastreg.storage.errors import Conflict, StorageError
from tests.faulty import faults
from tests.faulty.cloud import Cloud
from tests.faulty.proxy import FaultProxy

LINK = "docker/registry/v2/repositories/app/_manifests/tags/latest/current/link"


def names(container: ContainerClient) -> list[str]:
    return [str(name) for name in container.list_blob_names()]


@pytest.mark.parametrize(
    ("root_directory", "name"),
    [
        ("", LINK),
        ("/", LINK),
        ("registry", f"registry/{LINK}"),
        ("/registry/", f"registry/{LINK}"),
        ("a/b//", f"a/b/{LINK}"),
    ],
)
def test_a_key_is_named_below_the_root_directory(
    cloud: Cloud, container: ContainerClient, root_directory: str, name: str
) -> None:
    driver = AzureDriver(replace(cloud.settings, root_directory=root_directory))
    driver.put(LINK, b"x")
    assert names(container) == [name]
    assert list(driver.list("")) == ["docker"]
    assert driver.get(LINK, 1) == b"x"


def test_a_root_directory_sees_nothing_beside_it(cloud: Cloud) -> None:
    one = AzureDriver(replace(cloud.settings, root_directory="one"))
    two = AzureDriver(replace(cloud.settings, root_directory="one-two"))
    one.put("docker/a", b"1")
    two.put("docker/b", b"2")
    assert list(one.list("docker")) == ["a"]
    assert list(two.list("docker")) == ["b"]


def test_a_container_of_version_2_goes_on_with_its_names(
    azure: Driver, container: ContainerClient
) -> None:
    container.upload_blob(f"/{LINK}", b"sha256:0")
    assert azure.get(LINK, 100) == b"sha256:0"
    azure.put("docker/registry/v2/other", b"x")
    assert names(container) == ["/docker/registry/v2/other", f"/{LINK}"]
    assert list(azure.list("docker/registry/v2")) == ["other", "repositories"]
    assert azure.open(LINK).read(100) == b"sha256:0"


def test_names_of_version_3_come_before_those_of_version_2(
    azure: Driver, container: ContainerClient
) -> None:
    container.upload_blob(f"/{LINK}", b"old")
    container.upload_blob(LINK, b"new")
    assert azure.get(LINK, 100) == b"new"


def test_where_names_begin_is_asked_again_after_a_failure(
    azure: Driver, container: ContainerClient, proxy: FaultProxy
) -> None:
    container.upload_blob(f"/{LINK}", b"x")
    proxy.inject("list", faults.refuse(503), times=7)
    with pytest.raises(StorageError):
        azure.get(LINK, 1)
    assert azure.get(LINK, 1) == b"x"


@pytest.fixture
def appended(container: ContainerClient) -> str:
    """An object as the reference registry uploads it."""
    blob = container.get_blob_client("a/b")
    blob.create_append_blob()
    blob.append_block(b"01234")
    blob.append_block(b"56789")
    return "a/b"


def test_an_append_blob_is_read_as_any(azure: Driver, appended: str) -> None:
    assert azure.stat(appended).size == 10
    assert azure.get(appended, 10) == b"0123456789"
    with azure.open(appended, 3, 4) as reader:
        assert reader.read(100) == b"3456"
    assert list(azure.list("a")) == ["b"]


def is_block_blob(container: ContainerClient, name: str) -> bool:
    return container.get_blob_client(name).get_blob_properties().blob_type == BlobType.BLOCKBLOB


def test_an_append_blob_is_replaced(
    azure: Driver, appended: str, proxy: FaultProxy, container: ContainerClient
) -> None:
    proxy.inject("put", faults.refuse(409, "InvalidBlobType"))
    azure.put(appended, b"new")
    assert azure.get(appended, 10) == b"new"
    assert is_block_blob(container, appended)


def test_an_append_blob_is_replaced_only_if_it_is_the_expected_one(
    azure: Driver, appended: str, proxy: FaultProxy, container: ContainerClient
) -> None:
    proxy.inject("put", faults.refuse(409, "InvalidBlobType"), times=3)
    with pytest.raises(Conflict):
        azure.put(appended, b"new", if_version=ABSENT)
    with pytest.raises(Conflict):
        azure.put(appended, b"new", if_version='"0x1"')
    assert azure.get(appended, 10) == b"0123456789"
    azure.put(appended, b"new", if_version=azure.stat(appended).version)
    assert azure.get(appended, 10) == b"new"


def test_an_object_with_snapshots_is_deleted(azure: Driver, container: ContainerClient) -> None:
    azure.put("a", b"x")
    container.get_blob_client("a").create_snapshot()
    azure.delete("a")
    assert names(container) == []
