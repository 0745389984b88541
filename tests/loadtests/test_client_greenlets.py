"""The load tests' client under gevent's monkey patching, as Locust runs it."""

from __future__ import annotations

import subprocess
import sys

SHARED_BUFFER = """
from gevent import monkey
monkey.patch_all()

import random, threading
import gevent
from loadtests.client.pulls import Descriptor, pull_blobs
from loadtests.client.registry import Registry
from loadtests.client.answers import _own
from tests.loadtests.client_toy import Piece, Reply, Toy

pieces = [Piece(random.Random(number).randbytes(1_500_000)) for number in range(8)]
by_digest = {piece.digest: piece.content for piece in pieces}
nodes, buffers = 4, set()

def pull(host):
    registry = Registry(host)
    blobs = [Descriptor(piece.digest, piece.size) for piece in pieces]
    counts = pull_blobs(registry, "a/b", blobs, set(), 3)
    registry.close()
    buffers.add(id(_own.buffer))
    return counts

with Toy(lambda seen: Reply(200, by_digest[seen.target.rpartition("/")[2]])) as toy:
    pulls = [gevent.spawn(pull, toy.host) for _ in range(nodes)]
    print([pull.get() for pull in pulls] == [[1_500_000] * 8] * nodes)
    print(len(buffers), toy.connections)

asked, never = threading.Event(), threading.Event()
with Toy(lambda seen: (asked.set(), never.wait(60))) as toy:
    node = gevent.spawn(pull, toy.host)
    asked.wait(30)
    node.kill(timeout=30)
    print(node.dead, not never.is_set(), len(toy.seen) <= 3)
"""


def test_greenlets_share_one_buffer_and_a_node_that_is_killed_waits_for_nothing() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SHARED_BUFFER], capture_output=True, text=True, timeout=100
    )
    assert done.stdout == "True\n1 12\nTrue True True\n", done.stderr
