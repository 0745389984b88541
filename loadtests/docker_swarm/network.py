"""A network that the machine does not see: a bridge in a namespace of its own.

The registries listen on the bridge's address, and each daemon in a further namespace is joined
to it by a veth pair. All of it goes with the last process in it: nothing has a name to be left.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from loadtests.bench.network import CONGESTION_CONTROL, enter_own_network
from loadtests.bench.programs import program

BRIDGE = "fastreg0"
PREFIX = "10.213.0"
SUBNET = f"{PREFIX}.0/24"
GATEWAY = f"{PREFIX}.1"
"""Where the registries are, in a subnet that Docker does not take by itself."""
MAX_NODES = 200
NAMESPACE = Path("/proc/self/ns/net")
_DEVICES = Path("/proc/net/dev")
_SENT_BYTES_FIELD = 8


def enter_bridge() -> bool:
    """Move this process, and all that it starts, to a namespace with the bridge in it; return
    False where that is not allowed, or no bridge to be had."""
    outside = os.readlink(NAMESPACE)
    enter_own_network()
    if os.readlink(NAMESPACE) == outside:
        return False
    route = [SUBNET, "dev", BRIDGE, "src", GATEWAY, "congctl", CONGESTION_CONTROL]
    return (
        ip("link", "add", BRIDGE, "type", "bridge")
        and ip("address", "add", f"{GATEWAY}/24", "dev", BRIDGE)
        and ip("link", "set", BRIDGE, "up")
        and ip("route", "replace", *route)
    )


def ip(*arguments: str) -> bool:
    return subprocess.run([program("ip"), *arguments], check=False).returncode == 0


def node_address(number: int) -> str:
    return f"{PREFIX}.{number + 1}"


def sent_bytes() -> int:
    """Return what has left the bridge's address for the nodes, with the headers of packets."""
    for line in _DEVICES.read_text().splitlines():
        name, _, counts = line.partition(":")
        if name.strip() == BRIDGE:
            return int(counts.split()[_SENT_BYTES_FIELD])
    raise LookupError(f"no {BRIDGE} in {_DEVICES}")
