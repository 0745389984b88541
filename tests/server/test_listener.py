"""Addresses as people write them."""

from __future__ import annotations

import os
import socket
from contextlib import ExitStack

import pytest

from fastreg.server.listener import ListenError, bind


def _connects(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=5):
            return True
    except OSError:
        return False


def _has_ipv6() -> bool:
    with socket.socket(socket.AF_INET6) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            return False
    return True


def _listening(stack: ExitStack, address: str) -> tuple[list[socket.socket], int]:
    sockets = bind(address)
    for sock in sockets:
        stack.callback(sock.close)
    return sockets, sockets[0].getsockname()[1]


@pytest.mark.parametrize(
    ("address", "v4", "v6"),
    [
        ("127.0.0.1:0", True, False),
        ("0.0.0.0:0", True, False),
        (":0", True, True),
        ("[::]:0", False, True),
        ("[::1]:0", False, True),
    ],
)
def test_an_address_is_reached_over_its_protocols(address: str, v4: bool, v6: bool) -> None:
    if not _has_ipv6() and not v4:
        pytest.skip("this machine has no IPv6; enable it: sysctl net.ipv6.conf.all.disable_ipv6=0")
    with ExitStack() as stack:
        _, port = _listening(stack, address)
        assert _connects("127.0.0.1", port) == v4
        assert _connects("::1", port) == (v6 and _has_ipv6())


def test_a_name_is_listened_on_at_all_its_addresses_with_one_port() -> None:
    with ExitStack() as stack:
        sockets, port = _listening(stack, "localhost:0")
        assert {sock.getsockname()[1] for sock in sockets} == {port}
        assert _connects("127.0.0.1", port)


def test_sockets_do_not_block_and_are_not_inherited() -> None:
    with ExitStack() as stack:
        (sock,), _ = _listening(stack, "127.0.0.1:0")
        assert not sock.getblocking()
        assert not sock.get_inheritable()
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)


@pytest.mark.parametrize("host", ["127.0.0.1", ""])
def test_an_address_in_use_says_which_and_what_to_do(host: str) -> None:
    with ExitStack() as stack:
        _, port = _listening(stack, f"{host}:0")
        with pytest.raises(ListenError, match=f"{host}:{port}: the address is in use; stop"):
            bind(f"{host}:{port}")


@pytest.mark.parametrize(
    "address", ["", "5000", "host", "host:", "host:http", "::1:5000", "[::1]", "h:65536", "h:-1"]
)
def test_a_malformed_address_says_what_is_expected(address: str) -> None:
    with pytest.raises(ListenError, match=r"expected host:port, :port or \[IPv6 address\]:port"):
        bind(address)


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(ListenError, match="no interface of this machine"):
        bind("192.0.2.1:5000")


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(ListenError, match=r"'no\.such\.host\.invalid' has no address"):
        bind("no.such.host.invalid:5000")


def test_a_forbidden_port_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: socket.socket, address: object) -> None:
        raise PermissionError(13, os.strerror(13))

    monkeypatch.setattr(socket.socket, "bind", refuse)
    with pytest.raises(ListenError, match="not permitted; take a port above 1023"):
        bind("127.0.0.1:80")


def test_every_message_is_one_line() -> None:
    with pytest.raises(ListenError) as caught:
        bind("a\nb")
    assert "\n" not in str(caught.value)
