"""The images that registries are loaded with: their shape, their bytes, and that they unpack."""

import gzip
import hashlib
import io
import json
import tarfile
import tracemalloc
from itertools import pairwise

import pytest

from loadtests.images import NAMES, Blob, Image, Manifest, catalog, image_with
from loadtests.images.layers import layer_of, make_layer

SMALL = 0.001
LAYERS = {"ubuntu": 1, "centos": 1, "mysql": 11, "redis": 6, "busybox": 1, "node": 5, "herd": 6}
BYTES = {
    "ubuntu": {"linux/amd64": 30_428_708, "linux/arm64": 28_384_475},
    "centos": {"linux/amd64": 76_097_157, "linux/arm64": 108_374_945},
    "mysql": {"linux/amd64": 151_990_282, "linux/arm64": 150_859_798},
    "redis": {"linux/amd64": 42_386_971, "linux/arm64": 40_980_393},
    "busybox": {"linux/amd64": 2_592_863, "linux/arm64": 2_001_136},
    "node": {"linux/amd64": 79_660_745, "linux/arm64": 78_446_818},
    "herd": {"linux/amd64": 120_000_000, "linux/arm64": 120_000_000},
}
"""The totals that docker-library/repo-info gives for these images."""


def content(blob: Blob) -> bytes:
    return b"".join(blob.chunks())


