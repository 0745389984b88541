"""Bodies on their way in, from socket pairs: what the chunks give, and who may use what."""

from __future__ import annotations

import errno
import hashlib
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fastreg.fastlane import Inflow, Sha256, Sha512, Sink
from tests.ext.chunks_reference import Decoded, decode

# --- the chunks

_TEXT = st.binary(max_size=6)
_SIZES = st.integers(0, 40).flatmap(
    lambda n: st.sampled_from([b"%x" % n, b"%X" % n, b"%04x" % n, b"%015x" % n, b"%016x" % n])
)
_ENDS = st.sampled_from([b"\r\n"] * 8 + [b"\n", b"\r", b"\r\r\n", b" \r\n", b"\r\n\r\n", b""])
_EXTENSIONS = st.sampled_from([b""] * 4 + [b";", b" ;a=b", b'\t;a="b;c"', b" ", b"x", b";\x00"])


@st.composite
def _chunks(draw: st.DrawFn) -> bytes:
    """A chunk as it must be, or nearly."""
    data = draw(st.binary(min_size=1, max_size=40))
    size = draw(st.one_of(st.just(b"%x" % len(data)), _SIZES))
    return size + draw(_EXTENSIONS) + draw(_ENDS) + data + draw(_ENDS)


_LINES = st.sampled_from(
    [b"X-A: b\r\n", b"Y:\r\n", b"X\r\n", b" : \r\n", b"Z: \x00\r\n", b"a: b\n"]
)
_BODIES = st.builds(
    lambda chunks, last, trailers, rest: b"".join([*chunks, *last, *trailers, *rest]),
    st.lists(_chunks(), max_size=4),
    st.lists(st.sampled_from([b"0\r\n", b"000;x\r\n", b"0\n"]), max_size=1),
    st.lists(_LINES, max_size=3),
    st.lists(st.sampled_from([b"\r\n", b"GET /"]), max_size=3),
)


def receive(raw: bytes, before: bytes = b"", *, pieces: list[int]) -> Decoded:
    """Decode `before` from memory and then `raw` from a socket, into buffers of these sizes."""
    server, client = socket.socketpair()
    inflow = Inflow(None)
    inflow.put_in_front(before)
    data = b""
    with server, client:
        client.sendall(raw)
        client.shutdown(socket.SHUT_WR)
        while True:
            buffer = bytearray(pieces[len(data) % len(pieces)])
            try:
                count = inflow.receive(server.fileno(), buffer)
            except ConnectionResetError:
                return Decoded(data)
            except OSError as error:
                return Decoded(data, is_faulty=error.errno == errno.EBADMSG)
            assert count is not None
            data += buffer[:count]
            if inflow.is_over:
                return Decoded(data, rest=inflow.take_rest() + server.recv(1 << 16))


@given(st.one_of(_BODIES, st.binary(max_size=60)), st.lists(st.integers(1, 50), min_size=1))
@settings(max_examples=1500, deadline=None)
@example(b"1;" + b"x" * 1022 + b"\r\na\r\n0\r\n\r\n", [9])
@example(b"1;" + b"x" * 1023 + b"\r\na\r\n0\r\n\r\n", [9])
@example(b"0\r\nX:" + b"x" * 8190 + b"\r\n\r\n", [9])
@example(b"0\r\nX:" + b"x" * 8191 + b"\r\n\r\n", [9])
@example(b"0\r\n" + b"X:x\r\n" * 1638 + b"\r\n", [9])
@example(b"0\r\n" + b"X:x\r\n" * 1639 + b"\r\n", [9])
@example(b"0\r\n" + b"X:x\r\n" * 1640 + b"\r\n", [9])
def test_chunks_give_what_the_reference_decodes(raw: bytes, pieces: list[int]) -> None:
    expected, found = decode(raw), receive(raw, pieces=pieces)
    if found.is_faulty and not expected.is_faulty:
        # A fault is seen at once, where the reference waits for the end of the line.
        assert expected.rest is None
        assert all(decode(raw + end).rest is None for end in _ENDINGS)
        expected.is_faulty = True
    assert found == expected


_ENDINGS = [
    before + after
    for before in (b"", b"\n", b"\r\n", b":\r\n", b"\n:\r\n", b"1\r\nx\r\n")
    for after in (b"\r\n", b"\n", b"0\r\n\r\n", b"\r\n0\r\n\r\n", b"\n0\r\n\r\n", b"\r\n\r\n")
]


@pytest.mark.parametrize(
    "raw",
    [b"3;x\r\nabc\r\n2\r\nde\r\n0\r\nX: y\r\n\r\nGET /", b"2\r\nab\r\nx\r\n", b"0\r\n\r\n\r\n"],
    ids=["whole", "faulty", "nothing"],
)
def test_it_is_the_same_wherever_memory_ends_and_the_socket_begins(raw: bytes) -> None:
    expected = decode(raw)
    for at in range(len(raw) + 1):
        assert receive(raw[at:], raw[:at], pieces=[2]) == expected


# --- pouring


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    server, client = socket.socketpair()
    with server, client:
        yield server, client


@pytest.fixture
def fd(tmp_path: Path) -> Iterator[int]:
    number = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    yield number
    os.close(number)


