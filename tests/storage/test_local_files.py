"""LocalDriver and its directory: what others left in it, and errors of the system."""

import errno
import fcntl
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest

from fastreg.storage.errors import InvalidKey, NoSpace, NotFound, StorageError
from fastreg.storage.local import LocalDriver
from tests.storage.stores import Store

DAY_S = 86_400


def files_below(directory: Path) -> list[str]:
    return sorted(
        str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()
    )


def failing(number: int) -> Callable[..., NoReturn]:
    def fail(*args: Any, **named: Any) -> NoReturn:
        raise OSError(number, os.strerror(number))

    return fail


# the directory


def test_links_that_lead_back_end_no_listing(local: LocalDriver, root: Path) -> None:
    local.put("a/b/data", b"x")
    (root / "a/back").symlink_to(root)
    (root / "a/here").symlink_to(".")
    (root / "a/b/up").symlink_to("..")
    (root / "a/itself").symlink_to("itself")
    (root / "only").mkdir()
    (root / "only/loop").symlink_to("../only")
    assert list(local.list("")) == ["a"]
    assert list(local.list("a")) == ["b"]
    assert list(local.list("a/b")) == ["data"]


def test_links_that_lead_to_each_other_end_no_listing(local: LocalDriver, root: Path) -> None:
    local.put("x/data", b"x")
    local.put("y/data", b"y")
    (root / "x/l").symlink_to("../y")
    (root / "y/l").symlink_to("../x")
    assert list(local.list("")) == ["x", "y"]
    assert list(local.list("x")) == ["data", "l"]
    assert list(local.list("x/l")) == ["data"]


def test_sync_waits_for_an_object_and_its_name(
    local: LocalDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    local.put("a/data", b"x", durable=False)
    synced: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append(os.readlink(f"/proc/self/fd/{fd}")))
    local.sync("a/data")
    assert [Path(path).name for path in synced[:1]] == ["data"]
    assert Path(synced[-1]).name == "a"
    with pytest.raises(NotFound):
        local.sync("a/none")


def test_links_that_lead_elsewhere_are_followed(
    local: LocalDriver, root: Path, tmp_path: Path
) -> None:
    (tmp_path / "disk/x").mkdir(parents=True)
    (tmp_path / "disk/x/data").write_bytes(b"far")
    root.mkdir()
    (root / "linked").symlink_to(tmp_path / "disk")
    assert list(local.list("")) == ["linked"]
    assert list(local.list("linked")) == ["x"]
    assert local.get("linked/x/data", 10) == b"far"


def test_a_key_is_a_path_below_the_root(local: LocalDriver, root: Path) -> None:
    local.put("docker/registry/v2/x/link", b"sha256:1")
    assert (root / "docker/registry/v2/x/link").read_bytes() == b"sha256:1"
    assert files_below(root) == ["docker/registry/v2/x/link"]


def test_making_a_driver_changes_nothing(root: Path) -> None:
    LocalDriver(root)
    assert not root.exists()


def test_a_relative_root_stays_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    driver = LocalDriver(Path("data"))
    monkeypatch.chdir("/")
    driver.put("a", b"x")
    assert (tmp_path / "data/a").read_bytes() == b"x"


def test_files_and_directories_have_the_usual_modes(local_store: Store, root: Path) -> None:
    child = local_store.start(
        "import os\n"
        "os.umask(0o027)\n"
        "driver.put('a/b', b'x')\n"
        "driver.writer('u/data', append=False).close()"
    )
    assert child.wait() == 0
    modes = [(root / place).stat().st_mode & 0o777 for place in ("a", "a/b", "u/data")]
    assert modes == [0o750, 0o640, 0o640]


def test_what_another_program_writes_is_seen(local: LocalDriver, root: Path) -> None:
    local.put("a/b", b"x")
    version = local.stat("a/b").version
    (root / "a/b").write_bytes(b"longer")
    (root / "a/c").write_bytes(b"new")
    assert local.get("a/b", 10) == b"longer"
    assert local.stat("a/b").version != version
    assert list(local.list("a")) == ["b", "c"]


