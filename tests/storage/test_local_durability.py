"""What LocalDriver acknowledges survives a power cut, and no step of it can be torn.

Twice: against a disk that is cut off at every step (`powercut.py`), and by the order of the
system calls of a real process.
"""

import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from fastreg.storage.errors import NotFound
from fastreg.storage.local import LocalDriver
from tests.storage.powercut import Crash, Disk
from tests.storage.stores import Store

Loss = Literal["nothing", "data", "data and names"]
OLD = b"the old bytes"
NEW = b"the new bytes, and more of them"


@dataclass(frozen=True)
class Operation:
    """A change of the object under `p/q/link`, and what is there before and after it."""

    run: Callable[[LocalDriver], None]
    before: bytes | None
    after: bytes | None
    in_unsynced: bool = False
    """Whether another process made `p/q` just before, and has not synced a thing."""


def put(driver: LocalDriver) -> None:
    driver.put("p/q/link", NEW)


def commit(driver: LocalDriver) -> None:
    with driver.writer("u/1/data", append=True) as writer:
        writer.commit("p/q/link")


def write_and_commit(driver: LocalDriver) -> None:
    with driver.writer("u/2/data", append=False) as writer:
        writer.write(NEW[:7])
        writer.sync()
        writer.write(NEW[7:])
        writer.commit("p/q/link")


def delete(driver: LocalDriver) -> None:
    driver.delete("p/q/link")


OPERATIONS = {
    "a new object is put": Operation(put, None, NEW),
    "an object is replaced": Operation(put, OLD, NEW),
    "an upload is committed": Operation(commit, None, NEW),
    "a commit heals a wrong size": Operation(commit, OLD, NEW),
    "a commit finds its bytes there": Operation(commit, NEW, NEW),
    "an upload is written and committed": Operation(write_and_commit, None, NEW),
    "an object is deleted": Operation(delete, OLD, None),
    "an object is put where another process made the directory": Operation(
        put, None, NEW, in_unsynced=True
    ),
    "an upload is committed where another process made the directory": Operation(
        commit, None, NEW, in_unsynced=True
    ),
}


def look(driver: LocalDriver) -> bytes | None:
    try:
        return driver.get("p/q/link", 1000)
    except NotFound:
        return None


def prepare(root: Path, operation: Operation) -> None:
    driver = LocalDriver(root)
    driver.put("sibling/link", b"untouched")
    with driver.writer("u/1/data", append=False) as writer:
        writer.write(NEW)
    if operation.before is not None:
        driver.put("p/q/link", operation.before)


def run_until(
    step: int, work: Path, operation: Operation, loss: Loss, patch: pytest.MonkeyPatch
) -> bool:
    """Run the operation on a fresh store with the power cut at `step`; say whether it was
    done before that."""
    root, spare = work / "root", work / "spare"
    spare.mkdir(parents=True)
    prepare(root, operation)
    disk = Disk(spare, step)
    with patch.context() as patched:
        disk.attach(patched)
        try:
            if operation.in_unsynced:
                LocalDriver(root).put("p/q/state", b"of another", durable=False)
            operation.run(LocalDriver(root))
            done = True
        except Crash:
            done = False
    if loss != "nothing":
        disk.lose(names=loss == "data and names")
    return done


def uploaded(driver: LocalDriver) -> bytes | None:
    """Return what the upload of `prepare` holds, or what it was committed as."""
    try:
        return driver.get("u/1/data", 1000)
    except NotFound:
        return look(driver)


@pytest.mark.parametrize("loss", ["nothing", "data", "data and names"])
@pytest.mark.parametrize("name", OPERATIONS)
def test_a_power_cut_at_any_step_leaves_the_old_object_or_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, loss: Loss
) -> None:
    operation = OPERATIONS[name]
    for step in range(1, 100):
        work = tmp_path / str(step)
        done = run_until(step, work, operation, loss, monkeypatch)
        driver = LocalDriver(work / "root")
        found = look(driver)
        assert found in ([operation.after] if done else [operation.before, operation.after])
        assert driver.get("sibling/link", 1000) == b"untouched"
        assert uploaded(driver) == NEW, f"step {step} lost what was uploaded"
        if not done and found == operation.before and operation.before != operation.after:
            operation.run(driver)
            assert look(driver) == operation.after
        shutil.rmtree(work)
        if done:
            break
    assert 3 < step < 99


@pytest.mark.parametrize("in_unsynced", [False, True])
def test_a_power_cut_keeps_what_a_writer_has_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_unsynced: bool
) -> None:
    def write(driver: LocalDriver) -> None:
        with driver.writer("p/q/link", append=False) as writer:
            writer.write(OLD)
            writer.sync()

    operation = Operation(write, None, OLD, in_unsynced)
    assert run_until(1000, tmp_path, operation, "data and names", monkeypatch)
    assert look(LocalDriver(tmp_path / "root")) == OLD


def test_the_disk_loses_what_is_not_durable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def put_carelessly(driver: LocalDriver) -> None:
        driver.put("p/q/link", NEW, durable=False)

    operation = Operation(put_carelessly, OLD, NEW)
    assert run_until(1000, tmp_path / "1", operation, "data", monkeypatch)
    assert look(LocalDriver(tmp_path / "1/root")) == b""
    assert run_until(1000, tmp_path / "2", operation, "data and names", monkeypatch)
    assert look(LocalDriver(tmp_path / "2/root")) == OLD


# the system calls of a real process