def pour_all(inflow: Inflow, server: socket.socket, sink: Sink) -> None:
    inflow.hold(server.fileno())
    while not inflow.is_over:
        inflow.pour(sink, 1 << 40)
    inflow.release()


@pytest.mark.parametrize("kind", [Sha256, Sha512, None])
@pytest.mark.parametrize("length", [5, 3 << 20])
def test_a_poured_body_is_appended_and_hashed(
    ends: tuple[socket.socket, socket.socket],
    fd: int,
    kind: type[Sha256] | type[Sha512] | None,
    length: int,
) -> None:
    server, client = ends
    content = b"before" + os.urandom(length)
    os.write(fd, b"before")
    digest = kind() if kind else None
    if digest:
        digest.update(b"before")
    sink = Sink(nullcontext(fd), 6, digest)
    inflow = Inflow(length)
    inflow.put_in_front(content[6:9])
    sender = threading.Thread(target=client.sendall, args=(content[9:],))
    sender.start()
    pour_all(inflow, server, sink)
    sender.join()
    assert os.pread(fd, length + 99, 0) == content
    assert (sink.size, sink.failure, inflow.left) == (len(content), None, 0)
    if digest:
        assert digest.length == len(content)
        assert digest.digest() == hashlib.new(digest.name, content).digest()


def test_a_file_that_takes_nothing_is_told_by_the_sink(
    ends: tuple[socket.socket, socket.socket], tmp_path: Path
) -> None:
    server, client = ends
    (tmp_path / "file").write_bytes(b"")
    fd = os.open(tmp_path / "file", os.O_RDONLY)
    digest = Sha256()
    sink = Sink(nullcontext(fd), 0, digest)
    client.sendall(b"abc")
    inflow = Inflow(3)
    inflow.hold(server.fileno())
    assert inflow.pour(sink, 3) == 0
    assert sink.failure is not None
    assert sink.failure.errno == errno.EBADF
    assert (sink.size, digest.length) == (0, 0)
    os.close(fd)


def test_what_goes_wrong_with_the_file_itself_is_raised(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    @contextmanager
    def closed() -> Iterator[int]:
        raise ValueError("the object is closed")
        yield 0

    inflow = Inflow(3)
    inflow.hold(ends[0].fileno())
    with pytest.raises(ValueError, match="closed"):
        inflow.pour(Sink(closed(), 0, None), 3)
    inflow.release()


def open_descriptors() -> set[str]:
    return {entry.name for entry in os.scandir("/proc/self/fd")}


class Gate(AbstractContextManager[int]):
    """A file whose descriptor is handed out once the gate is open."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.reached = threading.Event()
        self.opened = threading.Event()

    def __enter__(self) -> int:
        self.reached.set()
        self.opened.wait()
        return self._fd

    def __exit__(self, *exc: object) -> None:
        pass


def test_a_socket_that_is_released_while_it_is_poured_from_closes_afterwards(
    ends: tuple[socket.socket, socket.socket], fd: int
) -> None:
    server, client = ends
    before = open_descriptors()
    gate = Gate(fd)
    inflow = Inflow(3)
    inflow.hold(server.fileno())
    thread = threading.Thread(target=inflow.pour, args=(Sink(gate, 0, None), 3))
    thread.start()
    gate.reached.wait()
    inflow.release()
    for use in (
        lambda: inflow.receive(server.fileno(), bytearray(3)),
        lambda: inflow.hold(server.fileno()),
        lambda: inflow.pour(Sink(nullcontext(fd), 0, None), 3),
        lambda: inflow.put_in_front(b"x"),
        inflow.take_rest,
    ):
        with pytest.raises(RuntimeError):
            use()
    client.sendall(b"abc")
    server.close()  # the connection stays until the thread is done
    gate.opened.set()
    thread.join()
    assert os.pread(fd, 9, 0) == b"abc"
    assert open_descriptors() < before


def test_nothing_is_poured_once_the_socket_is_released(
    ends: tuple[socket.socket, socket.socket], fd: int
) -> None:
    before = open_descriptors()
    inflow = Inflow(3)
    inflow.hold(ends[0].fileno())
    inflow.release()
    inflow.release()
    assert open_descriptors() == before
    with pytest.raises(ValueError, match="held"):
        inflow.pour(Sink(nullcontext(fd), 0, None), 3)


def test_a_forgotten_body_leaves_no_descriptor_behind(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    before = open_descriptors()
    inflow = Inflow(3)
    inflow.hold(ends[0].fileno())
    assert open_descriptors() > before
    del inflow
    assert open_descriptors() == before


def test_a_digest_is_not_shown_in_the_middle_of_a_pour(
    ends: tuple[socket.socket, socket.socket], fd: int
) -> None:
    server, client = ends
    length = 8 << 20
    digest = Sha256()
    sink = Sink(nullcontext(fd), 0, digest)
    inflow = Inflow(length)
    sender = threading.Thread(target=client.sendall, args=(bytes(length),))
    pourer = threading.Thread(target=pour_all, args=(inflow, server, sink))
    sender.start()
    pourer.start()
    seen = [digest.length]
    while pourer.is_alive():
        seen.append(digest.length)
        state = digest.export_state()
        assert Sha256.restore(state).length <= length
    sender.join()
    assert seen == sorted(seen)
    assert digest.hexdigest() == hashlib.sha256(bytes(length)).hexdigest()
