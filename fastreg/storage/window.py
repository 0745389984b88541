"""What has arrived of an object and is not stored yet, in memory that a file descriptor gives
to the C core, to whom it is a file like any other."""

from __future__ import annotations

import mmap
import os

from fastreg.storage.descriptors import Descriptor


class Window:
    """A file in memory: bytes lie at their offsets in the object, and only those that were
    written and not dropped take room. It never becomes shorter, so that no thread that
    still sends from it can touch what is not there. For any thread."""

    def __init__(self) -> None:
        self.file = Descriptor(os.memfd_create("fastreg-window", os.MFD_CLOEXEC))

    def write(self, data: memoryview, offset: int) -> int:
        """Write bytes, and return how many. Raises OSError."""
        with self.file as fd:
            return os.pwrite(fd, data, offset)

    def view(self, start: int, end: int) -> memoryview:
        """Return the bytes from `start`, which begins a page, without copying them. They
        stay while the view does, also after `close`."""
        if start == end:
            return memoryview(b"")
        with self.file as fd:
            return memoryview(mmap.mmap(fd, end - start, offset=start))

    def close(self) -> None:
        """Give back the memory of what no view shows; closing twice is fine."""
        self.file.close()


def drop(view: memoryview) -> None:
    """Give back the memory of the pages that a window's view begins in: they read as zeros."""
    if isinstance(view.obj, mmap.mmap):
        view.obj.madvise(mmap.MADV_REMOVE)