def test_a_writer_goes_on_with_what_another_program_wrote(local: LocalDriver, root: Path) -> None:
    (root / "u").mkdir(parents=True)
    (root / "u/data").write_bytes(b"one ")
    with local.writer("u/data", append=True) as writer:
        writer.write(b"two")
        writer.commit("b/data")
    assert (root / "b/data").read_bytes() == b"one two"


def test_directories_without_objects_are_not_listed(local: LocalDriver, root: Path) -> None:
    (root / "p/empty/deeper/still").mkdir(parents=True)
    (root / "p/also").mkdir()
    (root / "p/odd").mkdir()
    (root / "p/odd/not a key").write_bytes(b"")
    local.put("p/full/x/y", b"")
    assert list(local.list("p")) == ["full"]
    assert list(local.list("p/empty")) == []


@pytest.mark.parametrize(("names", "calls"), [(0, 1), (1, 1), (64, 1), (65, 2)])
def test_a_small_directory_is_listed_in_one_call_off_the_loop(
    root: Path, names: int, calls: int
) -> None:
    made: list[Callable[..., Any]] = []

    def off_loop(fn: Callable[..., Any], /, *args: Any) -> Any:
        made.append(fn)
        return fn(*args)

    for number in range(names):
        (root / f"p/{number}/below").mkdir(parents=True)
        (root / f"p/{number}/below/link").touch()
    assert len(list(LocalDriver(root, off_loop).list("p"))) == names
    assert len(made) == calls