_CALL = re.compile(r"^\d+ +(\w+)\((.*)\) += (-?\d+)")
_PLACE = re.compile(r'<([^>]+)>(?:, "([^"]*)")?|"([^"]*)"')


@dataclass(frozen=True)
class Call:
    name: str
    places: tuple[str, ...]
    """Paths relative to the root."""


def calls_of(trace: str, root: Path) -> Iterator[Call]:
    for line in trace.splitlines():
        match = _CALL.match(line)
        if match is None or match[3].startswith("-"):
            continue
        name = "rmdir" if "AT_REMOVEDIR" in match[2] else re.sub(r"at2?$|64$", "", match[1])
        arguments = match[2].partition('"')[0] if "write" in name else match[2]
        paths = (_path(*groups) for groups in _PLACE.findall(arguments))
        places = tuple(str(path.relative_to(root)) for path in paths if path.is_relative_to(root))
        if places:
            yield Call(name, places)


def _path(descriptor: str, below: str, alone: str) -> Path:
    return Path(descriptor, below) if descriptor else Path(alone)


@pytest.fixture
def traced(
    local_store: Store, root: Path, strace: str, tmp_path: Path
) -> Callable[[str], list[Call]]:
    def run(source: str) -> list[Call]:
        trace = tmp_path / "trace"
        calls = ["write", "pwrite64", "fsync", "fdatasync", "rename", "renameat", "renameat2"]
        calls += ["mkdir", "mkdirat", "unlink", "unlinkat", "rmdir"]
        # Not every architecture has all of them: the question mark.
        only = "trace=" + ",".join(f"?{call}" for call in calls)
        child = local_store.start(source, strace, "-f", "-y", "-e", only, "-o", str(trace))
        assert child.wait() == 0
        return list(calls_of(trace.read_text(), root))

    return run


def position(calls: list[Call], name: str, *places: str) -> int:
    """Return where the last such call is; `places` are regular expressions."""
    found = [number for number, call in enumerate(calls) if is_call(call, name, places)]
    assert found, f"no {name} of {places} in {calls}"
    return found[-1]


def is_call(call: Call, name: str, places: tuple[str, ...]) -> bool:
    pairs = zip(places, call.places, strict=False)
    return call.name == name and all(re.fullmatch(*pair) for pair in pairs)


TEMPORARY = r"\.fastreg/tmp/.*"


def assert_new_directories_are_synced(calls: list[Call], *directories: str) -> None:
    for directory in directories:
        parent = str(Path(directory).parent)
        assert position(calls, "mkdir", directory) < position(calls, "fsync", re.escape(parent))


def test_put_syncs_the_file_then_renames_then_syncs_the_directories(
    traced: Callable[[str], list[Call]],
) -> None:
    calls = traced("driver.put('a/b/link', b'x')")
    renamed = position(calls, "rename", TEMPORARY, "a/b/link")
    assert position(calls, "write", TEMPORARY) < position(calls, "fsync", TEMPORARY) < renamed
    assert renamed < position(calls, "fsync", "a/b")
    assert_new_directories_are_synced(calls, "a", "a/b")


def test_commit_syncs_the_file_then_renames_then_syncs_the_directories(
    traced: Callable[[str], list[Call]],
) -> None:
    calls = traced(
        "w = driver.writer('u/1/data', append=False)\n"
        "w.write(b'x' * 100)\n"
        "w.write(b'y' * 100)\n"
        "w.commit('b/c/data')"
    )
    renamed = position(calls, "rename", "u/1/data", "b/c/data")
    written = position(calls, "pwrite", "u/1/data")
    assert written < position(calls, "fdatasync", "u/1/data") < renamed
    assert renamed < position(calls, "fsync", "b/c")
    assert renamed < position(calls, "fsync", "u/1")
    assert_new_directories_are_synced(calls, "b", "b/c")


def test_a_writers_sync_reaches_the_directories_made_for_it_once(
    traced: Callable[[str], list[Call]],
) -> None:
    calls = traced("w = driver.writer('u/1/data', append=False)\nw.write(b'x')\nw.sync()\nw.sync()")
    assert position(calls, "pwrite", "u/1/data") < position(calls, "fdatasync", "u/1/data")
    assert_new_directories_are_synced(calls, "u", "u/1")
    assert [call.places for call in calls if call.name == "fsync"].count(("u/1",)) == 1


def test_delete_unlinks_then_syncs_the_directory_that_stays(
    local_store: Store, traced: Callable[[str], list[Call]]
) -> None:
    local_store.driver.put("a/stays", b"")
    local_store.driver.put("a/b/c/link", b"")
    calls = traced("driver.delete('a/b/c/link')")
    assert position(calls, "unlink", "a/b/c/link") < position(calls, "rmdir", "a/b/c")
    assert position(calls, "rmdir", "a/b") < position(calls, "fsync", "a")


def test_put_that_need_not_be_durable_waits_for_no_disk(
    traced: Callable[[str], list[Call]],
) -> None:
    calls = traced("driver.put('a/b/state', b'x', durable=False)")
    assert position(calls, "rename", TEMPORARY, "a/b/state")
    assert [call for call in calls if "sync" in call.name] == []


def test_delete_that_need_not_be_durable_waits_for_no_disk(
    local_store: Store, traced: Callable[[str], list[Call]]
) -> None:
    local_store.driver.put("a/b/state", b"x")
    calls = traced("driver.delete('a/b/state', durable=False)")
    assert position(calls, "unlink", "a/b/state") < position(calls, "rmdir", "a")
    assert [call for call in calls if "sync" in call.name] == []
