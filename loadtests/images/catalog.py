"""The images that swarms pull here, and the sizes of their layers.

The sizes are those of the official images as the Docker Hub had them in January 2023, packed,
as docker-library/repo-info records them: ubuntu:22.04, centos:7, mysql:8.0.32, redis:7.0.8,
busybox:1.36.0 and node:18.13.0-bullseye-slim. redis and node have their first layer in common.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from loadtests.images.image import AMD64, ARM64, Image, make_image
from loadtests.images.layers import make_layer


class Sizes(NamedTuple):
    amd64: int
    arm64: int


_BULLSEYE_SLIM = "debian-11-slim", Sizes(31_396_972, 30_044_814)

_LAYERS: dict[str, tuple[tuple[str, Sizes], ...]] = {
    "ubuntu": (("ubuntu-22.04", Sizes(30_428_708, 28_384_475)),),
    "centos": (("centos-7", Sizes(76_097_157, 108_374_945)),),
    "mysql": (
        ("oraclelinux-8-slim", Sizes(43_885_845, 42_775_871)),
        ("mysql-user", Sizes(886, 887)),
        ("mysql-gosu", Sizes(928_834, 857_170)),
        ("mysql-tools", Sizes(4_611_685, 4_470_630)),
        ("mysql-key", Sizes(2_629, 2_629)),
        ("mysql-repository", Sizes(334, 337)),
        ("mysql-server", Sizes(56_219_390, 55_609_188)),
        ("mysql-shell-repository", Sizes(315, 316)),
        ("mysql-shell", Sizes(46_334_851, 47_137_256)),
        ("mysql-entrypoint", Sizes(5_392, 5_393)),
        ("mysql-link", Sizes(121, 121)),
    ),
    "redis": (
        _BULLSEYE_SLIM,
        ("redis-user", Sizes(1_732, 1_736)),
        ("redis-gosu", Sizes(1_410_528, 1_338_002)),
        ("redis-server", Sizes(9_577_031, 9_595_132)),
        ("redis-data", Sizes(133, 133)),
        ("redis-entrypoint", Sizes(575, 576)),
    ),
    "busybox": (("busybox-1.36", Sizes(2_592_863, 2_001_136)),),
    "node": (
        _BULLSEYE_SLIM,
        ("node-user", Sizes(4_185, 4_186)),
        ("node-18", Sizes(45_492_847, 45_631_162)),
        ("node-yarn", Sizes(2_766_290, 2_766_206)),
        ("node-entrypoint", Sizes(451, 450)),
    ),
    # What the thundering herd pulls: 120 MB, as an application's image might be made.
    "herd": (
        ("herd-system", Sizes(50_000_000, 50_000_000)),
        ("herd-runtime", Sizes(35_000_000, 35_000_000)),
        ("herd-packages", Sizes(20_000_000, 20_000_000)),
        ("herd-assets", Sizes(10_000_000, 10_000_000)),
        ("herd-application", Sizes(4_500_000, 4_500_000)),
        ("herd-settings", Sizes(500_000, 500_000)),
    ),
}

NAMES = tuple(_LAYERS)


def catalog(scale: float = 1.0, names: Sequence[str] = ()) -> list[Image]:
    """Return the images of these names, or all, with layers of `scale` times the real sizes.

    Their layers are measured once a process: 3.7 s of CPU for all in full size.
    """
    plans = {name: _plan(name, scale) for name in names or NAMES}
    parts = {part for plan in plans.values() for row in plan.values() for part in row}
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:
        made = dict(zip(parts, threads.map(lambda part: make_layer(*part), parts), strict=True))
    return [
        make_image(name, {key: [made[part] for part in row] for key, row in plan.items()}, ["sh"])
        for name, plan in plans.items()
    ]


def layer_sizes(name: str, scale: float = 1.0) -> list[int]:
    """Return what the layers of an image have, packed, for linux/amd64."""
    return [round(sizes.amd64 * scale) for _, sizes in _LAYERS[name]]


def _plan(name: str, scale: float) -> dict[str, list[tuple[str, int]]]:
    """Return what tells an image's layers, by platform: their names and sizes."""
    rows = _LAYERS[name]
    return {
        AMD64: [(layer, round(sizes.amd64 * scale)) for layer, sizes in rows],
        ARM64: [(f"{layer}-arm64", round(sizes.arm64 * scale)) for layer, sizes in rows],
    }
