"""The options of a run, as Locust's parser takes them, and the settings they come to.

Locust's web page shows the same options and hands back strings: every default is a string or a
number, and what they mean is checked when a run starts.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

SHAPES = ("thundering-herd", "rolling", "steady", "cold", "mixed")
NODE_CACHES = ("none", "layers", "image")
VERIFY = ("sha256", "xxh3")


class Misused(Exception):
    """Options that do not go together, in one line for whoever gave them."""


@dataclass(frozen=True, slots=True)
class Settings:
    shape: str
    nodes: int
    images: tuple[str, ...]
    """Names of repositories."""
    prefix: str
    platform: str
    rounds: int
    waves: int
    duration_s: float
    think_s: tuple[float, float]
    node_cache: str
    drop_command: str
    push_weight: float
    list_weight: float
    probe_weight: float
    push_bytes: int
    verify: str
    user: str
    password: str
    results: str


def add_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("Swarm options")
    for flag, default, meaning in _OPTIONS:
        choices = _CHOICES.get(flag)
        action = group.add_argument(
            flag,
            type=type(default),
            default=default,
            choices=choices,
            metavar=None if choices else _METAVARS.get(flag, "N"),
            help=f"{meaning} (default: {default})" if default != "" else meaning,
        )
        # What Locust's own add_argument sets, which a group of options does not go through.
        for trait in ("include_in_web_ui", "is_secret", "is_required", "is_multiple"):
            setattr(action, trait, flag in _TRAITS.get(trait, ()))
    group.add_argument(
        "--swarm-help",
        action=_ShowOptions,
        nargs=0,
        default=argparse.SUPPRESS,
        help="show these options: Locust's --help knows only its own",
    )


class _ShowOptions(argparse.Action):
    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        shown = argparse.ArgumentParser("locust -f loadtests/locustfile.py", add_help=False)
        add_options(shown)
        print(shown.format_help(), end="")
        parser.exit()


ON_THIS_MACHINE = ("drop_command", "results")
"""What reaches beyond the run. Locust's page asks nobody for a password, so it has no part in
these: they are as the command line says."""

_CHOICES = {"--shape": SHAPES, "--node-cache": NODE_CACHES, "--verify": VERIFY}
_METAVARS = {
    "--images": "NAMES",
    "--prefix": "PREFIX",
    "--platform": "OS/ARCH",
    "--duration": "SECONDS",
    "--think-time": "SECONDS",
    "--drop-command": "COMMAND",
    "--push-weight": "WEIGHT",
    "--list-weight": "WEIGHT",
    "--probe-weight": "WEIGHT",
    "--push-size": "MB",
    "--registry-user": "NAME",
    "--registry-password": "PASSWORD",
    "--results": "FILE",
}
_OPTIONS: tuple[tuple[str, str | int | float, str], ...] = (
    (
        "--shape",
        "thundering-herd",
        "thundering-herd: all nodes pull at the same moment. rolling: they do so in waves, each "
        "when the one before has its image. steady: each node pulls and thinks, again and again. "
        "cold: a herd after --drop-command. mixed: steady, half of the time with pushes",
    ),
    ("--nodes", 20, "how many Docker hosts pull"),
    (
        "--images",
        "herd",
        "what they pull, with commas between: names as python -m loadtests.seed gives them. A "
        "herd pulls one after the other, a node of `steady` and `mixed` any of them",
    ),
    ("--prefix", "swarm", "what stands before the images' names in the registry"),
    ("--platform", "linux/amd64", "the platform that is taken from an image's index"),
    ("--rounds", 1, "how often all of it is done"),
    ("--waves", 4, "into how many waves `rolling` divides the nodes"),
    ("--duration", 30.0, "how long a round of `steady` or `mixed` is"),
    (
        "--think-time",
        "1-5",
        "how long a node of `steady` or `mixed` waits before each pull, and whoever else there is "
        "before what it does: so long, or evenly spread from-to",
    ),
    (
        "--node-cache",
        "none",
        "what a node keeps of its pulls. none: nothing, each is of everything. layers: layers, so "
        "that a base shared by images comes once. image: images too, so that a second pull asks "
        "for the manifest and no more",
    ),
    (
        "--drop-command",
        "",
        "shell command that empties the registry's caches: `cold` runs it before each round, and "
        "fails when it fails",
    ),
    ("--push-weight", 5.0, "pushers for every 100 nodes, in `mixed`"),
    (
        "--list-weight",
        2.0,
        "listers of repositories and tags for every 100 nodes, in `steady` and `mixed`",
    ),
    (
        "--probe-weight",
        2.0,
        "probers for every 100 nodes, in `steady` and `mixed`: HEADs of what is there and what is "
        "not, as build tools make them",
    ),
    ("--push-size", 20.0, "how large an image is pushed"),
    (
        "--verify",
        "sha256",
        "how a node checks each byte. sha256: against the digest, as Docker does. xxh3: that way "
        "for one pull of each blob in a process, and by XXH3-128 against that pull for all others, "
        "which takes a twentieth of the CPU",
    ),
    ("--registry-user", "", "who asks, where the registry wants to know"),
    ("--registry-password", "", "the password of --registry-user"),
    ("--results", "", "where the results go as JSON"),
)


_IN_PAGE = tuple(flag for flag, *_ in _OPTIONS if flag[2:].replace("-", "_") not in ON_THIS_MACHINE)
_TRAITS = {"include_in_web_ui": _IN_PAGE, "is_secret": ("--registry-password",)}


def settings(options: argparse.Namespace) -> Settings:
    """Raise Misused where an option says nothing that can be done."""
    found = Settings(
        shape=options.shape,
        nodes=options.nodes,
        images=_repositories(options.images, options.prefix),
        prefix=options.prefix.strip("/"),
        platform=options.platform,
        rounds=options.rounds,
        waves=options.waves,
        duration_s=options.duration,
        think_s=_span(options.think_time),
        node_cache=options.node_cache,
        drop_command=options.drop_command,
        push_weight=options.push_weight,
        list_weight=options.list_weight,
        probe_weight=options.probe_weight,
        push_bytes=int(options.push_size * 1e6),
        verify=options.verify,
        user=options.registry_user,
        password=options.registry_password,
        results=options.results,
    )
    _check(found)
    return found


def _repositories(names: str, prefix: str) -> tuple[str, ...]:
    found = tuple(name.strip() for name in names.split(",") if name.strip())
    if not found:
        raise Misused("--images names no image")
    return tuple(f"{prefix.strip('/')}/{name}".lstrip("/") for name in found)


def _span(text: str) -> tuple[float, float]:
    low, _, high = text.partition("-")
    try:
        span = float(low), float(high or low)
    except ValueError:
        raise Misused(f"--think-time is seconds, as 2 or 1-5, and not {text!r}") from None
    if not 0 <= span[0] <= span[1]:
        raise Misused(f"--think-time goes from less to more, and not {text!r}")
    return span


def _check(wanted: Settings) -> None:
    for flag, value, allowed in (
        ("--shape", wanted.shape, SHAPES),
        ("--node-cache", wanted.node_cache, NODE_CACHES),
        ("--verify", wanted.verify, VERIFY),
    ):
        if value not in allowed:
            raise Misused(f"{flag} is one of {', '.join(allowed)}, and not {value!r}")
    for flag, number in (
        ("--nodes", wanted.nodes),
        ("--rounds", wanted.rounds),
        ("--waves", wanted.waves),
        ("--duration", wanted.duration_s),
        ("--push-size", wanted.push_bytes),
    ):
        if not number > 0:  # nor is it what "nan" says
            raise Misused(f"{flag} must be more than nothing")
    if not all(w >= 0 for w in (wanted.push_weight, wanted.list_weight, wanted.probe_weight)):
        raise Misused("weights are not negative")
    if wanted.shape == "rolling" and wanted.waves > wanted.nodes:
        raise Misused(f"{wanted.nodes} nodes do not make {wanted.waves} waves")
    if wanted.shape == "cold" and not wanted.drop_command:
        raise Misused("--shape cold needs --drop-command, which empties the registry's caches")
