"""What the tests of Azure's writers write, and what they look at."""

import time
from collections.abc import Callable

from fastreg.storage.azure_blocks import FIRST_BLOCK_BYTES
from tests.faulty.cloud import Cloud
from tests.live.client import noise

BLOCK = FIRST_BLOCK_BYTES
DATA = "u/1/data"
FINAL = "docker/registry/v2/blobs/sha256/ab/abcd/data"
CONTENT = noise("content", 3 * BLOCK + 12_345)
SMALL = b"less than a block"


def wait_until(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def read_ranges(cloud: Cloud) -> int:
    """How often something was read; Azurite itself looks at the source of a copy."""
    return sum("x-ms-range" in seen.headers for seen in cloud.proxy.requests("get"))
