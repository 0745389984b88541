"""A storage account for the run: Azurite, at the end of a line if so wished.

Azurite is one thread of JavaScript on this machine, without a network between: it answers
sooner than Azure and moves fewer bytes. `Distance` makes up for the first.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import random
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from loadtests.bench.content import (
    BLOCK_BYTES,
    MIB,
    REPOSITORY,
    Body,
    Store,
    Upload,
    blob_key,
    link_key,
)
from loadtests.bench.processes import CpuMeter
from loadtests.bench.programs import AZURITE, free_port, program, start, stop

if TYPE_CHECKING:
    from azure.storage.blob import ContainerClient

NAME = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""Published: every Azurite has them."""
START_TIMEOUT_S = 60
APPEND_BYTES = 4 << 20
"""The most that one append may bring, and what the reference registry appends."""
PRELOADED = Path(__file__).with_name("azurite.js")
_IN_MEMORY = Path("/dev/shm")


@dataclass(frozen=True)
class Distance:
    """How far off the account is."""

    delay_s: float = 0.0
    """That each request waits."""
    request_bytes_s: float = math.inf
    """What of one request's body arrives a second."""
    bytes_s: float = math.inf
    """What all answers bring together."""


HERE = Distance()
AWAY = Distance(delay_s=0.01, request_bytes_s=100 * MIB, bytes_s=60 * MIB)
"""Blocks of 4 MiB one after another come to some 60 MiB/s, and one blob is read as fast: what
a single stream to or from a real account is about."""


@dataclass(frozen=True)
class Sent:
    """One answer of the account."""

    method: str
    target: str
    status: int
    sent_bytes: int
    """Head and body."""
    first_s: float | None
    """When the first byte of a body left, on the clock of `time.monotonic`."""


def traits(distance: Distance, trace: Path) -> dict[str, str]:
    """Return what `azurite.js` is told."""
    return {
        "BENCH_TRACE": str(trace),
        "BENCH_DELAY_MS": number(distance.delay_s * 1e3),
        "BENCH_REQUEST_BYTES_S": number(distance.request_bytes_s),
        "BENCH_BYTES_S": number(distance.bytes_s),
    }


def number(value: float) -> str:
    """Return it as JavaScript reads it."""
    return "Infinity" if value == math.inf else str(value)


