"""The nodes: Docker daemons, each alone in namespaces of its own.

Its processes, its mounts and its network are in namespaces that end with the first process of
them, so that SIGKILL to that one leaves of a node nothing but its directory and its cgroup.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from loadtests.bench.processes import tree
from loadtests.bench.programs import SEARCH_PATH, program
from loadtests.docker_swarm.engine import Engine, EngineError
from loadtests.docker_swarm.network import BRIDGE, GATEWAY, NAMESPACE, SUBNET, node_address

START_TIMEOUT_S = 60
MAX_DIRECTORY_CHARACTERS = 60
"""Below it daemons have sockets, whose names the kernel limits to 107."""
SCRIPT = """
set -e
hostname "$1"
mount -t tmpfs tmpfs /run
if [ -d /etc/docker ]; then mount -t tmpfs tmpfs /etc/docker; fi
ip link set lo up
ip link add eth0 type veth peer name "$1" netns /proc/self/fd/0
nsenter --net=/proc/self/fd/0 ip link set "$1" master "$4" up
ip address add "$2/24" dev eth0
ip link set eth0 up
ip route add default via "$3"
shift 4
"$@" </dev/null &
wait
"""
"""What the first process of a node does; its standard input is the bridge's namespace. As the
first process it also reaps what daemons leave to it."""
UNSHARED = ["--net", "--mount", "--pid", "--uts", "--ipc"]


@dataclass(frozen=True)
class Node:
    name: str
    address: str
    directory: Path
    process: subprocess.Popen[bytes]
    engine: Engine

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while self.process.poll() is None and time.monotonic() < deadline:
            try:
                self.engine.get("/info")
            except (OSError, EngineError):
                time.sleep(0.05)
            else:
                return
        log = (self.directory / "log").read_text(errors="replace")
        raise RuntimeError(f"the daemon of {self.name} does not serve:\n{log[-2000:]}")

    def cpu_s(self) -> float:
        """Return what its processes took so far, those that have ended among them."""
        return sum(map(ticks, tree(self.process.pid))) / os.sysconf("SC_CLK_TCK")


def ticks(pid: int) -> int:
    """Return the time of a process, and of its children that it has waited for."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0  # ended meanwhile
    return sum(map(int, stat.rpartition(")")[2].split()[11:15]))


def start_node(directory: Path, number: int, cgroup: str) -> Node:
    """Start a daemon, without waiting for it. Raises RuntimeError."""
    if len(str(directory)) > MAX_DIRECTORY_CHARACTERS:
        raise RuntimeError(f"{directory} is too long for the names of sockets: use --directory")
    name, address = f"node{number}", node_address(number)
    home = directory / name
    home.mkdir()
    (home / "daemon.json").write_text(daemon_config(cgroup))
    with NAMESPACE.open() as bridge, (home / "log").open("wb") as log:
        process = subprocess.Popen(
            command(name, address, home),
            # From the bridge no proxy can be reached.
            env={**os.environ, "PATH": SEARCH_PATH, "NO_PROXY": "*"},
            stdin=bridge,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return Node(name, address, home, process, Engine(home / "socket"))


def command(name: str, address: str, home: Path) -> list[str]:
    """Return the command of a node. It dies with the thread that starts it."""
    return [
        *(program("setpriv"), "--pdeathsig", "KILL"),
        *(program("unshare"), *UNSHARED, "--fork", "--kill-child", "--mount-proc"),
        *("sh", "-c", SCRIPT, "node", name, address, GATEWAY, BRIDGE),
        program("dockerd"),
        *("--config-file", str(home / "daemon.json")),
        *("--data-root", str(home / "data")),
        *("--exec-root", str(home / "exec")),
        *("--pidfile", str(home / "pid")),
        *("--host", f"unix://{home / 'socket'}"),
    ]


def daemon_config(cgroup: str) -> str:
    """Return the daemon's settings; the cgroup driver is the one that needs no systemd.

    All containers are on their node's own network, so no other, and no firewall, is made.
    """
    return json.dumps(
        {
            "insecure-registries": [SUBNET],
            "exec-opts": ["native.cgroupdriver=cgroupfs"],
            "cgroup-parent": f"/{cgroup}",
            "bridge": "none",
            "iptables": False,
        }
    )
