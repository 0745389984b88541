"""Sha256 and Sha512 of the extension against hashlib's, as ratios of CPU time.

The two take turns on the same buffer, in an order that alternates, so that both meet the
same noise; the median ratio of the rounds counts, and its quartiles say how far to trust it.
"""

import argparse
import hashlib
import statistics
import time
from collections.abc import Callable
from typing import Protocol

from fastreg.fastlane import Sha256, Sha512

SIZES = {"64 KiB": 64 << 10, "1 MiB": 1 << 20}
BYTES_A_TURN = 16 << 20


class Hasher(Protocol):
    def update(self, data: bytes, /) -> None: ...


def time_turn(make: Callable[[], Hasher], data: bytes) -> float:
    """CPU seconds of this thread for one object fed BYTES_A_TURN bytes."""
    hasher = make()
    begun = time.thread_time()
    for _ in range(BYTES_A_TURN // len(data)):
        hasher.update(data)
    return time.thread_time() - begun


def compare(
    ours: Callable[[], Hasher], theirs: Callable[[], Hasher], size: int, rounds: int
) -> str:
    data = bytes(i * 31 % 256 for i in range(size))
    ratios, ours_s = [], []
    for number in range(rounds):
        if number % 2:
            mine, other = time_turn(ours, data), time_turn(theirs, data)
        else:
            other, mine = time_turn(theirs, data), time_turn(ours, data)
        ratios.append(mine / other)
        ours_s.append(mine)
    low, median, high = statistics.quantiles(ratios, n=4)
    gb_s = BYTES_A_TURN / statistics.median(ours_s) / 1e9
    return f"{median:12.3f}  {low:.3f} to {high:.3f}  {gb_s:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=40, help="turns of each (default 40)")
    rounds = parser.parse_args().rounds
    print("algorithm  buffer  ours/hashlib  quartiles       ours, GB/s of CPU time")
    for ours, theirs in ((Sha256, hashlib.sha256), (Sha512, hashlib.sha512)):
        for label, size in SIZES.items():
            print(f"{ours.name:9}  {label:6}  {compare(ours, theirs, size, rounds)}")


if __name__ == "__main__":
    main()