class Account:
    """A running account with one container, made and filled by the benchmark."""

    def __init__(self, directory: Path, distance: Distance) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/{NAME}"
        self.container = "bench"
        self._trace = directory / "trace"
        self._log = directory / "log"
        options = ["--silent", "--disableTelemetry", "--loose", "--skipApiVersionCheck"]
        options += ["--blobPort", str(self.port), "--location", str(directory)]
        argv = ["node", "--require", str(PRELOADED), os.path.realpath(program(AZURITE)), *options]
        self._process = start(argv, traits(distance, self._trace), self._log)

    def connect(self) -> None:
        """Wait until the account answers, and make the container."""
        from azure.core.exceptions import ServiceRequestError

        deadline = time.monotonic() + START_TIMEOUT_S
        while self._process.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(ServiceRequestError):
                self._client().create_container()
                return
            time.sleep(0.05)
        raise RuntimeError(f"Azurite does not serve:\n{self._log.read_text()[-2000:]}")

    def stop(self) -> None:
        stop(self._process)

    def cpu(self) -> CpuMeter:
        return CpuMeter(self._process.pid)

    def _client(self) -> ContainerClient:
        from azure.storage.blob import BlobServiceClient

        credential = {"account_name": NAME, "account_key": KEY}
        service = BlobServiceClient(self.url, credential=credential, retry_total=0)
        return service.get_container_client(self.container)

    def publish(self, store: Store) -> None:
        """Put everything there that the store has."""
        client = self._client()
        for path in store.root.rglob("*"):
            if path.is_file():
                with path.open("rb") as file:
                    client.upload_blob(str(path.relative_to(store.root)), file, overwrite=True)

    def bring(self, body: Body) -> Upload:
        """Put a blob there that no server has seen, and the link to it."""
        from azure.storage.blob import BlobBlock

        upload, client = body.new_upload(), self._client()
        blob = client.get_blob_client(blob_key(upload.digest))
        names = [f"{number:08}" for number in range(body.count + 1)]
        block = os.pread(body.block_fd, BLOCK_BYTES, 0)
        with ThreadPoolExecutor(body.count) as threads:
            list(threads.map(lambda name: blob.stage_block(name, block), names[:-1]))
        blob.stage_block(names[-1], upload.tail)
        blob.commit_block_list([BlobBlock(name) for name in names])
        link = link_key(REPOSITORY, f"_layers/{upload.digest.replace(':', '/')}")
        client.upload_blob(link, upload.digest.encode())
        return upload

    def append(self, body: Body) -> float:
        """Write a body as the reference registry does, one append after another, without the
        registry; return how long it took."""
        blob = self._client().get_blob_client(f"appended/{random.getrandbits(64):x}")
        piece = os.pread(body.block_fd, APPEND_BYTES, 0)
        begun = time.monotonic()
        blob.create_append_blob()
        for _ in range(body.count * BLOCK_BYTES // APPEND_BYTES):
            blob.append_block(piece)
        return time.monotonic() - begun

    def take_out(self, digest: str) -> int:
        """Remove a blob; return how many bytes it had."""
        blob = self._client().get_blob_client(blob_key(digest))
        size = blob.get_blob_properties().size
        blob.delete_blob()
        return int(size)

    def sent_bytes(self) -> int:
        """Return what the account has sent so far, heads included."""
        return sum(sent.sent_bytes for sent in read_trace(self._trace))

    def sent(self, digest: str, when: Callable[[list[Sent]], bool]) -> list[Sent]:
        """Return the answers about a blob and its link, once they are what is waited for."""
        hexed, deadline = digest.split(":")[1], time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            found = [sent for sent in read_trace(self._trace) if hexed in sent.target]
            if when(found):
                return found
            time.sleep(0.05)
        raise RuntimeError(f"the account tells of {digest}: {found}")

    def environment(self, directory: Path) -> dict[str, str]:
        """Return what makes fastreg use the account, with a cache."""
        return {
            "REGISTRY_STORAGE": "azure",
            "REGISTRY_STORAGE_AZURE_ACCOUNTNAME": NAME,
            "REGISTRY_STORAGE_AZURE_ACCOUNTKEY": KEY,
            "REGISTRY_STORAGE_AZURE_CONTAINER": self.container,
            "REGISTRY_STORAGE_AZURE_SERVICEURL": self.url,
            "REGISTRY_STORAGE_CACHE_PATH": str(directory / "cache"),
        }

    def configuration(self) -> dict[str, object]:
        azure = {
            "accountname": NAME,
            "accountkey": KEY,
            "container": self.container,
            "serviceurl": self.url,
            "credentials": {"type": "shared_key"},
        }
        return {"azure": azure, "redirect": {"disable": True}}


@contextlib.contextmanager
def account_at(distance: Distance, workdir: Path) -> Iterator[Account]:
    """Run an account, its data in memory where the system has room for that."""
    above = _IN_MEMORY if _IN_MEMORY.is_dir() else workdir
    directory = above / f"{workdir.name}-account-{random.getrandbits(32):08x}"
    directory.mkdir()
    account = None
    try:
        account = Account(directory, distance)
        account.connect()
        yield account
    finally:
        if account is not None:
            account.stop()
        shutil.rmtree(directory)


def read_trace(path: Path) -> list[Sent]:
    lines = path.read_text().split("\n")[:-1]
    return [
        Sent(method, target, status, sent, first and first / 1e9)
        for method, target, status, sent, first in map(json.loads, lines)
    ]
