"""A witness holds as long as the object is the one that was there, and never longer."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from fastreg.storage.base import Driver, Witness
from fastreg.storage.errors import InvalidKey
from fastreg.storage.local import LocalDriver
from tests.storage.stores import Store
from tests.storage.witnesses import SECOND_NS, TICK_NS, Clock, holds, let_the_clock_tick


@pytest.fixture(params=["local_store", "threaded_store"])
def driver(request: pytest.FixtureRequest) -> Driver:
    """Drivers that have files, which are what their witnesses tell of."""
    store = request.getfixturevalue(request.param)
    assert isinstance(store, Store)
    return store.driver


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def witness_of(driver: Driver, key: str) -> Witness:
    witness = driver.witness(key)
    assert witness is not None
    return witness


def commit(driver: Driver, root: Path) -> None:
    with driver.writer("upload", append=False) as writer:
        writer.write(b"12345")
        writer.commit("a/b")


def recreate(driver: Driver, root: Path) -> None:
    driver.delete("a/b")
    driver.put("a/b", b"12345")


def move_away_and_back(driver: Driver, root: Path) -> None:
    os.rename(root / "a/b", root / "a/c")
    os.rename(root / "a/c", root / "a/b")


def write_in_place(driver: Driver, root: Path) -> None:
    with open(root / "a/b", "r+b") as file:
        file.write(b"6")


def write_and_restore_the_time(driver: Driver, root: Path) -> None:
    status = os.stat(root / "a/b")
    write_in_place(driver, root)
    os.utime(root / "a/b", ns=(status.st_atime_ns, status.st_mtime_ns))


def replace_by_a_directory(driver: Driver, root: Path) -> None:
    os.unlink(root / "a/b")
    os.mkdir(root / "a/b")


CHANGES: list[Callable[[Driver, Path], None]] = [
    lambda driver, root: driver.put("a/b", b"12345"),
    lambda driver, root: driver.put("a/b", b"54321"),
    lambda driver, root: driver.delete("a/b"),
    lambda driver, root: os.rename(root / "a", root / "c"),
    lambda driver, root: os.truncate(root / "a/b", 4),
    commit,
    recreate,
    move_away_and_back,
    write_in_place,
    write_and_restore_the_time,
    replace_by_a_directory,
]


@pytest.mark.parametrize("change", CHANGES)
def test_a_witness_does_not_outlive_a_change(
    driver: Driver, root: Path, tmp_path: Path, clock: Clock, change: Callable[[Driver, Path], None]
) -> None:
    driver.put("a/b", b"12345")
    witness = witness_of(driver, "a/b")
    assert holds(witness)
    let_the_clock_tick(tmp_path)
    change(driver, root)
    assert not holds(witness)


def test_a_witness_outlives_changes_of_other_objects(
    driver: Driver, tmp_path: Path, clock: Clock
) -> None:
    driver.put("a/b", b"12345")
    witness = witness_of(driver, "a/b")
    let_the_clock_tick(tmp_path)
    driver.put("a/c", b"6")
    driver.put("a/c", b"7")
    driver.delete("a/c")
    assert driver.get("a/b", 5) == b"12345"
    assert holds(witness)
    assert witness_of(driver, "a/b") == witness


def test_a_witness_names_the_file_absolutely(driver: Driver, root: Path, clock: Clock) -> None:
    driver.put("a/b", b"12345")
    status = os.stat(root / "a/b")
    assert tuple(witness_of(driver, "a/b")) == (
        os.fsencode(root.absolute() / "a/b"),
        status.st_dev,
        status.st_ino,
        status.st_mtime_ns,
        status.st_ctime_ns,
        5,
    )


def test_a_witness_of_a_relative_root_is_absolute(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    driver = LocalDriver(Path("here"))
    driver.put("a", b"")
    assert witness_of(driver, "a").path == os.fsencode(tmp_path / "here/a")


@pytest.mark.parametrize("key", ["absent", "a", "a/b/c", "a/b/c/d", "x/y"])
def test_what_is_no_object_has_no_witness(driver: Driver, clock: Clock, key: str) -> None:
    driver.put("a/b", b"12345")
    assert driver.witness(key) is None


def test_a_key_that_is_none_is_refused(driver: Driver) -> None:
    with pytest.raises(InvalidKey):
        driver.witness("../x")


def test_a_file_that_changed_within_a_tick_has_no_witness_yet(
    driver: Driver, root: Path, clock: Clock
) -> None:
    driver.put("a", b"12345")
    os.utime(root / "a", ns=(1, 1))
    changed_ns = os.stat(root / "a").st_ctime_ns
    clock.now_ns = changed_ns + TICK_NS - 1
    assert driver.witness("a") is None
    clock.now_ns = changed_ns + 3 * SECOND_NS
    assert driver.witness("a") is not None


@pytest.mark.parametrize(
    ("modified_ns", "needed_ns"), [(12 * SECOND_NS + 1, TICK_NS), (12 * SECOND_NS, 3 * SECOND_NS)]
)
def test_how_old_a_file_must_be_follows_from_how_finely_its_times_are_kept(
    driver: Driver, root: Path, clock: Clock, modified_ns: int, needed_ns: int
) -> None:
    driver.put("a", b"12345")
    modified_ns += clock.now_ns // SECOND_NS * SECOND_NS
    os.utime(root / "a", ns=(modified_ns, modified_ns))
    clock.now_ns = modified_ns + needed_ns - 1
    assert driver.witness("a") is None
    clock.now_ns += 1
    assert driver.witness("a") is not None


def test_a_file_from_the_future_has_no_witness(driver: Driver, clock: Clock) -> None:
    driver.put("a", b"12345")
    clock.now_ns -= 7200 * SECOND_NS
    assert driver.witness("a") is None


def test_the_age_is_that_before_the_file_was_looked_at(
    driver: Driver, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver.put("a", b"12345")
    stat = os.stat
    clock.now_ns = stat(os.fsdecode(_path(driver, "a"))).st_ctime_ns

    def slow_stat(*args: object, **kwargs: object) -> object:
        clock.now_ns += 10 * SECOND_NS
        return stat(*args, **kwargs)  # type: ignore[call-overload]

    monkeypatch.setattr(os, "stat", slow_stat)
    assert driver.witness("a") is None
    assert driver.witness("a") is not None


def _path(driver: Driver, key: str) -> str:
    with driver.open(key) as readable:
        return os.readlink(f"/proc/self/fd/{readable.fileno()}")


def test_a_file_that_cannot_be_looked_at_has_no_witness(
    driver: Driver, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver.put("a", b"12345")

    def fail(*args: object, **kwargs: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "stat", fail)
    assert driver.witness("a") is None


def test_a_driver_without_files_has_no_witnesses(driver: Driver, clock: Clock) -> None:
    driver.put("a", b"12345")
    assert Driver.witness(driver, "a") is None