def test_listing_looks_into_no_more_directories_than_it_must(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[str] = []
    scandir = os.scandir

    def record(path: str) -> Any:
        looked.append(path)
        return scandir(path)

    for number in range(200):
        (root / f"p/{number:03}").mkdir(parents=True)
        (root / f"p/{number:03}/link").touch()
    monkeypatch.setattr(os, "scandir", record)
    assert next(LocalDriver(root).list("p")) == "000"
    assert len(looked) <= 65


def test_names_that_no_key_has_are_not_listed(local: LocalDriver, root: Path) -> None:
    local.put("p/good", b"")
    for name in ("not a key", "ä", "x~", ".fastreg"):
        (root / "p" / name).write_bytes(b"")
    os.close(os.open(os.fsencode(root / "p") + b"/\xff", os.O_CREAT | os.O_WRONLY))
    assert list(local.list("p")) == ["good"]


def test_the_drivers_own_directory_is_no_place_for_keys(local: LocalDriver) -> None:
    local.put("a", b"x")
    assert list(local.list("")) == ["a"]
    with pytest.raises(InvalidKey):
        local.put(".fastreg/tmp/x", b"")
    with pytest.raises(InvalidKey):
        local.list(".fastreg")


def test_a_fifo_is_no_object_and_stops_nobody(local: LocalDriver, root: Path) -> None:
    root.mkdir()
    os.mkfifo(root / "fifo")
    assert list(local.list("")) == []
    with pytest.raises(NotFound):
        local.get("fifo", 10)
    with pytest.raises(NotFound):
        local.stat("fifo")


def test_deleting_leaves_no_directories_but_the_root(local: LocalDriver, root: Path) -> None:
    local.put("a/b/c/d", b"")
    local.put("a/b/e", b"")
    local.delete("a/b/c/d")
    assert not (root / "a/b/c").exists()
    local.delete("a/b/e")
    assert [entry.name for entry in root.iterdir()] == [".fastreg"]


def test_deleting_leaves_a_directory_that_is_a_link(local: LocalDriver, root: Path) -> None:
    (root / "elsewhere").mkdir(parents=True)
    (root / "docker").symlink_to(root / "elsewhere")
    local.put("docker/a/b", b"x")
    local.delete("docker/a/b")
    assert (root / "docker").is_dir()
    assert list((root / "elsewhere").iterdir()) == []


def test_a_root_that_is_a_link_works(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "disk")
    driver = LocalDriver(tmp_path / "link")
    driver.put("a/b", b"x")
    driver.delete("a/b")
    driver.put("c", b"x")
    assert files_below(tmp_path / "disk") == ["c"]


def test_a_link_to_nowhere_is_an_error_and_not_a_loop(local: LocalDriver, root: Path) -> None:
    root.mkdir()
    (root / "docker").symlink_to(root / "nowhere")
    with pytest.raises(StorageError, match="not a directory"):
        local.put("docker/a", b"x")
    assert list(local.list("")) == []


def test_a_place_that_refuses_new_directories_is_an_error_and_not_a_loop() -> None:
    driver = LocalDriver(Path("/proc/nowhere"))
    for fail in (lambda: driver.put("a/b", b"x"), lambda: driver.writer("a/b", append=False)):
        with pytest.raises(StorageError, match="its directory cannot be made") as caught:
            fail()
        assert type(caught.value) is StorageError


def test_a_place_that_refuses_new_files_is_an_error_and_not_a_busy_key() -> None:
    driver = LocalDriver(Path("/proc/self"))
    with pytest.raises(StorageError, match="its directory cannot be made") as caught:
        driver.writer("nowhere", append=False)
    assert type(caught.value) is StorageError


def test_a_directory_at_the_end_of_a_long_path_is_made(local: LocalDriver) -> None:
    key = "/".join("k" * 600)
    local.put(key, b"x", durable=False)
    assert local.get(key, 1) == b"x"
    # What removes a test's files does not reach that deep.
    local.delete(key, durable=False)


def test_the_time_of_a_put_is_the_clocks_and_not_the_tick_before(
    local: LocalDriver, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: 1_700_000_000_123_456_789)
    local.put("a", b"x")
    assert (root / "a").stat().st_mtime_ns == 1_700_000_000_123_456_789


# file systems


def test_a_link_to_another_file_system_works(
    local: LocalDriver, root: Path, small_disk: Path
) -> None:
    root.mkdir()
    (root / "docker").symlink_to(small_disk)
    local.put("docker/a/b", b"1")
    local.put("docker/a/b", b"2", if_version=local.stat("docker/a/b").version)
    with local.writer("docker/u/data", append=False) as writer:
        writer.write(b"3")
        writer.commit("docker/b/data")
    assert files_below(small_disk) == ["a/b", "b/data"]
    assert list(local.list("docker")) == ["a", "b"]


def test_a_directory_bound_to_another_place_works(
    local: LocalDriver, root: Path, mount: Callable[[Path, list[str]], Path], tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    mount(root / "docker", ["--bind", str(tmp_path / "elsewhere")])
    local.put("docker/a/b", b"1")
    assert files_below(tmp_path / "elsewhere") == ["a/b"]
    local.delete("docker/a/b")
    assert list(local.list("")) == []


def test_commit_to_another_file_system_says_what_is_wrong(
    local: LocalDriver, root: Path, small_disk: Path
) -> None:
    root.mkdir()
    (root / "blobs").symlink_to(small_disk)
    with local.writer("u/data", append=False) as writer:
        writer.write(b"kept")
        with pytest.raises(StorageError, match="different file systems"):
            writer.commit("blobs/x/data")
        assert writer.size == 4
    assert list(small_disk.iterdir()) == []


def test_a_read_only_file_system_is_read_and_the_error_says_so(small_disk: Path) -> None:
    driver = LocalDriver(small_disk / "root")
    driver.put("a/b", b"x")
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    driver = LocalDriver(small_disk / "root")
    assert driver.get("a/b", 1) == b"x"
    for fail in (
        lambda: driver.put("a/c", b""),
        lambda: driver.delete("a/b"),
        lambda: driver.writer("u/data", append=False),
        lambda: driver.writer("a/b", append=True),
    ):
        with pytest.raises(StorageError, match="mounted read-only"):
            fail()
    assert list(driver.list("a")) == ["b"]


# temporary files


def leave_temporary(root: Path, name: str, age_s: float) -> Path:
    path = root / ".fastreg/tmp" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"torn")
    then = path.stat().st_mtime - age_s
    os.utime(path, (then, then))
    return path


def test_old_temporary_files_are_swept_where_a_driver_first_writes(root: Path) -> None:
    old = leave_temporary(root, "old", 2 * DAY_S)
    young = leave_temporary(root, "young", DAY_S / 2)
    driver = LocalDriver(root)
    driver.put("a", b"")
    assert [path.exists() for path in (old, young)] == [False, True]


def test_old_temporary_files_are_swept_on_a_file_system_deep_below_the_root(
    local: LocalDriver, root: Path, small_disk: Path
) -> None:
    (root / "docker/registry/v2").mkdir(parents=True)
    (root / "docker/registry/v2/blobs").symlink_to(small_disk)
    old = leave_temporary(small_disk, "old", 2 * DAY_S)
    local.put("docker/registry/v2/link", b"")
    assert old.exists()
    local.put("docker/registry/v2/blobs/x/data", b"")
    assert not old.exists()


def test_old_temporary_files_are_swept_in_a_directory_bound_to_another_place(
    local: LocalDriver, root: Path, mount: Callable[[Path, list[str]], Path], tmp_path: Path
) -> None:
    old = leave_temporary(tmp_path / "elsewhere", "old", 2 * DAY_S)
    mount(root / "docker/registry", ["--bind", str(tmp_path / "elsewhere")])
    local.put("docker/registry/a", b"")
    assert not old.exists()


def test_a_temporary_file_being_written_is_not_swept_however_old(root: Path) -> None:
    path = leave_temporary(root, "held", 400 * DAY_S)
    with path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        LocalDriver(root).put("a", b"")
        assert path.exists()
    LocalDriver(root).put("a", b"")
    assert not path.exists()


# errors of the system


@pytest.mark.parametrize(
    ("number", "kind", "reason"),
    [
        (errno.EIO, StorageError, "the disk reports an input/output error"),
        (errno.EACCES, StorageError, "the file permissions forbid it"),
        (errno.EPERM, StorageError, "the file system forbids it"),
        (errno.EMFILE, StorageError, "Too many open files"),
        (errno.ENOSPC, NoSpace, "No space left"),
        (errno.EDQUOT, NoSpace, "quota"),
    ],
)
def test_an_error_while_putting_has_its_meaning_and_changes_nothing(
    local: LocalDriver,
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    kind: type[StorageError],
    reason: str,
) -> None:
    local.put("a/b", b"old")
    for function in ("open", "mkdir", "write", "fsync", "rename"):
        with monkeypatch.context() as patch:
            patch.setattr(os, function, failing(number))
            with pytest.raises(kind, match=reason) as caught:
                local.put("c/d", b"new")
            assert type(caught.value) is kind
            assert caught.value.key == "c/d"
    assert files_below(root) == ["a/b"]
    assert list(root.iterdir()) == [root / ".fastreg", root / "a"] or not (root / "c").exists()


@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES])
def test_an_error_while_reading_is_not_taken_for_absence(
    local: LocalDriver, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    local.put("a", b"x")
    with local.open("a") as readable:
        for function in ("open", "stat", "preadv", "scandir"):
            monkeypatch.setattr(os, function, failing(number))
        for fail in (
            lambda: local.stat("a"),
            lambda: local.get("a", 1),
            lambda: local.delete("a"),
            lambda: list(local.list("")),
            lambda: readable.read(1),
        ):
            with pytest.raises(StorageError) as caught:
                fail()
            assert type(caught.value) is StorageError


def test_a_path_too_long_for_the_system_is_refused(tmp_path: Path) -> None:
    driver = LocalDriver(tmp_path / "/".join(["d" * 200] * 6))
    key = "/".join(["k" * 200] * 15)
    with pytest.raises(InvalidKey, match="longer than 4095 bytes"):
        driver.get(key, 1)
    with pytest.raises(InvalidKey, match="longer than 4095 bytes"):
        driver.put(key, b"")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("flush", ["sync", "commit"])
def test_bytes_that_a_failed_flush_may_have_lost_are_not_kept(
    local: LocalDriver, monkeypatch: pytest.MonkeyPatch, flush: str
) -> None:
    with local.writer("u/data", append=False) as writer:
        writer.write(b"abc")
        with monkeypatch.context() as patch:
            patch.setattr(os, "fdatasync", failing(errno.EIO))
            with pytest.raises(StorageError, match="input/output"):
                writer.sync() if flush == "sync" else writer.commit("b/data")
        assert writer.size == 0
        writer.write(b"again")
        writer.commit("b/data")
    assert local.get("b/data", 10) == b"again"