def sha256(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def layers(image: Image, platform: str = "linux/amd64") -> tuple[Blob, ...]:
    return image.platforms[platform].blobs[1:]


def one(name: str, scale: float = SMALL) -> Image:
    return catalog(scale, [name])[0]


def test_the_catalogue_has_six_real_images_and_the_herds() -> None:
    images = catalog(SMALL)
    assert [image.name for image in images] == list(NAMES)
    assert {image.name: len(layers(image)) for image in images} == LAYERS
    assert {tuple(image.platforms) for image in images} == {("linux/amd64", "linux/arm64")}


@pytest.mark.parametrize("name", NAMES)
def test_layers_have_the_sizes_of_the_real_ones(name: str) -> None:
    scale = 0.03
    image = one(name, scale)
    sizes = {
        platform: sum(blob.size for blob in manifest.blobs[1:])
        for platform, manifest in image.platforms.items()
    }
    least = 2_700 * LAYERS[name]
    for platform, real in BYTES[name].items():
        assert sizes[platform] == pytest.approx(real * scale, rel=0.01, abs=least)


def test_a_layer_in_full_size_is_within_a_percent_of_the_real_one() -> None:
    assert layers(one("busybox", 1.0))[0].size == pytest.approx(2_592_863, rel=0.01)


def test_redis_and_node_have_their_base_in_common() -> None:
    redis, node = catalog(SMALL, ["redis", "node"])
    for platform in ("linux/amd64", "linux/arm64"):
        shared = set(layers(redis, platform)) & set(layers(node, platform))
        assert shared == {layers(redis, platform)[0]} == {layers(node, platform)[0]}


def test_all_other_layers_differ_however_small() -> None:
    digests = [
        blob.digest
        for image in catalog(SMALL / 1000)
        for manifest in image.platforms.values()
        for blob in manifest.blobs
    ]
    assert len(set(digests)) == len(digests) - 2


def test_an_unknown_name_is_an_error() -> None:
    with pytest.raises(KeyError, match="debian"):
        catalog(SMALL, ["debian"])


@pytest.mark.parametrize(
    ("name", "size", "digest", "diff_id"),
    [
        (
            "least",
            0,
            "sha256:c5da8d15d98f37f6990d988fe206a8b21ff6584944bd95f73fbec08bbbe76587",
            "sha256:3dac557cce15a7211d4cde29c939da63f8d5a1e1dd6bc606decf29b284148c4a",
        ),
        (
            "some",
            1_000_000,
            "sha256:72332fc8bb10f61ec989e9c3e97b4de851b6c97457fb961eeaccd7fd9d8d3a42",
            "sha256:600c0401444b102e5c87fe189fa223af691a457765a594113a05af67626f5a7c",
        ),
    ],
)
def test_a_layers_bytes_are_the_same_on_every_machine(
    name: str, size: int, digest: str, diff_id: str
) -> None:
    layer = make_layer(name, size)
    assert (layer.blob.digest, layer.diff_id) == (digest, diff_id)


def test_an_images_bytes_are_the_same_on_every_machine() -> None:
    assert one("redis").index_digest == (
        "sha256:ef11b1e90cc7e0e9c049f90d43cddb139a658ad1189ad1e969ff05a5538f4281"
    )


def test_a_blobs_content_is_made_again_the_same() -> None:
    for blob in one("redis", 0.01).platforms["linux/amd64"].blobs:
        first, second = content(blob), content(blob)
        assert first == second
        assert (sha256(first), len(first)) == (blob.digest, blob.size)


def test_a_layer_is_a_tar_gz_with_files_in_directories() -> None:
    packed = content(layers(one("ubuntu", 0.07))[0])
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        members = archive.getmembers()
    made = {member.name for member in members if member.isdir()}
    files = {member.name: member.size for member in members if member.isfile()}
    assert len(files) > 50
    assert len(made) > 5
    assert {name.rpartition("/")[0] for name in files} <= made
    assert len(set(files.values())) > 40
    assert max(files.values()) > 100 * min(files.values())


def test_a_directory_comes_before_what_is_in_it() -> None:
    packed = content(layers(one("ubuntu", 0.07))[0])
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        names = archive.getnames()
    for index, name in enumerate(names):
        above = name.rpartition("/")[0]
        assert not above or above in names[:index]


def test_a_layer_unpacks_to_two_or_three_times_its_size() -> None:
    packed = content(layers(one("ubuntu", 0.07))[0])
    plain = gzip.decompress(packed)
    assert 2 < len(plain) / len(packed) < 3
    again = gzip.compress(plain, 6)
    assert len(again) == pytest.approx(len(packed), rel=0.1)


def test_no_layer_replaces_a_file_of_another() -> None:
    seen: set[str] = set()
    for blob in layers(one("mysql", 0.01)):
        with tarfile.open(fileobj=io.BytesIO(content(blob))) as archive:
            files = {member.name for member in archive.getmembers() if member.isfile()}
        assert files
        assert not files & seen
        seen |= files


def test_diff_ids_are_those_of_the_unpacked_layers() -> None:
    for manifest in one("node", 0.01).platforms.values():
        config = json.loads(content(manifest.blobs[0]))
        unpacked = [sha256(gzip.decompress(content(blob))) for blob in manifest.blobs[1:]]
        assert config["rootfs"] == {"type": "layers", "diff_ids": unpacked}
        assert len(config["history"]) == len(unpacked)


def test_the_index_names_a_manifest_for_each_platform() -> None:
    image = one("redis")
    index = json.loads(image.index)
    assert sha256(image.index) == image.index_digest
    for entry in index["manifests"]:
        platform = f"{entry['platform']['os']}/{entry['platform']['architecture']}"
        manifest = image.platforms[platform]
        described = entry["mediaType"], entry["digest"], entry["size"]
        assert described == (manifest.media_type, manifest.digest, len(manifest.content))
        assert_describes(manifest)


def assert_describes(manifest: Manifest) -> None:
    parsed = json.loads(manifest.content)
    assert sha256(manifest.content) == manifest.digest
    assert parsed["mediaType"] == manifest.media_type
    described = [parsed["config"], *parsed["layers"]]
    assert [(entry["mediaType"], entry["digest"], entry["size"]) for entry in described] == [
        (blob.media_type, blob.digest, blob.size) for blob in manifest.blobs
    ]


def test_an_image_is_as_large_as_what_a_node_pulls_of_it() -> None:
    image = one("redis")
    manifest = image.platforms["linux/amd64"]
    blobs = sum(blob.size for blob in manifest.blobs)
    assert image.size_bytes == len(image.index) + len(manifest.content) + blobs


def test_a_large_layer_never_is_in_memory() -> None:
    blob = make_layer("large", 8_000_000).blob
    tracemalloc.start()
    sizes = [len(chunk) for chunk in blob.chunks()]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert sum(sizes) == blob.size
    assert peak < 5_000_000
    assert all(before >= 1_000_000 for before, _ in pairwise(sizes))


def test_an_image_can_have_files_and_a_command() -> None:
    program = bytes(range(256)) * 300
    image = image_with(
        "swarm-node", [10_000], {"/bin/busybox": (0o755, program)}, ["/bin/busybox", "sleep", "9"]
    )
    (manifest,) = image.platforms.values()
    assert json.loads(content(manifest.blobs[0]))["config"]["Cmd"] == ["/bin/busybox", "sleep", "9"]
    assert len(manifest.blobs) == 3
    with tarfile.open(fileobj=io.BytesIO(content(manifest.blobs[-1]))) as archive:
        file = archive.extractfile("bin/busybox")
        assert file is not None
        assert file.read() == program
        assert archive.getmember("bin/busybox").mode == 0o755
        assert archive.getmember("bin").isdir()


def test_a_file_may_be_empty() -> None:
    packed = content(layer_of({"etc/nothing": (0o600, b"")}).blob)
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        assert archive.getmember("etc/nothing").size == 0
