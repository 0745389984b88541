"""The catalog: every repository that holds something, once, in bytewise order."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fastreg.oci.digest import Digest
from fastreg.oci.names import is_name
from fastreg.registry.registry import Registry
from fastreg.storage.local import LocalDriver
from tests.registry.faults import HookedDriver
from tests.registry.images import Body, push_image

BLOB = Digest.of(b"blob")
COMPONENTS = st.sampled_from(["a", "a-b", "a.b", "a_b", "a__b", "a0", "b", "ab", "a--b", "0"])
NAMES = st.lists(COMPONENTS, min_size=1, max_size=3).map("/".join)
CLASSIC = {"a", "a-b", "a/b", "a.b", "a/b-c", "a/b/c", "a0", "ab"}


@given(
    st.sets(NAMES, max_size=10),
    st.one_of(NAMES, st.text("ab/-._0\0é", max_size=5)),
)
@example(names=CLASSIC, after="a/b")
@example(names=CLASSIC - {"a"}, after="a/")
@example(names={"a/b/c"}, after="a/b")
@settings(max_examples=40, deadline=None)
def test_names_are_listed_bytewise_and_go_on_after_any_of_them(
    tmp_path_factory: pytest.TempPathFactory, names: set[str], after: str
) -> None:
    registry = Registry(LocalDriver(tmp_path_factory.mktemp("root")))
    for name in names:
        registry.repository(name).blobs.link(BLOB)
    everything = sorted(names, key=str.encode)
    assert list(registry.names()) == everything
    for last in (*everything, after):
        rest = [n for n in everything if n.encode() > last.encode()]
        assert list(registry.names(last)) == rest


def test_a_repository_without_anything_finished_is_not_listed(registry: Registry) -> None:
    for name in ("only/uploads", "only"):
        repository = registry.repository(name)
        repository.uploads.append(repository.uploads.start(), Body(b"x"), start=0)
    push_image(registry.repository("only/uploads/nested"), "image")
    assert list(registry.names()) == ["only/uploads/nested"]
    assert not registry.repository("only").exists()
    assert registry.repository("only/uploads/nested").exists()


def test_a_repository_is_listed_for_a_layer_or_for_a_manifest(registry: Registry) -> None:
    registry.repository("layer").blobs.link(BLOB)
    registry.repository("tag").tags.set("v1", BLOB)
    assert list(registry.names()) == ["layer", "tag"]


def test_directories_that_are_no_repositories_are_passed_by(
    registry: Registry, driver: HookedDriver
) -> None:
    push_image(registry.repository("real/one"), "image")
    for odd in ("Upper/_layers/x", "-dash/_layers/x", "real/_odd/_layers/x", "file", "real/_file"):
        driver.put(f"docker/registry/v2/repositories/{odd}", b"x")
    assert list(registry.names()) == ["real/one"]


def test_a_path_longer_than_a_name_may_be_is_not_listed(
    registry: Registry, driver: HookedDriver
) -> None:
    longest = "/".join(["a"] * 128)
    assert is_name(longest)
    for name in (longest, f"{longest}/a"):
        driver.put(f"docker/registry/v2/repositories/{name}/_layers/sha256/x/link", b"x")
    assert list(registry.names()) == [longest]


def test_listing_starts_before_the_whole_tree_was_walked(
    registry: Registry, driver: HookedDriver
) -> None:
    for n in range(50):
        registry.repository(f"r{n:02}/nested").blobs.link(BLOB)
    listed = []
    driver.before = lambda call, key: listed.append(key) if call == "list" else None
    assert next(registry.names(after="r30")) == "r30/nested"
    assert len(listed) < 20
