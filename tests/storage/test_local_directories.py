"""What a process must sync of the directories that it finds, and what it need not again."""

import errno
import os
from pathlib import Path

import pytest

from fastreg.storage import local_directories
from fastreg.storage.errors import StorageError
from fastreg.storage.local import LocalDriver
from tests.storage.test_local_files import failing


@pytest.fixture
def synced(root: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The directories synced, and `file` for each other file: relative to the root."""
    calls: list[str] = []
    fsync = os.fsync

    def record(fd: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{fd}"))
        calls.append(os.path.relpath(path, root) if path.is_dir() else "file")
        fsync(fd)

    monkeypatch.setattr(os, "fsync", record)
    return calls


@pytest.fixture
def warm(local: LocalDriver, synced: list[str]) -> LocalDriver:
    """A driver that knows its root, and the directory `a/b`."""
    local.put("a/b/old", b"")
    synced.clear()
    return local


def below_the_root(synced: list[str]) -> list[str]:
    return [place for place in synced if not place.startswith("..")]


def test_a_put_in_a_known_directory_syncs_the_file_and_the_directory_alone(
    warm: LocalDriver, synced: list[str]
) -> None:
    warm.put("a/b/new", b"")
    assert synced == ["file", "a/b"]


def test_a_put_in_a_new_directory_syncs_what_got_an_entry_alone(
    warm: LocalDriver, synced: list[str]
) -> None:
    warm.put("a/b/c/d/new", b"")
    assert sorted(synced) == ["a/b", "a/b/c", "a/b/c/d", "file"]


def test_a_commit_in_a_known_directory_syncs_the_two_directories_alone(
    warm: LocalDriver, synced: list[str]
) -> None:
    warm.put("u/startedat", b"")
    with warm.writer("u/data", append=False) as writer:
        synced.clear()
        writer.commit("a/b/new")
    assert synced == ["a/b", "u"]


def test_directories_that_another_process_made_are_synced_once(
    warm: LocalDriver, root: Path, synced: list[str]
) -> None:
    (root / "a/c/d").mkdir(parents=True)
    warm.put("a/c/d/x", b"")
    assert sorted(synced) == ["a", "a/c", "a/c/d", "file"]
    synced.clear()
    warm.put("a/c/d/y", b"")
    assert synced == ["file", "a/c/d"]


def test_directories_made_without_the_disk_are_synced_by_what_is_durable(
    warm: LocalDriver, synced: list[str]
) -> None:
    warm.put("a/c/d/state", b"", durable=False)
    assert synced == []
    warm.put("a/c/d/x", b"")
    assert sorted(synced) == ["a", "a/c", "a/c/d", "file"]


def test_a_writer_syncs_directories_that_another_process_made(
    warm: LocalDriver, root: Path, synced: list[str]
) -> None:
    (root / "a/c/d").mkdir(parents=True)
    with warm.writer("a/c/d/data", append=False) as writer:
        writer.sync()
        writer.sync()
    assert sorted(synced) == ["a", "a/c", "a/c/d"]


@pytest.mark.parametrize("maker", ["this process", "another"])
def test_a_directory_that_was_removed_and_made_again_is_synced_again(
    warm: LocalDriver, root: Path, synced: list[str], maker: str
) -> None:
    if maker == "another":
        warm.delete("a/b/old")
        (root / "a/b").mkdir(parents=True)
    else:
        LocalDriver(root).delete("a/b/old")
    synced.clear()
    warm.put("a/b/new", b"")
    assert sorted(synced) == [".", "a", "a/b", "file"]


def test_what_could_not_be_synced_is_not_taken_for_synced(
    warm: LocalDriver, root: Path, synced: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "a/c").mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(local_directories, "sync_directory", failing(errno.EIO))
        with pytest.raises(StorageError, match="input/output"):
            warm.put("a/c/x", b"")
    (root / "a/c").mkdir(exist_ok=True)
    synced.clear()
    warm.put("a/c/x", b"")
    assert sorted(synced) == ["a", "a/c", "file"]


def test_the_table_of_known_directories_is_bounded(
    warm: LocalDriver, synced: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_directories, "_MAX_KNOWN", 16)
    for number in range(40):
        warm.put(f"a/{number}/x", b"")
    synced.clear()
    warm.put("a/39/y", b"")
    assert synced == ["file", "a/39"]
    synced.clear()
    warm.put("a/0/y", b"")
    assert sorted(synced) == ["a", "a/0", "file"]


def test_the_root_and_what_is_above_it_are_synced_once(
    local: LocalDriver, root: Path, synced: list[str]
) -> None:
    root.mkdir()
    local.put("x", b"")
    assert synced[:2] == ["file", ".."]
    assert "../.." in synced
    synced.clear()
    local.put("y", b"")
    assert synced == ["file", "."]


def test_a_directory_above_the_root_need_not_be_readable(
    local: LocalDriver, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root.mkdir()
    sync = local_directories.sync_directory

    def sync_below(directory: str) -> None:
        failing(errno.EACCES)() if len(directory) < len(str(root)) else sync(directory)

    monkeypatch.setattr(local_directories, "sync_directory", sync_below)
    local.put("a/x", b"kept")
    assert local.get("a/x", 4) == b"kept"


def test_an_input_output_error_above_the_root_is_one(
    local: LocalDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_directories, "sync_directory", failing(errno.EIO))
    with pytest.raises(StorageError, match="input/output"):
        local.put("x", b"")


def test_nothing_above_a_mount_point_is_synced(small_disk: Path, synced: list[str]) -> None:
    driver = LocalDriver(small_disk)
    driver.put("a/x", b"")
    assert len(synced) == 3


def test_a_directory_that_is_removed_while_it_is_settled_is_not_learned(
    warm: LocalDriver, root: Path, synced: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "a/c").mkdir()
    sync = local_directories.sync_directory

    def sync_late(directory: str) -> None:
        monkeypatch.setattr(local_directories, "sync_directory", sync)
        warm.put("a/c/other", b"", durable=False)
        warm.delete("a/c/other", durable=False)
        sync(directory)
        (root / "a/c").mkdir()

    monkeypatch.setattr(local_directories, "sync_directory", sync_late)
    warm.put("a/c/x", b"")
    assert synced.count("a") == 2
