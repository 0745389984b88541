"""A disk that can fail at any step: stands between a driver and the functions of `os`.

Every change is a step. At the chosen one the process "dies": a write gets half way, and no
later change happens, not even by the code that cleans up. `lose` then takes from the
directory what no `fsync` has made durable, as strictly as POSIX allows.
"""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


class Crash(BaseException):
    """The process ends here."""


class Disk:
    def __init__(self, spare: Path, crash_at: int) -> None:
        self.spare = spare
        self.crash_at = crash_at
        self.steps = 0
        self.unsynced_data: set[int] = set()
        self.unsynced_names: list[tuple[int, Callable[[], object]]] = []
        self.real: dict[str, Callable[..., Any]] = {}

    def attach(self, patch: pytest.MonkeyPatch) -> None:
        changes = ("mkdir", "rmdir", "rename", "unlink", "write", "pwrite", "ftruncate", "utime")
        for name in (*changes, "open", "fsync", "fdatasync"):
            self.real[name] = getattr(os, name)
            patch.setattr(os, name, getattr(self, name))

    def step(self) -> bool:
        """Count a change; true for the one that the process dies in. Raises once dead."""
        self.steps += 1
        if self.crash_at and self.steps > self.crash_at:
            raise Crash
        return self.steps == self.crash_at

    def note(self, path: str, undo: Callable[[], object]) -> None:
        self.unsynced_names.append((os.stat(os.path.dirname(path)).st_ino, undo))

    def keep(self, path: str) -> str | None:
        """Keep another name for the file, out of the way; None when there is none."""
        if not os.path.exists(path):
            return None
        kept = str(self.spare / str(len(os.listdir(self.spare))))
        os.link(path, kept)
        return kept

    def lose(self, *, names: bool) -> None:
        """Empty the files that were not synced; with `names`, take back the changes of
        directories that were not."""
        for path in [*self.spare.parent.rglob("*")]:
            if path.is_file() and path.stat().st_ino in self.unsynced_data:
                os.truncate(path, 0)
        for _, undo in reversed(self.unsynced_names if names else []):
            try:
                undo()
            except FileNotFoundError:
                pass  # Its directory went for good: nothing in it can come back.

    # the functions of `os`

    def open(self, path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        makes = bool(flags & os.O_CREAT) and not os.path.exists(path)
        if makes and self.step():
            raise Crash
        fd: int = self.real["open"](path, flags, mode, dir_fd=dir_fd)
        if makes:
            self.note(path, lambda: self.real["unlink"](path))
        return fd

    def mkdir(self, path: str, mode: int = 0o777) -> None:
        if self.step():
            raise Crash
        self.real["mkdir"](path, mode)
        self.note(path, lambda: shutil.rmtree(path))

    def rmdir(self, path: str) -> None:
        if self.step():
            raise Crash
        self.real["rmdir"](path)
        self.note(path, lambda: self.real["mkdir"](path))

    def unlink(self, path: str, *, dir_fd: int | None = None) -> None:
        if self.step():
            raise Crash
        path = _resolve(path, dir_fd)
        kept = self.keep(path)
        self.real["unlink"](path)
        self.note(path, lambda: os.link(str(kept), path))

    def rename(self, source: str, target: str, *, dst_dir_fd: int) -> None:
        if self.step():
            raise Crash
        path = _resolve(target, dst_dir_fd)
        kept = self.keep(path)
        self.real["rename"](source, target, dst_dir_fd=dst_dir_fd)

        def undo() -> None:
            self.real["rename"](path, source)
            if kept is not None:
                os.link(kept, path)

        self.note(path, undo)

    def write(self, fd: int, data: memoryview) -> int:
        return self._write("write", fd, data)

    def pwrite(self, fd: int, data: memoryview, offset: int) -> int:
        return self._write("pwrite", fd, data, offset)

    def _write(self, name: str, fd: int, data: memoryview, *rest: int) -> int:
        dies = self.step()
        self.unsynced_data.add(os.fstat(fd).st_ino)
        count: int = self.real[name](fd, data[: len(data) // 2] if dies else data, *rest)
        if dies:
            raise Crash
        return count

    def ftruncate(self, fd: int, size: int) -> None:
        if self.step():
            raise Crash
        self.unsynced_data.add(os.fstat(fd).st_ino)
        self.real["ftruncate"](fd, size)

    def utime(self, fd: int, *, ns: tuple[int, int]) -> None:
        if self.step():
            raise Crash
        self.real["utime"](fd, ns=ns)

    def fsync(self, fd: int) -> None:
        if self.step():
            raise Crash
        inode = os.fstat(fd).st_ino
        self.unsynced_data.discard(inode)
        self.unsynced_names = [entry for entry in self.unsynced_names if entry[0] != inode]

    fdatasync = fsync


def _resolve(path: str, dir_fd: int | None) -> str:
    return path if dir_fd is None else f"{os.readlink(f'/proc/self/fd/{dir_fd}')}/{path}"
