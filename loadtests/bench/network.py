"""A loopback of its own for the run, on which a byte costs every server the same.

Under BBR the kernel paces even loopback with timers: a 1 MiB answer then costs nginx ten times
as much as under CUBIC, in the server's account or the client's, as it happens. A network
namespace also has no firewall rules, no connection tracking and nobody else's ports.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from pathlib import Path

CONGESTION_CONTROL = "cubic"
_CLONE_NEWNET = 0x40000000
_SYSTEMS_OWN = Path("/proc/sys/net/ipv4/tcp_congestion_control")
_SEARCH_PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"


def enter_own_network() -> str:
    """Move this process to a loopback with CUBIC; return what its TCP is, for the record.

    Without root or `ip` it stays where it is.
    """
    ip = shutil.which("ip", path=_SEARCH_PATH)
    if ip is None or os.geteuid() != 0 or ctypes.CDLL(None).unshare(_CLONE_NEWNET) != 0:
        return systems_network()
    subprocess.run([ip, "link", "set", "lo", "up"], check=True)
    for prefix in ("127.0.0.0/8", "127.0.0.1"):
        route = ["local", prefix, "dev", "lo", "table", "local"]
        subprocess.run([ip, "route", "replace", *route, "congctl", CONGESTION_CONTROL], check=True)
    return f"own loopback, {CONGESTION_CONTROL}"


def systems_network() -> str:
    return f"the system's loopback, {_SYSTEMS_OWN.read_text().strip()}"
