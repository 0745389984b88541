"""What every row works with: the store, the servers, how often and how long, what was seen."""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from loadtests.bench.accounts import HERE, Account, Distance, account_at
from loadtests.bench.content import GIB, MIB, Store
from loadtests.bench.servers import REFERENCE, Server, serving


@dataclass(frozen=True)
class Scale:
    """How big everything is."""

    big_blob_bytes: int = 64 * MIB
    push_blocks: int = 16
    """Of 8 MiB each."""
    layer_bytes: int = GIB
    pulls: int = 50
    pushers: int = 4
    busy_push_blocks: int = 2
    memory_push_blocks: int = 256
    idle_connections: int = 2_000
    crowd: int = 10_000
    cold_blocks: int = 8
    cold_warm_ups: int = 4
    nodes: int = 40
    azure_push_blocks: int = 32


TINY = Scale(
    big_blob_bytes=2 * MIB,
    push_blocks=1,
    layer_bytes=16 * MIB,
    pulls=8,
    pushers=2,
    busy_push_blocks=1,
    memory_push_blocks=4,
    idle_connections=50,
    crowd=200,
    cold_blocks=1,
    cold_warm_ups=1,
    nodes=8,
    azure_push_blocks=1,
)
"""Shows in seconds that everything works; what it measures means nothing."""


@dataclass
class Bench:
    workdir: Path
    rounds: int
    seconds: float
    scale: Scale
    azure_reference: str | None = None
    """A reference registry that can use an account."""
    raw: dict[str, list[float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.store = Store(self.workdir / "store")

    @contextlib.contextmanager
    def serving(
        self, *names: str, workers: int = 1, account: Account | None = None
    ) -> Iterator[list[Server]]:
        reference = self.azure_reference if account and self.azure_reference else REFERENCE
        with contextlib.ExitStack() as stack:
            yield [
                stack.enter_context(
                    serving(
                        name,
                        self.store,
                        self.workdir,
                        workers=workers,
                        storage=account,
                        reference=reference,
                    )
                )
                for name in names
            ]

    @contextlib.contextmanager
    def account(self, distance: Distance = HERE) -> Iterator[Account]:
        """Run an account that has what the store has."""
        with account_at(distance, self.workdir) as account:
            account.publish(self.store)
            yield account

    def turns(self, servers: Sequence[Server], rounds: int = 0) -> Iterator[tuple[int, Server]]:
        """Yield every server once a round, with its index, in an order that turns around."""
        order = list(enumerate(servers))
        for _ in range(rounds or self.rounds):
            yield from order
            order.reverse()

    def note(self, what: str, value: float) -> None:
        """Keep a measured value."""
        self.raw.setdefault(what, []).append(value)

    def median(self, what: str) -> float:
        return statistics.median(self.raw[what])
