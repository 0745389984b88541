"""The file in memory from which blocks are sent."""

import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from fastreg.storage.window import Window, drop

MIB = 1 << 20


def used_bytes(window: Window) -> int:
    with window.file as fd:
        return os.fstat(fd).st_blocks * 512


def test_bytes_are_seen_where_they_were_written() -> None:
    window = Window()
    assert window.write(memoryview(b"some bytes"), 3 * MIB) == 10
    assert bytes(window.view(3 * MIB, 3 * MIB + 10)) == b"some bytes"
    assert bytes(window.view(0, 3)) == bytes(3)
    assert bytes(window.view(0, 0)) == b""


def test_only_what_is_written_and_not_dropped_takes_memory() -> None:
    window = Window()
    for block in range(64):
        start = (block << 40) + block * 4 * MIB
        window.write(memoryview(bytes(range(256)) * 16384), start)
        assert used_bytes(window) <= 8 * MIB
        drop(window.view(start, start + 4 * MIB))
    assert used_bytes(window) == 0


def test_a_view_outlives_its_window() -> None:
    window = Window()
    window.write(memoryview(b"x" * MIB), 0)
    view = window.view(0, MIB)
    window.close()
    window.close()
    assert bytes(view) == b"x" * MIB
    with pytest.raises(ValueError, match="closed"):
        window.view(0, MIB)


def test_a_thread_that_pours_on_keeps_the_file_and_no_other_gets_its_number() -> None:
    window = Window()
    with window.file as fd:
        window.close()
        other = os.open("/dev/null", os.O_WRONLY)
        try:
            assert other != fd
            assert os.pwrite(fd, b"late", 0) == 4
        finally:
            os.close(other)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


def test_views_are_dropped_while_others_are_read() -> None:
    window = Window()
    blocks = [(n * 4 * MIB, bytes([n]) * (4 * MIB)) for n in range(8)]

    def check(start: int, content: bytes) -> bool:
        window.write(memoryview(content), start)
        view = window.view(start, start + len(content))
        is_right = view == content
        drop(view)
        return is_right

    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(lambda block: check(*block), blocks))
    assert used_bytes(window) == 0
