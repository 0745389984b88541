"""`python -m loadtests.compare.drop DIRECTORY`: let the kernel forget what it holds of the files.

What `--shape cold` runs before each round. It takes nothing from anybody else on the machine, as
/proc/sys/vm/drop_caches would, and needs no root.
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path


def drop(directory: Path) -> None:
    for path in directory.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            if path.is_file():
                forget(path)


def forget(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fdatasync(fd)  # what is not on the disk yet is not let go
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(fd)


if __name__ == "__main__":
    drop(Path(sys.argv[1]))
