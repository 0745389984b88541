"""Who is compared: each a registry with the same images, started anew for every run.

So every run meets a server that has answered nothing yet, and one that fails costs one run.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from loadtests.bench.accounts import Account
from loadtests.bench.content import Store
from loadtests.bench.machine import commit, last_word
from loadtests.bench.programs import program
from loadtests.bench.servers import FASTREG, NGINX, REFERENCE, Server, serving
from loadtests.client.pulls import pull_image
from loadtests.client.registry import Registry
from loadtests.client.wire import split
from loadtests.compare.store import repository
from loadtests.compare.watch import Watch
from loadtests.images.image import AMD64, Image

DISK, ACCOUNT, ELSEWHERE = "local disk", "Azure", "elsewhere"
MOST_WITHOUT_A_CACHE = 50
"""Nodes. Each costs the account the whole image where nothing is kept before it, and then it is
the account that is measured."""


@dataclass(frozen=True)
class Contender:
    name: str
    server: str
    """The program, or the URL of one that runs already."""
    storage: str = DISK
    is_warm: bool = False
    """Whether its cache has the image before the run."""
    most_nodes: int = sys.maxsize

    @property
    def is_registry(self) -> bool:
        """Whether it lists and takes pushes, and does not only serve files."""
        return self.server != NGINX


FASTREG_LOCAL = Contender("fastreg", FASTREG)
FASTREG_COLD = Contender("fastreg, Azure cold", FASTREG, ACCOUNT)
FASTREG_WARM = Contender("fastreg, Azure warm", FASTREG, ACCOUNT, is_warm=True)
PEER = Contender("docker-registry", REFERENCE)
PEER_ON_AZURE = Contender(
    "docker-registry, Azure", REFERENCE, ACCOUNT, most_nodes=MOST_WITHOUT_A_CACHE
)
PHYSICAL_LIMIT = Contender("nginx", NGINX)
CONTENDERS = (FASTREG_LOCAL, FASTREG_COLD, FASTREG_WARM, PEER, PEER_ON_AZURE, PHYSICAL_LIMIT)


def from_url(url: str) -> Contender:
    """Return a registry that runs already, the credentials of its URL not in its name; raise
    Failure where it is no URL of one."""
    split(url)
    parts = urlsplit(url)
    return Contender(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}", url, ELSEWHERE)


@dataclass(frozen=True)
class Running:
    """A contender that serves."""

    url: str
    server: Server | None = None
    account: Account | None = None
    user: str = ""
    password: str = ""

    def watch(self) -> contextlib.AbstractContextManager[Watch | None]:
        return Watch(self.server.pid) if self.server else contextlib.nullcontext()

    def sent_bytes(self) -> int | None:
        """Return what its storage account has sent so far."""
        return self.account.sent_bytes() if self.account else None


def elsewhere(contender: Contender) -> Running:
    user, password = (urlsplit(contender.server).username, urlsplit(contender.server).password)
    return Running(contender.name, user=unquote(user or ""), password=unquote(password or ""))


@dataclass(frozen=True)
class Field:
    """What the contenders stand on."""

    workdir: Path
    store: Store
    images: Mapping[str, Image]
    account: Account | None
    """None where no contender needs one."""
    azure_reference: str = REFERENCE

    @contextlib.contextmanager
    def serving(self, contender: Contender, image: Image) -> Iterator[Running]:
        """Run a contender until the context ends, with the image in its cache if it is warm."""
        if contender.storage == ELSEWHERE:
            yield elsewhere(contender)
            return
        account = self.account if contender.storage == ACCOUNT else None
        with serving(
            contender.server,
            self.store,
            self.workdir,
            workers=len(os.sched_getaffinity(0)),
            storage=account,
            reference=self._reference(contender),
        ) as server:
            running = Running(f"http://{server.host}", server, account)
            if contender.is_warm:
                pull(running, image)
            yield running

    def _reference(self, contender: Contender) -> str:
        return self.azure_reference if contender == PEER_ON_AZURE else REFERENCE

    def version(self, contender: Contender) -> str:
        """Return what a program calls itself; end naming it if it is missing."""
        if contender.storage == ELSEWHERE:
            return "unknown"
        if contender.server == FASTREG:
            return commit()
        if contender.server == NGINX:
            return last_word(program(NGINX), "-v")
        return last_word(program(self._reference(contender)), "--version")


def pull(running: Running, image: Image) -> None:
    with contextlib.closing(Registry(running.url)) as registry:
        pull_image(registry, repository(image), image.tag, AMD64, set())
