"""Races between processes over one directory, each brought about."""

import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fastreg.storage.errors import NotFound
from fastreg.storage.local import LocalDriver
from fastreg.storage.local_directories import opened


def test_a_directory_that_goes_while_it_is_made_is_made_again(
    local: LocalDriver, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "p").mkdir(parents=True)
    mkdir = os.mkdir

    def mkdir_late(path: str, mode: int) -> None:
        try:
            mkdir(path, mode)
        except FileExistsError:
            if path == str(root / "p"):
                monkeypatch.undo()
                (root / "p").rmdir()
            raise

    monkeypatch.setattr(os, "mkdir", mkdir_late)
    local.put("p/a", b"x")
    assert local.get("p/a", 1) == b"x"


@pytest.mark.parametrize("append", [True, False])
def test_a_writer_does_not_follow_a_file_that_is_committed_while_it_waits_for_the_lock(
    local: LocalDriver, monkeypatch: pytest.MonkeyPatch, append: bool
) -> None:
    first = local.writer("u/data", append=False)
    first.write(b"abc")
    flock = fcntl.flock

    def flock_late(fd: int, operation: int) -> None:
        monkeypatch.undo()
        first.commit("b/data")
        flock(fd, operation)

    monkeypatch.setattr(fcntl, "flock", flock_late)
    if append:
        with pytest.raises(NotFound):
            local.writer("u/data", append=True)
    else:
        with local.writer("u/data", append=False) as second:
            second.write(b"second")
    assert local.get("b/data", 10) == b"abc"


def test_names_change_under_the_lock_of_their_directory_alone(
    local: LocalDriver, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def guarded(function: Callable[..., Any]) -> Callable[..., Any]:
        def check(*args: Any, **named: Any) -> Any:
            with (
                opened(str(root / "p"), os.O_RDONLY) as fd,
                pytest.raises(BlockingIOError),
            ):
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            seen.append(function.__name__)
            return function(*args, **named)

        return check

    with local.writer("u/data", append=False) as writer:
        monkeypatch.setattr(os, "rename", guarded(os.rename))
        local.put("p/a", b"x")
        writer.commit("p/b")
    monkeypatch.setattr(os, "unlink", guarded(os.unlink))
    local.delete("p/a")
    assert seen == ["rename", "rename", "unlink"]
