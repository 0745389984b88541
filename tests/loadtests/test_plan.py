"""The steps that shapes come to, and how many users take them."""

from __future__ import annotations

from argparse import ArgumentParser
from itertools import groupby

import pytest

from loadtests.swarm.options import SHAPES, Settings, add_options, settings
from loadtests.swarm.plan import head_counts, steps

DROP = ("--drop-command", "true")


def wanted(*options: str) -> Settings:
    parser = ArgumentParser()
    add_options(parser)
    return settings(parser.parse_args(options))


def test_a_herd_is_one_step_of_all_nodes_for_each_image() -> None:
    found = steps(wanted("--nodes", "7", "--images", "mysql,redis"))
    assert [step.images for step in found] == [("swarm/mysql",), ("swarm/redis",)]
    assert {(step.first, step.end, step.lasts_s, step.is_cold) for step in found} == {
        (0, 7, 0, False)
    }


@pytest.mark.parametrize(("nodes", "waves"), [(10, 4), (3, 3), (500, 7), (1, 1)])
def test_each_node_is_in_one_wave_and_waves_differ_by_one_node(nodes: int, waves: int) -> None:
    found = steps(wanted("--shape", "rolling", "--nodes", str(nodes), "--waves", str(waves)))
    assert [node for step in found for node in range(step.first, step.end)] == [*range(nodes)]
    assert len(found) == waves
    sizes = [step.end - step.first for step in found]
    assert max(sizes) - min(sizes) <= 1


def test_caches_are_emptied_once_before_each_cold_round() -> None:
    found = steps(wanted("--shape", "cold", "--rounds", "2", "--images", "a,b", *DROP))
    assert [step.is_cold for step in found] == [True, False, True, False]


def test_mixed_takes_half_of_its_time_with_pushes_and_half_without() -> None:
    quiet, pushing = steps(wanted("--shape", "mixed", "--duration", "8"))
    assert (quiet.lasts_s, quiet.has_pushes) == (4, False)
    assert (pushing.lasts_s, pushing.has_pushes) == (4, True)
    assert quiet.phase != pushing.phase


@pytest.mark.parametrize("shape", SHAPES)
def test_steps_are_numbered_through_all_rounds(shape: str) -> None:
    found = steps(wanted("--shape", shape, "--rounds", "3", *DROP))
    assert [step.number for step in found] == [*range(len(found))]
    assert [number for number, _ in groupby(step.round for step in found)] == [0, 1, 2]


def test_a_weight_comes_to_one_user_at_least_and_none_to_nobody() -> None:
    weights = ("--push-weight", "10", "--list-weight", "0.1", "--probe-weight", "0")
    assert head_counts(wanted("--shape", "mixed", "--nodes", "30", *weights)) == {
        "SwarmNode": 30,
        "Pusher": 3,
        "Lister": 1,
        "Prober": 0,
    }


def test_nobody_disturbs_a_herd_and_only_mixed_pushes() -> None:
    assert sum(head_counts(wanted("--nodes", "9")).values()) == 9
    assert head_counts(wanted("--shape", "steady"))["Pusher"] == 0
    assert head_counts(wanted("--shape", "steady"))["Lister"] > 0
